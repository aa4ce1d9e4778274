//! What can be asked of a ledger. Every question is answered from one consistent state of the file; nothing is kept.

use std::time::Duration;

use redb::ReadableTable;

use super::meta::{self, STANDING, Standing};
use super::row::{EventsRow, StateRow, state_code};
use super::tables::*;
use super::{Ledger, LedgerError};
use crate::api::EventView;
use crate::journal::codec;
use crate::journal::entry::Member;
use crate::task::{
    AttemptNumber, Captured, DeadWhy, GroupName, Need, NodeId, Queue, SwarmId, TaskId, TaskRecord, TaskSpec, TaskState,
};
use crate::task::{Term, UnixMillis};
use bytes::Bytes;

/// A task that may be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyTask {
    /// Which.
    pub task: TaskId,
    /// Where it waits.
    pub queue: Queue,
    /// The number its next attempt will carry.
    pub attempt: AttemptNumber,
    /// When it was submitted.
    pub submitted_at: UnixMillis,
}

/// A task that waits for its next attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingTask {
    /// Until when, by the clock of the leader that wrote it down.
    pub until: UnixMillis,
    /// How long its policy lets it wait in all; it never needs to wait longer, whatever a clock says.
    pub wait: Duration,
    /// The task.
    pub task: ReadyTask,
}

/// What the last attempt of a task wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    /// Only in a state of this name (see [`TaskState::name`]).
    pub state: Option<String>,
    /// Only of this group.
    pub group: Option<GroupName>,
    /// Only older than this.
    pub before: Option<TaskId>,
    /// How many at most.
    pub limit: usize,
}

/// Tasks as they were submitted, to be looked up one after the other; to be dropped soon, as it keeps old pages alive.
pub struct Specs(redb::ReadOnlyTable<u64, &'static [u8]>);

impl std::fmt::Debug for Specs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Specs")
    }
}

impl Specs {
    /// A task's [`TaskSpec`] in CBOR, to be sent on as it is.
    ///
    /// # Errors
    /// Only if the file can't be read.
    pub fn bytes(&self, task: TaskId) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.0.get(task.0)?.map(|bytes| Bytes::copy_from_slice(bytes.value())))
    }
}

/// Bits of an event's sequence number that count within one entry.
const EVENT_BITS: u32 = 10;

impl Ledger {
    /// One task.
    ///
    /// # Errors
    /// Every query fails only if the file can't be read; see [`LedgerError`].
    pub fn task(&self, task: TaskId) -> Result<Option<TaskRecord>, LedgerError> {
        Ok(self.state_row(task)?.map(|row| row.record))
    }

    /// Where a task waits when it is queued, without decoding its spec.
    pub fn queue(&self, task: TaskId) -> Result<Option<Queue>, LedgerError> {
        Ok(self.state_row(task)?.map(|row| Queue::new(row.group, row.need)))
    }

    fn state_row(&self, task: TaskId) -> Result<Option<StateRow>, LedgerError> {
        let table = self.begin()?.open_table(STATES)?;
        Ok(table.get(task.0)?.map(|bytes| StateRow::decode(task, bytes.value())).transpose()?)
    }

    /// A task as it was submitted.
    pub fn spec(&self, task: TaskId) -> Result<Option<TaskSpec>, LedgerError> {
        let table = self.begin()?.open_table(SPECS)?;
        Ok(table.get(task.0)?.map(|bytes| codec::decode(bytes.value())).transpose()?)
    }

    /// The tasks as they were submitted, all from the state that the ledger has now.
    pub fn specs(&self) -> Result<Specs, LedgerError> {
        Ok(Specs(self.begin()?.open_table(SPECS)?))
    }

    /// What a task's last attempt wrote; empty if it wrote nothing.
    pub fn output(&self, task: TaskId) -> Result<Output, LedgerError> {
        let table = self.begin()?.open_table(OUTPUTS)?;
        Ok(table.get(task.0)?.map_or_else(Output::default, |row| {
            let (stdout_total, stderr_total, stdout, stderr) = row.value();
            let captured = |tail, total| Captured { tail: Bytes::copy_from_slice(tail), total };
            Output { stdout: captured(stdout, stdout_total), stderr: captured(stderr, stderr_total) }
        }))
    }

    /// The tasks of a queue, oldest first, those after `after` only. Some of them may be handed out already: the
    /// leader's leases know.
    pub fn ready(&self, queue: &Queue, after: Option<TaskId>, limit: usize) -> Result<Vec<ReadyTask>, LedgerError> {
        let table = self.begin()?.open_table(READY)?;
        let (name, need) = (queue.group.as_str().as_bytes(), queue.need.code());
        let first = after.map_or(0, |after| after.0.saturating_add(1));
        let mut tasks = Vec::new();
        for row in table.range((name, need, first)..=(name, need, u64::MAX))?.take(limit) {
            let (key, value) = row?;
            let (attempt, submitted_at) = value.value();
            tasks.push(ReadyTask {
                task: TaskId(key.value().2),
                queue: queue.clone(),
                attempt: AttemptNumber(attempt),
                submitted_at: UnixMillis(submitted_at),
            });
        }
        Ok(tasks)
    }

    /// The queues that have tasks, each with its oldest; in the order of their groups' names and of their needs.
    pub fn queues_with_ready(&self) -> Result<Vec<(Queue, TaskId)>, LedgerError> {
        let table = self.begin()?.open_table(READY)?;
        let mut queues: Vec<(Queue, TaskId)> = Vec::new();
        let mut next = table.first()?.map(|(key, _)| owned(key.value()));
        while let Some((name, need, task)) = next {
            next = table.range((&name[..], need, u64::MAX)..)?.next().transpose()?.map(|(key, _)| owned(key.value()));
            queues.push((queue_of(&name, need)?, TaskId(task)));
        }
        Ok(queues)
    }

    /// The delayed tasks whose time has come, the longest overdue first. They may be handed out as they are: nothing
    /// needs to be written for it.
    pub fn due(&self, now: UnixMillis, limit: usize) -> Result<Vec<ReadyTask>, LedgerError> {
        let table = self.begin()?.open_table(DELAYED)?;
        let mut tasks = Vec::new();
        for row in table.range(..=(now.0, u64::MAX))?.take(limit) {
            let (key, value) = row?;
            let (attempt, submitted_at, need, group) = value.value();
            tasks.push(ReadyTask {
                task: TaskId(key.value().1),
                queue: queue_of(group, need)?,
                attempt: AttemptNumber(attempt),
                submitted_at: UnixMillis(submitted_at),
            });
        }
        Ok(tasks)
    }

    /// How long a task's policy lets it wait before its next attempt.
    pub fn wait(&self, task: TaskId) -> Result<Duration, LedgerError> {
        Ok(self.state_row(task)?.map_or(Duration::ZERO, |row| row.wait()))
    }

    /// The delayed tasks after a place in their order, the soonest due first.
    pub fn delayed(&self, after: (UnixMillis, TaskId), limit: usize) -> Result<Vec<WaitingTask>, LedgerError> {
        let read = self.begin()?;
        let (table, states) = (read.open_table(DELAYED)?, read.open_table(STATES)?);
        let mut tasks = Vec::new();
        for row in table.range((after.0.0, after.1.0.saturating_add(1))..)?.take(limit) {
            let (key, value) = row?;
            let (attempt, submitted_at, need, group) = value.value();
            let task = ReadyTask {
                task: TaskId(key.value().1),
                queue: queue_of(group, need)?,
                attempt: AttemptNumber(attempt),
                submitted_at: UnixMillis(submitted_at),
            };
            let state = states.get(task.task.0)?.map(|bytes| StateRow::decode(task.task, bytes.value())).transpose()?;
            let wait = state.map_or(Duration::ZERO, |row| row.wait());
            tasks.push(WaitingTask { until: UnixMillis(key.value().0), wait, task });
        }
        Ok(tasks)
    }

    /// When the next delayed task comes due.
    pub fn next_due(&self) -> Result<Option<UnixMillis>, LedgerError> {
        let table = self.begin()?.open_table(DELAYED)?;
        Ok(table.first()?.map(|(key, _)| UnixMillis(key.value().0)))
    }

    /// Tasks, newest first.
    pub fn tasks(&self, query: &TaskQuery) -> Result<Vec<(TaskRecord, GroupName)>, LedgerError> {
        let read = self.begin()?;
        let states = read.open_table(STATES)?;
        let before = query.before.map_or(u64::MAX, |before| before.0);
        let load = |task: u64| -> Result<Option<StateRow>, LedgerError> {
            Ok(states.get(task)?.map(|bytes| StateRow::decode(TaskId(task), bytes.value())).transpose()?)
        };
        let fits = |row: &StateRow| {
            query.state.as_deref().is_none_or(|state| row.record.state.name() == state)
                && query.group.as_ref().is_none_or(|group| row.group == *group)
        };
        let candidates = Candidates { query, before };
        let mut found = Vec::new();
        let mut keep = |row: StateRow| {
            if fits(&row) {
                found.push((row.record, row.group));
            }
            found.len() < query.limit
        };
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        match candidates.few(&read)? {
            Some(tasks) => {
                for task in tasks {
                    if let Some(row) = load(task)?
                        && !keep(row)
                    {
                        break;
                    }
                }
            }
            None => {
                for row in states.range(..before)?.rev() {
                    let (task, bytes) = row?;
                    if !keep(StateRow::decode(TaskId(task.value()), bytes.value())?) {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    /// How many tasks of each group are in each state, by the state's name; `dead` for both kinds of dead.
    pub fn counts(&self) -> Result<Vec<(GroupName, &'static str, u64)>, LedgerError> {
        const NAMES: [&str; 6] = ["queued", "delayed", "succeeded", "dead", "dead", "cancelled"];
        let table = self.begin()?.open_table(COUNTS)?;
        let mut counts: Vec<(GroupName, &'static str, u64)> = Vec::new();
        for row in table.iter()? {
            let (key, count) = row?;
            let (group, state) = key.value();
            let group = group_name(group)?;
            let name = NAMES.get(usize::from(state)).copied().unwrap_or("unknown");
            match counts.last_mut() {
                Some(last) if last.0 == group && last.1 == name => last.2 += count.value(),
                _ => counts.push((group, name, count.value())),
            }
        }
        Ok(counts)
    }

    /// The tasks that have not ended, oldest first, after `after` only.
    pub fn unfinished(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<TaskId>, LedgerError> {
        let table = self.begin()?.open_table(STATES)?;
        let mut tasks = Vec::new();
        for row in table.range(after.map_or(0, |after| after.0.saturating_add(1))..)? {
            let (task, bytes) = row?;
            let task = TaskId(task.value());
            if !StateRow::decode(task, bytes.value())?.record.state.is_final() {
                tasks.push(task);
                if tasks.len() >= limit {
                    break;
                }
            }
        }
        Ok(tasks)
    }

    /// The newest task's id.
    pub fn last_task(&self) -> Result<Option<TaskId>, LedgerError> {
        let last = self.standing()?.last_task;
        Ok((last > 0).then_some(TaskId(last)))
    }

    /// Every node that joined and has not left.
    pub fn members(&self) -> Result<Vec<Member>, LedgerError> {
        let table = self.begin()?.open_table(MEMBERS)?;
        table.iter()?.map(|row| Ok(codec::decode(row?.1.value())?)).collect()
    }

    /// One node, if it has joined and not left.
    pub fn member(&self, node: NodeId) -> Result<Option<Member>, LedgerError> {
        let table = self.begin()?.open_table(MEMBERS)?;
        Ok(table.get(node.0)?.map(|bytes| codec::decode(bytes.value())).transpose()?)
    }

    /// The swarm, once it is founded.
    pub fn swarm(&self) -> Result<Option<SwarmId>, LedgerError> {
        Ok(self.standing()?.swarm)
    }

    /// The newest leadership that opened, and whose it is.
    pub fn opened(&self) -> Result<Option<(Term, NodeId)>, LedgerError> {
        let standing = self.standing()?;
        Ok(standing.opened_by.map(|leader| (standing.opened_term, leader)))
    }

    fn standing(&self) -> Result<Standing, LedgerError> {
        meta::get(&self.begin()?.open_table(META)?, STANDING)
    }

    /// The index of the newest entry that is folded.
    pub fn applied_index(&self) -> Result<u64, LedgerError> {
        Ok(self.progress()?.applied.map_or(0, |id| id.index))
    }

    /// The history from a sequence number on, oldest first. Numbers grow by at least one and are the same on every node.
    pub fn events(&self, from: u64, limit: usize) -> Result<Vec<EventView>, LedgerError> {
        let table = self.begin()?.open_table(EVENTS)?;
        let mut events = Vec::new();
        for row in table.range(from >> EVENT_BITS..)? {
            let (index, bytes) = row?;
            let base = index.value() << EVENT_BITS;
            let row = EventsRow::decode(bytes.value())?;
            for event in row.events {
                let seq = base + u64::from(event.offset);
                if seq < from {
                    continue;
                }
                if events.len() >= limit {
                    return Ok(events);
                }
                events.push(EventView {
                    seq,
                    at: row.at,
                    term: row.term,
                    kind: event.kind,
                    task: event.task,
                    node: event.node,
                    attempt: event.attempt,
                    text: event.text,
                });
            }
        }
        Ok(events)
    }
}

/// Where to look for a listing's tasks when an index knows them better than all the states do.
struct Candidates<'a> {
    query: &'a TaskQuery,
    before: u64,
}

impl Candidates<'_> {
    /// Ids newest first, or `None` if all states must be looked through (which then end soon: most tasks fit).
    fn few(&self, read: &redb::ReadTransaction) -> Result<Option<Vec<u64>>, LedgerError> {
        let limit = self.query.limit;
        match (self.query.state.as_deref(), &self.query.group) {
            (Some("queued"), Some(group)) => {
                let name = group.as_str().as_bytes();
                let table = read.open_table(READY)?;
                let mut tasks = Vec::new();
                for need in Need::ALL.map(Need::code) {
                    for row in table.range((name, need, 0)..(name, need, self.before))?.rev().take(limit) {
                        tasks.push(row?.0.value().2);
                    }
                }
                tasks.sort_unstable_by(|a, b| b.cmp(a));
                Ok(Some(tasks))
            }
            (Some("delayed"), _) => {
                let mut tasks = Vec::new();
                for row in read.open_table(DELAYED)?.iter()? {
                    let task = row?.0.value().1;
                    if task < self.before {
                        tasks.push(task);
                    }
                }
                tasks.sort_unstable_by(|a, b| b.cmp(a));
                Ok(Some(tasks))
            }
            (Some("dead"), group) => {
                let exhausted = TaskState::Dead(DeadWhy::AttemptsExhausted);
                let mut tasks = self.parked(read, &exhausted, group.is_none())?;
                tasks.extend(self.parked(read, &TaskState::Dead(DeadWhy::NotRetried), group.is_none())?);
                tasks.sort_unstable_by(|a, b| b.cmp(a));
                Ok(Some(tasks))
            }
            (Some("cancelled"), group) => Ok(Some(self.parked(read, &TaskState::Cancelled, group.is_none())?)),
            _ => Ok(None),
        }
    }

    fn parked(&self, read: &redb::ReadTransaction, state: &TaskState, bounded: bool) -> Result<Vec<u64>, LedgerError> {
        let code = state_code(state);
        let table = read.open_table(PARKED)?;
        let limit = if bounded { self.query.limit } else { usize::MAX };
        let rows = table.range((code, 0)..(code, self.before))?.rev().take(limit);
        Ok(rows.map(|row| row.map(|(key, _)| key.value().1)).collect::<Result<_, _>>()?)
    }
}

/// A key of [`READY`] that outlives the row it was read from.
fn owned((group, need, task): (&[u8], u8, u64)) -> (Vec<u8>, u8, u64) {
    (group.to_vec(), need, task)
}

fn queue_of(group: &[u8], need: u8) -> Result<Queue, LedgerError> {
    let need = Need::from_code(need).ok_or(super::row::BadRow::NEED)?;
    Ok(Queue::new(group_name(group)?, need))
}

fn group_name(bytes: &[u8]) -> Result<GroupName, LedgerError> {
    let name = std::str::from_utf8(bytes).ok().and_then(|name| name.parse().ok());
    name.ok_or_else(|| super::row::BadRow::GROUP.into())
}
