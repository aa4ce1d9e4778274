//! How hand-outs end: reports, returns, cancels, and the journal's answers.

use std::time::Duration;

use super::board::Board;
use super::event::{Ignored, Next, Output, Verdict};
use super::lease::{Lease, Stage};
use crate::task::{AttemptNumber, Denial, Fence, NodeId, PodId, Queue, TaskId, Term};

impl Board {
    pub(super) fn reported(
        &mut self,
        now: Duration,
        term: Term,
        node: NodeId,
        (task, attempt, fence): (TaskId, AttemptNumber, Fence),
        slot_free: bool,
        out: &mut Vec<Output>,
    ) {
        if fence.term > term {
            out.push(Output::Ignored { why: Ignored::LaterTerm });
            return;
        }
        let lease = self.leases.get(task).map(|lease| (lease.is(node, fence), lease.stage, lease.revived.is_some(), lease.pod));
        let verdict = match lease {
            Some((true, Stage::Running | Stage::Unverified, ..)) => {
                self.leases.set_stage(task, Stage::Ending);
                if fence.term < term { Verdict::Adopt } else { Verdict::Accept }
            }
            Some((true, Stage::Cancelling, false, _)) => {
                self.leases.set_stage(task, Stage::Ending);
                Verdict::Accept
            }
            Some((true, Stage::Cancelling, true, _)) => {
                // Queued again by hand meanwhile: this end must not count for the new life.
                self.drop_lease(task, None, Next::Final);
                Verdict::Refuse(Denial::StaleAttempt)
            }
            Some((true, Stage::Ending | Stage::Checking, ..)) => Verdict::Duplicate,
            Some((true, Stage::Losing, ..)) | Some((false, ..)) => Verdict::Refuse(Denial::StaleAttempt),
            None => self.reported_without_lease(now, term, node, (task, attempt, fence)),
        };
        self.report_frees(node, task, fence, lease.filter(|lease| lease.0).map(|lease| lease.3), slot_free);
        out.push(Output::Verdict { node, task, attempt, fence, verdict });
    }

    /// The slot is free when the report arrives, not when it is written, so that the next task goes out at once.
    fn report_frees(&mut self, node: NodeId, task: TaskId, fence: Fence, pod: Option<PodId>, slot_free: bool) {
        if slot_free {
            self.members.forget_foreign(node, fence, &mut self.groups);
        } else if let Some(pod) = pod
            && let Some(state) = self.members.get_mut(node).and_then(|member| member.pods.get_mut(usize::from(pod.0)))
        {
            state.foreign.insert(fence);
        }
        if self.leases.get(task).is_some_and(|lease| lease.is(node, fence)) {
            self.free(task);
        }
        self.members.place(node, &mut self.groups);
    }

    fn reported_without_lease(
        &mut self,
        now: Duration,
        term: Term,
        node: NodeId,
        (task, attempt, fence): (TaskId, AttemptNumber, Fence),
    ) -> Verdict {
        if self.settled.accepted(task, fence) {
            return Verdict::AlreadySettled;
        }
        let next = self.groups.attempt_of(task).or_else(|| self.delayed.attempt_of(task));
        if self.gave(term, fence) || next.is_some_and(|next| next != attempt) {
            return Verdict::Refuse(Denial::StaleAttempt);
        }
        if next.is_none() && self.settled.outdates(task, attempt) {
            return Verdict::Refuse(Denial::AlreadyEnded);
        }
        // A former leader's hand-out that nobody was given since. What isn't in memory is the ledger's to judge.
        let queue = self.take_waiting(task);
        self.leases.insert(
            task,
            Lease {
                attempt,
                fence,
                node,
                boot: 0,
                pod: PodId::default(),
                queue,
                since: now,
                stage: Stage::Ending,
                takes_slot: false,
                revived: None,
                questions: 0,
            },
        );
        Verdict::Adopt
    }

    /// Takes a task out of the waiting or the delayed ones.
    pub(super) fn take_waiting(&mut self, task: TaskId) -> Option<Queue> {
        let waiting = self.groups.take(task).or_else(|| self.delayed.take(task));
        waiting.map(|(queue, _)| queue)
    }

    pub(super) fn undelivered(&mut self, node: NodeId, task: TaskId, fence: Fence, out: &mut Vec<Output>) {
        let Some((pod, stage)) = self.leases.get(task).filter(|lease| lease.is(node, fence)).map(|l| (l.pod, l.stage)) else {
            out.push(Output::Ignored { why: Ignored::NoSuchLease });
            return;
        };
        self.members.block(node, pod, &mut self.groups);
        match stage {
            Stage::Running => self.requeue(task),
            Stage::Cancelling => self.drop_lease(task, None, Next::Final),
            _ => out.push(Output::Ignored { why: Ignored::NoSuchLease }),
        }
    }

    /// Takes a hand-out back: the attempt has not begun, its number is given again under another fence.
    pub(super) fn requeue(&mut self, task: TaskId) {
        self.free(task);
        let Some(lease) = self.leases.remove(task) else { return };
        if let Some(queue) = lease.queue {
            self.groups.put_back(&queue, task, lease.attempt);
        }
    }

    pub(super) fn settle(&mut self, task: TaskId, fence: Fence, next: Next, out: &mut Vec<Output>) {
        match self.leases.get(task).filter(|lease| lease.fence == fence).map(|lease| lease.stage) {
            Some(_) if next == Next::Final && self.leases.get(task).is_some_and(|lease| lease.revived.is_some()) => {
                self.ask_again(task, fence, out);
            }
            Some(stage) => self.drop_lease(task, (stage == Stage::Ending).then_some(fence), next),
            None => out.push(Output::Ignored { why: Ignored::NoSuchLease }),
        }
    }

    /// The task was queued again while its end was being written: which of the two came first, the ledger knows.
    fn ask_again(&mut self, task: TaskId, fence: Fence, out: &mut Vec<Output>) {
        self.free(task);
        self.leases.set_stage(task, Stage::Checking);
        if let Some(lease) = self.leases.get_mut(task) {
            lease.revived = None;
            lease.questions += 1;
        }
        out.push(Output::Verify { task, fence });
    }

    pub(super) fn verified(&mut self, task: TaskId, fence: Fence, next: Next, out: &mut Vec<Output>) {
        let Some(lease) = self.leases.get_mut(task).filter(|lease| lease.fence == fence) else {
            out.push(Output::Ignored { why: Ignored::NoSuchLease });
            return;
        };
        lease.questions = lease.questions.saturating_sub(1);
        match lease.stage {
            Stage::Checking if lease.questions == 0 => return self.drop_lease(task, Some(fence), next),
            Stage::Unverified => {}
            _ => return,
        }
        let (node, attempt, pod, takes_slot) = (lease.node, lease.attempt, lease.pod, lease.takes_slot);
        match &next {
            Next::Ready { queue, attempt: expected } | Next::Delayed { queue, attempt: expected, .. } if *expected == attempt => {
                lease.queue = Some(queue.clone());
                lease.revived = None;
                self.leases.set_stage(task, Stage::Running);
            }
            _ => {
                self.drop_lease(task, None, next);
                self.end_foreign(node, takes_slot.then_some(pod), (task, attempt, fence), out);
                self.members.place(node, &mut self.groups);
            }
        }
    }

    pub(super) fn cancelled(&mut self, task: TaskId, out: &mut Vec<Output>) {
        let Some(lease) = self.leases.get_mut(task) else {
            self.take_waiting(task);
            self.settled.remember(task, None, None);
            return;
        };
        lease.revived = None;
        if matches!(lease.stage, Stage::Running | Stage::Unverified) {
            let (node, attempt, fence) = (lease.node, lease.attempt, lease.fence);
            self.leases.set_stage(task, Stage::Cancelling);
            out.push(Output::CancelAttempt { node, task, attempt, fence });
        }
    }
}
