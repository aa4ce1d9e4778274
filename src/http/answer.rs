//! Asking the API and turning what it answers into JSON.

use axum::Json;
use axum::response::{IntoResponse, Response as HttpResponse};
use dunlin_node::api::{Request, Response, SharedApi};
use serde_json::{Value, json};

use super::problem::Problem;
use crate::json;

/// Carries out one typed request and shows its answer as JSON.
pub(super) async fn answer(api: &SharedApi, request: Request) -> Result<HttpResponse, Problem> {
    let response = api.handle(request).await?;
    Ok(Json(show(&response)).into_response())
}

fn show(response: &Response) -> Value {
    match response {
        Response::Submitted(ids) => json::submitted(ids),
        Response::Status(view) => json::status(view),
        Response::Nodes(views) => json!({ "nodes": views.iter().map(json::node).collect::<Vec<_>>() }),
        Response::Tasks(tasks) => json!({ "tasks": tasks.iter().map(json::summary).collect::<Vec<_>>() }),
        Response::Task(view) => json::task(view),
        Response::Result(result) => json::result(result),
        Response::Output(chunk) => json!({ "from": chunk.from, "bytes": chunk.bytes.len(), "end": chunk.end }),
        Response::Applied(ids) => json::applied(ids),
        Response::Events(events) => json!({ "events": events.iter().map(json::event).collect::<Vec<_>>() }),
        Response::Done => json!({}),
    }
}
