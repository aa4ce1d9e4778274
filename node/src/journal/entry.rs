//! What is written down: entries of many facts, in a versioned format, decided before they are proposed.

use serde::{Deserialize, Serialize};

use crate::task::{AttemptEnd, AttemptNumber, Fence, IdempotencyKey, NodeId, SwarmId, TaskId, TaskSpec, Term, UnixMillis};
pub(super) use crate::task::{Denial, MemberRole};

/// The format of entries written by this version. A node refuses entries of a newer one and stops.
pub const FORMAT: u16 = 1;

/// One entry of the log: everything that waited when the last one was being written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// See [`FORMAT`].
    #[serde(rename = "v")]
    pub format: u16,
    /// The leadership that proposed it. The fold refuses every fact of an entry whose term is not that of the newest
    /// [`Fact::Opened`]: this is the fence (E13) in the journal itself.
    #[serde(rename = "t")]
    pub term: Term,
    /// The leader's wall clock when it was proposed; for people, and for the end of delays.
    #[serde(rename = "at")]
    pub at: UnixMillis,
    /// What happened, in order.
    #[serde(rename = "f")]
    pub facts: Vec<Fact>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The swarm was founded; the first fact of every journal.
    Founded {
        /// Its id.
        swarm: SwarmId,
        /// The nodes that pledged.
        members: Vec<Member>,
    },
    /// A leadership opens (E8b). From here on only facts of this entry's term count.
    Opened {
        /// The leader.
        leader: NodeId,
    },
    /// A stepped-down node that is still Raft's leader takes up its old term again (E10).
    Reclaimed {
        /// The leader.
        leader: NodeId,
    },
    /// A node was let in, or changed what it says of itself.
    Joined(Member),
    /// A node left for good.
    Left {
        /// Which.
        node: NodeId,
    },
    /// A task was accepted.
    Submitted {
        /// What is to be run.
        spec: Box<TaskSpec>,
        /// A second submission with the same key is answered with the first one's task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<IdempotencyKey>,
    },
    /// An attempt ended, as its member reported it or as the leader found it lost.
    AttemptEnded(Box<AttemptEnd>),
    /// A report that came too late or carried an old fence: recorded, without effect on its task.
    ReportRefused {
        /// The task.
        task: TaskId,
        /// The attempt it spoke of.
        attempt: AttemptNumber,
        /// The fence it carried.
        fence: Fence,
        /// Who sent it.
        node: NodeId,
        /// Why it was refused.
        why: Denial,
    },
    /// Somebody cancelled a task.
    Cancelled {
        /// Which.
        task: TaskId,
    },
    /// Somebody had a dead or cancelled task queued again, with all its attempts before it.
    Retried {
        /// Which.
        task: TaskId,
    },
    /// A candidate challenged a living leader and was refused (E3).
    Challenged {
        /// Who.
        candidate: NodeId,
    },
}

/// A node as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// What it calls itself.
    pub name: String,
    /// The rank its owner gave it: higher leads first.
    pub rank: u32,
    /// What it may do.
    pub role: MemberRole,
}

/// What the fold answers to one fact, in the order of the entry's facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It counts.
    Done,
    /// It counts, as this task.
    Submitted {
        /// The task.
        task: TaskId,
        /// Whether the key was known: the task is an earlier one.
        duplicate: bool,
    },
    /// The attempt's end counts; this is the state of its task now.
    Ended {
        /// The state.
        state: crate::task::TaskState,
    },
    /// It does not count.
    Denied(Denial),
}
