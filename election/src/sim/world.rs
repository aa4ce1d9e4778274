//! A simulated swarm: machines, a Raft model each, the network, and one clock for all (or one each, at its own rate).
//!
//! Everything that happens follows from the [`Setup`] and from what is done to the world: two runs are equal event by event.

mod driver;
mod setup;

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::hash::{Hash, Hasher};
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use super::net::Net;
use super::raft::{Entry, Raft, RaftMessage};
use super::trace::{Event, What};
use super::watch::{Fault, Watch, note_once};
use crate::random::Random;
use crate::{Charter, Config, History, Input, Instant, Machine, NodeId, Output, Packet, Pledge, Position, Start, SwarmId, Term};

pub use setup::{NodeSetup, Setup};

/// A simulated clock shows this much when the world starts: a real one is never near its origin.
const EPOCH: Duration = Duration::from_secs(1_000);

/// How often a Raft leader repeats what it wants its followers to have.
const RAFT_HEARTBEAT: Duration = Duration::from_millis(150);

struct Node {
    setup: NodeSetup,
    machine: Option<Machine>,
    raft: Raft,
    boot: u64,
    paused: bool,
    /// What reached the node's socket while it was paused.
    backlog: Vec<Wire>,
    pledge: Option<Pledge>,
    charter: Option<Charter>,
    swarm: Option<SwarmId>,
    reported: (Term, Option<Term>, Position),
    asked: bool,
    opening: Option<(Term, usize)>,
}

#[derive(Clone, Debug)]
enum Wire {
    Packet(NodeId, Packet),
    Raft(NodeId, RaftMessage),
}

enum Due {
    Deliver(NodeId, Wire),
    Wake(NodeId),
    Write,
    Heartbeat,
    AskAgain(NodeId, Term),
}

/// The simulated swarm.
pub struct World {
    setup: Setup,
    config: Config,
    now: Instant,
    nodes: BTreeMap<NodeId, Node>,
    queue: BTreeMap<(Instant, u64), Due>,
    order: u64,
    entry: u64,
    random: Random,
    /// The network.
    pub net: Net,
    /// What happened so far, if [`World::record`] was set.
    pub trace: Vec<Event>,
    /// Whether to keep a trace.
    pub record: bool,
    /// The promises that were broken.
    pub faults: Vec<Fault>,
    /// What was promised.
    pub watch: Watch,
    writes: BTreeMap<(NodeId, Term, usize), Entry>,
    /// How often somebody began to act.
    pub leaderships: u64,
    /// For how long nobody could act.
    pub leaderless: Duration,
    somebody_acts: bool,
    hash: DefaultHasher,
}

impl World {
    /// The swarm, all nodes started.
    ///
    /// # Panics
    /// If the settings do not hold: a simulation of them would show nothing.
    #[must_use]
    pub fn new(setup: Setup, record: bool) -> World {
        let config = setup.settings.clone().validate().expect("the setup's settings hold");
        let mut world = World {
            config,
            now: Instant::ORIGIN + EPOCH,
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            order: 0,
            entry: 1_000,
            random: Random::new(setup.seed),
            net: Net::default(),
            trace: Vec::new(),
            record,
            faults: Vec::new(),
            watch: Watch::default(),
            writes: BTreeMap::new(),
            leaderships: 0,
            leaderless: Duration::ZERO,
            somebody_acts: false,
            hash: DefaultHasher::new(),
            setup,
        };
        let voters: BTreeSet<NodeId> = world.setup.nodes.keys().copied().take(world.setup.voters).collect();
        for (id, node) in world.setup.nodes.clone() {
            let log: Vec<Entry> =
                node.log.iter().enumerate().map(|(index, term)| Entry { term: *term, id: index as u64 }).collect();
            let founded = world.setup.founded;
            let known = if founded.is_some() { voters.clone() } else { BTreeSet::new() };
            let raft = Raft::new(id, known, log, founded.unwrap_or(Term(0)), world.setup.raft_rules);
            let swarm = founded.map(|_| SwarmId([1; 16]));
            let reported = (raft.term, None, raft.position());
            world.nodes.insert(
                id,
                Node {
                    setup: node,
                    machine: None,
                    raft,
                    boot: 0,
                    paused: false,
                    backlog: Vec::new(),
                    pledge: None,
                    charter: None,
                    swarm,
                    reported,
                    asked: false,
                    opening: None,
                },
            );
        }
        // What a majority held at the start counts as acknowledged: it must survive.
        world.acknowledge_common_logs(&voters);
        let restarted = world.setup.restarted;
        for id in world.nodes.keys().copied().collect::<Vec<_>>() {
            world.boot(id, restarted);
        }
        if let Some(every) = world.setup.writes {
            world.schedule(every, Due::Write);
        }
        world.schedule(RAFT_HEARTBEAT, Due::Heartbeat);
        world
    }

    fn acknowledge_common_logs(&mut self, voters: &BTreeSet<NodeId>) {
        let mut held: BTreeMap<(usize, u64), (usize, Entry)> = BTreeMap::new();
        for id in voters {
            for (index, entry) in self.nodes[id].raft.log.iter().enumerate() {
                held.entry((index, entry.id)).or_insert((0, *entry)).0 += 1;
            }
        }
        for ((index, _), (count, entry)) in held {
            if count > voters.len() / 2 {
                self.watch.acknowledged.insert(index, entry);
            }
        }
    }

    /// The world's time since its start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.since(Instant::ORIGIN + EPOCH)
    }

    /// The nodes' ids.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// A node's machine, if its process runs.
    #[must_use]
    pub fn machine(&self, id: NodeId) -> Option<&Machine> {
        self.nodes.get(&id).and_then(|node| node.machine.as_ref())
    }

    /// Who may act at this moment.
    #[must_use]
    pub fn acting(&self) -> Vec<(NodeId, Term)> {
        let awake = self.nodes.iter().filter(|(_, node)| !node.paused);
        awake
            .filter_map(|(id, node)| {
                let machine = node.machine.as_ref()?;
                machine.may_act(local(self.now, node.setup.rate)).map(|term| (*id, term))
            })
            .collect()
    }

    fn schedule(&mut self, after: Duration, due: Due) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), due);
    }

    /// Says in the trace what is done to the world.
    pub fn say(&mut self, what: String) {
        self.log(What::Done(what));
    }

    /// A number that stands for all that happened, recorded or not: equal for two runs only if they were the same.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }

    fn log(&mut self, what: What) {
        (self.now, &what).hash(&mut self.hash);
        if self.record {
            self.trace.push(Event { at: Instant::ORIGIN + self.elapsed(), what });
        }
    }

    /// Moves the clock; the time in between belongs to whoever could act at its beginning.
    fn pass(&mut self, until: Instant) {
        if !self.somebody_acts {
            self.leaderless += until.since(self.now);
        }
        self.now = self.now.max(until);
    }

    fn watch_acting(&mut self) {
        let acting = self.acting();
        self.somebody_acts = !acting.is_empty();
        let fault = self.watch.acting(&acting);
        self.fault(fault);
        for (id, _) in acting {
            let fault = self.watch.reads(id, self.nodes[&id].raft.committed);
            self.fault(fault);
        }
    }

    fn fault(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault
            && note_once(&mut self.faults, fault)
        {
            self.log(What::Broken(fault));
        }
    }

    /// Starts a node's process (again).
    pub fn start(&mut self, id: NodeId) {
        self.say(format!("{} starts again", super::label(id)));
        if let Some(node) = self.nodes.get_mut(&id) {
            if !self.setup.pledge_on_disk {
                node.pledge = None;
            }
            node.raft.restart();
        }
        self.boot(id, true);
    }

    fn boot(&mut self, id: NodeId, has_voted: bool) {
        let (setup, config, seed, now) = (self.setup.clone(), self.config.clone(), self.random.next(), self.now);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.boot += 1;
        node.asked = false;
        node.opening = None;
        let leads = node.raft.leads.then_some(node.raft.term);
        node.reported = (node.raft.term, leads, node.raft.position());
        let history = match node.swarm {
            Some(swarm) => History::Founded {
                swarm,
                charter: node.charter.clone(),
                voters: (*node.raft.voters).clone(),
                position: node.raft.position(),
                raft_term: node.raft.term,
                raft_leads: leads,
                has_voted,
            },
            None => History::Unfounded { pledge: node.pledge.clone() },
        };
        let start = Start { me: id, rank: node.setup.rank, boot: node.boot, seed, history };
        let (machine, outputs) = Machine::with_rules(config, start, local(now, node.setup.rate), setup.rules);
        node.machine = Some(machine);
        self.carry_out(id, outputs.into_iter().collect());
    }

    /// Ends a node's process.
    pub fn kill(&mut self, id: NodeId) {
        self.say(format!("{} is killed", super::label(id)));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.machine = None;
            node.paused = false;
            node.backlog.clear();
        }
    }

    /// Stops a node's process; what is sent to it waits.
    pub fn pause(&mut self, id: NodeId) {
        self.say(format!("{} is paused", super::label(id)));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.paused = true;
        }
    }

    /// Lets it go on, with all that waited.
    pub fn resume(&mut self, id: NodeId) {
        self.say(format!("{} goes on", super::label(id)));
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.paused = false;
        // Another thread of this process may act before the election's own is scheduled again: the clock must forbid it.
        self.watch_acting();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for wire in std::mem::take(&mut node.backlog) {
            self.deliver(id, wire);
        }
        self.wake(id);
    }

    /// Cuts these nodes off from the others, both ways.
    pub fn part(&mut self, side: &BTreeSet<NodeId>) {
        for one in side {
            self.ids().into_iter().filter(|other| !side.contains(other)).for_each(|other| self.net.cut(*one, other));
        }
        let names: Vec<String> = side.iter().map(|node| super::label(*node)).collect();
        self.say(format!("{} are cut off from the others", names.join(" ")));
    }

    /// Mends every link and lets every process run.
    pub fn heal(&mut self) {
        self.net.heal();
        self.say(String::from("everything is healed"));
        for id in self.ids() {
            if self.machine(id).is_none() {
                self.start(id);
            } else if !self.is_up(id) {
                self.resume(id);
            }
        }
    }

    /// Whoever acts at the end of a run must hold all that was ever acknowledged.
    pub fn look_for_acknowledged(&mut self) {
        for (id, _) in self.acting() {
            let lost = self.nodes.get(&id).and_then(|node| self.watch.holds(id, &node.raft.log));
            self.fault(lost);
        }
    }

    /// Whether a node's process runs and is not paused.
    #[must_use]
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.machine.is_some() && !node.paused)
    }

    /// All other nodes see that the process of this one is gone.
    pub fn gone(&mut self, id: NodeId) {
        self.say(format!("the others see that {}'s process is gone", super::label(id)));
        for other in self.ids() {
            if other != id {
                self.input(other, Input::PeerGone(id));
            }
        }
    }

    /// Nodes come in reach of one another (founding).
    pub fn meet(&mut self, one: NodeId, other: NodeId) {
        for (a, b) in [(one, other), (other, one)] {
            let swarm = self.nodes.get(&b).and_then(|node| node.swarm);
            self.input(a, Input::Seen { node: b, swarm });
        }
    }

    /// Hands an input to a node's machine.
    pub fn input(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id).filter(|node| !node.paused) else { return };
        let Some(machine) = node.machine.as_mut() else { return };
        let outputs: Vec<Output> = machine.step(local(now, node.setup.rate), input).into_iter().collect();
        let checked = machine.check();
        self.carry_out(id, outputs);
        self.fault(checked.err().map(Fault::Machine));
    }

    /// Lets the next thing happen, unless it is after `until`.
    pub fn step(&mut self, until: Instant) -> bool {
        let Some(((at, _), due)) = self
            .queue
            .first_key_value()
            .map(|(key, _)| *key)
            .filter(|(at, _)| *at <= until)
            .and_then(|key| self.queue.remove_entry(&key))
        else {
            self.pass(until);
            return false;
        };
        self.pass(at);
        match due {
            Due::Deliver(to, wire) => self.deliver(to, wire),
            Due::Wake(id) => self.wake(id),
            Due::Write => self.write(),
            Due::Heartbeat => self.heartbeat(),
            Due::AskAgain(id, term) => self.ask_again(id, term),
        }
        self.watch_acting();
        true
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Lets time pass until something holds, or at most `limit`; says whether it came to hold.
    pub fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&World) -> bool) -> bool {
        let until = self.now + limit;
        while !holds(self) {
            if !self.step(until) {
                return holds(self);
            }
        }
        true
    }
}

/// What a node's clock shows.
fn local(now: Instant, rate: u64) -> Instant {
    Instant::from_nanos(now.as_nanos() / 1_000 * rate)
}

/// When a node's clock shows `at`, rounded up.
fn world_time(at: Instant, rate: u64) -> Instant {
    Instant::from_nanos((at.as_nanos().div_ceil(rate)) * 1_000)
}

pub(super) fn swarm_id(charter: &Charter) -> SwarmId {
    let seed = charter.canonical_bytes().into_iter().fold(7, |sum: u64, byte| Random::new(sum ^ u64::from(byte)).next());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&seed.to_le_bytes());
    SwarmId(id)
}
