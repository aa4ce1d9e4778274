//! For programs: the same JSON as the HTTP face's.

use dunlin_node::api::{EventView, NodeView, StatusView, TaskSummary, TaskView};
use dunlin_node::client::Submitted;
use dunlin_node::task::TaskId;
use serde_json::{Value, json};

use super::Render;
use crate::json;

/// See [`super::Format::Json`].
pub(crate) struct Json;

fn line(value: &Value) -> String {
    format!("{value}\n")
}

impl Render for Json {
    fn submitted(&self, tasks: &[Submitted]) -> String {
        let tasks: Vec<_> = tasks
            .iter()
            .map(|submitted| json!({ "id": submitted.task, "duplicate": submitted.duplicate, "key": submitted.key }))
            .collect();
        line(&json!({ "tasks": tasks }))
    }

    fn status(&self, view: &StatusView) -> String {
        line(&json::status(view))
    }

    fn nodes(&self, views: &[NodeView]) -> String {
        line(&json!({ "nodes": views.iter().map(json::node).collect::<Vec<_>>() }))
    }

    fn tasks(&self, tasks: &[TaskSummary]) -> String {
        line(&json!({ "tasks": tasks.iter().map(json::summary).collect::<Vec<_>>() }))
    }

    fn task(&self, view: &TaskView) -> String {
        line(&json::task(view))
    }

    fn applied(&self, _done: &str, tasks: &[TaskId]) -> String {
        line(&json::applied(tasks))
    }

    fn event(&self, view: &EventView) -> String {
        line(&json::event(view))
    }
}
