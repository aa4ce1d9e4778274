//! The nodes' logs: whether they agree at every place (H6), and the one log that they add up to.
//!
//! Two entries at one place must be the same if both are committed, and also if both are of one term: a term has one
//! leader, and a leader puts one entry at one place. Entries that were never committed may otherwise differ.

use std::collections::{BTreeMap, HashMap};

use crate::record::{Digest, Entry, Fact, Index, NodeId, Term};
use crate::report::{Report, Rule, Subject};

/// A committed entry, and which record showed it first.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) index: Index,
    pub(crate) term: Term,
    pub(crate) claims: Term,
    pub(crate) facts: Vec<Fact>,
    pub(crate) record: u64,
    digest: Digest,
    node: NodeId,
}

#[derive(Debug, Default)]
pub(crate) struct Logs {
    committed: BTreeMap<Index, Held>,
    /// What is not known to be committed, for the comparison within its term.
    open: HashMap<(Index, Term), (Digest, NodeId)>,
    /// How far each node's log was shown.
    shown: BTreeMap<NodeId, Index>,
}

impl Logs {
    pub(crate) fn snapshot(&mut self, node: NodeId, index: Index) {
        let shown = self.shown.entry(node).or_insert(index);
        *shown = (*shown).max(index);
    }

    pub(crate) fn entry(&mut self, number: u64, entry: &Entry, report: &mut Report) {
        self.continues(number, entry, report);
        self.agrees_within_its_term(number, entry, report);
        if !entry.committed {
            return;
        }
        let Some(held) = self.committed.get_mut(&entry.index) else {
            self.committed.insert(entry.index, Held::new(number, entry));
            return;
        };
        if held.digest != entry.digest || held.term != entry.term {
            let why = format!(
                "{} has committed another entry here than {} (record {}): term {} and digest {} against term {} and digest {}",
                entry.node, held.node, held.record, entry.term, entry.digest, held.term, held.digest
            );
            report.add(Rule::H6, number, Subject::Entry(entry.index), why);
        } else if held.facts.is_empty() {
            held.facts.clone_from(&entry.facts);
        } else if !entry.facts.is_empty() && held.facts != entry.facts {
            let why = format!("{} made something else of the same entry than {} (record {})", entry.node, held.node, held.record);
            report.add(Rule::H6, number, Subject::Entry(entry.index), why);
        }
    }

    /// A log has no holes; where it was truncated or told again, it goes on from there.
    fn continues(&mut self, number: u64, entry: &Entry, report: &mut Report) {
        let shown = self.shown.insert(entry.node, entry.index);
        if let Some(before) = shown.filter(|before| entry.index > before + 1) {
            let why = format!("the journal of {} has nothing between entry {before} and this one", entry.node);
            report.add(Rule::H6, number, Subject::Entry(entry.index), why);
        }
    }

    fn agrees_within_its_term(&mut self, number: u64, entry: &Entry, report: &mut Report) {
        let place = (entry.index, entry.term);
        let rival = match self.committed.get(&entry.index).filter(|held| held.term == entry.term) {
            // Two committed ones are compared by the caller.
            Some(held) => (!entry.committed).then_some((held.digest, held.node)),
            None if entry.committed => self.open.remove(&place),
            None => Some(*self.open.entry(place).or_insert((entry.digest, entry.node))),
        };
        if let Some((digest, node)) = rival.filter(|(digest, _)| *digest != entry.digest) {
            let why = format!(
                "{node} and {} have different entries of term {} here: digests {digest} and {}",
                entry.node, entry.term, entry.digest
            );
            report.add(Rule::H6, number, Subject::Entry(entry.index), why);
        }
    }

    /// The committed log in its order.
    pub(crate) fn finish(self, report: &mut Report) -> BTreeMap<Index, Held> {
        report.counts.journals = self.shown.len() as u64;
        report.counts.entries = self.committed.len() as u64;
        let mut expected = 1;
        for held in self.committed.values() {
            if held.index > expected {
                let why = format!("no journal holds the committed entries {expected} to {}", held.index - 1);
                report.add(Rule::H6, held.record, Subject::Entry(held.index), why);
            }
            expected = held.index + 1;
        }
        self.committed
    }
}

impl Held {
    fn new(record: u64, entry: &Entry) -> Self {
        Held {
            index: entry.index,
            term: entry.term,
            claims: entry.claims.unwrap_or(entry.term),
            facts: entry.facts.clone(),
            record,
            digest: entry.digest,
            node: entry.node,
        }
    }
}
