//! A state of the search: the nodes, the messages on their way, the time; and what may happen next.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::vec::Vec;

use super::{Choice, Report};
use crate::sim::raft::{Raft, RaftMessage};
use crate::sim::watch::{Fault, Watch};
use crate::{Charter, Instant, Machine, NodeId, Packet, Pledge, Position, SwarmId, Term};

/// What is on its way: to another node, or from a node to its own disk.
#[derive(Clone, Hash)]
pub(super) enum Wire {
    Packet(Packet),
    Raft(RaftMessage),
    /// The pledge that the node itself waits to see on its disk; a crash before loses it.
    Pledge(Pledge),
}

#[derive(Clone, Hash)]
pub(super) struct Node {
    pub(super) machine: Machine,
    pub(super) raft: Raft,
    pub(super) boot: u64,
    pub(super) pledge: Option<Pledge>,
    pub(super) charter: Option<Charter>,
    pub(super) swarm: Option<SwarmId>,
    pub(super) reported: (Term, Option<Term>, Position),
    pub(super) asked: bool,
    pub(super) opening: Option<(Term, usize)>,
}

#[derive(Clone, Hash)]
pub(super) struct State {
    pub(super) now: Instant,
    /// Shared with the state before, until an event touches it.
    pub(super) nodes: BTreeMap<NodeId, Rc<Node>>,
    pub(super) mail: Vec<(NodeId, NodeId, Rc<Wire>)>,
    pub(super) watch: Watch,
    /// The terms in which somebody acted.
    pub(super) acted: BTreeSet<Term>,
    pub(super) departures: u8,
    pub(super) crashes: u8,
}

impl State {
    pub(super) fn node(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id).map(Rc::make_mut)
    }

    pub(super) fn count(&self, report: &mut Report) {
        report.acting += usize::from(self.nodes.values().any(|node| node.machine.may_act(self.now).is_some()));
        report.led += usize::from(self.nodes.values().any(|node| node.raft.leads));
        report.founded += usize::from(self.nodes.values().any(|node| node.swarm.is_some()));
        report.terms = report.terms.max(self.acted.len());
        report.term = report.term.max(self.nodes.values().map(|node| node.raft.term).max().unwrap_or_default());
    }

    /// The promises between nodes, after every event.
    pub(super) fn watch(&mut self) -> Result<(), Fault> {
        let now = self.now;
        let acting: Vec<(NodeId, Term)> =
            self.nodes.iter().filter_map(|(id, node)| node.machine.may_act(now).map(|term| (*id, term))).collect();
        if let Some(fault) = self.watch.acting(&acting) {
            return Err(fault);
        }
        for (id, term) in acting {
            let node = Rc::clone(&self.nodes[&id]);
            // A client may ask at this moment, and is answered with what this leader knows to be committed.
            if let Some(fault) = self.watch.reads(id, node.raft.committed) {
                return Err(fault);
            }
            self.acted.insert(term);
            self.watch.acknowledged.extend(node.raft.log.iter().copied().enumerate().take(node.raft.committed));
            if let Some(fault) = self.watch.commits(id, term, &node.raft.log, node.raft.committed) {
                return Err(fault);
            }
        }
        let mut swarms = self.nodes.iter().filter_map(|(id, node)| Some((*id, node.swarm?)));
        let Some((first, swarm)) = swarms.next() else { return Ok(()) };
        match swarms.find(|(_, other)| *other != swarm) {
            Some((other, _)) => Err(Fault::TwoSwarms(first, other)),
            None => Ok(()),
        }
    }

    /// What may happen next: the plain choice, free, and the departures.
    pub(super) fn choices(&self) -> Vec<(Choice, u8)> {
        let mut links: Vec<(NodeId, NodeId, usize)> = Vec::new();
        for (from, to, _) in &self.mail {
            match links.iter_mut().find(|(a, b, _)| (a, b) == (from, to)) {
                Some((_, _, waiting)) => *waiting += 1,
                None => links.push((*from, *to, 1)),
            }
        }
        let mut choices = Vec::new();
        for (place, (from, to, waiting)) in links.iter().enumerate() {
            choices.push((Choice::Deliver(*from, *to), u8::from(place > 0)));
            // A node's own disk neither loses nor doubles.
            if from != to {
                choices.extend([(Choice::Lose(*from, *to), 1), (Choice::Double(*from, *to), 1)]);
                choices.extend((*waiting > 1).then_some((Choice::Overtake(*from, *to), 1)));
            }
        }
        choices.push((Choice::Wait, u8::from(!links.is_empty())));
        if self.crashes > 0 {
            choices.extend(self.nodes.keys().map(|node| (Choice::Crash(*node), 1)));
        }
        choices.retain(|(_, cost)| *cost <= self.departures);
        choices
    }

    /// Takes the message at that place of a link; leaves a copy if it is to come twice.
    pub(super) fn take(&mut self, from: NodeId, to: NodeId, place: usize, keep: bool) -> Option<Rc<Wire>> {
        let mut waiting = self.mail.iter().enumerate().filter(|(_, (a, b, _))| (*a, *b) == (from, to));
        let (at, _) = waiting.nth(place)?;
        Some(if keep { Rc::clone(&self.mail[at].2) } else { self.mail.remove(at).2 })
    }
}
