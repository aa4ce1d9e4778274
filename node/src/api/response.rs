//! What a swarm answers.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::WaitView;
use crate::admission::AdmissionError;
use crate::task::{
    AttemptNumber, Captured, Fence, GroupName, Level, Need, NodeId, Outcome, SwarmId, TaskId, TaskSpec, TaskState, Term,
    UnixMillis, Usage,
};

/// The answer to a [`Request`](super::Request) of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The tasks' ids in the order they were given; `true` where the key was known and the id is an earlier task's.
    Submitted(Vec<(TaskId, bool)>),
    /// To `Status`.
    Status(Box<StatusView>),
    /// To `Nodes`.
    Nodes(Vec<NodeView>),
    /// To `Tasks`.
    Tasks(Vec<TaskSummary>),
    /// To `Task` and `Wait`.
    Task(Box<TaskView>),
    /// To `Result`.
    Result(Box<TaskResult>),
    /// To `Output`.
    Output(OutputChunk),
    /// To `Cancel` and `Retry`: the tasks it applied to.
    Applied(Vec<TaskId>),
    /// To `Events`.
    Events(Vec<EventView>),
    /// To `Drain`.
    Done,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ApiError {
    /// Nobody leads, or no majority answered in time. A submission with a key can be repeated safely.
    #[error("no leader with a majority answered within {waited:?}: {detail}")]
    NoLeader {
        /// How long was waited.
        waited: Duration,
        /// What this node knows: who was seen, what is missing.
        detail: String,
    },
    /// No such task or node.
    #[error("there is no {what} {id}")]
    NotFound {
        /// `task`, `node`.
        what: String,
        /// What was asked for.
        id: String,
    },
    /// The request breaks a rule; the text says which, and the limit.
    #[error("{0}")]
    Invalid(String),
    /// Over a size limit.
    #[error("{what} is {size} bytes; the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The swarm can't take more now; try again later.
    #[error("the swarm takes no new tasks now: {0}")]
    Overloaded(String),
    /// The task has no result yet.
    #[error("task {0} has not ended yet")]
    NotEnded(TaskId),
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<AdmissionError> for ApiError {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::TooLarge { what, size, limit, .. } => Self::TooLarge { what: what.to_owned(), size, limit },
            AdmissionError::QueueFull { .. } => Self::Overloaded(error.to_string()),
            _ => Self::Invalid(error.to_string()),
        }
    }
}

/// How the swarm is, as the answering node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The swarm; `None` while it is being founded.
    pub swarm: Option<SwarmId>,
    /// The node that answered.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// This node's role in the election now: `member`, `voter`, `candidate`, `leader`, `observer`, `founding`.
    pub role: String,
    /// Who leads.
    pub leader: Option<LeaderView>,
    /// The term.
    pub term: Term,
    /// Nodes whose disks count.
    pub voters: Vec<NodeId>,
    /// How old this view is: zero from the leader, else the time since this node last heard it.
    pub age: Duration,
    /// Tasks by state, `running` taken out of `queued`.
    pub tasks: Vec<(String, u64)>,
    /// The newest entry of the journal.
    pub journal_index: u64,
    /// Bytes this node has written to its journal since it started.
    pub journal_bytes_written: u64,
    /// What the owner should know: lost voters, groups that nobody serves, an even number of nodes.
    pub warnings: Vec<String>,
}

/// The leader as the answering node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderView {
    /// Which node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Why it leads: its rank, the votes it had.
    pub why: String,
    /// How long it has led.
    pub tenure: Duration,
}

/// Whether a member is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Heartbeats arrive.
    Live,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// Heartbeats stopped.
    Lost,
    /// Known from the journal, not heard since this leader took over.
    Unknown,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its rank.
    pub rank: u32,
    /// Whether it is there.
    pub state: MemberState,
    /// `leader`, `voter`, `learner` or `worker`.
    pub role: String,
    /// Since its last heartbeat, in the leader's eyes.
    pub last_heard: Option<Duration>,
    /// Its pods.
    pub pods: Vec<PodView>,
    /// What its sandbox holds; `None` until it is heard.
    #[serde(default)]
    pub sandbox: Option<SandboxView>,
    /// Its address in the swarm.
    pub address: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// What a node's sandbox holds, by its own word: it found out by trying when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxView {
    /// What it holds against its tasks.
    pub level: Level,
    /// Whether the kernel itself enforces their memory limits.
    pub memory_enforced: bool,
    /// The least that its owner asks for: below it the node takes no tasks.
    #[serde(default)]
    pub required: Level,
}

impl SandboxView {
    /// Whether it holds what its owner asks for.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.level >= self.required
    }

    /// Why a node of this name takes no tasks, in a sentence, if it holds less than its owner asks for.
    #[must_use]
    pub fn shortfall(&self, name: &str) -> Option<String> {
        let SandboxView { level, required, .. } = self;
        let why = || format!("{name} takes no tasks: its sandbox is {level}, and `sandbox.require` asks for {required}");
        (!self.is_enough()).then(why)
    }

    /// The greatest need that it meets.
    #[must_use]
    pub fn holds(&self) -> Need {
        Need { level: self.level, memory_enforced: self.memory_enforced }
    }
}

/// One pod of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// How many tasks at once.
    pub slots: u32,
    /// What runs in it.
    pub running: Vec<TaskId>,
}

/// One line of a list of tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its id.
    pub task: TaskId,
    /// `queued`, `running`, `delayed`, `succeeded`, `dead`, `cancelled`.
    pub state: String,
    /// Its group.
    pub group: GroupName,
    /// Attempts that ended, and one more while one runs.
    pub attempts: u32,
    /// Where it runs or last ran.
    pub node: Option<NodeId>,
    /// The command line or the handler's name, shortened to 200 characters.
    pub command: String,
    /// When it was submitted.
    pub submitted_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// How the last attempt ended, in words.
    pub outcome: Option<String>,
}

/// One task, whole but for its outputs and its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its id.
    pub task: TaskId,
    /// Where it stands in the journal.
    pub state: TaskState,
    /// As submitted; `stdin` is empty here, see `stdin_len`.
    pub spec: TaskSpec,
    /// The size of its standard input in bytes.
    pub stdin_len: u64,
    /// When it was submitted.
    pub submitted_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// Its attempts, oldest first; the last one may be running.
    pub attempts: Vec<AttemptView>,
    /// Why it is not running, if it has not ended and is handed out to nobody; only in the answer to `Task`.
    #[serde(default)]
    pub waits: Option<WaitView>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Which.
    pub attempt: AttemptNumber,
    /// Where.
    pub node: NodeId,
    /// The hand-out.
    pub fence: Fence,
    /// `None` while it runs.
    pub outcome: Option<Outcome>,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// What it used.
    pub usage: Usage,
}

/// What a task left: of its last attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The task.
    pub task: TaskId,
    /// Its final state.
    pub state: TaskState,
    /// How the last attempt ended; `None` if it was cancelled before any.
    pub outcome: Option<Outcome>,
    /// Which attempt that was.
    pub attempt: AttemptNumber,
    /// Where it ran.
    pub node: Option<NodeId>,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// What it used.
    pub usage: Usage,
}

/// Some of what an attempt wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputChunk {
    /// Where `bytes` begins: more than was asked for if the beginning was not kept.
    pub from: u64,
    /// The bytes; at most 256 KiB.
    #[serde(with = "serde_bytes_of")]
    pub bytes: Bytes,
    /// Which attempt wrote them.
    pub attempt: Option<AttemptNumber>,
    /// Under which hand-out. Two runs can have the same number if a leader died before anybody else knew of the first;
    /// an offset is one run's only.
    pub fence: Option<Fence>,
    /// Whether the task has ended and nothing will follow `bytes`.
    pub end: bool,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Grows by at least one; resume with the next number.
    pub seq: u64,
    /// When, by the leader's wall clock.
    pub at: UnixMillis,
    /// In which term.
    pub term: Term,
    /// What.
    pub kind: EventKind,
    /// The task it is about.
    pub task: Option<TaskId>,
    /// The node it is about.
    pub node: Option<NodeId>,
    /// The attempt it is about.
    pub attempt: Option<AttemptNumber>,
    /// In words.
    pub text: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The swarm was founded.
    Founded,
    /// A leader was ratified and opened its term.
    LeaderElected,
    /// A candidate challenged a living leader.
    Challenged,
    /// A node joined.
    NodeJoined,
    /// A node left.
    NodeLeft,
    /// A task was accepted.
    TaskSubmitted,
    /// An attempt ended; the text says how.
    AttemptEnded,
    /// A late or fenced report was refused.
    ReportRefused,
    /// A task succeeded.
    TaskSucceeded,
    /// A task was parked as dead.
    TaskDead,
    /// A task was cancelled.
    TaskCancelled,
    /// A task was queued again by hand.
    TaskRetried,
}

mod serde_bytes_of {
    use bytes::Bytes;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&bytes[..], serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        serde_bytes::deserialize::<Vec<u8>, D>(deserializer).map(Bytes::from)
    }
}
