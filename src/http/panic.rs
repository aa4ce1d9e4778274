//! A panic while one request is answered fails that request only.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::problem::Problem;

/// Answers 500 where a handler panicked. The panic's own message has gone to the log by the panic hook; it is not sent to
/// the caller. Nothing of the request's state is used afterwards, so unwinding through it is safe.
pub(super) async fn contain(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => Problem::internal("a defect in this node stopped the request; its log says where").into_response(),
    }
}
