//! What a member offers, and what it holds: the words that `dispatch`, `worker` and `roster` share.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{AttemptNumber, Fence, GroupName, TaskId};

/// Which of a node's pods: its place in the node's list, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodId(pub u16);

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Some groups and some slots of a node. With one slot, one task at a time over all its groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Whose tasks it takes.
    #[serde(rename = "g")]
    pub groups: Vec<GroupName>,
    /// How many tasks at once.
    #[serde(rename = "s")]
    pub slots: u32,
}

impl Pod {
    /// The most pods a node may have.
    pub const MAX_PODS: usize = 64;
    /// The most groups a pod may have.
    pub const MAX_GROUPS: usize = 64;
    /// The most slots a pod may have.
    pub const MAX_SLOTS: u32 = 4_096;
}

/// What a node may do in the swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// It may hold the journal and vote; whether it does now is Raft's membership.
    Voter,
    /// It only ever works.
    Worker,
}

/// One attempt as its member announces it: from its hand-out until its report has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAttempt {
    /// The task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// Which of its attempts.
    #[serde(rename = "a")]
    pub attempt: AttemptNumber,
    /// The hand-out.
    #[serde(rename = "f")]
    pub fence: Fence,
    /// Where it runs or ran.
    #[serde(rename = "p")]
    pub pod: PodId,
    /// Whether it still takes one of the pod's slots.
    #[serde(rename = "s")]
    pub takes_slot: bool,
    /// Whether it has ended and its report waits to be answered.
    #[serde(rename = "e")]
    pub ended: bool,
}
