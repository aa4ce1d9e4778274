//! Hand-outs that are not settled, and the memory of those that were.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::board::LeaseView;
use crate::task::{AttemptNumber, Fence, GroupName, NodeId, PodId, TaskId};

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
    pub(super) group: Option<Arc<GroupName>>,
    pub(super) since: Duration,
    pub(super) stage: Stage,
    pub(super) takes_slot: bool,
    /// The task was queued again by hand before this hand-out was over.
    pub(super) revived: Option<(GroupName, AttemptNumber)>,
}

impl Lease {
    pub(super) fn is(&self, node: NodeId, fence: Fence) -> bool {
        self.node == node && self.fence == fence
    }

    pub(super) fn view(&self) -> LeaseView {
        LeaseView {
            attempt: self.attempt,
            fence: self.fence,
            node: self.node,
            pod: self.pod,
            ended: matches!(self.stage, Stage::Ending | Stage::Losing),
        }
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
        self.unsettled += usize::from(matches!(lease.stage, Stage::Ending | Stage::Losing));
        self.by_task.insert(task, lease);
    }

    pub(super) fn set_stage(&mut self, task: TaskId, stage: Stage) {
        if let Some(lease) = self.by_task.get_mut(&task) {
            self.unsettled -= usize::from(matches!(lease.stage, Stage::Ending | Stage::Losing));
            lease.stage = stage;
            self.unsettled += usize::from(matches!(stage, Stage::Ending | Stage::Losing));
        }
    }

    pub(super) fn remove(&mut self, task: TaskId) -> Option<Lease> {
        let lease = self.by_task.remove(&task)?;
        self.unsettled -= usize::from(matches!(lease.stage, Stage::Ending | Stage::Losing));
        if let Some(tasks) = self.by_node.get_mut(&lease.node) {
            tasks.remove(&task);
            if tasks.is_empty() {
                self.by_node.remove(&lease.node);
            }
        }
        Some(lease)
    }
}

/// The last tasks that were settled: a page of the ledger that was read before may still list them, and a report of them
/// may come twice.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    limit: usize,
    /// Counts all there ever were.
    count: u64,
    order: VecDeque<(u64, TaskId)>,
    by_task: BTreeMap<TaskId, (u64, Option<Fence>)>,
}

impl Settled {
    pub(super) fn new(limit: usize) -> Self {
        Settled { limit, count: 0, order: VecDeque::new(), by_task: BTreeMap::new() }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Remembers a task; with the fence of the report that was accepted, if one was.
    pub(super) fn remember(&mut self, task: TaskId, accepted: Option<Fence>) {
        self.count += 1;
        self.by_task.insert(task, (self.count, accepted));
        self.order.push_back((self.count, task));
        while self.order.len() > self.limit {
            if let Some((number, oldest)) = self.order.pop_front()
                && self.by_task.get(&oldest).is_some_and(|(current, _)| *current == number)
            {
                self.by_task.remove(&oldest);
            }
        }
    }

    /// The task is alive again.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.by_task.remove(&task);
    }

    pub(super) fn contains(&self, task: TaskId) -> bool {
        self.by_task.contains_key(&task)
    }

    pub(super) fn accepted(&self, task: TaskId, fence: Fence) -> bool {
        self.by_task.get(&task).is_some_and(|(_, accepted)| *accepted == Some(fence))
    }
}
