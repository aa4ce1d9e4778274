//! The HTTP face of a node: routes, JSON for people, CBOR for dunlin's own programs, and the unix socket it listens on.
//!
//! Requests enter, are turned into typed ones for an [`Api`](dunlin_node::api::Api), and its answers leave. Nothing is
//! decided here. A panic while answering fails that request only. A TCP listener with a token would serve the same
//! [`router`].

mod answer;
mod body;
mod call;
mod listen;
mod panic;
mod problem;
mod query;
mod read;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod write;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use dunlin_node::api::{SharedApi, wire};

pub(crate) use listen::{ListenError, MAX_PATH as MAX_SOCKET_PATH};
pub(crate) use server::Server;

/// Every route over one API.
pub(crate) fn router(api: SharedApi) -> Router {
    Router::new()
        .route(wire::CALL_PATH, post(call::call))
        .route("/v1/tasks", post(write::submit).get(read::tasks))
        .route("/v1/tasks/cancel", post(write::cancel))
        .route("/v1/tasks/retry", post(write::retry))
        .route("/v1/tasks/{id}", get(read::task))
        .route("/v1/tasks/{id}/result", get(read::result))
        .route("/v1/tasks/{id}/logs", get(stream::logs))
        .route("/v1/nodes", get(read::nodes))
        .route("/v1/status", get(read::status))
        .route("/v1/events", get(stream::events))
        .route("/healthz", get(read::healthz))
        .route("/readyz", get(read::readyz))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::wrong_method)
        // Bodies are read by `body::read`, which refuses before it buffers; axum's own limit would answer in plain text.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(panic::contain))
        .with_state(api)
}
