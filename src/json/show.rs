//! Answers as JSON.

use std::time::Duration;

use dunlin_node::api::{
    AttemptView, EventView, NodeView, NodeWaitView, Obstacle, SandboxView, StatusView, TaskResult, TaskSummary, TaskView,
    WaitView,
};
use dunlin_node::task::{Captured, Outcome, Program, TaskId, TaskSpec, TaskState, UnixMillis, Usage};
use serde_json::{Map, Value, json};

use crate::quantity::{show_time, to_base64};

fn seconds(duration: Duration) -> Value {
    // Rounded to microseconds, so that people read 0.25 and not 0.250000001.
    json!((duration.as_secs_f64() * 1e6).round() / 1e6)
}

fn time(at: UnixMillis) -> Value {
    json!(show_time(at.0))
}

/// Bytes as text if they are UTF-8, else as base64; `encoding` says which.
fn bytes(bytes: &[u8]) -> Map<String, Value> {
    let (encoding, data) = match std::str::from_utf8(bytes) {
        Ok(text) => ("utf-8", text.to_owned()),
        Err(_) => ("base64", to_base64(bytes)),
    };
    Map::from_iter([("encoding".to_owned(), json!(encoding)), ("data".to_owned(), json!(data))])
}

/// What was captured of an output.
fn output(captured: &Captured) -> Value {
    let mut object = bytes(&captured.tail);
    object.insert("total_bytes".to_owned(), json!(captured.total));
    object.insert("dropped_bytes".to_owned(), json!(captured.dropped()));
    Value::Object(object)
}

fn outcome(outcome: &Outcome) -> Value {
    json!({ "text": outcome.to_string(), "exit_code": outcome.exit_code(), "success": outcome.is_success(), "detail": outcome })
}

fn usage(usage: &Usage) -> Value {
    json!({
        "wall_seconds": seconds(usage.wall),
        "cpu_seconds": seconds(usage.cpu),
        "memory_peak_bytes": usage.memory_peak,
        "scratch_peak_bytes": usage.scratch_peak,
    })
}

/// The words after a state's name: until when, or why.
pub(crate) fn state_detail(state: &TaskState) -> Option<String> {
    match state {
        TaskState::Delayed { until } => Some(format!("until {}", show_time(until.0))),
        TaskState::Dead(why) => Some(why.to_string()),
        _ => None,
    }
}

fn spec(spec: &TaskSpec) -> Value {
    let program = match &spec.program {
        Program::Command(argv) => ("command", json!(argv)),
        Program::Handler(name) => ("handler", json!(name)),
    };
    let mut limits = Map::new();
    let mut limit = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            limits.insert(name.to_owned(), value);
        }
    };
    limit("timeout_seconds", spec.limits.wall.map(seconds));
    limit("cpu_seconds", spec.limits.cpu.map(seconds));
    limit("memory_bytes", spec.limits.memory.map(Value::from));
    limit("processes", spec.limits.processes.map(Value::from));
    limit("open_files", spec.limits.open_files.map(Value::from));
    limit("file_size_bytes", spec.limits.file_size.map(Value::from));
    limit("scratch_bytes", spec.limits.scratch.map(Value::from));
    limit("output_bytes", spec.limits.output.map(Value::from));
    limit("stdout_bytes", spec.limits.stdout.map(Value::from));
    limit("stderr_bytes", spec.limits.stderr.map(Value::from));
    limit("grace_seconds", spec.limits.grace.map(seconds));
    let mut object = json!({
        "group": spec.group,
        "env": spec.env,
        "label": spec.label,
        "limits": limits,
        "sandbox": spec.sandbox,
        "retry": {
            "attempts": spec.retry.attempts,
            "on_failure": spec.retry.on_failure,
            "backoff_seconds": seconds(spec.retry.backoff),
            "backoff_max_seconds": seconds(spec.retry.backoff_max),
        },
    });
    object[program.0] = program.1;
    object
}

fn attempt(view: &AttemptView) -> Value {
    json!({
        "attempt": view.attempt,
        "node": view.node.to_string(),
        "fence": view.fence.to_string(),
        "running": view.outcome.is_none(),
        "outcome": view.outcome.as_ref().map(outcome),
        "ended_at": view.ended_at.map(time),
        "usage": usage(&view.usage),
    })
}

/// One task.
pub(crate) fn task(view: &TaskView) -> Value {
    json!({
        "id": view.task,
        "state": view.state.name(),
        "state_detail": state_detail(&view.state),
        "final": view.state.is_final(),
        "spec": spec(&view.spec),
        "stdin_bytes": view.stdin_len,
        "submitted_at": time(view.submitted_at),
        "ended_at": view.ended_at.map(time),
        "attempts": view.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "waits": view.waits.as_ref().map(waits),
    })
}

/// Why a task is not running.
pub(crate) fn waits(view: &WaitView) -> Value {
    let node = |node: &NodeWaitView| {
        json!({
            "id": node.node.to_string(),
            "name": node.name,
            "obstacle": kind(&node.obstacle),
            "text": node.obstacle.to_string(),
        })
    };
    json!({
        "cause": view.cause,
        "text": view.text,
        "nodes": view.nodes.iter().map(node).collect::<Vec<_>>(),
        "more_nodes": view.more_nodes,
    })
}

/// A word for an obstacle; what belongs to it is in its text.
fn kind(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Nothing => "nothing",
        Obstacle::Busy { .. } => "busy",
        Obstacle::Paused => "paused",
        Obstacle::Draining => "draining",
        Obstacle::Short(_) => "short",
        Obstacle::Lacks(_) => "lacks",
        Obstacle::OtherGroups => "other_groups",
        Obstacle::NotHeard => "not_heard",
        Obstacle::Lost { .. } => "lost",
    }
}

/// One line of a list of tasks.
pub(crate) fn summary(summary: &TaskSummary) -> Value {
    json!({
        "id": summary.task,
        "state": summary.state,
        "group": summary.group,
        "attempts": summary.attempts,
        "node": summary.node.map(|node| node.to_string()),
        "command": summary.command,
        "submitted_at": time(summary.submitted_at),
        "ended_at": summary.ended_at.map(time),
        "outcome": summary.outcome,
    })
}

/// What a task left.
pub(crate) fn result(result: &TaskResult) -> Value {
    json!({
        "id": result.task,
        "state": result.state.name(),
        "state_detail": state_detail(&result.state),
        "outcome": result.outcome.as_ref().map(outcome),
        "attempt": result.attempt,
        "node": result.node.map(|node| node.to_string()),
        "stdout": output(&result.stdout),
        "stderr": output(&result.stderr),
        "usage": usage(&result.usage),
    })
}

/// How the swarm is.
pub(crate) fn status(view: &StatusView) -> Value {
    let leader = view.leader.as_ref().map(|leader| {
        json!({
            "node": leader.node.to_string(),
            "name": leader.name,
            "why": leader.why,
            "tenure_seconds": seconds(leader.tenure),
        })
    });
    json!({
        "swarm": view.swarm.map(|swarm| swarm.to_string()),
        "node": view.node.to_string(),
        "name": view.name,
        "role": view.role,
        "leader": leader,
        "term": view.term,
        "voters": view.voters.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "age_seconds": seconds(view.age),
        "tasks": view.tasks.iter().map(|(state, count)| (state.clone(), json!(count))).collect::<Map<_, _>>(),
        "journal_index": view.journal_index,
        "journal_bytes_written": view.journal_bytes_written,
        "warnings": view.warnings,
    })
}

fn sandbox(view: &SandboxView) -> Value {
    json!({
        "level": view.level,
        "memory_enforced": view.memory_enforced,
        "required": view.required,
        "takes_tasks": view.is_enough(),
    })
}

/// One node.
pub(crate) fn node(view: &NodeView) -> Value {
    let pods: Vec<_> =
        view.pods.iter().map(|pod| json!({ "groups": pod.groups, "slots": pod.slots, "running": pod.running })).collect();
    json!({
        "id": view.node.to_string(),
        "name": view.name,
        "rank": view.rank,
        "state": view.state,
        "role": view.role,
        "last_heard_seconds": view.last_heard.map(seconds),
        "pods": pods,
        "sandbox": view.sandbox.as_ref().map(sandbox),
        "address": view.address,
        "version": view.version,
    })
}

/// One line of the history.
pub(crate) fn event(view: &EventView) -> Value {
    json!({
        "seq": view.seq,
        "at": time(view.at),
        "term": view.term,
        "kind": view.kind,
        "task": view.task,
        "node": view.node.map(|node| node.to_string()),
        "attempt": view.attempt,
        "text": view.text,
    })
}

/// The answer to a submission.
pub(crate) fn submitted(ids: &[(TaskId, bool)]) -> Value {
    let tasks: Vec<_> = ids.iter().map(|(task, duplicate)| json!({ "id": task, "duplicate": duplicate })).collect();
    json!({ "tasks": tasks })
}

/// The answer to a cancel or a retry.
pub(crate) fn applied(ids: &[TaskId]) -> Value {
    json!({ "tasks": ids })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::bytes::Bytes;

    #[test]
    fn outputs_are_text_when_they_can_be_and_base64_when_not() {
        let text = output(&Captured { tail: Bytes::from("hé\n"), total: 10 });
        assert_eq!(text, json!({ "encoding": "utf-8", "data": "hé\n", "total_bytes": 10, "dropped_bytes": 6 }));
        let binary = output(&Captured { tail: Bytes::from_static(&[0xff, 0xfe]), total: 2 });
        assert_eq!(binary, json!({ "encoding": "base64", "data": "//4=", "total_bytes": 2, "dropped_bytes": 0 }));
    }

    #[test]
    fn outcomes_carry_words_a_code_and_the_detail() {
        let json = outcome(&Outcome::TimedOut { limit: Duration::from_secs(5) });
        assert_eq!(json["text"], "killed: ran longer than 5s");
        assert_eq!(json["exit_code"], 124);
        assert_eq!(json["success"], false);
    }
}
