//! Why something that happened, or is said to have happened, does not count.

use serde::{Deserialize, Serialize};

/// Why the fold, or the leader before it, lets something not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// The entry's leadership is over.
    #[error("the leadership that proposed it is over")]
    Fenced,
    /// No such task.
    #[error("there is no such task")]
    UnknownTask,
    /// The task is already in a final state.
    #[error("the task has already ended")]
    AlreadyEnded,
    /// The task was handed out again, or that attempt has ended.
    #[error("the attempt has been replaced by a later one")]
    StaleAttempt,
    /// Only a dead or cancelled task can be queued again.
    #[error("the task has not ended")]
    NotEnded,
}
