//! A described task, or many, from JSON. Unknown fields are errors: a limit that was misspelt must not be ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dunlin_node::api::TaskSelector;
use dunlin_node::task::{GroupName, HandlerName, IdempotencyKey, Limits, Program, RetryPolicy, SandboxSpec, TaskId, TaskSpec};
use serde::Deserialize;

use crate::quantity::{from_base64, parse_duration};

/// The most tasks in one request.
const MAX_TASKS: usize = 1000;

#[derive(Deserialize)]
#[serde(untagged)]
enum Quantity {
    Seconds(f64),
    Text(String),
}

impl Quantity {
    fn duration(self) -> Result<Duration, String> {
        match self {
            Quantity::Seconds(seconds) => {
                Duration::try_from_secs_f64(seconds).map_err(|_| format!("{seconds} is not a number of seconds"))
            }
            Quantity::Text(text) => parse_duration(&text),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    command: Option<Vec<String>>,
    handler: Option<HandlerName>,
    group: Option<GroupName>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    stdin: Option<String>,
    stdin_base64: Option<String>,
    timeout: Option<Quantity>,
    memory: Option<u64>,
    processes: Option<u32>,
    scratch: Option<u64>,
    output: Option<u64>,
    grace: Option<Quantity>,
    attempts: Option<u32>,
    retry_on_failure: Option<bool>,
    label: Option<String>,
    #[serde(default)]
    sandbox: SandboxSpec,
    key: Option<IdempotencyKey>,
}

/// Reads one task (an object) or several (an array).
///
/// # Errors
/// In words: which task, which field, which rule.
pub(crate) fn tasks_from_json(json: &[u8]) -> Result<Vec<(TaskSpec, Option<IdempotencyKey>)>, String> {
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
    let described: Vec<Described> = match first {
        Some(b'[') => serde_json::from_slice(json).map_err(|error| error.to_string())?,
        _ => vec![serde_json::from_slice(json).map_err(|error| error.to_string())?],
    };
    match described.len() {
        0 => return Err("the array holds no task".to_owned()),
        1..=MAX_TASKS => {}
        more => return Err(format!("{more} tasks in one request; the limit is {MAX_TASKS}")),
    }
    let numbered = described.into_iter().enumerate();
    numbered.map(|(index, task)| typed(task).map_err(|why| format!("task {index}: {why}"))).collect()
}

fn typed(task: Described) -> Result<(TaskSpec, Option<IdempotencyKey>), String> {
    let program = match (task.command, task.handler) {
        (Some(argv), None) if !argv.is_empty() => Program::Command(argv),
        (Some(_), None) => return Err("`command` is empty; it is the program and its arguments".to_owned()),
        (None, Some(name)) => Program::Handler(name),
        _ => return Err("give either `command` (an array of strings) or `handler` (a name)".to_owned()),
    };
    let stdin = match (task.stdin, task.stdin_base64) {
        (Some(_), Some(_)) => return Err("give either `stdin` or `stdin_base64`".to_owned()),
        (Some(text), None) => Bytes::from(text),
        (None, Some(text)) => from_base64(&text).map_err(|why| format!("`stdin_base64`: {why}"))?.into(),
        (None, None) => Bytes::new(),
    };
    let retry = RetryPolicy::default();
    let spec = TaskSpec {
        group: task.group.unwrap_or_default(),
        program,
        env: task.env,
        stdin,
        limits: Limits {
            wall: task.timeout.map(Quantity::duration).transpose().map_err(|why| format!("`timeout`: {why}"))?,
            grace: task.grace.map(Quantity::duration).transpose().map_err(|why| format!("`grace`: {why}"))?,
            memory: task.memory,
            processes: task.processes,
            scratch: task.scratch,
            output: task.output,
            ..Limits::default()
        },
        retry: RetryPolicy {
            attempts: task.attempts.unwrap_or(retry.attempts),
            on_failure: task.retry_on_failure.unwrap_or(retry.on_failure),
            ..retry
        },
        label: task.label,
        sandbox: task.sandbox,
    };
    Ok((spec, task.key))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selected {
    ids: Option<Vec<u64>>,
    from: Option<u64>,
    to: Option<u64>,
    #[serde(default)]
    last: bool,
    #[serde(default)]
    all: bool,
}

/// Reads which tasks to act on: `{"ids": [1, 2]}`, `{"from": 1, "to": 5}`, `{"last": true}` or `{"all": true}`.
///
/// # Errors
/// In words.
pub(crate) fn selector_from_json(json: &[u8]) -> Result<TaskSelector, String> {
    let selected: Selected = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    match (selected.ids, selected.from, selected.to, selected.last, selected.all) {
        (Some(ids), None, None, false, false) => Ok(TaskSelector::Ids(ids.into_iter().map(TaskId).collect())),
        (None, Some(from), Some(to), false, false) if from <= to => Ok(TaskSelector::Range(TaskId(from), TaskId(to))),
        (None, None, None, true, false) => Ok(TaskSelector::Last),
        (None, None, None, false, true) => Ok(TaskSelector::All),
        _ => Err("say which tasks in exactly one way: {\"ids\": [1, 2]}, {\"from\": 1, \"to\": 5}, {\"last\": true} \
                  or {\"all\": true}"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_read_with_all_its_fields() {
        let json = br#"{"command":["sort","-u"],"group":"gpu","env":{"A":"b"},"stdin_base64":"/w==","timeout":"1m","grace":0.5,
            "attempts":1,"retry_on_failure":false,"label":"x","key":"k1"}"#;
        let (spec, key) = tasks_from_json(json).unwrap().remove(0);
        assert_eq!(spec.program, Program::Command(vec!["sort".into(), "-u".into()]));
        assert_eq!(spec.stdin, Bytes::from_static(&[0xff]));
        assert_eq!(spec.limits.wall, Some(Duration::from_secs(60)));
        assert_eq!(spec.limits.grace, Some(Duration::from_millis(500)));
        assert_eq!((spec.retry.attempts, spec.retry.on_failure), (1, false));
        assert_eq!(key.unwrap().as_str(), "k1");
    }

    #[test]
    fn mistakes_are_told_in_words() {
        let told = |json: &str| tasks_from_json(json.as_bytes()).unwrap_err();
        assert!(told(r#"{"command":["x"],"tiemout":3}"#).contains("tiemout"));
        assert!(told(r#"{"command":[]}"#).contains("`command` is empty"));
        assert!(told(r#"[{"command":["x"]},{}]"#).starts_with("task 1: give either"));
        assert!(told(r#"{"command":["x"],"group":"Big"}"#).contains("group name"));
        assert!(told(r#"{"command":["x"],"timeout":"soon"}"#).contains("`timeout`"));
        assert!(told(r#"{"command":["x"],"stdin_base64":"!"}"#).contains("`stdin_base64`"));
        assert!(told("[]").contains("no task"));
        assert!(told("{").contains("EOF"));
        let many = format!("[{}]", vec![r#"{"command":["x"]}"#; 1001].join(","));
        assert!(told(&many).contains("the limit is 1000"));
    }
}
