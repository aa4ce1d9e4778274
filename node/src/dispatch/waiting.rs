//! What keeps a waiting task waiting, as far as the board knows it: for a person who asks. Nothing here changes anything, and
//! no question takes longer because many tasks wait.

use super::board::Board;
use crate::task::{GroupName, NodeId, Queue, TaskId, UnixMillis};

/// Tasks that are counted before one, at most.
const COUNTED: usize = 10_000;
/// Tasks that are named as those that keep a node's slots busy, at most.
const NAMED: usize = 8;

/// Where a task stands in its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Tasks of its queue that come before it, as far as they are counted.
    pub before: usize,
    /// Whether there are more of them than that.
    pub more: bool,
    /// Whether it may have been handed out by a former leader, so that what the members announce is waited for.
    pub withheld: bool,
    /// Whether nothing is handed out because too many ends wait for the journal.
    pub held_up: bool,
}

/// What a member has for a group's tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The slots of its pods that serve the group.
    pub slots: u64,
    /// Those of them that are taken.
    pub taken: u64,
    /// Whether one of them could be taken now.
    pub free: bool,
    /// Tasks in them, at most a few.
    pub tasks: Vec<TaskId>,
}

impl Board {
    /// Where a task stands that waits in this queue.
    #[must_use]
    pub fn place(&self, task: TaskId, queue: &Queue) -> Place {
        let (before, more) = self.groups.before(queue, task, COUNTED);
        let withheld = self.groups.is_withheld(task);
        Place { before, more, withheld, held_up: self.leases.unsettled() >= self.config.unsettled }
    }

    /// When a delayed task's pause is over by the clock of the ticks, if it is one of those in memory.
    #[must_use]
    pub fn due(&self, task: TaskId) -> Option<UnixMillis> {
        self.delayed.due(task)
    }

    /// Whether the task is in memory as one that waits for a slot.
    #[must_use]
    pub fn is_ready(&self, task: TaskId) -> bool {
        self.groups.attempt_of(task).is_some()
    }

    /// What a member has for a group's tasks, whatever they need; `None` if it has offered nothing that serves it.
    #[must_use]
    pub fn room(&self, node: NodeId, group: &GroupName) -> Option<Room> {
        let mut room = self.members.get(node)?.room(group)?;
        let here = self.leases.of(node).filter(|(_, lease)| lease.takes_slot);
        let serves = |pod| self.members.get(node).is_some_and(|member| member.serves(pod, group));
        room.tasks = here.filter(|(_, lease)| serves(lease.pod)).map(|(task, _)| task).take(NAMED).collect();
        Some(room)
    }
}
