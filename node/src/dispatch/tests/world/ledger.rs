//! The small world's ledger and journal: pages, late answers, the fold, and a leader that takes up a term.

use std::collections::BTreeSet;

use super::{End, Row, State, World, config};
use crate::dispatch::*;
use crate::task::{Queue, TaskId, Term, UnixMillis};

impl World {
    pub(super) fn next(&self, task: TaskId) -> Next {
        match self.rows.get(&task) {
            Some(Row { queue, attempt, state: State::Queued }) => Next::Ready { queue: queue.clone(), attempt: *attempt },
            Some(Row { queue, attempt, state: State::Delayed(until) }) => {
                Next::Delayed { until: *until, due: *until, queue: queue.clone(), attempt: *attempt }
            }
            _ => Next::Final,
        }
    }

    pub(super) fn page(&self, queue: &Queue, after: TaskId, limit: usize) -> Input {
        let queued = self.rows.iter().filter(|(id, row)| **id > after && row.queue == *queue && row.state == State::Queued);
        let tasks: Vec<_> = queued.clone().take(limit).map(|(id, row)| (*id, row.attempt)).collect();
        Input::Window { queue: queue.clone(), more: queued.count() > tasks.len(), tasks }
    }

    pub(super) fn delayed_page(&self, after: (UnixMillis, TaskId), limit: usize) -> Input {
        let mut all: Vec<DelayedTask> = Vec::new();
        for (task, row) in &self.rows {
            if let State::Delayed(until) = row.state
                && (until, *task) > after
            {
                all.push(DelayedTask { until, due: until, task: *task, queue: row.queue.clone(), attempt: row.attempt });
            }
        }
        all.sort_by_key(|delayed| (delayed.until, delayed.task));
        let more = all.len() > limit;
        all.truncate(limit);
        Input::DelayedWindow { tasks: all, more }
    }

    pub(super) fn new_leader(&mut self, keep_journal: bool) {
        if !keep_journal {
            self.journal.clear();
        }
        // What was on its way to the journal is fenced or written before the new leader opens; here it is written.
        while !self.journal.is_empty() {
            self.fold_one();
        }
        self.term += 1;
        self.take_up(0);
    }

    /// A board that knows nothing takes up the term; its hand-outs are numbered on from there.
    pub(super) fn take_up(&mut self, numbered_after: u64) {
        self.board = Board::new(BoardConfig { numbered_after, ..config() });
        self.answers.clear();
        for node in self.nodes.values_mut() {
            node.inbox.clear();
            node.slots.resend();
        }
        self.bound = self.rows.keys().next_back().copied().unwrap_or_default();
        let expected = self.nodes.keys().copied().collect();
        self.step(Input::Opened { term: Term(self.term), last_task_before: self.bound, expected });
        let queued = self.rows.values().filter(|row| row.state == State::Queued);
        let queues: BTreeSet<Queue> = queued.map(|row| row.queue.clone()).collect();
        for queue in queues {
            self.step(Input::Window { queue, tasks: vec![], more: true });
        }
        self.step(Input::DelayedWindow { tasks: vec![], more: true });
    }

    /// The fold of one attempt's end; answers where its task is now.
    pub(super) fn fold_one(&mut self) -> Option<(End, Next)> {
        let end = self.journal.pop_front()?;
        let row = self.rows.get_mut(&end.task).unwrap();
        if matches!(row.state, State::Queued | State::Delayed(_)) && row.attempt == end.attempt {
            row.attempt.0 += 1;
            row.state = match end.outcome {
                Some(true) => State::Succeeded,
                Some(false) => State::Delayed(UnixMillis(self.now + 50 * (end.task.0 % 4))),
                None => State::Queued,
            };
            *self.successes.entry(end.task).or_default() += u32::from(end.outcome == Some(true));
        }
        Some((end, self.next(end.task)))
    }

    pub(super) fn settle(&mut self) {
        let Some((end, next)) = self.fold_one() else { return };
        self.nodes.get_mut(&end.node).unwrap().slots.answered(end.fence);
        self.step(Input::Settled { task: end.task, fence: end.fence, next });
    }
}
