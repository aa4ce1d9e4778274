//! Errors as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dunlin_node::api::ApiError;
use serde_json::json;

/// One refused request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The last part of the problem's type, which is stable and meant for programs.
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Problem { status, kind, title, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "malformed", "The request can't be understood", detail)
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The node failed to answer", detail)
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let detail = error.to_string();
        let (status, kind, title) = match error {
            ApiError::NoLeader { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no-leader", "No leader with a majority answers"),
            ApiError::NotFound { .. } => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            ApiError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request breaks a rule"),
            ApiError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Something is over its size limit"),
            ApiError::Overloaded(_) => (StatusCode::TOO_MANY_REQUESTS, "overloaded", "The swarm takes no new tasks now"),
            ApiError::NotEnded(_) => (StatusCode::CONFLICT, "not-ended", "The task has not ended yet"),
            ApiError::Internal(_) => return Problem::internal(detail),
        };
        Problem { status, kind, title, detail }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:dunlin:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// For paths that no route has.
pub(super) async fn no_route(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    let detail = format!("there is nothing at {path}; the routes are below /v1, and /healthz and /readyz");
    Problem::new(StatusCode::NOT_FOUND, "no-route", "There is no such route", detail)
}

/// For routes that exist, but not with this method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    let detail = format!("{path} does not answer {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "The route has no such method", detail)
}
