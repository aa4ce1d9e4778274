//! The board itself: one state, one `step`.

use std::time::Duration;

use super::event::{Input, Output};
use crate::task::{AttemptNumber, Fence, NodeId, PodId, TaskId, UnixMillis};

/// The board's bounds and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardConfig {
    /// How long a new leader waits for announcements at most.
    pub adoption: Duration,
    /// How often [`Input::Tick`] must come.
    pub tick: Duration,
    /// A hand-out that its member has not seen after this long, though it sends heartbeats, has got lost on the way.
    pub delivery: Duration,
    /// Waiting tasks kept in memory per group that somebody serves.
    pub window: usize,
    /// Waiting tasks kept in memory in all, before windows shrink to [`BoardConfig::small_window`].
    pub total: usize,
    /// Waiting tasks kept in memory of a group that nobody serves, or of any when memory is short.
    pub small_window: usize,
    /// Tasks kept in memory that wait for a time.
    pub delayed: usize,
    /// Attempts whose end is not settled by the journal, at most; above it nothing is handed out.
    pub unsettled: usize,
    /// Settled hand-outs remembered, so that a report sent twice is told from a late one.
    pub remembered: usize,
    /// Members.
    pub members: usize,
}

impl Default for BoardConfig {
    fn default() -> Self {
        BoardConfig {
            adoption: Duration::from_secs(1),
            tick: Duration::from_millis(50),
            delivery: Duration::from_secs(5),
            window: 4_096,
            total: 262_144,
            small_window: 64,
            delayed: 65_536,
            unsettled: 65_536,
            remembered: 16_384,
            members: 4_096,
        }
    }
}

/// What is known of a hand-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Which attempt.
    pub attempt: AttemptNumber,
    /// The hand-out.
    pub fence: Fence,
    /// Where.
    pub node: NodeId,
    /// In which pod.
    pub pod: PodId,
    /// Whether its end has arrived and is being written.
    pub ended: bool,
}

/// The leader's board. See the room's page.
#[derive(Clone, Debug)]
pub struct Board {
    config: BoardConfig,
}

impl Board {
    /// A board on which no leadership has opened.
    #[must_use]
    pub fn new(config: BoardConfig) -> Self {
        Board { config }
    }

    /// Takes what happened and answers what must be done, in order. `now` is the time since any fixed moment and never
    /// goes back.
    #[must_use]
    pub fn step(&mut self, _now: Duration, _input: Input) -> Vec<Output> {
        vec![Output::Ignored { why: super::event::Ignored::NotOpened }]
    }

    /// Whether a task of this group may be queued: the number of groups with waiting tasks is bounded.
    #[must_use]
    pub fn has_room_for(&self, _group: &crate::task::GroupName) -> bool {
        self.config.members > 0
    }

    /// The task's hand-out, if it has one.
    #[must_use]
    pub fn lease(&self, _task: TaskId) -> Option<LeaseView> {
        None
    }

    /// A node's hand-outs, by task.
    pub fn leases_of(&self, _node: NodeId) -> impl Iterator<Item = (TaskId, LeaseView)> + '_ {
        std::iter::empty()
    }

    /// How many hand-outs there are.
    #[must_use]
    pub fn leased(&self) -> usize {
        0
    }

    /// When the next of the delayed tasks in memory may be handed out.
    #[must_use]
    pub fn next_delayed(&self) -> Option<UnixMillis> {
        None
    }
}
