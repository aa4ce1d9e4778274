//! Routes that only look.

use axum::extract::{Path, State};
use axum::response::Response as HttpResponse;
use dunlin_node::api::{Request, Response, SharedApi, TaskFilter};
use dunlin_node::task::{GroupName, TaskId};
use serde::Deserialize;

use super::answer::answer;
use super::problem::Problem;
use super::query::{Parameters, task_id};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    group: Option<GroupName>,
    before: Option<u64>,
    limit: Option<u32>,
}

pub(super) async fn tasks(
    State(api): State<SharedApi>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let filter = TaskFilter {
        state: query.state,
        group: query.group,
        before: query.before.map(TaskId),
        limit: query.limit.unwrap_or_default(),
    };
    answer(&api, Request::Tasks(filter)).await
}

pub(super) async fn task(State(api): State<SharedApi>, Path(id): Path<String>) -> Result<HttpResponse, Problem> {
    answer(&api, Request::Task(task_id(&id)?)).await
}

pub(super) async fn result(State(api): State<SharedApi>, Path(id): Path<String>) -> Result<HttpResponse, Problem> {
    answer(&api, Request::Result(task_id(&id)?)).await
}

pub(super) async fn nodes(State(api): State<SharedApi>) -> Result<HttpResponse, Problem> {
    answer(&api, Request::Nodes).await
}

pub(super) async fn status(State(api): State<SharedApi>) -> Result<HttpResponse, Problem> {
    answer(&api, Request::Status).await
}

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The node knows a leader, so that a submission would be taken.
pub(super) async fn readyz(State(api): State<SharedApi>) -> Result<&'static str, Problem> {
    match api.handle(Request::Status).await? {
        Response::Status(view) if view.leader.is_some() => Ok("ready\n"),
        _ => Err(Problem::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "no-leader",
            "No leader with a majority answers",
            "this node knows no leader now",
        )),
    }
}
