//! For programs: the same JSON as the HTTP face's.

use dunlin_node::api::{EventView, NodeView, StatusView, TaskSummary, TaskView};
use dunlin_node::client::Submitted;
use dunlin_node::task::TaskId;
use serde_json::{Value, json};

use super::Render;
use crate::cli::Diagnosis;
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

    fn waits(&self, view: &TaskView) -> String {
        let running = view.attempts.last().is_some_and(|last| last.outcome.is_none());
        let waits = view.waits.as_ref().map(json::waits);
        line(&json!({ "id": view.task, "state": view.state.name(), "running": running, "waits": waits }))
    }

    fn applied(&self, _done: &str, tasks: &[TaskId]) -> String {
        line(&json::applied(tasks))
    }

    fn event(&self, view: &EventView) -> String {
        line(&json::event(view))
    }

    fn diagnosis(&self, diagnosis: &Diagnosis) -> String {
        let Diagnosis { findings, too_weak, plan, .. } = diagnosis;
        let missing = findings.missing.iter();
        let missing = missing.map(|one| json!({ "layer": one.layer.to_string(), "reason": one.reason, "remedy": one.remedy }));
        line(&json!({
            "level": findings.level,
            "meets_require": !too_weak,
            "memory_enforced": findings.memory_enforced,
            "held": findings.held.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
            "plan": plan,
        }))
    }
}
