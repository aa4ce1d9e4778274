//! The lines of a history: what clients saw, what each node's journal and ledger hold, who said that it leads.
//!
//! One JSON object a line, told apart by its `kind`; a simulator may hand over the same values without JSON. Ids of nodes
//! and digests are written as hexadecimal text, since many readers of JSON lose the last bits of large numbers.
//! Deliberately not here: any judgement.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number that the journal gave a task.
pub type TaskId = u64;
/// The number of a leadership.
pub type Term = u64;
/// The place of an entry in the log.
pub type Index = u64;

/// One line of a history. Lines of one source (a client, a node) stand in their order; sources may be mixed in any way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A client sends a request. Written down before it is sent.
    Invoked {
        /// What it asks for.
        request: Request,
    },
    /// What a client knows at the end of one try.
    Answered {
        /// What it asked for.
        request: Request,
        /// What it was told.
        answer: Answer,
    },
    /// A node told a client where a task stands.
    Observed {
        /// The task.
        task: TaskId,
        /// Where it was said to stand.
        state: State,
    },
    /// One entry of one node's log, in the order of that log.
    Entry(Entry),
    /// A node's log holds nothing up to here because a snapshot does: what follows may begin behind it.
    Snapshot {
        /// The node.
        node: NodeId,
        /// The last entry in the snapshot.
        index: Index,
    },
    /// A node acted as leader in this interval, by one clock for all nodes (simulated, or the machine's monotonic one).
    Acting {
        /// The node.
        node: NodeId,
        /// Its leadership.
        term: Term,
        /// The first moment, in nanoseconds.
        from: u64,
        /// The first moment at which it acted no more.
        to: u64,
    },
    /// Every fault is over, and whoever wrote this has waited long enough for all tasks to end.
    Healed,
    /// Where one node's ledger has a task at the end of the run.
    Final {
        /// The node.
        node: NodeId,
        /// The task.
        task: TaskId,
        /// Where it stands.
        state: State,
    },
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A task, under this idempotency key.
    Submit(String),
    /// That this task be cancelled.
    Cancel(TaskId),
    /// That this dead or cancelled task be queued again.
    Retry(TaskId),
}

/// What a client knows at the end of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It took effect; for a submission, as this task.
    Acknowledged(TaskId),
    /// It was refused and will never take effect. Only for an answer that says so: everything else is `Maybe`.
    Failed,
    /// Nobody knows: no answer in time, a lost connection, a leader that went away. It may take effect even later.
    Maybe,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits, or it runs: that is known to the leader only.
    Queued,
    /// It waits for a time after a failed attempt.
    Delayed,
    /// Final: an attempt succeeded.
    Succeeded,
    /// Final until a person has it queued again: it is not tried any more.
    Dead,
    /// Final until a person has it queued again: somebody cancelled it.
    Cancelled,
}

impl State {
    /// Whether the task has reached an end.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, State::Succeeded | State::Dead | State::Cancelled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Queued => "queued",
            State::Delayed => "delayed",
            State::Succeeded => "succeeded",
            State::Dead => "dead",
            State::Cancelled => "cancelled",
        })
    }
}

/// One entry of one node's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Whose log.
    pub node: NodeId,
    /// Its place.
    pub index: Index,
    /// The log's term: which leadership appended it.
    pub term: Term,
    /// The leadership that its facts claim; [`Self::term`] where it is left out. It is the fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Term>,
    /// A digest of its bytes.
    pub digest: Digest,
    /// Whether this node knows it to be committed. One of which that is not known may be overwritten; its facts do not count
    /// unless another node knows better.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub committed: bool,
    /// What it says, in order; facts that are not named here may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
}

fn yes() -> bool {
    true
}

/// One fact of an entry together with what the node's fold made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact {
    /// A leadership opened, or was taken up again by the same node.
    Opened {
        /// The term.
        term: Term,
        /// Who leads it.
        leader: NodeId,
    },
    /// A task was submitted.
    Submitted {
        /// The task that it is: an earlier one's number if its key was known; nothing if it was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// Its idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The hand-out.
        fence: Fence,
        /// Where it ran.
        node: NodeId,
        /// How it ended.
        outcome: Outcome,
        /// The state in which it left the task; nothing if it was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<State>,
    },
    /// Somebody cancelled a task.
    Cancelled {
        /// The task.
        task: TaskId,
        /// Whether it took effect.
        accepted: bool,
    },
    /// Somebody had a dead or cancelled task queued again.
    Retried {
        /// The task.
        task: TaskId,
        /// Whether it took effect.
        accepted: bool,
    },
    /// A late or fenced report was refused by the leader and written down as such; it has no effect.
    Refused {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The hand-out.
        fence: Fence,
        /// Who reported.
        node: NodeId,
    },
}

/// Which hand-out of an attempt it was; they are compared in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fence {
    /// The term of the leader that handed it out.
    pub term: Term,
    /// The count of that leader's hand-outs.
    pub sequence: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}

/// How an attempt ended, as far as the rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As asked for.
    Succeeded,
    /// Otherwise, and somebody knows how.
    Failed,
    /// It was ended because its task was cancelled.
    Cancelled,
    /// Nobody will ever report on it.
    Lost,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Lost => "lost",
        })
    }
}

macro_rules! hexadecimal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }

        impl FromStr for $name {
            type Err = NotHexadecimal;

            fn from_str(text: &str) -> Result<Self, NotHexadecimal> {
                // `from_str_radix` alone would let a sign pass.
                let digits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let value = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
                value.map($name).ok_or_else(|| NotHexadecimal(text.chars().take(80).collect()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotHexadecimal;

            fn try_from(text: String) -> Result<Self, NotHexadecimal> {
                text.parse()
            }
        }
    };
}

hexadecimal! {
    /// A node's id.
    NodeId
}
hexadecimal! {
    /// A digest of an entry's bytes: equal bytes have equal ones on every node.
    Digest
}

/// Text that should have been an id or a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not 1 to 16 hexadecimal digits")]
pub struct NotHexadecimal(String);
