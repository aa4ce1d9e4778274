//! Several nodes that found a swarm together, and what tests ask of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dunlin_node::api::StatusView;
use dunlin_node::client::Client;
use dunlin_node::task::{NodeId, Term};
use tempfile::TempDir;

use super::network::Network;
use super::process::{Process, Settings};
use super::{LONG, eventually};

/// Some nodes of one swarm and the folder they live in.
pub(crate) struct Swarm {
    // Dropped in this order: the processes, then what they stand on.
    pub(crate) nodes: Vec<Process>,
    pub(crate) network: Option<Network>,
    pub(crate) folder: TempDir,
    founders: u32,
}

impl Swarm {
    /// A swarm of so many nodes, `n1`, `n2` … with the ranks 10, 20 … and the usual pod; waits until all follow one leader.
    pub(crate) async fn found(count: usize) -> Self {
        Self::found_with(count, |_, _| {}).await
    }

    /// The same with changed settings.
    pub(crate) async fn found_with(count: usize, change: impl Fn(usize, &mut Settings)) -> Self {
        let mut swarm = Self::planned(count);
        (0..count).for_each(|_| _ = swarm.add_with(&change));
        swarm.settled().await;
        swarm
    }

    /// A swarm in which no node has been started yet.
    pub(crate) fn planned(founders: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("dunlin-").tempdir().unwrap();
        write_secret(&folder.path().join("secret"), &random_secret());
        Swarm { nodes: Vec::new(), network: None, folder, founders: u32::try_from(founders).unwrap() }
    }

    /// A file in the swarm's folder that is there for the tests.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts one more node, which is told of all the others. Answers with its number.
    pub(crate) fn add_with(&mut self, change: impl Fn(usize, &mut Settings)) -> usize {
        let number = self.nodes.len();
        let mut settings = Settings {
            name: format!("n{}", number + 1),
            data: self.path(&format!("n{}", number + 1)),
            listen: "127.0.0.1:0".to_owned(),
            rank: 10 * u32::try_from(number + 1).unwrap(),
            expect: self.founders,
            peers: self.nodes.iter().map(|node| node.address.clone()).collect(),
            pods: Vec::new(),
            secret_file: self.path("secret"),
            place: None,
            log: "info,openraft=warn".to_owned(),
            env: Vec::new(),
        };
        if let Some(network) = &self.network {
            let (place, address) = network.place(number);
            (settings.place, settings.listen) = (Some(place), address);
        }
        change(number, &mut settings);
        self.nodes.push(Process::start(settings));
        number
    }

    /// Starts a dead node again: the same folder, the same port.
    pub(crate) fn start_again(&mut self, number: usize) {
        let dead = &mut self.nodes[number];
        dead.kill();
        let (mut settings, address) = (dead.settings.clone(), dead.address.clone());
        settings.listen = address.clone();
        settings.peers = self.nodes.iter().map(|node| node.address.clone()).filter(|other| *other != address).collect();
        self.nodes[number] = Process::start(settings);
    }

    /// Numbers of the nodes that run.
    pub(crate) fn running(&mut self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|number| self.nodes[*number].is_running()).collect()
    }

    /// Waits until all nodes that run follow one acting leader; answers with its number and its term.
    pub(crate) async fn settled(&mut self) -> (usize, Term) {
        let running = self.running();
        self.settled_among(&running).await
    }

    /// Waits until these nodes follow one acting leader among them.
    pub(crate) async fn settled_among(&self, numbers: &[usize]) -> (usize, Term) {
        eventually("all running nodes follow one leader", LONG, async || {
            let mut seen = Vec::new();
            for number in numbers {
                seen.push(status(&self.nodes[*number].impatient()).await?);
            }
            let told = |view: &StatusView| (view.leader.as_ref().map(|leader| leader.node), view.term);
            let first = told(&seen[0]);
            let acts = |view: &StatusView| view.role == "leader" && view.age.is_zero() && first.0 == Some(view.node);
            match numbers.iter().zip(&seen).find(|(_, view)| acts(view)) {
                Some((number, view)) if seen.iter().all(|view| told(view) == first) => Ok((*number, view.term)),
                _ => Err(seen
                    .iter()
                    .map(|view| format!("{} {} {:?}", view.name, view.role, told(view)))
                    .collect::<Vec<_>>()
                    .join("; ")),
            }
        })
        .await
    }

    /// The number of the node with this id.
    pub(crate) fn number_of(&self, node: NodeId) -> usize {
        self.nodes.iter().position(|process| process.node == node).unwrap()
    }
}

async fn status(client: &Client) -> Result<StatusView, String> {
    client.status().await.map_err(|error| error.to_string())
}

/// A secret of this test alone.
fn random_secret() -> String {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a secret where only its owner can read it.
pub(crate) fn write_secret(path: &Path, secret: &str) {
    fs::write(path, secret).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
