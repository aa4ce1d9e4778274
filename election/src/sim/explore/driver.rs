//! The search's driver: what an event does to a state, and what the machines want done in it.
//!
//! Messages go onto links and wait there until the search delivers or loses them; Raft and the disk answer at once, but for the
//! pledge, whose write can be cut short.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::vec::Vec;

use super::state::{Node, State, Wire};
use super::{Bounds, Choice, Scenario, Search};
use crate::sim::raft::{Entry, Mail, Raft};
use crate::sim::watch::{Fault, Watch};
use crate::sim::world::swarm_id;
use crate::{History, Input, Instant, Machine, NodeId, Output, Rank, Start, SwarmId, Term};

impl Search {
    pub(super) fn first(&self, scenario: &Scenario, bounds: Bounds) -> Result<State, Fault> {
        let ids: BTreeSet<NodeId> = (0..scenario.nodes).map(NodeId).collect();
        let mut state = State {
            now: Instant::from_nanos(1_000_000_000),
            nodes: [].into(),
            mail: Vec::new(),
            watch: Watch::default(),
            acted: BTreeSet::new(),
            departures: bounds.departures,
            crashes: bounds.crashes,
        };
        let mut said = Vec::new();
        for id in &ids {
            let (voters, log, term) = if scenario.founding {
                (BTreeSet::new(), Vec::new(), Term(0))
            } else {
                (ids.clone(), std::vec![Entry { term: Term(1), id: 0 }], Term(1))
            };
            let raft = Raft::new(*id, voters, log, term, self.raft_rules);
            let swarm = (!scenario.founding).then_some(SwarmId([1; 16]));
            let history = history(&raft, (None, None, swarm), false);
            let (machine, outputs) = self.start(*id, 1, history, state.now);
            let reported = (raft.term, None, raft.position());
            let (pledge, charter) = (None, None);
            let node = Node { machine, raft, boot: 1, pledge, charter, swarm, reported, asked: false, opening: None };
            state.nodes.insert(*id, Rc::new(node));
            said.push((*id, outputs));
        }
        for (id, outputs) in said {
            carry_out(&mut state, id, outputs)?;
        }
        Ok(state)
    }

    fn start(&self, me: NodeId, boot: u64, history: History, now: Instant) -> (Machine, Vec<Output>) {
        let start = Start { me, rank: Rank(100), boot, seed: me.0 * 31 + boot, history };
        let (machine, outputs) = Machine::with_rules(self.config.clone(), start, now, self.rules);
        (machine, outputs.into_iter().collect())
    }

    /// The state after an event; none if it can't happen.
    pub(super) fn follow(&self, state: &State, choice: Choice, cost: u8) -> Option<Result<State, Fault>> {
        let mut next = state.clone();
        next.departures -= cost;
        let done = match choice {
            Choice::Deliver(from, to) => arrive(&mut next, from, to, 0, false)?,
            Choice::Overtake(from, to) => arrive(&mut next, from, to, 1, false)?,
            Choice::Double(from, to) => arrive(&mut next, from, to, 0, true)?,
            Choice::Lose(from, to) => next.take(from, to, 0, false).map(|_| Ok(()))?,
            Choice::Wait => {
                let deadline = next.nodes.values().filter_map(|node| node.machine.deadline()).min()?;
                next.now = next.now.max(deadline);
                let (now, ids): (_, Vec<NodeId>) = (next.now, next.nodes.keys().copied().collect());
                ids.into_iter()
                    .filter(|id| state.nodes[id].machine.deadline().is_some_and(|at| at <= now))
                    .try_for_each(|id| input(&mut next, id, Input::Timer))
            }
            Choice::Crash(id) => {
                next.crashes -= 1;
                self.crash(&mut next, id)
            }
        };
        Some(done.and_then(|()| next.watch()).map(|()| next))
    }

    fn crash(&self, state: &mut State, id: NodeId) -> Result<(), Fault> {
        let now = state.now;
        // What it sent is on its way; what was sent to it dies with its sockets, and so does a write that is not synced.
        state.mail.retain(|(_, to, _)| *to != id);
        let Some(node) = state.node(id) else { return Ok(()) };
        node.boot += 1;
        node.raft.restart();
        node.asked = false;
        node.opening = None;
        node.reported = (node.raft.term, node.raft.leads.then_some(node.raft.term), node.raft.position());
        let found = history(&node.raft, (node.pledge.clone(), node.charter.clone(), node.swarm), true);
        let (machine, outputs) = self.start(id, node.boot, found, now);
        node.machine = machine;
        let (term, vote) = (node.raft.term, node.raft.voted_for);
        state.watch.vote(id, term, vote).map_or(Ok(()), Err)?;
        carry_out(state, id, outputs)
    }
}

type OnDisk = (Option<crate::Pledge>, Option<crate::Charter>, Option<SwarmId>);

fn history(raft: &Raft, (pledge, charter, swarm): OnDisk, has_voted: bool) -> History {
    let Some(swarm) = swarm else { return History::Unfounded { pledge } };
    History::Founded {
        swarm,
        charter,
        voters: (*raft.voters).clone(),
        position: raft.position(),
        raft_term: raft.term,
        raft_leads: raft.leads.then_some(raft.term),
        has_voted,
    }
}

fn arrive(state: &mut State, from: NodeId, to: NodeId, place: usize, again: bool) -> Option<Result<(), Fault>> {
    let wire = state.take(from, to, place, again)?;
    Some(match &*wire {
        Wire::Packet(packet) => input(state, to, Input::Packet { from, packet: packet.clone() }),
        Wire::Pledge(pledge) => {
            let node = state.node(to)?;
            node.pledge = Some(pledge.clone());
            input(state, to, Input::PledgeStored)
        }
        Wire::Raft(message) => {
            let now = state.now;
            let node = state.node(to)?;
            let mail = node.raft.receive(from, message.clone(), now);
            post(state, to, mail);
            report(state, to)
        }
    })
}

fn post(state: &mut State, from: NodeId, mail: Mail) {
    let ids: Vec<NodeId> = state.nodes.keys().copied().filter(|other| *other != from).collect();
    for (to, message) in mail {
        let wire = Rc::new(Wire::Raft(message));
        let receivers = ids.iter().filter(|other| to.is_none_or(|to| to == **other));
        state.mail.extend(receivers.map(|other| (from, *other, Rc::clone(&wire))));
    }
}

fn input(state: &mut State, id: NodeId, input: Input) -> Result<(), Fault> {
    let now = state.now;
    let Some(node) = state.node(id) else { return Ok(()) };
    let outputs: Vec<Output> = node.machine.step(now, input).into_iter().collect();
    node.machine.check().map_err(Fault::Machine)?;
    carry_out(state, id, outputs)
}

fn carry_out(state: &mut State, id: NodeId, outputs: Vec<Output>) -> Result<(), Fault> {
    for output in outputs {
        obey(state, id, output)?;
    }
    report(state, id)
}

fn obey(state: &mut State, id: NodeId, output: Output) -> Result<(), Fault> {
    let others: Vec<NodeId> = state.nodes.keys().copied().filter(|other| *other != id).collect();
    let Some(node) = state.node(id) else { return Ok(()) };
    match output {
        Output::Send { to, packet } => state.mail.push((id, to, Rc::new(Wire::Packet(packet)))),
        Output::Broadcast(packet) => {
            let wire = Rc::new(Wire::Packet(packet));
            state.mail.extend(others.into_iter().map(|to| (id, to, Rc::clone(&wire))));
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
        Output::PersistPledge(pledge) => state.mail.push((id, id, Rc::new(Wire::Pledge(pledge)))),
        Output::Found(charter) => {
            let swarm = swarm_id(&charter);
            (node.swarm, node.charter) = (Some(swarm), Some(charter.clone()));
            let voters = charter.voters().clone();
            input(state, id, Input::Entered { swarm, charter: Some(charter), voters })?;
        }
        Output::Initialize(voters) => {
            let mail = node.raft.initialize(&voters, id.0);
            post(state, id, mail);
        }
        Output::JoinExisting { swarm, .. } => {
            node.swarm = Some(swarm);
            input(state, id, Input::Entered { swarm, charter: None, voters: BTreeSet::new() })?;
        }
        _ => {}
    }
    Ok(())
}

/// Tells the machine what changed in its Raft, and watches that a term has one leader and a vote stays.
fn report(state: &mut State, id: NodeId) -> Result<(), Fault> {
    let Some(node) = state.node(id) else { return Ok(()) };
    let now = (node.raft.term, node.raft.leads.then_some(node.raft.term), node.raft.position());
    let before = std::mem::replace(&mut node.reported, now);
    let opened = node.opening.take_if(|(term, len)| *term == node.raft.term && node.raft.committed >= *len);
    let asked = now.1.is_some() && before.1 != now.1 && std::mem::take(&mut node.asked);
    let vote = node.raft.voted_for;
    state.watch.vote(id, now.0, vote).map_or(Ok(()), Err)?;
    if let Some(term) = now.1 {
        state.watch.leads(id, term).map_or(Ok(()), Err)?;
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
