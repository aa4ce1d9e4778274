//! The run as a history: what clients saw and what the journals hold, in the records that `dunlin-history` judges.
//!
//! The audit's own invariants are looked at while the run goes on; this is the second opinion, by a model that shares no
//! code with the node. The log that it is given is the one that all folds agreed on, and the audit has seen to that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_history as history;
use dunlin_history::{Answer, Checker, Record, Request};
use tokio::time::Instant;

use crate::journal::{Applied, Fact, Reply};
use crate::task::{Fence, NodeId, Outcome, TaskId, TaskState, Term};

/// The records of one run; clones are the same history.
#[derive(Clone)]
pub(super) struct History(Arc<Mutex<State>>);

struct State {
    records: Vec<Record>,
    began: Instant,
    /// Entries so far. They are counted anew, since those of the engine itself (an empty one, a membership) have no facts.
    entries: u64,
    acting: Option<(NodeId, Term, u64)>,
}

impl History {
    pub(super) fn new() -> Self {
        History(Arc::new(Mutex::new(State { records: Vec::new(), began: Instant::now(), entries: 0, acting: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, record: Record) {
        self.state().records.push(record);
    }

    pub(super) fn invoked(&self, request: Request) {
        self.write(Record::Invoked { request });
    }

    pub(super) fn answered(&self, request: Request, answer: Answer) {
        self.write(Record::Answered { request, answer });
    }

    pub(super) fn observed(&self, task: TaskId, state: &TaskState) {
        self.write(Record::Observed { task: task.0, state: state_of(state) });
    }

    /// An entry that a node was the first to fold; `term` is that of the log, `digest` that of its facts and effects.
    pub(super) fn entry(&self, node: NodeId, term: Term, digest: u64, applied: &Applied) {
        let mut state = self.state();
        state.entries += 1;
        let facts = applied.entry.facts.iter().zip(applied.replies.iter());
        let entry = history::Entry {
            node: history::NodeId(0),
            index: state.entries,
            term: term.0,
            claims: Some(applied.entry.term.0),
            digest: history::Digest(digest),
            committed: true,
            facts: facts.filter_map(|(fact, reply)| fact_of(applied.entry.term, fact, reply)).collect(),
        };
        tracing::trace!(%node, index = applied.index, "folded first");
        state.records.push(Record::Entry(entry));
    }

    /// Who acts from now on.
    pub(super) fn acting(&self, now: Option<(NodeId, Term)>) {
        let mut state = self.state();
        if state.acting.map(|(node, term, _)| (node, term)) == now {
            return;
        }
        let at = u64::try_from(state.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some((node, term, from)) = state.acting.take() {
            state.records.push(Record::Acting { node: history::NodeId(node.0), term: term.0, from, to: at });
        }
        state.acting = now.map(|(node, term)| (node, term, at));
    }

    pub(super) fn healed(&self) {
        self.acting(None);
        self.write(Record::Healed);
    }

    pub(super) fn finally(&self, node: NodeId, task: TaskId, state: &TaskState) {
        self.write(Record::Final { node: history::NodeId(node.0), task: task.0, state: state_of(state) });
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.state().records.clone()
    }

    /// What the checker says of it.
    pub(super) fn judged(&self) -> Vec<String> {
        let mut checker = Checker::new();
        self.state().records.iter().for_each(|record| checker.take(record));
        checker.finish().violations.iter().map(|violation| format!("the history: {violation}")).collect()
    }
}

fn state_of(state: &TaskState) -> history::State {
    match state {
        TaskState::Queued => history::State::Queued,
        TaskState::Delayed { .. } => history::State::Delayed,
        TaskState::Succeeded => history::State::Succeeded,
        TaskState::Dead(_) => history::State::Dead,
        TaskState::Cancelled => history::State::Cancelled,
    }
}

fn fence_of(fence: Fence) -> history::Fence {
    history::Fence { term: fence.term.0, sequence: fence.sequence }
}

fn outcome_of(outcome: &Outcome) -> history::Outcome {
    match outcome {
        outcome if outcome.is_success() => history::Outcome::Succeeded,
        Outcome::Cancelled => history::Outcome::Cancelled,
        Outcome::Lost(_) => history::Outcome::Lost,
        _ => history::Outcome::Failed,
    }
}

/// A fact that a history knows, with what the fold made of it.
fn fact_of(term: Term, fact: &Fact, reply: &Reply) -> Option<history::Fact> {
    let accepted = matches!(reply, Reply::Done);
    let node_of = |node: &NodeId| history::NodeId(node.0);
    Some(match fact {
        Fact::Opened { leader } | Fact::Reclaimed { leader } => history::Fact::Opened { term: term.0, leader: node_of(leader) },
        Fact::Submitted { key, .. } => {
            let task = if let Reply::Submitted { task, .. } = reply { Some(task.0) } else { None };
            history::Fact::Submitted { task, key: key.as_ref().map(|key| key.as_str().to_owned()) }
        }
        Fact::AttemptEnded(end) => history::Fact::AttemptEnded {
            task: end.task.0,
            attempt: end.attempt.0,
            fence: fence_of(end.fence),
            node: node_of(&end.node),
            outcome: outcome_of(&end.outcome),
            after: if let Reply::Ended { state } = reply { Some(state_of(state)) } else { None },
        },
        Fact::Cancelled { task } => history::Fact::Cancelled { task: task.0, accepted },
        Fact::Retried { task } => history::Fact::Retried { task: task.0, accepted },
        Fact::ReportRefused { task, attempt, fence, node, .. } => {
            history::Fact::Refused { task: task.0, attempt: attempt.0, fence: fence_of(*fence), node: node_of(node) }
        }
        Fact::Founded { .. } | Fact::Joined(_) | Fact::Left { .. } | Fact::Challenged { .. } => return None,
    })
}
