//! Why a task that has not ended is not running: the cause, a sentence, and what stands in each node's way.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SandboxView;
use crate::task::{Need, NodeId, TaskId};

/// What a task waits for, in the eyes of the leader that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitView {
    /// What sort of thing.
    pub cause: WaitCause,
    /// In words, to follow "it waits: ".
    pub text: String,
    /// What stands in each node's way, those that come closest first, at most [`WaitView::MAX_NODES`]; empty where it is not
    /// for the nodes.
    pub nodes: Vec<NodeWaitView>,
    /// How many nodes are beyond these.
    pub more_nodes: u64,
}

impl WaitView {
    /// The most nodes in one answer.
    pub const MAX_NODES: usize = 200;
}

/// What sort of thing a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitCause {
    /// The pause before its next attempt.
    Pause,
    /// A live node that serves its group.
    Group,
    /// A node that holds what it needs.
    Need,
    /// A node that would do, but takes nothing new.
    Open,
    /// A free slot.
    Slot,
    /// A new leader that hears from the members what they run.
    Announcements,
    /// The journal, which has too many ends of attempts to write.
    Journal,
    /// Nothing: it is handed out at once.
    Turn,
}

/// One node that could run a task, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeWaitView {
    /// Which.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Why it does not run the task.
    pub obstacle: Obstacle,
}

/// What stands in one node's way, from what will soon be over to what will not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// Nothing.
    Nothing,
    /// Its slots are taken.
    Busy {
        /// How many it has for the task's group.
        slots: u64,
        /// By these tasks, among others.
        tasks: Vec<TaskId>,
    },
    /// Too many of its reports wait for an answer, or it has just sent a hand-out back.
    Paused,
    /// It finishes what it has.
    Draining,
    /// It holds less than its own owner asks for.
    Short(SandboxView),
    /// It holds less than the task needs.
    Lacks(SandboxView),
    /// It does not serve the task's group.
    OtherGroups,
    /// It has not been heard since this leader took over.
    NotHeard,
    /// Its heartbeats have stopped.
    Lost {
        /// For how long.
        since: Duration,
        /// Whether it served the task's group.
        served: bool,
        /// What it held.
        held: Option<Need>,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Nothing => f.write_str("a slot is free"),
            Obstacle::Busy { slots, tasks } => {
                let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
                let with = if tasks.is_empty() { String::new() } else { format!(": task {}", tasks.join(", ")) };
                write!(f, "{} busy{with}", if *slots == 1 { "its slot is".to_owned() } else { format!("its {slots} slots are") })
            }
            Obstacle::Paused => f.write_str("takes nothing until its next heartbeat"),
            Obstacle::Draining => f.write_str("finishes what it has and takes nothing new"),
            Obstacle::Short(sandbox) => {
                write!(f, "takes no tasks: holds {}, and its owner asks for {}", sandbox.holds(), sandbox.required)
            }
            Obstacle::Lacks(sandbox) => write!(f, "holds {}", sandbox.holds()),
            Obstacle::OtherGroups => f.write_str("does not serve the group"),
            Obstacle::NotHeard => f.write_str("not heard yet since the leader took over"),
            Obstacle::Lost { since, served, held } => {
                write!(f, "lost for {} s", since.as_secs())?;
                match held {
                    Some(held) if *served => write!(f, "; it served the group and held {held}"),
                    _ => Ok(()),
                }
            }
        }
    }
}
