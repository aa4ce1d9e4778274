//! Tasks that wait for a time: the earliest ones in memory, the rest in the ledger.

use std::collections::BTreeMap;

use super::event::{DelayedTask, Output};
use crate::task::{AttemptNumber, GroupName, TaskId, UnixMillis};

type Place = (UnixMillis, TaskId);

/// The window of delayed tasks: every one up to `edge`.
#[derive(Clone, Debug)]
pub(super) struct Delayed {
    limit: usize,
    by_time: BTreeMap<Place, (GroupName, AttemptNumber)>,
    by_task: BTreeMap<TaskId, UnixMillis>,
    edge: Option<Place>,
    /// What was asked for, and whether a task beyond the edge was delayed since.
    refill: Option<(Place, bool)>,
}

impl Delayed {
    pub(super) fn new(limit: usize) -> Self {
        Delayed { limit, by_time: BTreeMap::new(), by_task: BTreeMap::new(), edge: None, refill: None }
    }

    pub(super) fn next(&self) -> Option<UnixMillis> {
        self.by_time.first_key_value().map(|((until, _), _)| *until)
    }

    pub(super) fn attempt_of(&self, task: TaskId) -> Option<AttemptNumber> {
        let until = self.by_task.get(&task)?;
        self.by_time.get(&(*until, task)).map(|(_, attempt)| *attempt)
    }

    pub(super) fn insert(&mut self, delayed: DelayedTask) {
        let place = (delayed.until, delayed.task);
        self.take(delayed.task);
        if self.edge.is_some_and(|edge| place > edge) {
            self.refill = self.refill.map(|(after, _)| (after, true));
            return;
        }
        self.keep(delayed);
    }

    fn keep(&mut self, delayed: DelayedTask) {
        self.by_time.insert((delayed.until, delayed.task), (delayed.group, delayed.attempt));
        self.by_task.insert(delayed.task, delayed.until);
        if self.by_time.len() > self.limit
            && let Some(((_, task), _)) = self.by_time.pop_last()
        {
            self.by_task.remove(&task);
            self.edge = self.by_time.last_key_value().map(|(place, _)| *place);
            self.refill = self.refill.map(|(after, _)| (after, true));
        }
    }

    pub(super) fn take(&mut self, task: TaskId) -> Option<(GroupName, AttemptNumber)> {
        let until = self.by_task.remove(&task)?;
        self.by_time.remove(&(until, task))
    }

    /// Takes out the earliest task whose time has come.
    pub(super) fn pop_due(&mut self, wall: UnixMillis) -> Option<(TaskId, GroupName, AttemptNumber)> {
        let first = self.by_time.first_entry().filter(|first| first.key().0 <= wall)?;
        let ((_, task), (group, attempt)) = first.remove_entry();
        self.by_task.remove(&task);
        Some((task, group, attempt))
    }

    /// Takes a page of the ledger's delayed tasks; those that the board has elsewhere were left out by the caller.
    /// False if none was expected.
    pub(super) fn window(&mut self, tasks: Vec<DelayedTask>, last: Option<Place>, more: bool) -> bool {
        if self.refill.is_none() && self.edge.is_some() {
            return false;
        }
        let (after, missed) = self.refill.take().unwrap_or((Place::default(), false));
        if self.edge.is_some_and(|edge| edge < after) {
            // Tasks between the edge and the page were put out since: the page would leave a gap.
            return true;
        }
        self.edge = (more || missed).then(|| last.unwrap_or(after));
        tasks.into_iter().for_each(|delayed| self.keep(delayed));
        true
    }

    pub(super) fn refill(&mut self, out: &mut Vec<Output>) {
        if let Some(after) = self.edge.filter(|_| self.refill.is_none() && self.by_time.len() <= self.limit / 4) {
            self.refill = Some((after, false));
            out.push(Output::RefillDelayed { after, limit: self.limit.div_ceil(2) });
        }
    }
}
