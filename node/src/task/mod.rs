//! The nouns of the house: what a task is, what an attempt of it is, how it can end.
//!
//! Nothing enters or leaves here and nothing is decided here; every other room
//! speaks in these words. This room imports nothing of the house.

mod denial;
pub(crate) mod encoding;
mod findings;
mod id;
mod level;
mod need;
mod outcome;
mod pod;
mod spec;
mod state;
#[cfg(test)]
pub(crate) mod strategies;
#[cfg(test)]
mod tests;

pub use denial::Denial;
pub use findings::{Findings, Layer, MAX_LAYERS, MAX_WORDS, Missing, Property};
pub use id::{
    AttemptNumber, Fence, GroupName, HandlerName, IdempotencyKey, InvalidName, NodeId, SwarmId, TaskId, Term, UnixMillis,
};
pub use level::{Level, Network, UnknownWord};
pub use need::{Need, Queue, SandboxSpec};
pub use outcome::{AttemptEnd, Captured, LostWhy, Outcome, Usage};
pub use pod::{HeldAttempt, MemberRole, Pod, PodId};
pub use spec::{DEFAULT_KEPT_OUTPUT, Limits, MAX_KEPT_OUTPUT, Program, RetryPolicy, TaskSpec};
pub use state::{AttemptRecord, DeadWhy, TaskRecord, TaskState};
