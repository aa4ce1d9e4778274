//! What stands in paths and query strings, read strictly: an unknown parameter is an error.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use dunlin_node::task::TaskId;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A query string as `T` (which denies unknown fields), with refusals as problems.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Problem::malformed(format!("the query string: {}", error.body_text())))?;
        Ok(Parameters(value))
    }
}

/// A task's id from a path.
pub(super) fn task_id(text: &str) -> Result<TaskId, Problem> {
    let shown: String = text.chars().take(80).collect();
    text.parse().map(TaskId).map_err(|_| Problem::malformed(format!("{shown:?} is not a task's id; ids are numbers")))
}
