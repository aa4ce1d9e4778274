//! An exhaustive search of small swarms: every run that departs from the plain one in at most so many places.
//!
//! The plain run delivers the oldest message first and lets time pass when none waits. A departure is: another link's message first, a
//! message lost, time passing although messages wait, or a process killed and started again. All runs with up to
//! [`Bounds::departures`] of them and up to [`Bounds::depth`] events are tried; states met before are not searched twice.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::vec::Vec;

use super::raft::{Entry, Mail, Raft, RaftMessage, RaftRules};
use super::watch::Fault;
use crate::{
    Config, History, Input, Instant, Machine, NodeId, Output, Packet, Position, Rank, Rules, Settings, Start, SwarmId, Term,
};

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many events a run has.
    pub depth: u32,
    /// In how many places it may depart from the plain run.
    pub departures: u8,
    /// How many of those may be crashes.
    pub crashes: u8,
    /// After how many states the search gives up; reaching it is reported.
    pub states: usize,
}

/// What a search saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many different states.
    pub states: usize,
    /// In how many of them somebody may act.
    pub acting: usize,
    /// In how many Raft has a leader.
    pub led: usize,
    /// The highest term reached.
    pub term: Term,
    /// Whether all was searched within the bounds.
    pub complete: bool,
    /// The first broken promise, with what led to it, first to last.
    pub broken: Option<(Fault, Vec<Choice>)>,
}

/// One event of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The oldest message of that link arrives.
    Deliver(NodeId, NodeId),
    /// It is lost.
    Lose(NodeId, NodeId),
    /// Time passes to the next deadline.
    Wait,
    /// A process ends and starts again.
    Crash(NodeId),
}

#[derive(Clone, Hash)]
enum Wire {
    Packet(Packet),
    Raft(RaftMessage),
}

#[derive(Clone, Hash)]
struct Node {
    machine: Machine,
    raft: Raft,
    boot: u64,
    reported: (Term, Option<Term>, Position),
    asked: bool,
    opening: Option<(Term, usize)>,
}

#[derive(Clone, Hash)]
struct State {
    now: Instant,
    nodes: BTreeMap<NodeId, Node>,
    mail: Vec<(NodeId, NodeId, Wire)>,
    leaders: BTreeMap<Term, NodeId>,
    departures: u8,
    crashes: u8,
}

/// Searches a founded swarm of `count` equal nodes that all look for a leader at once.
///
/// # Panics
/// If the settings do not hold.
#[must_use]
pub fn explore(count: u64, settings: Settings, rules: Rules, bounds: Bounds) -> Report {
    let config = settings.validate().expect("the settings hold");
    let search = Search { config, rules, raft_rules: RaftRules::ALL };
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut report = Report { complete: true, ..Report::default() };
    let mut stack = std::vec![(search.first(count, bounds), 0_u32, None)];
    while let Some((state, depth, path)) = stack.pop() {
        if !is_new(&mut seen, &state, depth) {
            continue;
        }
        report.states = seen.len();
        state.count(&mut report);
        if let Some(fault) = state.fault() {
            report.broken = Some((fault, steps(path.as_ref())));
            return report;
        }
        if seen.len() >= bounds.states {
            report.complete = false;
            return report;
        }
        if depth == bounds.depth {
            continue;
        }
        for (choice, cost) in state.choices() {
            let Some(next) = search.follow(&state, choice, cost) else { continue };
            let path = Some(Rc::new(Path { choice, before: path.clone() }));
            match next {
                Ok(next) => stack.push((next, depth + 1, path)),
                Err(fault) => {
                    report.broken = Some((fault, steps(path.as_ref())));
                    return report;
                }
            }
        }
    }
    report
}

/// How a state was reached; shared by all that follows from it.
struct Path {
    choice: Choice,
    before: Option<Rc<Path>>,
}

fn steps(mut last: Option<&Rc<Path>>) -> Vec<Choice> {
    let mut choices = Vec::new();
    while let Some(path) = last {
        choices.push(path.choice);
        last = path.before.as_ref();
    }
    choices.reverse();
    choices
}

/// Whether a state was never met, or only further from the start.
fn is_new(seen: &mut HashMap<u64, u32>, state: &State, depth: u32) -> bool {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    let known = seen.entry(hasher.finish()).or_insert(u32::MAX);
    let new = depth < *known;
    *known = depth.min(*known);
    new
}

impl State {
    fn count(&self, report: &mut Report) {
        report.acting += usize::from(self.nodes.values().any(|node| node.machine.may_act(self.now).is_some()));
        report.led += usize::from(self.nodes.values().any(|node| node.raft.leads));
        report.term = report.term.max(self.nodes.values().map(|node| node.raft.term).max().unwrap_or_default());
    }

    fn fault(&self) -> Option<Fault> {
        let mut acting = self.nodes.iter().filter(|(_, node)| node.machine.may_act(self.now).is_some());
        match (acting.next(), acting.next()) {
            (Some((one, _)), Some((other, _))) => Some(Fault::TwoActing(*one, *other)),
            _ => None,
        }
    }

    /// What may happen next: the plain choice, free, and the departures.
    fn choices(&self) -> Vec<(Choice, u8)> {
        let mut links: Vec<(NodeId, NodeId)> = Vec::new();
        for (from, to, _) in &self.mail {
            if !links.contains(&(*from, *to)) {
                links.push((*from, *to));
            }
        }
        let mut choices = Vec::new();
        for (place, (from, to)) in links.iter().enumerate() {
            choices.push((Choice::Deliver(*from, *to), u8::from(place > 0)));
            choices.push((Choice::Lose(*from, *to), 1));
        }
        choices.push((Choice::Wait, u8::from(!links.is_empty())));
        if self.crashes > 0 {
            choices.extend(self.nodes.keys().map(|node| (Choice::Crash(*node), 1)));
        }
        choices.retain(|(_, cost)| *cost <= self.departures);
        // The stack takes the last first: the plain run is searched to its end before the departures from it.
        choices.reverse();
        choices
    }

    fn take(&mut self, from: NodeId, to: NodeId) -> Option<Wire> {
        let place = self.mail.iter().position(|(a, b, _)| (*a, *b) == (from, to))?;
        Some(self.mail.remove(place).2)
    }
}

struct Search {
    config: Config,
    rules: Rules,
    raft_rules: RaftRules,
}

impl Search {
    fn first(&self, count: u64, bounds: Bounds) -> State {
        let voters: BTreeSet<NodeId> = (0..count).map(NodeId).collect();
        let now = Instant::from_nanos(1_000_000_000);
        let mut state = State {
            now,
            nodes: BTreeMap::new(),
            mail: Vec::new(),
            leaders: BTreeMap::new(),
            departures: bounds.departures,
            crashes: bounds.crashes,
        };
        for id in &voters {
            let log = std::vec![Entry { term: Term(1), id: 0 }];
            let mut raft = Raft::new(*id, voters.clone(), log, Term(1), self.raft_rules);
            let (machine, outputs) = self.start(*id, 1, &raft, false, now);
            raft.silent = true;
            raft.hold_votes = false;
            let reported = (raft.term, None, raft.position());
            state.nodes.insert(*id, Node { machine, raft, boot: 1, reported, asked: false, opening: None });
            drop(outputs);
        }
        state
    }

    fn start(&self, me: NodeId, boot: u64, raft: &Raft, has_voted: bool, now: Instant) -> (Machine, Vec<Output>) {
        let history = History::Founded {
            swarm: SwarmId([1; 16]),
            charter: None,
            voters: (*raft.voters).clone(),
            position: raft.position(),
            raft_term: raft.term,
            raft_leads: raft.leads.then_some(raft.term),
            has_voted,
        };
        let start = Start { me, rank: Rank(100), boot, seed: me.0 * 31 + boot, history };
        let (machine, outputs) = Machine::with_rules(self.config.clone(), start, now, self.rules);
        (machine, outputs.into_iter().collect())
    }

    fn follow(&self, state: &State, choice: Choice, cost: u8) -> Option<Result<State, Fault>> {
        let mut next = state.clone();
        next.departures -= cost;
        let done = match choice {
            Choice::Deliver(from, to) => {
                let wire = next.take(from, to)?;
                deliver(&mut next, from, to, wire)
            }
            Choice::Lose(from, to) => next.take(from, to).map(|_| ()).ok_or(()).or(Ok(())),
            Choice::Wait => {
                let deadline = next.nodes.values().filter_map(|node| node.machine.deadline()).min()?;
                next.now = next.now.max(deadline);
                let now = next.now;
                let due: Vec<NodeId> = next.nodes.keys().copied().collect();
                due.into_iter()
                    .filter(|id| state.nodes[id].machine.deadline().is_some_and(|at| at <= now))
                    .try_for_each(|id| input(&mut next, id, Input::Timer))
            }
            Choice::Crash(id) => {
                next.crashes -= 1;
                self.crash(&mut next, id)
            }
        };
        Some(done.map(|()| next))
    }

    fn crash(&self, state: &mut State, id: NodeId) -> Result<(), Fault> {
        let now = state.now;
        // What it sent is on its way; what was sent to it dies with its sockets.
        state.mail.retain(|(_, to, _)| *to != id);
        let Some(node) = state.nodes.get_mut(&id) else { return Ok(()) };
        node.boot += 1;
        node.raft.restart();
        node.asked = false;
        node.opening = None;
        node.reported = (node.raft.term, node.raft.leads.then_some(node.raft.term), node.raft.position());
        let (machine, outputs) = self.start(id, node.boot, &node.raft, true, now);
        node.machine = machine;
        carry_out(state, id, outputs)
    }
}

fn deliver(state: &mut State, from: NodeId, to: NodeId, wire: Wire) -> Result<(), Fault> {
    match wire {
        Wire::Packet(packet) => input(state, to, Input::Packet { from, packet }),
        Wire::Raft(message) => {
            let now = state.now;
            let Some(node) = state.nodes.get_mut(&to) else { return Ok(()) };
            let before = (node.raft.term, node.raft.voted_for);
            let mail = node.raft.receive(from, message, now);
            let after = (node.raft.term, node.raft.voted_for);
            if after.0 < before.0 || (after.0 == before.0 && before.1.is_some() && after.1 != before.1) {
                return Err(Fault::VoteRegressed(to, after.0));
            }
            post(state, to, mail);
            report(state, to)
        }
    }
}

fn post(state: &mut State, from: NodeId, mail: Mail) {
    for (to, message) in mail {
        for other in state.nodes.keys().copied().collect::<Vec<_>>() {
            if other != from && to.is_none_or(|to| to == other) {
                state.mail.push((from, other, Wire::Raft(message.clone())));
            }
        }
    }
}

fn input(state: &mut State, id: NodeId, input: Input) -> Result<(), Fault> {
    let now = state.now;
    let Some(node) = state.nodes.get_mut(&id) else { return Ok(()) };
    let outputs: Vec<Output> = node.machine.step(now, input).into_iter().collect();
    node.machine.check().map_err(Fault::Machine)?;
    carry_out(state, id, outputs)
}

fn carry_out(state: &mut State, id: NodeId, outputs: Vec<Output>) -> Result<(), Fault> {
    for output in outputs {
        let others: Vec<NodeId> = state.nodes.keys().copied().filter(|other| *other != id).collect();
        let Some(node) = state.nodes.get_mut(&id) else { continue };
        match output {
            Output::Send { to, packet } => state.mail.push((id, to, Wire::Packet(packet))),
            Output::Broadcast(packet) => {
                state.mail.extend(others.into_iter().map(|to| (id, to, Wire::Packet(packet.clone()))));
            }
            Output::Ratify { .. } => {
                node.asked = true;
                let mail = node.raft.elect();
                post(state, id, mail);
            }
            Output::Open { term } | Output::Reclaim { term } => match node.raft.propose(term, id.0 << 32 | term.0) {
                Some(mail) => {
                    node.opening = Some((term, node.raft.log.len()));
                    post(state, id, mail);
                }
                None => input(state, id, Input::RatifyFailed)?,
            },
            Output::Silence(on) => node.raft.silent = on,
            Output::HoldVotes(on) => node.raft.hold_votes = on,
            _ => {}
        }
    }
    report(state, id)
}

/// Tells the machine what changed in its Raft, and watches that a term has one leader.
fn report(state: &mut State, id: NodeId) -> Result<(), Fault> {
    let Some(node) = state.nodes.get_mut(&id) else { return Ok(()) };
    let now = (node.raft.term, node.raft.leads.then_some(node.raft.term), node.raft.position());
    let before = std::mem::replace(&mut node.reported, now);
    let opened = node.opening.take_if(|(term, len)| *term == node.raft.term && node.raft.committed >= *len);
    let asked = now.1.is_some() && before.1 != now.1 && std::mem::take(&mut node.asked);
    if let Some(term) = now.1 {
        let first = *state.leaders.entry(term).or_insert(id);
        if first != id {
            return Err(Fault::TwoLeaders(term, first, id));
        }
    }
    if before.0 != now.0 {
        input(state, id, Input::RaftTerm(now.0))?;
    }
    match now.1 {
        _ if before.1 == now.1 => {}
        Some(term) if asked => input(state, id, Input::Ratified(term))?,
        leads => input(state, id, Input::RaftLeads(leads))?,
    }
    if before.2 != now.2 {
        input(state, id, Input::Journal(now.2))?;
    }
    match opened {
        Some((term, _)) => input(state, id, Input::Opened(term)),
        None => Ok(()),
    }
}
