//! What the node asks of the sandbox for one attempt, and what it gets back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::task::{Captured, DEFAULT_KEPT_OUTPUT, Level, Network, Outcome, Usage};

/// Everything about one attempt's process tree, decided before it starts. Nothing is inherited from the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Names the attempt in directories and messages, as `39-1` (task, attempt) and the fence; unique on this node.
    pub name: String,
    /// The program and its arguments. A forked handler is this binary with arguments of its own.
    pub argv: Vec<String>,
    /// The complete environment.
    pub env: BTreeMap<String, String>,
    /// The attempt's own directory, which is also its working directory; made and removed by the sandbox.
    pub scratch: PathBuf,
    /// What it may use.
    pub limits: ResolvedLimits,
    /// What it may reach, and what must stand between it and the node.
    #[serde(default)]
    pub isolation: Isolation,
}

/// What one attempt may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// Which network it gets. One that this machine can't control fails the launch unless it is the host's.
    pub network: Network,
    /// The least that the node must hold; a node that holds less refuses the launch.
    pub require: Level,
    /// Absolute paths that it may read beside what programs are made of; the sandbox passes over those that its owner
    /// does not allow.
    pub read: Vec<PathBuf>,
}

/// Limits with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedLimits {
    /// Wall time; `None` is no limit.
    pub wall: Option<Duration>,
    /// Processor time of the tree; `None` is no limit.
    pub cpu: Option<Duration>,
    /// Memory of the tree in bytes; `None` is no limit.
    pub memory: Option<u64>,
    /// Processes and threads at once; `None` is no limit.
    pub processes: Option<u32>,
    /// Open files of each process.
    pub open_files: u32,
    /// The largest file in bytes; `None` is no limit.
    pub file_size: Option<u64>,
    /// Disk that its scratch directory takes, in bytes; `None` is no limit, and nobody looks.
    pub scratch: Option<u64>,
    /// Bytes written to both outputs together; `None` is no limit.
    pub output: Option<u64>,
    /// Bytes of standard output kept.
    pub stdout: u32,
    /// Bytes of standard error kept.
    pub stderr: u32,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
}

impl Default for ResolvedLimits {
    fn default() -> Self {
        ResolvedLimits {
            wall: Some(Duration::from_secs(3600)),
            cpu: None,
            memory: None,
            processes: None,
            open_files: 1024,
            file_size: None,
            scratch: None,
            output: None,
            stdout: DEFAULT_KEPT_OUTPUT,
            stderr: DEFAULT_KEPT_OUTPUT,
            grace: Duration::from_secs(2),
        }
    }
}

/// Which of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes as the attempt wrote them, for those who watch it live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which output.
    pub stream: OutputStream,
    /// What was written.
    pub bytes: Bytes,
}

/// What is left of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The tail of its standard output.
    pub stdout: Captured,
    /// The tail of its standard error.
    pub stderr: Captured,
    /// What it used.
    pub usage: Usage,
}
