//! From a report to a settled attempt: proposed until the journal answers, then told to the member and to the board.

use std::sync::Arc;
use std::time::Duration;

use super::{Answers, Desk, Input, RETRY};
use crate::dispatch::{DelayedTask, Next};
use crate::journal::ledger::WaitingTask;
use crate::journal::{Fact, Journal, ProposeError, Reply};
use crate::node::core::Core;
use crate::task::{AttemptEnd, Denial, Fence, NodeId, Queue, TaskId, TaskState, Term, UnixMillis};
use crate::worker::protocol::{ToLeader, ToMember};

/// An attempt's end on its way into the journal.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    end: Box<AttemptEnd>,
    /// Whether a member waits for the answer (nobody does for a lost attempt).
    reported: bool,
}

impl Settlement {
    pub(super) fn of(end: Box<AttemptEnd>, reported: bool) -> Self {
        Settlement { end, reported }
    }
}

impl Desk {
    pub(super) fn take_reports(&mut self, from: NodeId, messages: Vec<ToLeader>) {
        for message in messages {
            match message {
                ToLeader::Report { end, slot_free } if end.node == from => {
                    let (task, attempt, fence) = (end.task, end.attempt, end.fence);
                    self.outbox.keep(end);
                    self.feed(vec![Input::Reported { node: from, task, attempt, fence, slot_free }]);
                }
                ToLeader::Report { end, .. } => {
                    tracing::warn!(peer = %from, claimed = %end.node, task = %end.task, "a report in another node's name was dropped");
                }
                ToLeader::Decline { task, attempt, fence, why } => {
                    tracing::debug!(node = %from, %task, %attempt, %why, "a hand-out was declined");
                    self.feed(vec![Input::Undelivered { node: from, task, fence }]);
                }
            }
        }
    }

    /// Proposes the ends of one turn together, and what was refused beside them.
    pub(super) fn propose(&mut self, term: Term, ends: Vec<Settlement>, refused: Vec<Fact>) {
        if !refused.is_empty() {
            let written = self.core.journal.propose(term, refused);
            self.pending.push(Box::pin(async move {
                if let Err(error) = written.await {
                    tracing::debug!(%error, "a refused report was not recorded");
                }
                Answers::default()
            }));
        }
        for chunk in in_entries(ends) {
            self.pending.push(Box::pin(settle(self.core.clone(), term, chunk)));
        }
    }

    pub(super) fn refill(&mut self, queue: Queue, after: TaskId, limit: usize) {
        let (ledger, executor) = (self.core.ledger.clone(), self.core.executor);
        self.pending.push(Box::pin(async move {
            let asked = queue.clone();
            let after = (after > TaskId(0)).then_some(after);
            let rows = executor.run(move || ledger.ready(&asked, after, limit)).await;
            let Ok(Ok(rows)) = rows else { return Answers::default() };
            let more = rows.len() == limit;
            let tasks = rows.into_iter().map(|row| (row.task, row.attempt)).collect();
            vec![Input::Window { queue, tasks, more }].into()
        }));
    }

    pub(super) fn refill_delayed(&mut self, after: (UnixMillis, TaskId), limit: usize) {
        let (ledger, executor, now) = (self.core.ledger.clone(), self.core.executor, leaders_time(&self.core));
        self.pending.push(Box::pin(async move {
            let rows = executor.run(move || ledger.delayed(after, limit)).await;
            let Ok(Ok(rows)) = rows else { return Answers::default() };
            let more = rows.len() == limit;
            let delayed = |WaitingTask { until, wait, task }: WaitingTask| DelayedTask {
                until,
                due: due(now, until, wait),
                task: task.task,
                queue: task.queue,
                attempt: task.attempt,
            };
            vec![Input::DelayedWindow { tasks: rows.into_iter().map(delayed).collect(), more }].into()
        }));
    }
}

/// Cuts a turn's ends so that each piece fits an entry of the journal.
fn in_entries(ends: Vec<Settlement>) -> Vec<Vec<Settlement>> {
    const PIECE: usize = 512 << 10;
    let mut pieces: Vec<Vec<Settlement>> = Vec::new();
    let mut size = 0;
    for end in ends {
        let weight = 256 + end.end.stdout.tail.len() + end.end.stderr.tail.len();
        match pieces.last_mut() {
            Some(piece) if size + weight <= PIECE && piece.len() < 500 => {
                size += weight;
                piece.push(end);
            }
            _ => {
                size = weight;
                pieces.push(vec![end]);
            }
        }
    }
    pieces
}

/// Proposes until the journal answers or the leadership is over, then answers the members and the board.
async fn settle(core: Arc<Core>, term: Term, ends: Vec<Settlement>) -> Answers {
    let facts: Vec<Fact> = ends.iter().map(|settlement| Fact::AttemptEnded(settlement.end.clone())).collect();
    let replies = loop {
        match core.journal.propose(term, facts.clone()).await {
            Ok(replies) => break replies,
            // Its member keeps the report and brings it to the next leader.
            Err(ProposeError::NotLeader(_) | ProposeError::Stopped(_)) => return Answers::default(),
            Err(error @ ProposeError::TooLarge { .. }) => {
                tracing::error!(%error, "a report can't be written down");
                return Answers::default();
            }
            Err(ProposeError::TimedOut | ProposeError::Full | ProposeError::DiskFull) => {
                tokio::time::sleep(RETRY).await;
                if core.standing.borrow().acting != Some(term) {
                    return Answers::default();
                }
            }
        }
    };
    let mut answers = Answers::default();
    for (settlement, reply) in ends.into_iter().zip(replies) {
        let end = settlement.end;
        let denied = match reply {
            // A second proposal after a time-out finds the first one's effect.
            Reply::Denied(why) => (!is_recorded(&core, end.task, end.fence)).then_some(why),
            _ => None,
        };
        let next = match reply {
            Reply::Ended { state: TaskState::Succeeded } => Next::Final,
            _ => place_of(&core, end.task),
        };
        answers.inputs.push(Input::Settled { task: end.task, fence: end.fence, next });
        if settlement.reported {
            answers.verdicts.push((end.node, verdict(&end, denied)));
        }
    }
    answers
}

fn verdict(end: &AttemptEnd, denied: Option<Denial>) -> ToMember {
    ToMember::Verdict { task: end.task, attempt: end.attempt, fence: end.fence, denied }
}

fn is_recorded(core: &Core, task: TaskId, fence: Fence) -> bool {
    let record = core.ledger.task(task).ok().flatten();
    record.is_some_and(|record| record.attempts.iter().any(|attempt| attempt.fence == fence))
}

/// When a delayed task comes due by the leader's time. The time in the ledger was written by the wall clock of a leader of
/// then, which may have been wrong by hours: no task waits longer than its own policy says.
fn due(now: UnixMillis, until: UnixMillis, wait: Duration) -> UnixMillis {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    until.min(UnixMillis(now.0.saturating_add(wait)))
}

/// The time of this leadership, if it is one: see [`super::Leading::time`].
fn leaders_time(core: &Core) -> UnixMillis {
    let now = core.clock.now();
    core.desk.read(|leading| leading.time(now)).unwrap_or_else(|| core.clock.wall())
}

/// Where the ledger has a task.
pub(super) fn place_of(core: &Core, task: TaskId) -> Next {
    let (Ok(Some(record)), Ok(Some(queue))) = (core.ledger.task(task), core.ledger.queue(task)) else { return Next::Final };
    let attempt = record.next_attempt();
    match record.state {
        TaskState::Queued => Next::Ready { queue, attempt },
        TaskState::Delayed { until } => {
            let wait = core.ledger.wait(task).unwrap_or_default();
            Next::Delayed { until, due: due(leaders_time(core), until, wait), queue, attempt }
        }
        TaskState::Succeeded | TaskState::Dead(_) | TaskState::Cancelled => Next::Final,
    }
}

/// How long a membership change of the desk's own may take.
pub(super) const MEMBERSHIP_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_retry_waits_longer_than_its_policy_says_whatever_a_clock_said() {
        let (now, wait) = (UnixMillis(10_000), Duration::from_secs(2));
        assert_eq!(due(now, UnixMillis(11_000), wait), UnixMillis(11_000), "half of it has passed");
        assert_eq!(due(now, UnixMillis(3_610_000), wait), UnixMillis(12_000), "written by a clock that was an hour ahead");
        assert_eq!(due(now, UnixMillis(9_000), wait), UnixMillis(9_000), "overdue");
    }
}
