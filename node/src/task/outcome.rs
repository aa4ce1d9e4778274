//! How an attempt ended, told apart to the last detail, and what it left.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::encoding::{byte_string, is_default, nanos};
use super::id::{AttemptNumber, Fence, NodeId, TaskId};
use super::level::Level;

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ended by itself with this exit code.
    Exited(i32),
    /// A signal that dunlin did not send ended it.
    Signaled(i32),
    /// It outlived its wall time and was killed.
    TimedOut {
        /// The limit it passed.
        #[serde(with = "nanos")]
        limit: Duration,
    },
    /// It used more processor time than it may.
    CpuLimit {
        /// The limit it passed.
        #[serde(with = "nanos")]
        limit: Duration,
    },
    /// It used more memory than it may.
    OutOfMemory {
        /// The limit, in bytes.
        limit: u64,
        /// The most that was seen, in bytes.
        peak: u64,
    },
    /// It started more processes than it may.
    TooManyProcesses {
        /// The limit.
        limit: u32,
    },
    /// It wrote a file larger than it may.
    FileTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Its scratch folder took more of the disk than it may.
    ScratchLimit {
        /// The limit, in bytes.
        limit: u64,
        /// What was seen, in bytes.
        used: u64,
    },
    /// It wrote more to its outputs than it may.
    OutputLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Somebody cancelled the task.
    Cancelled,
    /// The program is missing or can't be executed; the text says which.
    NotFound(String),
    /// The sandbox could not be set up; the node, not the task, is at fault.
    SetupFailed {
        /// The step of the plan that failed.
        step: String,
        /// The operating system's words.
        error: String,
    },
    /// The node holds less against its tasks than this one, or its owner, requires.
    LevelRefused {
        /// What is required.
        required: Level,
        /// What the node holds.
        found: Level,
        /// The first layer that is missing, with its reason.
        why: String,
    },
    /// A handler returned an error or panicked.
    HandlerFailed(String),
    /// Nobody will ever report on it.
    Lost(LostWhy),
}

/// Why an attempt is taken as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWhy {
    /// The member stopped sending heartbeats.
    MemberLost,
    /// The member was restarted and no longer knows the attempt.
    MemberRestarted,
    /// The attempt's supervisor ended without a report.
    SupervisorDied,
    /// The member left the swarm while the attempt was running.
    MemberLeft,
}

impl Outcome {
    /// Whether the attempt did what was asked.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Exited(0))
    }

    /// The exit code that `dunlin run` answers with for this outcome, as shells have them.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Outcome::Exited(code) => *code,
            Outcome::Signaled(signal) => 128_i32.saturating_add(*signal),
            Outcome::TimedOut { .. } | Outcome::CpuLimit { .. } => 124,
            Outcome::NotFound(_) => 127,
            Outcome::Cancelled => 130,
            Outcome::OutOfMemory { .. } => 137,
            _ => 1,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Exited(0) => write!(f, "succeeded"),
            Outcome::Exited(code) => write!(f, "failed: exit code {code}"),
            Outcome::Signaled(signal) => write!(f, "failed: killed by signal {signal}"),
            Outcome::TimedOut { limit } => write!(f, "killed: ran longer than {limit:?}"),
            Outcome::CpuLimit { limit } => write!(f, "killed: used more than {limit:?} of processor time"),
            Outcome::OutOfMemory { limit, .. } => write!(f, "killed: used more than {}", Size(*limit)),
            Outcome::TooManyProcesses { limit } => write!(f, "killed: started more than {limit} processes"),
            Outcome::FileTooLarge { limit } => write!(f, "killed: wrote a file larger than {}", Size(*limit)),
            Outcome::ScratchLimit { limit, .. } => {
                write!(f, "killed: wrote more than {} to its scratch folder", Size(*limit))
            }
            Outcome::OutputLimit { limit } => write!(f, "killed: wrote more than {} to its outputs", Size(*limit)),
            Outcome::Cancelled => write!(f, "cancelled"),
            Outcome::NotFound(why) => write!(f, "not started: {why}"),
            Outcome::SetupFailed { step, error } => write!(f, "not started: the sandbox could not {step}: {error}"),
            Outcome::LevelRefused { required, found, why } => {
                write!(f, "not started: level {required} is required and this node holds {found}")?;
                if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
            }
            Outcome::HandlerFailed(why) => write!(f, "failed: {why}"),
            Outcome::Lost(why) => write!(f, "lost: {why}"),
        }
    }
}

/// Bytes as a limit was most likely given: in the largest unit that says it exactly.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let whole = UNITS.into_iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match whole {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl fmt::Display for LostWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LostWhy::MemberLost => "its node went silent",
            LostWhy::MemberRestarted => "its node was restarted",
            LostWhy::SupervisorDied => "its supervisor died",
            LostWhy::MemberLeft => "its node left the swarm",
        })
    }
}

/// What an attempt wrote to one of its outputs: the tail, and how much there was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The last bytes, at most the limit.
    #[serde(with = "byte_string", default, skip_serializing_if = "Bytes::is_empty")]
    pub tail: Bytes,
    /// Bytes written in all; `total - tail.len()` of them, from the beginning, were not kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub total: u64,
}

impl Captured {
    /// Bytes that were written but not kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.total.saturating_sub(self.tail.len() as u64)
    }
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// From its start to its end.
    #[serde(with = "nanos")]
    pub wall: Duration,
    /// Processor time of the tree's waited-for processes.
    #[serde(with = "nanos", skip_serializing_if = "is_default")]
    pub cpu: Duration,
    /// The largest resident set seen, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_peak: u64,
    /// The most that its scratch directory took of the disk when it was looked at, in bytes; nobody looks without a limit.
    #[serde(skip_serializing_if = "is_default")]
    pub scratch_peak: u64,
}

/// One attempt's end, as its member reports it and the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// The task.
    pub task: TaskId,
    /// Which of its attempts.
    pub attempt: AttemptNumber,
    /// The hand-out it answers.
    pub fence: Fence,
    /// The node that ran it.
    pub node: NodeId,
    /// How it ended.
    pub outcome: Outcome,
    /// Standard output; a handler's returned bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdout: Captured,
    /// Standard error.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stderr: Captured,
    /// What it used.
    #[serde(default, skip_serializing_if = "is_default")]
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_as_they_were_given() {
        let words = |limit| Outcome::ScratchLimit { limit, used: limit + 1 }.to_string();
        assert_eq!(words(64 << 20), "killed: wrote more than 64 MiB to its scratch folder");
        assert_eq!(words(100 << 10), "killed: wrote more than 100 KiB to its scratch folder");
        assert_eq!(words(2 << 30), "killed: wrote more than 2 GiB to its scratch folder");
        assert_eq!(words(1_500_000), "killed: wrote more than 1500000 bytes to its scratch folder");
        assert_eq!(Outcome::OutOfMemory { limit: 256 << 20, peak: 0 }.to_string(), "killed: used more than 256 MiB");
        assert_eq!(Outcome::FileTooLarge { limit: 1 << 20 }.to_string(), "killed: wrote a file larger than 1 MiB");
        assert_eq!(Outcome::OutputLimit { limit: 1 << 20 }.to_string(), "killed: wrote more than 1 MiB to its outputs");
    }
}
