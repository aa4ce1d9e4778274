//! One swarm with clients at work: gathered, put through faults, calmed, and judged.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin_history::Record;
use dunlin_node::task::TaskSpec;

use super::clients::{Clients, Recorder};
use super::dice::Dice;
use super::table::Table;
use super::verdict;
use super::wires::Wires;
use crate::harness::{LONG, Network, Settings, Swarm, eventually, questions};

/// See the head of this file.
pub(crate) struct Storm {
    pub(crate) swarm: Swarm,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) probes: u32,
    /// Nodes that were stopped and woken up.
    pub(crate) pauses: u32,
    /// Until the end.
    clients: Option<Clients>,
}

impl Storm {
    /// Nodes in namespaces where the machine has them, else on loopback.
    pub(crate) async fn gather(nodes: usize, dice: &mut Dice, table: &mut Table) -> Self {
        let mut swarm = Swarm::planned(nodes);
        let network = Network::new(u32::try_from(nodes).unwrap());
        match network.and_then(|network| Wires::of(&network, nodes).are_there().map(|()| network)) {
            Ok(network) => swarm.network = Some(network),
            Err(why) => table.skip("rows 3, 4 and 5 (cuts and losses)", &why),
        }
        Self::of(swarm, nodes, dice, |_, _| {}).await
    }

    /// A swarm that is planned and not started yet.
    pub(crate) async fn of(mut swarm: Swarm, nodes: usize, dice: &mut Dice, change: impl Fn(usize, &mut Settings)) -> Self {
        (0..nodes).for_each(|_| _ = swarm.add_with(&change));
        swarm.settled().await;
        let recorder = Arc::new(Recorder::new(swarm.path("history.jsonl")));
        let sockets: Vec<PathBuf> = swarm.nodes.iter().map(|node| node.socket()).collect();
        let clients = Clients::at_work(&recorder, &sockets, dice);
        Storm { swarm, recorder, probes: 0, pauses: 0, clients: Some(clients) }
    }

    pub(crate) fn count(&self) -> usize {
        self.swarm.nodes.len()
    }

    pub(crate) fn others(&self, than: usize) -> Vec<usize> {
        (0..self.count()).filter(|number| *number != than).collect()
    }

    pub(crate) fn wires(&self) -> Option<Wires<'_>> {
        self.swarm.network.as_ref().map(|network| Wires::of(network, self.count()))
    }

    /// One more task that is not a client's; acknowledged and written down like theirs.
    pub(crate) async fn probe(&mut self, through: usize, spec: TaskSpec) -> dunlin_node::task::TaskId {
        self.probes += 1;
        let key = format!("probe-{}", self.probes);
        self.recorder.submit(&self.swarm.nodes[through].socket(), &key, spec).await
    }

    /// Everything is mended by now: waits for all tasks, stops all nodes, and has the history judged.
    pub(crate) async fn end(mut self, table: &mut Table) {
        let calm = Instant::now();
        let (leader, _) = self.swarm.settled().await;
        if let Some(clients) = self.clients.take() {
            clients.stop().await;
        }
        let client = self.swarm.nodes[leader].client();
        eventually("all tasks have ended", LONG * 3, async || {
            let tasks = client.status().await.map_err(|error| error.to_string())?.tasks;
            let open =
                tasks.iter().any(|(state, count)| *count > 0 && matches!(state.as_str(), "queued" | "running" | "delayed"));
            if open { Err(format!("{tasks:?}")) } else { Ok(()) }
        })
        .await;
        // One more entry behind all others, so that every node learns that those are committed.
        let last = self.probe(leader, TaskSpec::command(["true"])).await;
        for node in &self.swarm.nodes {
            questions::end_of(&node.client(), last).await;
        }
        println!("calm after {:.1?}", calm.elapsed());
        self.recorder.write(&Record::Healed);
        verdict::pass(&mut self.swarm, &self.recorder, self.pauses, table).await;
    }
}

/// How long a fault is held: this is the fault itself, not a wait for something.
pub(crate) async fn hold(time: Duration) {
    tokio::time::sleep(time).await;
}
