//! What can be asked of a swarm.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sandbox::OutputStream;
use crate::task::{GroupName, IdempotencyKey, NodeId, TaskId, TaskSpec};

/// One request, to any node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Queue tasks; answered with [`Response::Submitted`](super::Response::Submitted) when they are on a majority of disks.
    /// All or none of them are taken (they travel in one entry). At most 1,000 and 2 MiB.
    Submit {
        /// The tasks, each with the key that makes a second try harmless.
        tasks: Vec<(TaskSpec, Option<IdempotencyKey>)>,
    },
    /// Who leads, and how the swarm is.
    Status,
    /// Every node known.
    Nodes,
    /// Tasks, newest first.
    Tasks(TaskFilter),
    /// One task with its attempts.
    Task(TaskId),
    /// One task's outputs.
    Result(TaskId),
    /// Waits until the task is final, at most this long; answered with [`Response::Task`](super::Response::Task) either way.
    Wait {
        /// The task.
        task: TaskId,
        /// At most this long; longer than 30 s is cut to that.
        patience: Duration,
    },
    /// What a task's current (or last) attempt has written from an offset on; waits for more for at most `patience`.
    Output {
        /// The task.
        task: TaskId,
        /// Which output.
        stream: OutputStream,
        /// Bytes already had.
        from: u64,
        /// At most this long; longer than 30 s is cut to that.
        patience: Duration,
    },
    /// Cancel tasks.
    Cancel(TaskSelector),
    /// Queue dead or cancelled tasks again.
    Retry(TaskSelector),
    /// The history from a sequence number on; waits for the first new one for at most `patience`.
    Events {
        /// The first wanted.
        from: u64,
        /// How many at most; cut to 1,000.
        limit: u32,
        /// At most this long; longer than 30 s is cut to that.
        patience: Duration,
    },
    /// Finish what runs, take nothing new, then leave.
    Drain(NodeId),
}

/// Which tasks to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskFilter {
    /// Only in this state: `queued`, `running`, `delayed`, `succeeded`, `dead`, `cancelled`.
    pub state: Option<String>,
    /// Only of this group.
    pub group: Option<GroupName>,
    /// Only older than this task (for the next page).
    pub before: Option<TaskId>,
    /// How many at most; 0 means 100, and more than 1,000 is cut to that.
    pub limit: u32,
}

/// Which tasks to act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskSelector {
    /// These.
    Ids(Vec<TaskId>),
    /// From the first to the last, both included.
    Range(TaskId, TaskId),
    /// The newest task of the swarm.
    Last,
    /// Every task to which the act applies: all that have not ended for cancel, all dead ones for retry.
    All,
}
