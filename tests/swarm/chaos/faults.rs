//! The faults that one swarm is put through, each to its healing.

use std::time::{Duration, Instant};

use dunlin_node::task::{Outcome, TaskSpec, TaskState};

use super::dice::Dice;
use super::storm::{Storm, hold};
use super::table::{Row, Table};
use crate::harness::{LONG, eventually, questions};

/// What can happen to a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillLeader,
    KillWorker,
    PauseLeader,
    PauseMember,
    Partition,
    Deaf,
    Mute,
    Bridge,
    Loss,
    HeavyLoss,
    KillAll,
    Poison,
}

impl Fault {
    pub(crate) const ALL: [Fault; 12] = [
        Fault::KillLeader,
        Fault::KillWorker,
        Fault::PauseLeader,
        Fault::PauseMember,
        Fault::Partition,
        Fault::Deaf,
        Fault::Mute,
        Fault::Bridge,
        Fault::Loss,
        Fault::HeavyLoss,
        Fault::KillAll,
        Fault::Poison,
    ];

    /// One of each family, the cheapest.
    pub(crate) const SHORT: [Fault; 6] =
        [Fault::KillLeader, Fault::Partition, Fault::Deaf, Fault::PauseLeader, Fault::Poison, Fault::KillAll];

    fn needs_wires(self) -> bool {
        matches!(self, Fault::Partition | Fault::Deaf | Fault::Mute | Fault::Bridge | Fault::Loss | Fault::HeavyLoss)
    }
}

impl Storm {
    /// Makes one fault and mends it; returns when all nodes follow one leader again.
    pub(crate) async fn play(&mut self, fault: Fault, dice: &mut Dice, table: &mut Table) {
        if fault.needs_wires() && self.wires().is_none() {
            return;
        }
        let (leader, _) = self.swarm.settled().await;
        match fault {
            Fault::KillLeader => self.kill_leader(leader, table).await,
            Fault::KillWorker => self.kill_worker(leader, table).await,
            Fault::PauseLeader => self.pause(leader, dice).await,
            Fault::PauseMember => self.pause(dice.other(self.count(), leader), dice).await,
            Fault::Partition => self.partition(leader, dice, table).await,
            Fault::Deaf | Fault::Mute => self.one_way(fault, leader, dice, table).await,
            Fault::Bridge => self.bridge(leader, dice, table).await,
            Fault::Loss => self.rain(Row::LOSS, (5, 0), dice.millis(3_000..6_000), table).await,
            Fault::HeavyLoss => self.rain(Row::HEAVY_LOSS, (20, 10), dice.millis(2_000..4_000), table).await,
            Fault::KillAll => self.kill_all(table).await,
            Fault::Poison => self.poison(leader, table).await,
        }
        self.swarm.settled().await;
    }

    async fn kill_leader(&mut self, leader: usize, table: &mut Table) {
        self.swarm.nodes[leader].kill();
        let death = Instant::now();
        self.swarm.settled_among(&self.others(leader)).await;
        table.took(Row::KILLED_LEADER, death.elapsed());
        self.swarm.start_again(leader);
    }

    async fn kill_worker(&mut self, leader: usize, table: &mut Table) {
        let client = self.swarm.nodes[leader].client();
        // Until one runs elsewhere than on the leader.
        let (task, worker) = loop {
            let task = self.probe(leader, TaskSpec::command(["sleep", "2"])).await;
            let node = questions::running_on(&client, task, 1).await;
            let number = self.swarm.number_of(node);
            if number != leader {
                break (task, number);
            }
        };
        self.swarm.nodes[worker].kill();
        let death = Instant::now();
        questions::running_on(&client, task, 2).await;
        table.took(Row::KILLED_WORKER, death.elapsed());
        self.swarm.start_again(worker);
    }

    async fn pause(&mut self, number: usize, dice: &mut Dice) {
        self.swarm.nodes[number].pause();
        hold(dice.millis(100..3_000)).await;
        self.swarm.nodes[number].resume();
        // Whether a stale end was accepted, the verdict knows.
        self.pauses += 1;
    }

    async fn partition(&mut self, leader: usize, dice: &mut Dice, table: &mut Table) {
        let island = [leader, dice.other(self.count(), leader)];
        let majority: Vec<usize> = (0..self.count()).filter(|number| !island.contains(number)).collect();
        let Some(wires) = self.wires() else { return };
        wires.part(&island);
        let cut = Instant::now();
        let stopped = async {
            says_that_it_leads_no_more(self, leader).await;
            cut.elapsed()
        };
        let led = async {
            self.swarm.settled_among(&majority).await;
            cut.elapsed()
        };
        let (stopped, led) = tokio::join!(stopped, led);
        table.took(Row::MINORITY, stopped);
        table.took(Row::PARTITIONED, led);
        hold(dice.millis(100..1_500)).await;
        wires.mend();
    }

    async fn one_way(&mut self, fault: Fault, leader: usize, dice: &mut Dice, table: &mut Table) {
        let Some(wires) = self.wires() else { return };
        let row = if fault == Fault::Deaf {
            wires.deaf(leader);
            Row::DEAF
        } else {
            wires.mute(leader);
            Row::MUTE
        };
        let cut = Instant::now();
        self.swarm.settled_among(&self.others(leader)).await;
        table.took(row, cut.elapsed());
        hold(dice.millis(100..1_000)).await;
        wires.mend();
    }

    /// All the others hear both, so that nobody has a reason to change anything.
    async fn bridge(&mut self, leader: usize, dice: &mut Dice, table: &mut Table) {
        let (_, before) = self.swarm.settled().await;
        let cut = dice.other(self.count(), leader);
        let Some(wires) = self.wires() else { return };
        wires.cut_between(leader, cut);
        hold(dice.millis(2_000..4_000)).await;
        let seen = self.swarm.settled_among(&(0..self.count()).filter(|number| *number != cut).collect::<Vec<_>>()).await;
        wires.mend();
        table.counted(Row::BRIDGE, u64::from(seen != (leader, before)));
    }

    async fn rain(&mut self, row: Row, (lost, doubled): (u32, u32), time: Duration, table: &mut Table) {
        let (_, before) = self.swarm.settled().await;
        let Some(wires) = self.wires() else { return };
        wires.rain(lost, doubled);
        hold(time).await;
        wires.mend();
        let (_, after) = self.swarm.settled().await;
        table.counted(row, after.0 - before.0);
    }

    async fn kill_all(&mut self, table: &mut Table) {
        self.swarm.nodes.iter_mut().for_each(crate::harness::Process::kill);
        let begin = Instant::now();
        (0..self.count()).for_each(|number| self.swarm.start_again(number));
        self.swarm.settled().await;
        table.took(Row::ALL_KILLED, begin.elapsed());
    }

    async fn poison(&mut self, leader: usize, table: &mut Table) {
        let task = self.probe(leader, TaskSpec::command(["sh", "-c", "kill -9 $PPID"])).await;
        let view = questions::end_of(&self.swarm.nodes[leader].client(), task).await;
        let lost = view.attempts.iter().filter(|attempt| matches!(attempt.outcome, Some(Outcome::Lost(_)))).count();
        assert!(matches!(view.state, TaskState::Dead(_)) && lost == view.attempts.len(), "{view:?}");
        table.counted(Row::POISON, view.attempts.len() as u64);
    }
}

/// Waits until the node itself says so.
async fn says_that_it_leads_no_more(storm: &Storm, number: usize) {
    let client = storm.swarm.nodes[number].impatient();
    let node = storm.swarm.nodes[number].node;
    eventually("the old leader leads no more", LONG, async || {
        let view = client.status().await.map_err(|error| error.to_string())?;
        if view.leader.as_ref().is_none_or(|leader| leader.node != node) { Ok(()) } else { Err(format!("{view:?}")) }
    })
    .await;
}
