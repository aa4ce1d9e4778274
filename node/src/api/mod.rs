//! The typed requests that clients, the HTTP face and forwarding nodes all speak.
//!
//! A [`Request`] enters on any node, goes to the leader if it must, and comes back as a [`Response`] or an [`ApiError`].

use std::sync::Arc;

use futures::future::BoxFuture;

mod request;
mod response;
#[cfg(test)]
pub(crate) mod samples;
mod waits;
pub mod wire;

pub use request::{Request, TaskFilter, TaskSelector};
pub use response::{
    ApiError, AttemptView, EventKind, EventView, LeaderView, MemberState, NodeView, OutputChunk, PodView, Response, SandboxView,
    StatusView, TaskResult, TaskSummary, TaskView,
};

pub use waits::{NodeWaitView, Obstacle, WaitCause, WaitView};

/// Whatever can answer requests: a running node, or a client of one.
pub trait Api: Send + Sync + 'static {
    /// Carries out one request, on the leader if it must be there; bounded in time by the request's own patience plus 30 s.
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Response, ApiError>>;
}

/// An API as the HTTP face and the command line hold it.
pub type SharedApi = Arc<dyn Api>;
