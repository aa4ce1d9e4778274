//! A member's offer: its pods, and the attempts it holds against those that the board believes it holds.

use std::collections::BTreeSet;
use std::time::Duration;

use super::board::Board;
use super::choose::Offered;
use super::event::{Ignored, Offer, Output};
use super::lease::{Lease, Stage};
use crate::task::{AttemptNumber, Fence, HeldAttempt, LostWhy, NodeId, PodId, TaskId, Term};

impl Board {
    pub(super) fn offer(&mut self, now: Duration, term: Term, offer: Offer, out: &mut Vec<Output>) {
        let Offer { node, boot, pods, held, processed, accepts, holds } = offer;
        if self.members.get(node).is_none() && self.members.len() >= self.config.members {
            out.push(Output::Ignored { why: Ignored::TooManyMembers });
            return;
        }
        if let Some(adoption) = &mut self.adoption {
            adoption.awaited.remove(&node);
        }
        self.take_back_unlisted(now, (node, boot, processed), &held, out);
        let mut taken = std::collections::BTreeMap::<PodId, u32>::new();
        for (_, lease) in self.leases.of(node).filter(|(_, lease)| lease.takes_slot) {
            *taken.entry(lease.pod).or_default() += 1;
        }
        let taken = |pod| taken.get(&pod).copied().unwrap_or(0);
        self.members.offer(node, Offered { boot, pods, accepts, holds }, &mut self.groups, taken);
        let stuck = self.forget_ended_foreign(node, &held);
        for attempt in held {
            self.announced(now, term, (node, boot), attempt, stuck.contains(&attempt.fence), out);
        }
        self.members.place(node, &mut self.groups);
    }

    /// Hand-outs that the member should know of and does not list.
    fn take_back_unlisted(
        &mut self,
        now: Duration,
        (node, boot, processed): (NodeId, u64, Fence),
        held: &[HeldAttempt],
        out: &mut Vec<Output>,
    ) {
        let listed: BTreeSet<Fence> = held.iter().map(|held| held.fence).collect();
        let missing: Vec<(TaskId, bool, bool)> = self
            .leases
            .of(node)
            .filter(|(_, lease)| !listed.contains(&lease.fence) && !lease.stage.is_ended())
            .map(|(task, lease)| {
                let arrived = lease.boot != boot || lease.fence <= processed;
                (task, arrived, now.saturating_sub(lease.since) > self.config.delivery)
            })
            .collect();
        for (task, arrived, overdue) in missing {
            let running = self.leases.get(task).is_some_and(|lease| lease.stage == Stage::Running);
            if arrived || (overdue && !running) {
                self.lose(task, LostWhy::MemberRestarted, out);
            } else if overdue {
                self.requeue(task);
            }
        }
    }

    /// Empties the pods' lists of foreign attempts; answers those that were known and still take a slot.
    fn forget_ended_foreign(&mut self, node: NodeId, held: &[HeldAttempt]) -> BTreeSet<Fence> {
        let Some(member) = self.members.get_mut(node) else { return BTreeSet::new() };
        let known: BTreeSet<Fence> = member.pods.iter_mut().flat_map(|pod| std::mem::take(&mut pod.foreign)).collect();
        held.iter().filter(|held| held.takes_slot).map(|held| held.fence).filter(|fence| known.contains(fence)).collect()
    }

    fn announced(
        &mut self,
        now: Duration,
        term: Term,
        (node, boot): (NodeId, u64),
        held: HeldAttempt,
        stuck: bool,
        out: &mut Vec<Output>,
    ) {
        let HeldAttempt { task, attempt, fence, pod, takes_slot, ended } = held;
        let slot = takes_slot.then_some(pod);
        if fence.term > term {
            out.push(Output::Ignored { why: Ignored::LaterTerm });
            return;
        }
        match self.leases.get(task) {
            Some(lease) if lease.is(node, fence) => match lease.stage {
                Stage::Running | Stage::Unverified => {}
                Stage::Cancelling => out.push(Output::CancelAttempt { node, task, attempt, fence }),
                // The heartbeat may be older than the report: only a slot that was said to be kept is still taken.
                Stage::Ending | Stage::Checking => self.add_foreign(node, slot.filter(|_| stuck), fence),
                Stage::Losing => self.end_foreign(node, slot, (task, attempt, fence), out),
            },
            Some(_) if ended => self.add_foreign(node, slot, fence),
            Some(_) => self.end_foreign(node, slot, (task, attempt, fence), out),
            None if self.settled.accepted(task, fence) => self.add_foreign(node, slot.filter(|_| stuck), fence),
            None if ended && self.is_stale(term, &held) => self.add_foreign(node, slot, fence),
            None if self.is_stale(term, &held) => self.end_foreign(node, slot, (task, attempt, fence), out),
            None => self.adopt(now, (node, boot), held, out),
        }
    }

    /// Whether an announced attempt without a lease has been replaced or is over.
    fn is_stale(&self, term: Term, held: &HeldAttempt) -> bool {
        let next = self.groups.attempt_of(held.task).or_else(|| self.delayed.attempt_of(held.task));
        match next {
            _ if self.gave(term, held.fence) => true,
            Some(next) => next != held.attempt,
            None => self.settled.outdates(held.task, held.attempt),
        }
    }

    /// Takes over a former leader's hand-out under its old fence.
    fn adopt(&mut self, now: Duration, (node, boot): (NodeId, u64), held: HeldAttempt, out: &mut Vec<Output>) {
        let HeldAttempt { task, attempt, fence, pod, takes_slot, .. } = held;
        let queue = self.take_waiting(task);
        let stage = if queue.is_some() { Stage::Running } else { Stage::Unverified };
        let questions = u32::from(stage == Stage::Unverified);
        if stage == Stage::Unverified {
            out.push(Output::Verify { task, fence });
        }
        self.leases.insert(
            task,
            Lease { attempt, fence, node, boot, pod, queue, since: now, stage, takes_slot, revived: None, questions },
        );
        if takes_slot {
            self.members.take_slot(node, pod, &mut self.groups);
        }
        if let Some(adoption) = &mut self.adoption {
            adoption.adopted += 1;
        }
    }

    fn add_foreign(&mut self, node: NodeId, slot: Option<PodId>, fence: Fence) {
        let member = self.members.get_mut(node);
        if let Some((member, pod)) = member.zip(slot)
            && let Some(state) = member.pods.get_mut(usize::from(pod.0))
        {
            state.foreign.insert(fence);
        }
    }

    /// Has a member end an attempt that is no lease; its slot is taken until it has.
    pub(super) fn end_foreign(
        &mut self,
        node: NodeId,
        slot: Option<PodId>,
        (task, attempt, fence): (TaskId, AttemptNumber, Fence),
        out: &mut Vec<Output>,
    ) {
        self.add_foreign(node, slot, fence);
        out.push(Output::CancelAttempt { node, task, attempt, fence });
    }
}
