//! The one fold: facts enter in the order of the log, rows and replies leave. Live and after a restart alike.
//!
//! Deterministic: its only clock is [`Entry::at`], its only state the tables of one redb transaction. It never fails for
//! what a fact says (that is a [`Denial`]), only for what the disk does.

use std::collections::BTreeMap;

use redb::{ReadableTable, Table, WriteTransaction};
use sha2::{Digest, Sha256};

use super::LedgerError;
use super::lazy::Lazy;
use super::meta::{self, STANDING, Standing};
use super::row::{EventRow, EventsRow, StateRow, state_code};
use super::tables::*;
use crate::api::EventKind;
use crate::journal::codec;
use crate::journal::entry::{Denial, Entry, Fact, Member, Reply};
use crate::task::{
    AttemptEnd, AttemptRecord, DeadWhy, GroupName, IdempotencyKey, NodeId, Outcome, SwarmId, TaskId, TaskRecord, TaskSpec,
    TaskState, Term, UnixMillis,
};

/// Bounds of what is kept. They are part of the fold: every node must have the same.
#[derive(Clone, Copy, Debug)]
pub(in crate::journal) struct Retention {
    /// Finished tasks; the one that finished first goes first.
    pub(in crate::journal) finished: u64,
    /// Entries whose events are kept.
    pub(in crate::journal) events: u64,
}

/// What every node of this version keeps.
pub(in crate::journal) const RETENTION: Retention = Retention { finished: 1_000_000, events: 100_000 };

/// The tables of one transaction, each opened when it is first needed.
pub(super) struct Fold<'t> {
    meta: Table<'t, &'static str, &'static [u8]>,
    specs: Lazy<'t, u64, &'static [u8]>,
    states: Lazy<'t, u64, &'static [u8]>,
    outputs: Lazy<'t, u64, OutputRow>,
    ready: Lazy<'t, (&'static [u8], u8, u64), (u32, u64)>,
    delayed: Lazy<'t, (u64, u64), DelayedRow>,
    keys: Lazy<'t, &'static [u8; 16], u64>,
    counts: Lazy<'t, (&'static [u8], u8), u64>,
    parked: Lazy<'t, (u8, u64), ()>,
    finished: Lazy<'t, u64, u64>,
    members: Lazy<'t, u64, &'static [u8]>,
    events: Lazy<'t, u64, &'static [u8]>,
    standing: Standing,
    changes: BTreeMap<(GroupName, u8), i64>,
    retention: Retention,
    scratch: Vec<u8>,
    /// The events of the entry that is being folded.
    happened: Vec<EventRow>,
}

impl<'t> Fold<'t> {
    pub(super) fn open(write: &'t WriteTransaction, retention: Retention) -> Result<Self, LedgerError> {
        let meta = write.open_table(META)?;
        let standing = meta::get(&meta, STANDING)?;
        Ok(Fold {
            meta,
            specs: Lazy::new(write, SPECS),
            states: Lazy::new(write, STATES),
            outputs: Lazy::new(write, OUTPUTS),
            ready: Lazy::new(write, READY),
            delayed: Lazy::new(write, DELAYED),
            keys: Lazy::new(write, KEYS),
            counts: Lazy::new(write, COUNTS),
            parked: Lazy::new(write, PARKED),
            finished: Lazy::new(write, FINISHED),
            members: Lazy::new(write, MEMBERS),
            events: Lazy::new(write, EVENTS),
            standing,
            changes: BTreeMap::new(),
            retention,
            scratch: Vec::new(),
            happened: Vec::new(),
        })
    }

    /// Folds one entry; one reply a fact.
    pub(super) fn entry(&mut self, index: u64, entry: &Entry) -> Result<Vec<Reply>, LedgerError> {
        let mut replies = Vec::with_capacity(entry.facts.len());
        for (offset, fact) in entry.facts.iter().enumerate() {
            let seen = self.happened.len();
            replies.push(self.fact(entry, fact)?);
            // The event's number is its fact's place in the entry.
            let offset = u16::try_from(offset).unwrap_or(u16::MAX);
            self.happened[seen..].iter_mut().for_each(|event| event.offset = offset);
        }
        self.keep_events(index, entry)?;
        Ok(replies)
    }

    /// Writes down what was only counted; the transaction may be committed after this.
    pub(super) fn finish(mut self, progress: &meta::Progress) -> Result<(), LedgerError> {
        for ((group, state), change) in std::mem::take(&mut self.changes) {
            let key = (group.as_str().as_bytes(), state);
            let before = self.counts.open()?.get(key)?.map_or(0, |count| count.value());
            match before.saturating_add_signed(change) {
                0 => drop(self.counts.open()?.remove(key)?),
                now => drop(self.counts.open()?.insert(key, now)?),
            }
        }
        meta::put(&mut self.meta, STANDING, &self.standing)?;
        meta::put(&mut self.meta, meta::PROGRESS, progress)
    }

    fn fact(&mut self, entry: &Entry, fact: &Fact) -> Result<Reply, LedgerError> {
        match fact {
            Fact::Founded { swarm, members } => return self.founded(*swarm, members),
            Fact::Opened { leader } | Fact::Reclaimed { leader } => return Ok(self.opened(entry.term, *leader)),
            // The fence: whatever a leadership that is over still manages to write has no effect (E13).
            _ if entry.term != self.standing.opened_term => {
                self.refused(fact, Denial::Fenced);
                return Ok(Reply::Denied(Denial::Fenced));
            }
            _ => {}
        }
        let reply = match fact {
            Fact::Submitted { spec, key } => self.submitted(entry.at, spec, key.as_ref())?,
            Fact::AttemptEnded(end) => self.attempt_ended(entry.at, end)?,
            Fact::Cancelled { task } => self.cancelled(entry.at, *task)?,
            Fact::Retried { task } => self.retried(*task)?,
            Fact::Joined(member) => self.joined(member)?,
            Fact::Left { node } => self.left(*node)?,
            Fact::ReportRefused { task, attempt, node, why, .. } => {
                let text = why.to_string();
                self.event(EventKind::ReportRefused, Some(*task), Some(*node)).with(Some(*attempt), text);
                Reply::Done
            }
            Fact::Challenged { candidate } => {
                self.event(EventKind::Challenged, None, Some(*candidate));
                Reply::Done
            }
            Fact::Founded { .. } | Fact::Opened { .. } | Fact::Reclaimed { .. } => Reply::Done,
        };
        if let Reply::Denied(why) = reply {
            self.refused(fact, why);
        }
        Ok(reply)
    }

    fn founded(&mut self, swarm: SwarmId, members: &[Member]) -> Result<Reply, LedgerError> {
        match self.standing.swarm {
            // Said again by a second node of the same charter: nothing new.
            Some(known) if known == swarm => return Ok(Reply::Done),
            Some(_) => return Ok(Reply::Denied(Denial::Fenced)),
            None => self.standing.swarm = Some(swarm),
        }
        let text = format!("swarm {swarm} of {} nodes", members.len());
        self.event(EventKind::Founded, None, None).with(None, text);
        for member in members {
            self.members.open()?.insert(member.node.0, &codec::encode(member)?[..])?;
        }
        Ok(Reply::Done)
    }

    fn opened(&mut self, term: Term, leader: NodeId) -> Reply {
        if term < self.standing.opened_term {
            return Reply::Denied(Denial::Fenced);
        }
        self.standing.opened_term = term;
        self.standing.opened_by = Some(leader);
        self.event(EventKind::LeaderElected, None, Some(leader)).with(None, format!("leads term {term}"));
        Reply::Done
    }

    fn submitted(&mut self, at: UnixMillis, spec: &TaskSpec, key: Option<&IdempotencyKey>) -> Result<Reply, LedgerError> {
        let key = key.map(hash_key);
        if let Some(key) = &key
            && let Some(known) = self.keys.open()?.get(key)?
        {
            return Ok(Reply::Submitted { task: TaskId(known.value()), duplicate: true });
        }
        let task = TaskId(self.standing.last_task + 1);
        self.standing.last_task = task.0;
        if let Some(key) = &key {
            self.keys.open()?.insert(key, task.0)?;
        }
        self.scratch.clear();
        codec::encode_into(spec, &mut self.scratch)?;
        self.specs.open()?.insert(task.0, &self.scratch[..])?;
        let record =
            TaskRecord { task, state: TaskState::Queued, submitted_at: at, ended_at: None, attempts: Vec::new(), forgiven: 0 };
        let (group, need) = (spec.group.clone(), spec.sandbox.need);
        let row = StateRow { record, group, need, retry: spec.retry, key, finished: None };
        self.enter(&row)?;
        self.store(&row)?;
        self.event(EventKind::TaskSubmitted, Some(task), None);
        Ok(Reply::Submitted { task, duplicate: false })
    }

    fn attempt_ended(&mut self, at: UnixMillis, end: &AttemptEnd) -> Result<Reply, LedgerError> {
        let Some(mut row) = self.load(end.task)? else { return Ok(Reply::Denied(Denial::UnknownTask)) };
        if row.record.state.is_final() {
            return Ok(Reply::Denied(Denial::AlreadyEnded));
        }
        if end.attempt != row.record.next_attempt() {
            return Ok(Reply::Denied(Denial::StaleAttempt));
        }
        self.leave(&row)?;
        row.record.attempts.push(AttemptRecord {
            attempt: end.attempt,
            fence: end.fence,
            node: end.node,
            outcome: end.outcome.clone(),
            ended_at: at,
            usage: end.usage,
        });
        row.record.state = after_attempt(&row, at, &end.outcome);
        self.finish_if_final(&mut row, at)?;
        self.enter(&row)?;
        self.store(&row)?;
        self.keep_output(end)?;
        let (kind, text) = match &row.record.state {
            TaskState::Succeeded => (EventKind::TaskSucceeded, String::new()),
            TaskState::Dead(why) => (EventKind::TaskDead, format!("{why}; the last one: {}", end.outcome)),
            TaskState::Cancelled => (EventKind::TaskCancelled, end.outcome.to_string()),
            _ => (EventKind::AttemptEnded, end.outcome.to_string()),
        };
        self.event(kind, Some(end.task), Some(end.node)).with(Some(end.attempt), text);
        Ok(Reply::Ended { state: row.record.state })
    }

    fn cancelled(&mut self, at: UnixMillis, task: TaskId) -> Result<Reply, LedgerError> {
        let Some(mut row) = self.load(task)? else { return Ok(Reply::Denied(Denial::UnknownTask)) };
        if row.record.state.is_final() {
            return Ok(Reply::Denied(Denial::AlreadyEnded));
        }
        self.leave(&row)?;
        row.record.state = TaskState::Cancelled;
        self.finish_if_final(&mut row, at)?;
        self.enter(&row)?;
        self.store(&row)?;
        self.event(EventKind::TaskCancelled, Some(task), None);
        Ok(Reply::Done)
    }

    fn retried(&mut self, task: TaskId) -> Result<Reply, LedgerError> {
        let Some(mut row) = self.load(task)? else { return Ok(Reply::Denied(Denial::UnknownTask)) };
        if !matches!(row.record.state, TaskState::Dead(_) | TaskState::Cancelled) {
            return Ok(Reply::Denied(Denial::NotEnded));
        }
        self.leave(&row)?;
        if let Some(place) = row.finished.take() {
            self.finished.open()?.remove(place)?;
            self.standing.finished_count -= 1;
        }
        row.record.state = TaskState::Queued;
        row.record.ended_at = None;
        row.record.forgiven = u32::try_from(row.record.attempts.len()).unwrap_or(u32::MAX);
        self.enter(&row)?;
        self.store(&row)?;
        self.event(EventKind::TaskRetried, Some(task), None);
        Ok(Reply::Done)
    }

    fn joined(&mut self, member: &Member) -> Result<Reply, LedgerError> {
        self.members.open()?.insert(member.node.0, &codec::encode(member)?[..])?;
        self.event(EventKind::NodeJoined, None, Some(member.node)).with(None, member.name.clone());
        Ok(Reply::Done)
    }

    fn left(&mut self, node: NodeId) -> Result<Reply, LedgerError> {
        if self.members.open()?.remove(node.0)?.is_some() {
            self.event(EventKind::NodeLeft, None, Some(node));
        }
        Ok(Reply::Done)
    }

    /// A report that does not count is recorded; other denied facts are their caller's business only.
    fn refused(&mut self, fact: &Fact, why: Denial) {
        if let Fact::AttemptEnded(end) = fact {
            self.event(EventKind::ReportRefused, Some(end.task), Some(end.node)).with(Some(end.attempt), why.to_string());
        }
    }

    fn load(&mut self, task: TaskId) -> Result<Option<StateRow>, LedgerError> {
        self.states.open()?.get(task.0)?.map(|bytes| StateRow::decode(task, bytes.value())).transpose().map_err(Into::into)
    }

    fn store(&mut self, row: &StateRow) -> Result<(), LedgerError> {
        row.encode(&mut self.scratch);
        self.states.open()?.insert(row.record.task.0, &self.scratch[..])?;
        Ok(())
    }

    /// Takes a task out of the indexes of the state it is in.
    fn leave(&mut self, row: &StateRow) -> Result<(), LedgerError> {
        let task = row.record.task.0;
        match &row.record.state {
            TaskState::Queued => {
                drop(self.ready.open()?.remove((row.group.as_str().as_bytes(), row.need.code(), task))?);
            }
            TaskState::Delayed { until } => drop(self.delayed.open()?.remove((until.0, task))?),
            TaskState::Succeeded => {}
            parked => drop(self.parked.open()?.remove((state_code(parked), task))?),
        }
        self.count(row, -1);
        Ok(())
    }

    /// Puts a task into the indexes of the state it is in.
    fn enter(&mut self, row: &StateRow) -> Result<(), LedgerError> {
        let record = &row.record;
        let (group, need) = (row.group.as_str().as_bytes(), row.need.code());
        let next = record.next_attempt().0;
        match &record.state {
            TaskState::Queued => {
                drop(self.ready.open()?.insert((group, need, record.task.0), (next, record.submitted_at.0))?);
            }
            TaskState::Delayed { until } => {
                drop(self.delayed.open()?.insert((until.0, record.task.0), (next, record.submitted_at.0, need, group))?);
            }
            TaskState::Succeeded => {}
            parked => drop(self.parked.open()?.insert((state_code(parked), record.task.0), ())?),
        }
        self.count(row, 1);
        Ok(())
    }

    fn count(&mut self, row: &StateRow, change: i64) {
        *self.changes.entry((row.group.clone(), state_code(&row.record.state))).or_default() += change;
    }

    fn finish_if_final(&mut self, row: &mut StateRow, at: UnixMillis) -> Result<(), LedgerError> {
        if !row.record.state.is_final() {
            return Ok(());
        }
        row.record.ended_at = Some(at);
        row.finished = Some(self.standing.finished_next);
        self.finished.open()?.insert(self.standing.finished_next, row.record.task.0)?;
        self.standing.finished_next += 1;
        self.standing.finished_count += 1;
        while self.standing.finished_count > self.retention.finished {
            let Some(oldest) = self.finished.open()?.pop_first()?.map(|(_, task)| TaskId(task.value())) else { break };
            self.standing.finished_count -= 1;
            self.forget(oldest)?;
        }
        Ok(())
    }

    fn forget(&mut self, task: TaskId) -> Result<(), LedgerError> {
        let Some(row) = self.load(task)? else { return Ok(()) };
        self.leave(&row)?;
        if let Some(key) = &row.key {
            self.keys.open()?.remove(key)?;
        }
        self.states.open()?.remove(task.0)?;
        self.specs.open()?.remove(task.0)?;
        self.outputs.open()?.remove(task.0)?;
        Ok(())
    }

    fn keep_output(&mut self, end: &AttemptEnd) -> Result<(), LedgerError> {
        if end.stdout.total == 0 && end.stderr.total == 0 {
            if end.attempt.0 > 1 {
                self.outputs.open()?.remove(end.task.0)?;
            }
            return Ok(());
        }
        let value = (end.stdout.total, end.stderr.total, &end.stdout.tail[..], &end.stderr.tail[..]);
        self.outputs.open()?.insert(end.task.0, value)?;
        Ok(())
    }

    fn event(&mut self, kind: EventKind, task: Option<TaskId>, node: Option<NodeId>) -> &mut EventRow {
        self.happened.push(EventRow { offset: 0, kind, task, node, attempt: None, text: String::new() });
        let last = self.happened.len() - 1;
        &mut self.happened[last]
    }

    fn keep_events(&mut self, index: u64, entry: &Entry) -> Result<(), LedgerError> {
        if self.happened.is_empty() {
            return Ok(());
        }
        let row = EventsRow { at: entry.at, term: entry.term, events: std::mem::take(&mut self.happened) };
        row.encode(&mut self.scratch);
        self.events.open()?.insert(index, &self.scratch[..])?;
        self.happened = row.events;
        self.happened.clear();
        let oldest = index.saturating_sub(self.retention.events);
        while self.events.open()?.first()?.is_some_and(|(first, _)| first.value() <= oldest) {
            self.events.open()?.pop_first()?;
        }
        Ok(())
    }
}

impl EventRow {
    fn with(&mut self, attempt: Option<crate::task::AttemptNumber>, text: String) {
        self.attempt = attempt;
        self.text = text;
    }
}

/// Where a task stands after the attempt that is the last of its record.
fn after_attempt(row: &StateRow, at: UnixMillis, outcome: &Outcome) -> TaskState {
    let ended = u32::try_from(row.record.attempts.len()).unwrap_or(u32::MAX);
    let failed = ended.saturating_sub(row.record.forgiven);
    match outcome {
        outcome if outcome.is_success() => TaskState::Succeeded,
        Outcome::Cancelled => TaskState::Cancelled,
        _ if failed >= row.retry.attempts => TaskState::Dead(DeadWhy::AttemptsExhausted),
        // Nobody reported: the task is not to blame, so it keeps its place and does not wait.
        Outcome::Lost(_) => TaskState::Queued,
        // The node is to blame: always tried again, but not at once.
        Outcome::SetupFailed { .. } | Outcome::LevelRefused { .. } => delayed(row, at),
        _ if !row.retry.on_failure => TaskState::Dead(DeadWhy::NotRetried),
        _ => delayed(row, at),
    }
}

fn delayed(row: &StateRow, at: UnixMillis) -> TaskState {
    let wait = u64::try_from(row.wait().as_millis()).unwrap_or(u64::MAX);
    TaskState::Delayed { until: UnixMillis(at.0.saturating_add(wait)) }
}

/// Sixteen bytes stand for a key, so that rows stay small whatever its length: itself if it is those bytes in hexadecimal,
/// its hash otherwise. The keys that nodes make are of the first kind and grow with time, so that their rows lie together.
pub(super) fn hash_key(key: &IdempotencyKey) -> [u8; 16] {
    if let Some(itself) = from_hexadecimal(key.as_str().as_bytes()) {
        return itself;
    }
    let hash = Sha256::digest(key.as_str().as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

fn from_hexadecimal(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 32] = text.try_into().ok()?;
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
