//! What must hold at every moment, looked at from outside of all nodes at once.
//!
//! Entries as nodes fold them, what clients were told, and who acts enter; violations leave. It decides nothing for the
//! swarm and no node knows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::history::History;
use super::needs::Needs;
use super::trace::Trace;
use crate::journal::{Applied, Fact, Reply};
use crate::task::{NodeId, TaskId, TaskState, Term};

/// Violations kept; one is enough to fail.
const KEPT: usize = 20;

/// The audit of one run; clones are the same audit.
#[derive(Clone)]
pub(super) struct Audit(Arc<Mutex<State>>);

pub(super) struct State {
    trace: Trace,
    history: History,
    violations: Vec<String>,
    /// Entry -> what it and the fold's replies to it hash to, and who said so first.
    entries: BTreeMap<u64, (u64, NodeId)>,
    leaders: BTreeMap<Term, NodeId>,
    /// Task -> how often it became final without having been queued again since.
    finals: BTreeMap<TaskId, u64>,
    acknowledged: BTreeMap<TaskId, String>,
    keys: BTreeMap<String, TaskId>,
    acting: Option<NodeId>,
    since: Instant,
    gaps: Vec<Duration>,
    acted: BTreeSet<Term>,
    highest: u64,
    fenced: u64,
    pub(super) needs: Needs,
    /// Tasks that nobody could run when all was well.
    unmet: u64,
}

/// What a run adds up to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Terms in which a node acted as the leader.
    pub leaderships: u64,
    /// Entries folded.
    pub entries: u64,
    /// Tasks acknowledged to clients.
    pub acknowledged: u64,
    /// Reports and entries refused by a fence or as too late.
    pub refused: u64,
    /// Tasks that needed something of their node.
    pub needing: u64,
    /// Tasks that waited in the end for a node that holds what they need.
    pub unmet: u64,
    /// How long nobody acted, each time.
    pub gaps: Vec<Duration>,
}

impl Audit {
    pub(super) fn new(trace: Trace, history: History) -> Self {
        Audit(Arc::new(Mutex::new(State {
            trace,
            history,
            violations: Vec::new(),
            entries: BTreeMap::new(),
            leaders: BTreeMap::new(),
            finals: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            keys: BTreeMap::new(),
            acting: None,
            since: Instant::now(),
            gaps: Vec::new(),
            acted: BTreeSet::new(),
            highest: 0,
            fenced: 0,
            needs: Needs::default(),
            unmet: 0,
        })))
    }

    /// Something that must never be.
    pub(super) fn violation(&self, what: &str) {
        self.state().violation(what);
    }

    /// Who acts now, of all nodes that live: at most one (promise 3).
    pub(super) fn acting(&self, now: &[(NodeId, Term)]) {
        let mut state = self.state();
        if now.len() > 1 {
            let text = now.iter().map(|(node, term)| format!("{} in term {term}", super::name(*node))).collect::<Vec<_>>();
            state.violation(&format!("two leaders act at once: {}", text.join(" and ")));
        }
        let leader = now.first().copied();
        state.history.acting(leader);
        if let Some((node, term)) = leader {
            state.acted.insert(term);
            state.leads(term, node);
        }
        let leader = leader.map(|(node, _)| node);
        if leader != state.acting {
            if state.acting.is_none() {
                let gap = state.since.elapsed();
                state.gaps.push(gap);
            }
            state.acting = leader;
            state.since = Instant::now();
        }
    }

    /// A node has folded an entry: the same one, with the same effect, as everybody else at this place (H6).
    pub(super) fn folded(&self, node: NodeId, term: Term, applied: &Applied) {
        let mut hasher = DefaultHasher::new();
        format!("{term} {:?} {:?}", applied.entry, applied.replies).hash(&mut hasher);
        let hash = hasher.finish();
        let mut state = self.state();
        match state.entries.get(&applied.index) {
            Some((known, _)) if *known == hash => {}
            Some((_, first)) => {
                let text =
                    format!("{} and {} folded different entries at {}", super::name(node), super::name(*first), applied.index);
                state.violation(&text);
            }
            None => {
                state.entries.insert(applied.index, (hash, node));
                state.history.entry(node, term, hash, applied);
                state.first_fold(applied);
            }
        }
    }

    /// A client was told that its task is safe; the same key must always give the same task.
    pub(super) fn acknowledged(&self, key: &str, task: TaskId) {
        let mut state = self.state();
        if let Some(earlier) = state.keys.insert(key.to_owned(), task)
            && earlier != task
        {
            state.violation(&format!("key {key} was acknowledged as task {earlier} and as task {task}"));
        }
        if let Some(other) = state.acknowledged.insert(task, key.to_owned())
            && other != key
        {
            state.violation(&format!("task {task} was acknowledged for key {other} and for key {key}"));
        }
    }

    pub(super) fn acknowledged_tasks(&self) -> Vec<TaskId> {
        self.state().acknowledged.keys().copied().collect()
    }

    /// So many tasks wait for a node that holds what they need, now that all is well.
    pub(super) fn unmet(&self, tasks: usize) {
        self.state().unmet = tasks as u64;
    }

    /// From here on the time without a leader counts anew.
    pub(super) fn restart_clock(&self) {
        let mut state = self.state();
        state.since = Instant::now();
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    pub(super) fn tally(&self) -> Tally {
        let state = self.state();
        Tally {
            leaderships: state.acted.len() as u64,
            entries: state.entries.len() as u64,
            acknowledged: state.acknowledged.len() as u64,
            refused: state.fenced,
            needing: state.needs.needing(),
            unmet: state.unmet,
            gaps: state.gaps.clone(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn violation(&mut self, what: &str) {
        self.trace.line(&"audit", &format_args!("VIOLATION: {what}"));
        if self.violations.len() < KEPT {
            self.violations.push(what.to_owned());
        }
    }

    fn leads(&mut self, term: Term, node: NodeId) {
        let first = *self.leaders.entry(term).or_insert(node);
        if first != node {
            self.violation(&format!("{} and {} both led term {term}", super::name(first), super::name(node)));
        }
    }

    /// An entry that nobody had folded before: entries are folded in order somewhere first, so this is the history.
    fn first_fold(&mut self, applied: &Applied) {
        self.highest = self.highest.max(applied.index);
        for (fact, reply) in applied.entry.facts.iter().zip(applied.replies.iter()) {
            match (fact, reply) {
                (Fact::Submitted { spec, .. }, Reply::Submitted { task, duplicate: false }) => {
                    self.needs.submitted(*task, spec.queue());
                }
                (Fact::Opened { leader } | Fact::Reclaimed { leader }, Reply::Done) => self.leads(applied.entry.term, *leader),
                (Fact::AttemptEnded(end), Reply::Ended { state }) => {
                    if let Err(text) = self.needs.counted(end.task, end.node) {
                        self.violation(&text);
                    }
                    if state.is_final() {
                        self.ended(end.task, state);
                    }
                }
                (Fact::Cancelled { task }, Reply::Done) => self.ended(*task, &TaskState::Cancelled),
                (Fact::Retried { task }, Reply::Done) => drop(self.finals.remove(task)),
                (Fact::ReportRefused { .. }, _) | (_, Reply::Denied(_)) => self.fenced += 1,
                _ => {}
            }
        }
    }

    /// H1, H2: a task ends once.
    fn ended(&mut self, task: TaskId, state: &TaskState) {
        let times = self.finals.entry(task).or_default();
        *times += 1;
        if *times > 1 {
            self.violation(&format!("task {task} ended twice, now as {}", state.name()));
        }
    }
}
