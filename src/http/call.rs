//! `POST /v1/call`: typed requests in CBOR, one to one, for the library client and the command line.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dunlin_node::api::{ApiError, SharedApi, wire};

use super::body;
use super::problem::Problem;

/// Answers in CBOR, refusals too; only a request that is not CBOR at all gets a problem in JSON.
pub(super) async fn call(State(api): State<SharedApi>, headers: HeaderMap, body: Body) -> Response {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != wire::CBOR) {
        let detail = format!("this route takes {} only; people and scripts use the other routes", wire::CBOR);
        let title = "The route takes another media type";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", title, detail).into_response();
    }
    let bytes = match body::read(&headers, body).await {
        Ok(bytes) => bytes,
        Err(problem) => return refuse(&ApiError::Invalid(problem.detail)),
    };
    let request = match wire::decode_request(&bytes) {
        Ok(request) => request,
        Err(error) => return refuse(&ApiError::Invalid(error.to_string())),
    };
    match api.handle(request).await {
        Ok(response) => cbor(StatusCode::OK, wire::encode_response(&response)),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &ApiError) -> Response {
    cbor(Problem::from(error.clone()).status, wire::encode_error(error))
}

fn cbor(status: StatusCode, bytes: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, wire::CBOR)], bytes).into_response()
}
