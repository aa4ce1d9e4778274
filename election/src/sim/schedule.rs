//! Random schedules: a swarm and what is done to it, drawn from a seed; played, judged, and told as a script.
//!
//! Enters: a seed. Leaves: an [`Outcome`] with the promises that were broken and what the run was put through. A schedule is drawn as a
//! whole before it is played, so that it is the same with a rule switched off, and so that single acts can be left out of it.

mod act;
mod minimise;

use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use super::net::Counts;
use super::watch::Fault;
use super::world::{Setup, World};
use super::{label, line};

use crate::random::Random;
use crate::{NodeId, Rank};
pub use act::Act;

/// How soon after everything was healed somebody must act.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a run goes on after that: another leader would show.
const AFTERWARDS: Duration = Duration::from_millis(1_500);

/// A swarm and what is done to it, each act after so many milliseconds.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// How the swarm starts.
    pub setup: Setup,
    /// What is done to it.
    pub acts: Vec<(u64, Act)>,
    /// How long the run goes on before it is healed, in milliseconds.
    pub rest: u64,
}

/// What came of a schedule.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The promises that were broken.
    pub faults: Vec<Fault>,
    /// How long after the healing somebody acted, if anybody did in time.
    pub healed_to_led: Option<Duration>,
    /// For how long nobody could act, all in all.
    pub leaderless: Duration,
    /// How often somebody began to act.
    pub leaderships: u64,
    /// How many entries were acknowledged to clients.
    pub acknowledged: usize,
    /// What was done to processes and links: by kind.
    pub acts: Vec<&'static str>,
    /// What was done to messages.
    pub counts: Counts,
    /// Equal for two runs only if they were the same.
    pub hash: u64,
    /// All that can be read of the run, if it was recorded.
    pub lines: Vec<String>,
}

impl Outcome {
    /// What went wrong, as the words by which scripts expect it; `leaderless` if nobody acted in time after the healing.
    #[must_use]
    pub fn wrongs(&self) -> BTreeSet<&'static str> {
        let mut wrongs: BTreeSet<&'static str> = self.faults.iter().map(Fault::name).collect();
        if self.healed_to_led.is_none() {
            wrongs.insert("leaderless");
        }
        wrongs
    }
}

impl Schedule {
    /// The schedule of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Schedule {
        let mut random = Random::new(seed.wrapping_mul(0x5851_F42D));
        let setup = draw_setup(seed, &mut random);
        let ids: Vec<NodeId> = setup.nodes.keys().copied().collect();
        let mut acts = Vec::new();
        for _ in 0..random.between(5, 14) {
            // Half of the faults meet what the one before has left behind.
            let after = if random.between(0, 1) == 0 { random.between(1, 150) } else { random.between(150, 1_500) };
            let fault = draw_fault(&ids, &mut random);
            acts.extend(
                fault.into_iter().enumerate().map(|(place, (wait, act))| (wait + if place == 0 { after } else { 0 }, act)),
            );
        }
        Schedule { setup, acts, rest: random.between(10, 1_500) }
    }

    /// Plays it, heals everything, and waits for a leader.
    #[must_use]
    pub fn play(&self, record: bool) -> Outcome {
        let mut world = World::new(self.setup.clone(), record);
        for (after, act) in &self.acts {
            world.run(Duration::from_millis(*after));
            act.perform(&mut world);
        }
        world.run(Duration::from_millis(self.rest));
        world.heal();
        let healed = world.elapsed();
        let led = world.run_until(PATIENCE, |world| !world.acting().is_empty());
        let healed_to_led = led.then(|| world.elapsed() - healed);
        world.run(AFTERWARDS);
        world.look_for_acknowledged();
        Outcome {
            hash: world.trace_hash(),
            healed_to_led,
            leaderless: world.leaderless,
            leaderships: world.leaderships,
            acknowledged: world.watch.acknowledged.len(),
            acts: self.acts.iter().map(|(_, act)| act.kind()).collect(),
            counts: world.net.counts,
            lines: world.trace.iter().filter_map(line).collect(),
            faults: world.faults,
        }
    }

    /// The lines of a script that plays the same.
    #[must_use]
    pub fn script(&self) -> Vec<String> {
        let mut lines = std::vec![format!("nodes {}", self.setup.nodes.len()), format!("seed {}", self.setup.seed)];
        if self.setup.voters < self.setup.nodes.len() {
            lines.push(format!("voters {}", self.setup.voters));
        }
        if self.setup.restarted {
            lines.push(String::from("restarted"));
        }
        if let Some(every) = self.setup.writes {
            lines.push(format!("writes {}ms", every.as_millis()));
        }
        if self.setup.raft_rules.lease_ms != crate::sim::raft::RaftRules::ALL.lease_ms {
            lines.push(format!("raft_lease {}ms", self.setup.raft_rules.lease_ms));
        }
        for (id, node) in &self.setup.nodes {
            if node.rank != Rank(100) {
                lines.push(format!("rank {} {}", label(*id), node.rank.0));
            }
            if node.rate != 1_000 {
                lines.push(format!("clock {} {}", label(*id), node.rate));
            }
        }
        for (after, act) in &self.acts {
            lines.push(format!("run {after}ms"));
            lines.push(act.command());
        }
        lines.push(format!("run {}ms", self.rest));
        lines.push(String::from("heal all"));
        lines
    }
}

fn draw_setup(seed: u64, random: &mut Random) -> Setup {
    let mut setup = Setup::swarm(random.between(3, 7), seed);
    setup.restarted = random.between(0, 1) == 1;
    // A swarm at rest writes nothing; then nothing but the election's beats shows that a leader lives.
    setup.writes = [None, Some(Duration::from_millis(200))][usize::from(random.between(0, 2) > 0)];
    if setup.nodes.len() > 3 && random.between(0, 3) == 0 {
        setup.voters -= 1;
    }
    // None, what the engine is given, and twice as much: nothing may rest on it.
    setup.raft_rules.lease_ms = [0, 420, 900][usize::try_from(random.between(0, 2)).unwrap_or(0)];
    for node in setup.nodes.values_mut() {
        node.rank = Rank(u32::try_from(random.between(98, 100)).unwrap_or(100));
        node.rate = random.between(950, 1_050);
    }
    setup
}

/// A fault of a kind that happens as a whole: one act, or a few shortly after one another.
fn draw_fault(ids: &[NodeId], random: &mut Random) -> Vec<(u64, Act)> {
    let pick = |random: &mut Random| ids[usize::try_from(random.between(0, ids.len() as u64 - 1)).unwrap_or(0)];
    let percent = |random: &mut Random, most| u8::try_from(random.between(0, most)).unwrap_or(0);
    let one = pick(random);
    let others = || ids.iter().copied().filter(move |other| *other != one);
    let mut side = || ids.iter().copied().filter(|_| random.between(0, 1) == 0).collect::<BTreeSet<NodeId>>();
    let side = side();
    let alone = |act| std::vec![(0, act)];
    match random.between(0, 22) {
        0 => alone(Act::Kill(one)),
        1 => alone(Act::Start(one)),
        2 => std::vec![(0, Act::Kill(one)), (random.between(1, 100), Act::Gone(one))],
        3 => std::vec![(0, Act::Kill(one)), (random.between(1, 100), Act::Start(one))],
        // A fuse: several at once, and back at once.
        4 | 5 => {
            let down = side.iter().map(|node| (0, Act::Kill(*node)));
            let wait = random.between(1, 100);
            down.chain(side.iter().map(|node| (wait / side.len() as u64, Act::Start(*node)))).collect()
        }
        6 => alone(Act::Pause(one)),
        7 => alone(Act::Resume(one)),
        8 => std::vec![(0, Act::Pause(one)), (random.between(300, 2_500), Act::Resume(one))],
        9 => alone(Act::Cut(one, pick(random))),
        // Two that only others can hear.
        20 | 21 => {
            let other = pick(random);
            std::vec![(0, Act::Cut(one, other)), (0, Act::Cut(other, one))]
        }
        // Mute, deaf, alone.
        10 => others().map(|other| (0, Act::Cut(one, other))).collect(),
        11 => others().map(|other| (0, Act::Cut(other, one))).collect(),
        12 => alone(Act::Part([one].into())),
        13 | 14 => alone(Act::Part(side)),
        15 | 16 => alone(Act::Mend),
        17 => alone(Act::Loss(percent(random, 40))),
        18 => alone(Act::Delay(random.between(2, 200))),
        19 => alone(Act::Stragglers(percent(random, 10))),
        _ => alone(Act::Twice(percent(random, 30))),
    }
}
