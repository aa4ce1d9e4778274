//! The promises that hold between nodes, watched after every event of a world.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::raft::Entry;
use crate::{NodeId, Term, Violation};

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Two nodes may act at the same moment.
    TwoActing(NodeId, NodeId),
    /// Two nodes lead one term.
    TwoLeaders(Term, NodeId, NodeId),
    /// A node voted twice in a term, or its term went back.
    VoteRegressed(NodeId, Term),
    /// A leader that commits misses an entry that was acknowledged.
    EntryLost(NodeId, u64),
    /// A leader that acts does not know yet that an entry is committed which was acknowledged before: a client that asks it reads the past.
    StaleRead(NodeId),
    /// Two swarms out of nodes that can make only one.
    TwoSwarms(NodeId, NodeId),
    /// A machine's own invariant.
    Machine(Violation),
}

impl Fault {
    /// The word by which scripts expect it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Fault::TwoActing(..) => "two-acting",
            Fault::TwoLeaders(..) => "two-leaders",
            Fault::VoteRegressed(..) => "vote-regressed",
            Fault::EntryLost(..) => "entry-lost",
            Fault::StaleRead(..) => "stale-read",
            Fault::TwoSwarms(..) => "two-swarms",
            Fault::Machine(_) => "machine",
        }
    }
}

/// What was promised so far.
#[derive(Clone, Debug, Default, Hash)]
pub struct Watch {
    /// Who led each term.
    pub leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<NodeId, (Term, Option<NodeId>)>,
    /// The entries acknowledged to clients, by index.
    pub acknowledged: BTreeMap<usize, Entry>,
}

impl Watch {
    /// Somebody leads a term.
    pub fn leads(&mut self, node: NodeId, term: Term) -> Option<Fault> {
        let first = *self.leaders.entry(term).or_insert(node);
        (first != node).then_some(Fault::TwoLeaders(term, first, node))
    }

    /// A node's persisted vote now.
    pub fn vote(&mut self, node: NodeId, term: Term, to: Option<NodeId>) -> Option<Fault> {
        let before = self.votes.insert(node, (term, to));
        let (last_term, last_to) = before?;
        let moved = last_term == term && last_to.is_some() && to != last_to;
        (term < last_term || moved).then_some(Fault::VoteRegressed(node, term))
    }

    /// A leader of `term` knows that the first `committed` entries of its log are on a majority. It must hold all that was
    /// acknowledged in its term or before; of what a later leader acknowledged, nothing may contradict it.
    pub fn commits(&mut self, node: NodeId, term: Term, log: &[Entry], committed: usize) -> Option<Fault> {
        let lost = self
            .acknowledged
            .iter()
            .find(|(index, entry)| (entry.term <= term || **index < committed) && log.get(**index) != Some(*entry));
        lost.map(|(_, entry)| Fault::EntryLost(node, entry.id))
    }

    /// A node that acts, long after the last acknowledgement of another, holds all that was acknowledged.
    #[must_use]
    pub fn holds(&self, node: NodeId, log: &[Entry]) -> Option<Fault> {
        let lost = self.acknowledged.iter().find(|(index, entry)| log.get(**index) != Some(*entry));
        lost.map(|(_, entry)| Fault::EntryLost(node, entry.id))
    }

    /// A node that acts knows of so many committed entries: of all that anybody was told of, at least.
    #[must_use]
    pub fn reads(&self, node: NodeId, committed: usize) -> Option<Fault> {
        let known = self.acknowledged.keys().next_back().is_none_or(|last| *last < committed);
        (!known).then_some(Fault::StaleRead(node))
    }

    /// Who may act now: at most one.
    #[must_use]
    pub fn acting(&self, acting: &[(NodeId, Term)]) -> Option<Fault> {
        match acting {
            [(one, _), (other, _), ..] => Some(Fault::TwoActing(*one, *other)),
            _ => None,
        }
    }
}

/// Faults, each kind of pair once: a broken promise stays broken at every later event.
pub(crate) fn note_once(faults: &mut Vec<Fault>, fault: Fault) -> bool {
    let new = !faults.contains(&fault);
    if new {
        faults.push(fault);
    }
    new
}
