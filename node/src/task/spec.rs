//! What is asked for: a program, its input, its limits, and how often to try.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::encoding::{byte_string, is_default, nanos};
use super::id::{GroupName, HandlerName};
use super::need::{Queue, SandboxSpec};

/// Bytes of each output that a report may carry: two of these and the rest of a report stay far below a mesh message.
pub const MAX_KEPT_OUTPUT: u32 = 512 << 10;
/// Bytes of each output that are kept if neither the task nor the node says otherwise.
pub const DEFAULT_KEPT_OUTPUT: u32 = 256 << 10;

/// One task as its submitter described it. Immutable once it is in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Who may run it.
    pub group: GroupName,
    /// What to run.
    pub program: Program,
    /// Environment variables beside the ones that dunlin sets; nothing is inherited from the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The bytes of its standard input.
    #[serde(default, with = "byte_string", skip_serializing_if = "Bytes::is_empty")]
    pub stdin: Bytes,
    /// What it may use; `None` fields take the running node's defaults.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// What it needs of the machine that runs it, and what it may reach there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sandbox: SandboxSpec,
    /// What to do when an attempt fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetryPolicy,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl TaskSpec {
    /// A command in the default group with default limits and an empty standard input.
    #[must_use]
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::new(Program::Command(argv.into_iter().map(Into::into).collect()))
    }

    /// A named handler of the embedding program, in the default group.
    #[must_use]
    pub fn handler(name: HandlerName, input: impl Into<Bytes>) -> Self {
        let mut spec = Self::new(Program::Handler(name));
        spec.stdin = input.into();
        spec
    }

    /// Where it waits.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Queue::new(self.group.clone(), self.sandbox.need)
    }

    fn new(program: Program) -> Self {
        TaskSpec {
            group: GroupName::default(),
            program,
            env: BTreeMap::new(),
            stdin: Bytes::new(),
            limits: Limits::default(),
            sandbox: SandboxSpec::default(),
            retry: RetryPolicy::default(),
            label: None,
        }
    }
}

/// What an attempt executes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// A program and its arguments, as the kernel's exec takes them; no shell is involved.
    Command(Vec<String>),
    /// A handler that the running node registered under this name; it receives the standard input's bytes.
    Handler(HandlerName),
}

/// What one attempt may use. `None` means the running node's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Wall time from the start of the attempt.
    #[serde(with = "nanos::option", skip_serializing_if = "Option::is_none")]
    pub wall: Option<Duration>,
    /// Processor time of the whole process tree.
    #[serde(with = "nanos::option", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Duration>,
    /// Memory of the whole process tree, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processes and threads at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Open files of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// The largest file, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Disk that its scratch folder takes, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<u64>,
    /// Bytes written to both outputs together, kept or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Bytes of standard output that are kept (the tail).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<u32>,
    /// Bytes of standard error that are kept (the tail).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<u32>,
    /// Time between SIGTERM and SIGKILL when the attempt must end.
    #[serde(with = "nanos::option", skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
}

/// How often a task is tried, and how long it waits in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// Attempts in all, lost ones included; at least 1.
    pub attempts: u32,
    /// Whether an attempt that ended by itself with a failure is tried again. A lost attempt always is.
    pub on_failure: bool,
    /// The wait before the second attempt; it doubles with each further one.
    #[serde(with = "nanos")]
    pub backoff: Duration,
    /// The longest wait.
    #[serde(with = "nanos")]
    pub backoff_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { attempts: 3, on_failure: true, backoff: Duration::from_secs(1), backoff_max: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// The wait after `failed` attempts have failed; nothing for a lost attempt's sake is added here.
    #[must_use]
    pub fn wait_after(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(20);
        self.backoff.saturating_mul(1 << doublings).min(self.backoff_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit() {
        let policy = RetryPolicy::default();
        let seconds: Vec<u64> = (1..=8).map(|n| policy.wait_after(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.wait_after(u32::MAX), policy.backoff_max);
    }
}
