//! The board itself: one state, one `step`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::choose::{IdlePod, Members};
use super::delayed::Delayed;
use super::event::{DelayedTask, Ignored, Input, Next, Output};
use super::lease::{Lease, Leases, Settled, Stage};
use super::queue::{Groups, Page, WindowLimits};
use crate::task::{AttemptNumber, Fence, GroupName, LostWhy, NodeId, PodId, Queue, TaskId, Term, UnixMillis};

/// Delayed tasks that may become ready in one step, so that no step takes long.
const DUE_AT_ONCE: usize = 1_024;

/// The board's bounds and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardConfig {
    /// How long a new leader waits for announcements at most.
    pub adoption: Duration,
    /// How often [`Input::Tick`] must come.
    pub tick: Duration,
    /// A hand-out that its member has not seen after this long, though it sends heartbeats, has got lost on the way.
    pub delivery: Duration,
    /// Waiting tasks kept in memory per queue (a group and a need) that somebody serves.
    pub window: usize,
    /// Waiting tasks kept in memory in all, before windows shrink to [`BoardConfig::small_window`].
    pub total: usize,
    /// Waiting tasks kept in memory of a queue that nobody serves, or of any when memory is short.
    pub small_window: usize,
    /// Tasks kept in memory that wait for a time.
    pub delayed: usize,
    /// Attempts whose end is not settled by the journal, at most; above it nothing is handed out.
    pub unsettled: usize,
    /// Settled hand-outs remembered, so that a report sent twice is told from a late one.
    pub remembered: usize,
    /// Members.
    pub members: usize,
    /// Groups with waiting tasks, above which [`Board::has_room_for`] lets no new one in.
    pub groups: usize,
    /// Hand-outs are numbered from the next number on. A leader that takes the same term up again must go on above every
    /// number that it has given before, or members would take a new hand-out for one they know.
    pub numbered_after: u64,
}

impl Default for BoardConfig {
    fn default() -> Self {
        BoardConfig {
            adoption: Duration::from_secs(1),
            tick: Duration::from_millis(50),
            delivery: Duration::from_secs(5),
            window: 4_096,
            total: 262_144,
            small_window: 64,
            delayed: 65_536,
            unsettled: 65_536,
            remembered: 16_384,
            members: 4_096,
            groups: 65_536,
            numbered_after: 0,
        }
    }
}

/// What is known of a hand-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Which attempt.
    pub attempt: AttemptNumber,
    /// The hand-out.
    pub fence: Fence,
    /// Where.
    pub node: NodeId,
    /// In which pod.
    pub pod: PodId,
    /// Whether its end has arrived and is being written.
    pub ended: bool,
}

/// The leader's board. See the room's page.
#[derive(Clone, Debug)]
pub struct Board {
    pub(super) config: BoardConfig,
    pub(super) term: Option<Term>,
    pub(super) sequence: u64,
    pub(super) groups: Groups,
    pub(super) delayed: Delayed,
    pub(super) leases: Leases,
    pub(super) settled: Settled,
    pub(super) members: Members,
    pub(super) adoption: Option<Adoption>,
}

/// While a new leader waits for announcements.
#[derive(Clone, Debug)]
pub(super) struct Adoption {
    pub(super) until: Duration,
    pub(super) awaited: BTreeSet<NodeId>,
    pub(super) adopted: usize,
}

impl Board {
    /// A board on which no leadership has opened.
    #[must_use]
    pub fn new(config: BoardConfig) -> Self {
        let limits = WindowLimits { window: config.window, small_window: config.small_window, total: config.total };
        Board {
            groups: Groups::new(limits),
            delayed: Delayed::new(config.delayed),
            leases: Leases::default(),
            settled: Settled::new(config.remembered),
            members: Members::default(),
            adoption: None,
            term: None,
            sequence: config.numbered_after,
            config,
        }
    }

    /// Takes what happened and answers what must be done, in order. `now` is the time since any fixed moment and never
    /// goes back.
    #[must_use]
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        if let Input::Opened { term, last_task_before, expected } = input {
            self.open(now, term, last_task_before, expected);
        } else if let Some(term) = self.term {
            self.take(now, term, input, &mut out);
        } else {
            out.push(Output::Ignored { why: Ignored::NotOpened });
        }
        self.end_adoption(now, &mut out);
        self.hand_out(now, &mut out);
        self.groups.refills(self.settled.count(), &mut out);
        if self.term.is_some() {
            self.delayed.refill(self.settled.count(), &mut out);
        }
        out
    }

    fn take(&mut self, now: Duration, term: Term, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Opened { .. } => {}
            Input::Ready { queue, task, attempt } => self.ready(&queue, task, attempt),
            Input::Window { queue, tasks, more } => self.window(&queue, tasks, more, out),
            Input::DelayedWindow { tasks, more } => self.delayed_window(tasks, more, out),
            Input::Offer(offer) => self.offer(now, term, offer, out),
            Input::MemberLost { node, why } => self.member_lost(node, why, out),
            Input::MemberDraining { node } => self.member_draining(node, out),
            Input::Reported { node, task, attempt, fence, slot_free } => {
                self.reported(now, term, node, (task, attempt, fence), slot_free, out);
            }
            Input::Undelivered { node, task, fence } => self.undelivered(node, task, fence, out),
            Input::Settled { task, fence, next } => self.settle(task, fence, next, out),
            Input::Verified { task, fence, next } => self.verified(task, fence, next, out),
            Input::Cancelled { task } => self.cancelled(task, out),
            Input::Tick { wall } => self.tick(wall),
        }
    }

    /// Whether a task of this group may be queued: the number of groups with waiting tasks is bounded.
    #[must_use]
    pub fn has_room_for(&self, group: &GroupName) -> bool {
        self.groups.len() < self.config.groups || self.groups.contains(group)
    }

    /// The task's hand-out, if it has one.
    #[must_use]
    pub fn lease(&self, task: TaskId) -> Option<LeaseView> {
        self.leases.get(task).map(Lease::view)
    }

    /// A node's hand-outs, by task.
    pub fn leases_of(&self, node: NodeId) -> impl Iterator<Item = (TaskId, LeaseView)> + '_ {
        self.leases.of(node).map(|(task, lease)| (task, lease.view()))
    }

    /// How many hand-outs there are.
    #[must_use]
    pub fn leased(&self) -> usize {
        self.leases.len()
    }

    /// How many waiting tasks are in memory (the ledger may have more).
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.groups.waiting()
    }

    /// When the next of the delayed tasks in memory may be handed out.
    #[must_use]
    pub fn next_delayed(&self) -> Option<UnixMillis> {
        self.delayed.next()
    }

    /// Whether announcements of former leaders' hand-outs are still waited for.
    #[must_use]
    pub fn is_adopting(&self) -> bool {
        self.adoption.is_some()
    }

    /// Whether this board gave the fence; one of the same term that it did not give is of an earlier opening of that term.
    pub(super) fn gave(&self, term: Term, fence: Fence) -> bool {
        fence.term == term && fence.sequence > self.config.numbered_after
    }

    fn open(&mut self, now: Duration, term: Term, last_task_before: TaskId, expected: BTreeSet<NodeId>) {
        *self = Board::new(self.config.clone());
        self.term = Some(term);
        self.groups.withhold(Some(last_task_before));
        self.adoption = Some(Adoption { until: now.saturating_add(self.config.adoption), awaited: expected, adopted: 0 });
    }

    fn end_adoption(&mut self, now: Duration, out: &mut Vec<Output>) {
        if !self.adoption.as_ref().is_some_and(|adoption| adoption.awaited.is_empty() || now >= adoption.until) {
            return;
        }
        if let Some(adoption) = self.adoption.take() {
            self.groups.withhold(None);
            let silent = adoption.awaited.into_iter().collect();
            out.push(Output::AdoptionOver { adopted: adoption.adopted, silent });
        }
    }

    fn ready(&mut self, queue: &Queue, task: TaskId, attempt: AttemptNumber) {
        if let Some(lease) = self.leases.get_mut(task) {
            if lease.stage != Stage::Running {
                lease.revived = Some((queue.clone(), attempt));
            }
            return;
        }
        self.settled.revive(task, attempt);
        self.delayed.take(task);
        self.groups.ready(queue, task, attempt);
    }

    /// Whether the board knows better than a page of the ledger where this task is.
    fn is_elsewhere(&self, task: TaskId, attempt: AttemptNumber) -> bool {
        self.leases.get(task).is_some() || self.settled.outdates(task, attempt)
    }

    fn window(&mut self, queue: &Queue, tasks: Vec<(TaskId, AttemptNumber)>, more: bool, out: &mut Vec<Output>) {
        if !self.groups.expects_window(queue) {
            out.push(Output::Ignored { why: Ignored::NotAsked });
            return;
        }
        let last = tasks.last().map(|(task, _)| *task);
        let mut tasks = tasks;
        tasks.retain(|(task, attempt)| !self.is_elsewhere(*task, *attempt) && self.delayed.attempt_of(*task).is_none());
        let (settled, remembered) = (self.settled.count(), self.config.remembered as u64);
        self.groups.window(queue, Page { tasks, last, more }, settled, remembered);
    }

    fn delayed_window(&mut self, tasks: Vec<DelayedTask>, more: bool, out: &mut Vec<Output>) {
        let last = tasks.last().map(|delayed| (delayed.until, delayed.task));
        let mut tasks = tasks;
        tasks.retain(|delayed| {
            let elsewhere = self.is_elsewhere(delayed.task, delayed.attempt) || self.settled.is_revived(delayed.task);
            !elsewhere && self.groups.attempt_of(delayed.task).is_none()
        });
        let (settled, remembered) = (self.settled.count(), self.config.remembered as u64);
        if !self.delayed.window(tasks, last, more, settled, remembered) {
            out.push(Output::Ignored { why: Ignored::NotAsked });
        }
    }

    fn tick(&mut self, wall: UnixMillis) {
        for _ in 0..DUE_AT_ONCE {
            // Beyond this the due ones wait where they are: a group that nobody serves must not fill the memory.
            if self.groups.waiting() >= self.config.total.saturating_mul(2) {
                return;
            }
            let Some((task, queue, attempt)) = self.delayed.pop_due(wall) else { return };
            self.groups.put_back(&queue, task, attempt);
        }
    }

    fn member_draining(&mut self, node: NodeId, out: &mut Vec<Output>) {
        match self.members.get_mut(node) {
            Some(member) => {
                member.draining = true;
                self.members.place(node, &mut self.groups);
            }
            None => out.push(Output::Ignored { why: Ignored::UnknownNode }),
        }
    }

    fn member_lost(&mut self, node: NodeId, why: LostWhy, out: &mut Vec<Output>) {
        if let Some(adoption) = &mut self.adoption {
            adoption.awaited.remove(&node);
        }
        self.members.remove(node, &mut self.groups);
        let held: Vec<TaskId> = self.leases.of(node).map(|(task, _)| task).collect();
        held.into_iter().for_each(|task| self.lose(task, why, out));
    }

    /// A hand-out will never be reported on.
    pub(super) fn lose(&mut self, task: TaskId, why: LostWhy, out: &mut Vec<Output>) {
        self.free(task);
        let Some(lease) = self.leases.get(task) else { return };
        let (attempt, fence, node) = (lease.attempt, lease.fence, lease.node);
        match lease.stage {
            Stage::Running | Stage::Unverified => {
                self.leases.set_stage(task, Stage::Losing);
                out.push(Output::AttemptLost { task, attempt, fence, node, why });
            }
            Stage::Cancelling => self.drop_lease(task, None, Next::Final),
            Stage::Ending | Stage::Losing | Stage::Checking => {}
        }
    }

    /// Gives back the slot of a hand-out, once.
    pub(super) fn free(&mut self, task: TaskId) {
        if let Some(lease) = self.leases.get_mut(task)
            && std::mem::take(&mut lease.takes_slot)
        {
            let (node, pod) = (lease.node, lease.pod);
            self.members.free_slot(node, pod, &mut self.groups);
        }
    }

    /// Ends a lease and puts its task where the ledger has it.
    pub(super) fn drop_lease(&mut self, task: TaskId, accepted: Option<Fence>, next: Next) {
        self.free(task);
        let Some(lease) = self.leases.remove(task) else { return };
        let number = match &next {
            Next::Ready { attempt, .. } | Next::Delayed { attempt, .. } => Some(*attempt),
            Next::Final => None,
        };
        self.settled.remember(task, accepted, number);
        match (next, lease.revived) {
            (Next::Ready { queue, attempt }, _) | (Next::Final, Some((queue, attempt))) => self.ready(&queue, task, attempt),
            (Next::Delayed { until, due, queue, attempt }, _) => {
                self.delayed.insert(DelayedTask { until, due, task, queue, attempt });
            }
            (Next::Final, None) => {}
        }
    }

    fn hand_out(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Some(term) = self.term else { return };
        while self.leases.unsettled() < self.config.unsettled {
            let Some((task, IdlePod { node, pod, .. })) = self.groups.next() else { return };
            let Some((queue, attempt)) = self.groups.take(task) else { return };
            self.sequence += 1;
            let fence = Fence { term, sequence: self.sequence };
            let boot = self.members.get(node).map_or(0, |member| member.boot);
            let lease = Lease {
                attempt,
                fence,
                node,
                boot,
                pod,
                queue: Some(queue),
                since: now,
                stage: Stage::Running,
                takes_slot: true,
                revived: None,
                questions: 0,
            };
            self.leases.insert(task, lease);
            self.members.take_slot(node, pod, &mut self.groups);
            out.push(Output::Assign { node, pod, task, attempt, fence });
        }
    }
}
