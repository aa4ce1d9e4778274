//! Reading a request's body within a limit.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use dunlin_node::api::wire;
use http_body_util::{BodyExt, Limited};

use super::problem::Problem;

/// The largest body of any request in bytes.
pub(super) const MAX_BODY: usize = wire::MAX_REQUEST;

/// The whole body. One that announces too much is refused before a byte of it is read, one that turns out too long as
/// soon as it does.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::malformed(format!("the body ended early: {error}"))),
    }
}

fn too_large() -> Problem {
    let detail = format!("the body is larger than the limit of {MAX_BODY} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
}
