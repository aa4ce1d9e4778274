//! Where a task stands, as the ledger keeps it. "Running" is not here: a hand-out is a lease in the leader's memory.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{AttemptNumber, Fence, NodeId, TaskId, UnixMillis};
use super::outcome::{Outcome, Usage};

/// Where a task stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It may be handed out (or has been: that is known to the leader only).
    Queued,
    /// An attempt failed; it may be handed out again at this time.
    Delayed {
        /// When, by the leader's wall clock.
        until: UnixMillis,
    },
    /// An attempt succeeded. Final.
    Succeeded,
    /// It will not be tried again unless a person says so. Final.
    Dead(DeadWhy),
    /// Somebody cancelled it. Final.
    Cancelled,
}

impl TaskState {
    /// Whether the task has reached the end of its way.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, TaskState::Succeeded | TaskState::Dead(_) | TaskState::Cancelled)
    }

    /// The state's name: `queued`, `delayed`, `succeeded`, `dead` or `cancelled`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            TaskState::Queued => "queued",
            TaskState::Delayed { .. } => "delayed",
            TaskState::Succeeded => "succeeded",
            TaskState::Dead(_) => "dead",
            TaskState::Cancelled => "cancelled",
        }
    }
}

/// Why a task was parked as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadWhy {
    /// Its last allowed attempt failed.
    AttemptsExhausted,
    /// It failed by itself and its policy says that such a failure is not retried.
    NotRetried,
}

impl fmt::Display for DeadWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeadWhy::AttemptsExhausted => "all attempts failed",
            DeadWhy::NotRetried => "it failed and is not to be retried",
        })
    }
}

/// The changing part of a task, one small row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The task.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// When it was submitted, by the leader's wall clock.
    pub submitted_at: UnixMillis,
    /// When it reached its final state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMillis>,
    /// Every attempt that ended, oldest first; bounded by the retry policy and by manual retries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptRecord>,
    /// Attempts that ended before the last manual retry; they do not count against the policy.
    #[serde(default)]
    pub forgiven: u32,
}

impl TaskRecord {
    /// The number that the next attempt will carry.
    #[must_use]
    pub fn next_attempt(&self) -> AttemptNumber {
        AttemptNumber(self.attempts.last().map_or(0, |last| last.attempt.0) + 1)
    }
}

/// What the ledger keeps of an attempt that ended, beside its outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Which attempt.
    pub attempt: AttemptNumber,
    /// The hand-out.
    pub fence: Fence,
    /// Where it ran.
    pub node: NodeId,
    /// How it ended.
    pub outcome: Outcome,
    /// When the leader learnt of it, by its wall clock.
    pub ended_at: UnixMillis,
    /// What it used.
    pub usage: Usage,
}
