//! Routes that change something.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response as HttpResponse;
use dunlin_node::api::{Request, SharedApi};
use dunlin_node::task::{IdempotencyKey, TaskSpec};

use super::answer::answer;
use super::body;
use super::problem::Problem;
use crate::json;

/// The header that makes a repeated submission harmless.
const KEY_HEADER: &str = "idempotency-key";

pub(super) async fn submit(State(api): State<SharedApi>, headers: HeaderMap, body: Body) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&headers, body).await?;
    let mut tasks = json::tasks_from_json(&bytes).map_err(Problem::malformed)?;
    if let Some(key) = headers.get(KEY_HEADER) {
        let key = key.to_str().map_err(|_| Problem::malformed("the Idempotency-Key header is not ASCII"))?;
        give_keys(&mut tasks, key).map_err(Problem::malformed)?;
    }
    answer(&api, Request::Submit { tasks }).await
}

/// The header's key for one task; for several, `key/0`, `key/1` …, so that the whole batch can be repeated.
fn give_keys(tasks: &mut [(TaskSpec, Option<IdempotencyKey>)], key: &str) -> Result<(), String> {
    let is_one = tasks.len() == 1;
    for (index, (_, own)) in tasks.iter_mut().enumerate() {
        if own.is_some() {
            return Err("give the key either in the Idempotency-Key header or in the task".to_owned());
        }
        let text = if is_one { key.to_owned() } else { format!("{key}/{index}") };
        *own = Some(text.parse().map_err(|error: dunlin_node::task::InvalidName| error.to_string())?);
    }
    Ok(())
}

pub(super) async fn cancel(State(api): State<SharedApi>, headers: HeaderMap, body: Body) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&headers, body).await?;
    let which = json::selector_from_json(&bytes).map_err(Problem::malformed)?;
    answer(&api, Request::Cancel(which)).await
}

pub(super) async fn retry(State(api): State<SharedApi>, headers: HeaderMap, body: Body) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&headers, body).await?;
    let which = json::selector_from_json(&bytes).map_err(Problem::malformed)?;
    answer(&api, Request::Retry(which)).await
}
