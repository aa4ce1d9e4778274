//! Hand-outs that are not settled, and the memory of those that were.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::board::LeaseView;
use crate::task::{AttemptNumber, Fence, NodeId, PodId, Queue, TaskId};

/// Where a hand-out stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The member has it.
    Running,
    /// As `Running`, announced to this leader; whether the ledger agrees is being asked.
    Unverified,
    /// Its task was cancelled; the member has been told.
    Cancelling,
    /// Its report has arrived and is being written.
    Ending,
    /// Its loss is being written.
    Losing,
    /// Its end was written, and the task queued again by hand at about the same time: the ledger is being asked.
    Checking,
}

impl Stage {
    /// Whether nothing more is expected of the member.
    pub(super) fn is_ended(self) -> bool {
        matches!(self, Stage::Ending | Stage::Losing | Stage::Checking)
    }
}

/// One hand-out.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) attempt: AttemptNumber,
    pub(super) fence: Fence,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) pod: PodId,
    /// Unknown for an adopted one until the ledger has been asked.
    pub(super) queue: Option<Queue>,
    pub(super) since: Duration,
    pub(super) stage: Stage,
    pub(super) takes_slot: bool,
    /// The task was queued again by hand before this hand-out was over.
    pub(super) revived: Option<(Queue, AttemptNumber)>,
    /// Questions to the ledger that were not answered: only the answer to the last one counts.
    pub(super) questions: u32,
}

impl Lease {
    pub(super) fn is(&self, node: NodeId, fence: Fence) -> bool {
        self.node == node && self.fence == fence
    }

    pub(super) fn view(&self) -> LeaseView {
        LeaseView { attempt: self.attempt, fence: self.fence, node: self.node, pod: self.pod, ended: self.stage.is_ended() }
    }
}

/// Every hand-out that is not settled.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    by_task: BTreeMap<TaskId, Lease>,
    by_node: BTreeMap<NodeId, BTreeSet<TaskId>>,
    unsettled: usize,
}

impl Leases {
    pub(super) fn len(&self) -> usize {
        self.by_task.len()
    }

    /// Hand-outs whose end is being written.
    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Lease> {
        self.by_task.get(&task)
    }

    pub(super) fn get_mut(&mut self, task: TaskId) -> Option<&mut Lease> {
        self.by_task.get_mut(&task)
    }

    pub(super) fn of(&self, node: NodeId) -> impl Iterator<Item = (TaskId, &Lease)> {
        let tasks = self.by_node.get(&node).into_iter().flatten();
        tasks.filter_map(|task| self.by_task.get(task).map(|lease| (*task, lease)))
    }

    pub(super) fn insert(&mut self, task: TaskId, lease: Lease) {
        self.by_node.entry(lease.node).or_default().insert(task);
        self.unsettled += usize::from(lease.stage.is_ended());
        self.by_task.insert(task, lease);
    }

    pub(super) fn set_stage(&mut self, task: TaskId, stage: Stage) {
        if let Some(lease) = self.by_task.get_mut(&task) {
            self.unsettled -= usize::from(lease.stage.is_ended());
            lease.stage = stage;
            self.unsettled += usize::from(stage.is_ended());
        }
    }

    pub(super) fn remove(&mut self, task: TaskId) -> Option<Lease> {
        let lease = self.by_task.remove(&task)?;
        self.unsettled -= usize::from(lease.stage.is_ended());
        if let Some(tasks) = self.by_node.get_mut(&lease.node) {
            tasks.remove(&task);
            if tasks.is_empty() {
                self.by_node.remove(&lease.node);
            }
        }
        Some(lease)
    }
}

/// The last tasks whose place changed: a page of the ledger that was read before may still list them as they were, and a
/// report of them may come twice.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    limit: usize,
    /// Counts all there ever were.
    count: u64,
    order: VecDeque<(u64, TaskId)>,
    by_task: BTreeMap<TaskId, Past>,
}

#[derive(Clone, Copy, Debug)]
struct Past {
    number: u64,
    /// The fence of the report that was accepted, if one was.
    accepted: Option<Fence>,
    /// The number of the next attempt; none if the task had ended.
    next: Option<AttemptNumber>,
    /// It was queued again by hand: it waits for no time.
    revived: bool,
}

impl Settled {
    pub(super) fn new(limit: usize) -> Self {
        Settled { limit, count: 0, order: VecDeque::new(), by_task: BTreeMap::new() }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_task.len().max(self.order.len())
    }

    /// Remembers a task.
    pub(super) fn remember(&mut self, task: TaskId, accepted: Option<Fence>, next: Option<AttemptNumber>) {
        self.count += 1;
        self.by_task.insert(task, Past { number: self.count, accepted, next, revived: false });
        self.order.push_back((self.count, task));
        while self.order.len() > self.limit {
            if let Some((number, oldest)) = self.order.pop_front()
                && self.by_task.get(&oldest).is_some_and(|past| past.number == number)
            {
                self.by_task.remove(&oldest);
            }
        }
    }

    /// The task was queued again by hand.
    pub(super) fn revive(&mut self, task: TaskId, next: AttemptNumber) {
        if let Some(past) = self.by_task.get_mut(&task) {
            past.next = Some(next);
            past.revived = true;
        }
    }

    /// Whether the task is known not to wait for a time.
    pub(super) fn is_revived(&self, task: TaskId) -> bool {
        self.by_task.get(&task).is_some_and(|past| past.revived)
    }

    /// Whether an attempt of the task with this number is known not to be the next one.
    pub(super) fn outdates(&self, task: TaskId, attempt: AttemptNumber) -> bool {
        self.by_task.get(&task).is_some_and(|past| past.next != Some(attempt))
    }

    pub(super) fn accepted(&self, task: TaskId, fence: Fence) -> bool {
        self.by_task.get(&task).is_some_and(|past| past.accepted == Some(fence))
    }
}
