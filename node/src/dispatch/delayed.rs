//! Tasks that wait for a time: the earliest ones in memory, the rest in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{DelayedTask, Output};
use crate::task::{AttemptNumber, Queue, TaskId, UnixMillis};

type Place = (UnixMillis, TaskId);

/// The window of delayed tasks: every one up to `edge`. The window goes by where the ledger has them; when one may be handed
/// out goes by `due`, which is sooner where a clock was wrong.
#[derive(Clone, Debug)]
pub(super) struct Delayed {
    limit: usize,
    by_time: BTreeMap<Place, DelayedTask>,
    by_due: BTreeSet<Place>,
    by_task: BTreeMap<TaskId, UnixMillis>,
    edge: Option<Place>,
    refill: Option<Refill>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Refill {
    after: Place,
    /// The earliest place beyond the edge at which a task was delayed since the question was asked: from there on the answer
    /// is too old.
    missed: Option<Place>,
    /// The count of settled tasks when it was asked.
    settled: u64,
}

impl Delayed {
    pub(super) fn new(limit: usize) -> Self {
        Delayed { limit, by_time: BTreeMap::new(), by_due: BTreeSet::new(), by_task: BTreeMap::new(), edge: None, refill: None }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_time.len().max(self.by_task.len())
    }

    pub(super) fn next(&self) -> Option<UnixMillis> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// When the task's pause is over, if it is in memory.
    pub(super) fn due(&self, task: TaskId) -> Option<UnixMillis> {
        let until = self.by_task.get(&task)?;
        self.by_time.get(&(*until, task)).map(|delayed| delayed.due)
    }

    pub(super) fn attempt_of(&self, task: TaskId) -> Option<AttemptNumber> {
        let until = self.by_task.get(&task)?;
        self.by_time.get(&(*until, task)).map(|delayed| delayed.attempt)
    }

    pub(super) fn insert(&mut self, delayed: DelayedTask) {
        let place = (delayed.until, delayed.task);
        self.take(delayed.task);
        if self.edge.is_some_and(|edge| place > edge) {
            self.miss(place);
            return;
        }
        self.keep(delayed);
    }

    fn keep(&mut self, delayed: DelayedTask) {
        self.by_due.insert((delayed.due, delayed.task));
        self.by_task.insert(delayed.task, delayed.until);
        self.by_time.insert((delayed.until, delayed.task), delayed);
        if self.by_time.len() > self.limit
            && let Some((place @ (_, task), put_out)) = self.by_time.pop_last()
        {
            self.by_due.remove(&(put_out.due, task));
            self.by_task.remove(&task);
            self.edge = self.by_time.last_key_value().map(|(place, _)| *place);
            self.miss(place);
        }
    }

    fn miss(&mut self, place: Place) {
        if let Some(refill) = &mut self.refill {
            refill.missed = Some(refill.missed.map_or(place, |first| first.min(place)));
        }
    }

    pub(super) fn take(&mut self, task: TaskId) -> Option<(Queue, AttemptNumber)> {
        let until = self.by_task.remove(&task)?;
        let delayed = self.by_time.remove(&(until, task))?;
        self.by_due.remove(&(delayed.due, task));
        Some((delayed.queue, delayed.attempt))
    }

    /// Takes out the earliest task whose time has come.
    pub(super) fn pop_due(&mut self, wall: UnixMillis) -> Option<(TaskId, Queue, AttemptNumber)> {
        let (_, task) = *self.by_due.first().filter(|(due, _)| *due <= wall)?;
        let (queue, attempt) = self.take(task)?;
        Some((task, queue, attempt))
    }

    /// Takes a page of the ledger's delayed tasks; those that the board has elsewhere were left out by the caller.
    /// False if none was expected.
    pub(super) fn window(
        &mut self,
        tasks: Vec<DelayedTask>,
        last: Option<Place>,
        more: bool,
        settled: u64,
        remembered: u64,
    ) -> bool {
        if self.refill.is_none() && self.edge.is_some() {
            return false;
        }
        let Refill { after, missed, settled: asked } = self.refill.take().unwrap_or(Refill { settled, ..Refill::default() });
        // Tasks may have been put out of memory, or have changed and been forgotten, since the page was asked for: then it
        // would leave a gap or bring back the past. It is asked for again.
        if self.edge.is_some_and(|edge| edge < after) || settled.saturating_sub(asked) > remembered {
            return true;
        }
        let listed = more.then(|| last.unwrap_or(after));
        // Up to just before the first missed one, if the page reaches that far.
        let known = missed.map(|(until, task)| (until, TaskId(task.0.saturating_sub(1))).max(after));
        self.edge = known.map_or(listed, |known| Some(listed.map_or(known, |listed| listed.min(known))));
        let fresh = tasks.into_iter().filter(|delayed| missed.is_none_or(|missed| (delayed.until, delayed.task) < missed));
        fresh.for_each(|delayed| self.keep(delayed));
        true
    }

    pub(super) fn refill(&mut self, settled: u64, out: &mut Vec<Output>) {
        if let Some(after) = self.edge.filter(|_| self.refill.is_none() && self.by_time.len() <= self.limit / 4) {
            self.refill = Some(Refill { after, missed: None, settled });
            out.push(Output::RefillDelayed { after, limit: self.limit.div_ceil(2) });
        }
    }
}
