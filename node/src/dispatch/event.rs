//! What enters the [`Board`](super::Board) and what leaves it.

use std::collections::BTreeSet;

use crate::task::{
    AttemptNumber, Denial, Fence, HeldAttempt, LostWhy, Need, NodeId, Pod, PodId, Queue, TaskId, Term, UnixMillis,
};

/// Something that happened, as the leader's service tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This node's leadership opened. Everything known from an earlier one is forgotten.
    Opened {
        /// The leadership: the first half of every fence it gives.
        term: Term,
        /// The newest task that a former leader may have handed out; those up to it are withheld until adoption is over.
        last_task_before: TaskId,
        /// The nodes whose announcement is waited for: all that the ledger knows but those known to be gone.
        expected: BTreeSet<NodeId>,
    },
    /// A task was submitted, or queued again by hand: the ledger has it as queued. Harmless if the board knows it.
    Ready {
        /// Where it waits.
        queue: Queue,
        /// The task.
        task: TaskId,
        /// The number its next attempt will carry.
        attempt: AttemptNumber,
    },
    /// The tasks of one queue as the ledger lists them: the answer to [`Output::Refill`], and at the opening once for
    /// each queue that has any (an empty list with `more` is enough).
    Window {
        /// The queue.
        queue: Queue,
        /// Ascending, each with the number of its next attempt; every queued task after the asked-for one up to the last
        /// listed is here.
        tasks: Vec<(TaskId, AttemptNumber)>,
        /// Whether the ledger may have tasks of this queue after the last one listed.
        more: bool,
    },
    /// Tasks that wait for a time, as the ledger lists them: the answer to [`Output::RefillDelayed`], and once at the
    /// opening (an empty list with `more` is enough).
    DelayedWindow {
        /// Ascending by (time, task), complete as in [`Input::Window`].
        tasks: Vec<DelayedTask>,
        /// Whether the ledger may have more after the last one listed.
        more: bool,
    },
    /// A member's fresh heartbeat.
    Offer(Offer),
    /// A member's heartbeats stopped, its connection was reset, or it left.
    MemberLost {
        /// Which.
        node: NodeId,
        /// Why.
        why: LostWhy,
    },
    /// A member gets nothing new until it restarts.
    MemberDraining {
        /// Which.
        node: NodeId,
    },
    /// A member reports an attempt's end; answered with [`Output::Verdict`].
    Reported {
        /// Who.
        node: NodeId,
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNumber,
        /// The hand-out.
        fence: Fence,
        /// Whether its slot is free again (a handler that outlived its time keeps it).
        slot_free: bool,
    },
    /// A hand-out could not be sent, or the member declined it: the attempt has not begun and its number is not used up.
    Undelivered {
        /// To whom.
        node: NodeId,
        /// The task.
        task: TaskId,
        /// The hand-out.
        fence: Fence,
    },
    /// The journal has answered an attempt's end (accepted or lost), whatever the answer: the lease is over.
    Settled {
        /// The task.
        task: TaskId,
        /// The hand-out that the end spoke of.
        fence: Fence,
        /// Where the ledger has the task now.
        next: Next,
    },
    /// The answer to [`Output::Verify`].
    Verified {
        /// The task.
        task: TaskId,
        /// The announced hand-out.
        fence: Fence,
        /// Where the ledger has the task now.
        next: Next,
    },
    /// The journal has accepted a cancel.
    Cancelled {
        /// The task.
        task: TaskId,
    },
    /// Time has passed: at least every [`BoardConfig::tick`](super::BoardConfig::tick).
    Tick {
        /// The leader's wall clock, against which the ends of delays are read.
        wall: UnixMillis,
    },
}

/// A task that waits for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedTask {
    /// Where the ledger has it: the time that was written down, by the clock of the leader of then.
    pub until: UnixMillis,
    /// Until when it waits, by the clock of the ticks.
    pub due: UnixMillis,
    /// The task.
    pub task: TaskId,
    /// Where it waits then.
    pub queue: Queue,
    /// The number its next attempt will carry.
    pub attempt: AttemptNumber,
}

/// Where the ledger has a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// At its end (or unknown).
    Final,
    /// Queued.
    Ready {
        /// Where it waits.
        queue: Queue,
        /// The number its next attempt will carry.
        attempt: AttemptNumber,
    },
    /// Waiting for a time.
    Delayed {
        /// See [`DelayedTask::until`].
        until: UnixMillis,
        /// See [`DelayedTask::due`].
        due: UnixMillis,
        /// Where it waits.
        queue: Queue,
        /// The number its next attempt will carry.
        attempt: AttemptNumber,
    },
}

/// What a heartbeat says about work. Those out of order must have been dropped before (see `roster::Liveness`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Who.
    pub node: NodeId,
    /// Counts its process starts.
    pub boot: u64,
    /// Its pods; at most [`Pod::MAX_PODS`], what exceeds a limit is ignored.
    pub pods: Vec<Pod>,
    /// Every attempt it holds, until its report has been answered.
    pub held: Vec<HeldAttempt>,
    /// The highest fence among the hand-outs it has taken or declined.
    pub processed: Fence,
    /// Whether it takes anything new now (it does not while draining, or while too many of its reports wait).
    pub accepts: bool,
    /// What it holds: the greatest need that it meets.
    pub holds: Need,
}

/// What the leader's service must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a hand-out.
    Assign {
        /// To whom.
        node: NodeId,
        /// In which of its pods.
        pod: PodId,
        /// The task; its spec is in the ledger.
        task: TaskId,
        /// Which attempt this is.
        attempt: AttemptNumber,
        /// The hand-out.
        fence: Fence,
    },
    /// Tell a member to end an attempt: its task was cancelled or its fence is stale.
    CancelAttempt {
        /// Whom.
        node: NodeId,
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNumber,
        /// The hand-out.
        fence: Fence,
    },
    /// Propose the attempt's end with `Outcome::Lost(why)`, then answer with [`Input::Settled`].
    AttemptLost {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNumber,
        /// The hand-out.
        fence: Fence,
        /// Where it ran.
        node: NodeId,
        /// Why nobody will report on it.
        why: LostWhy,
    },
    /// The answer to [`Input::Reported`].
    Verdict {
        /// Who reported.
        node: NodeId,
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNumber,
        /// The hand-out it carried.
        fence: Fence,
        /// What to do with the report.
        verdict: Verdict,
    },
    /// Read at most `limit` tasks of the queue after this one from the ledger; answer with [`Input::Window`].
    Refill {
        /// The queue.
        queue: Queue,
        /// Only tasks with a greater number; 0 is before the first.
        after: TaskId,
        /// How many at most.
        limit: usize,
    },
    /// Read at most `limit` delayed tasks after this place from the ledger; answer with [`Input::DelayedWindow`].
    RefillDelayed {
        /// Only those with a greater (time, task).
        after: (UnixMillis, TaskId),
        /// How many at most.
        limit: usize,
    },
    /// Look the task up in the ledger and answer with [`Input::Verified`]: a member announced an attempt of a task that the
    /// board has not in memory.
    Verify {
        /// The task.
        task: TaskId,
        /// The announced hand-out.
        fence: Fence,
    },
    /// Every expected member has announced, or the time for it has passed: withheld tasks are handed out from here on.
    AdoptionOver {
        /// Attempts taken over from former leaders.
        adopted: usize,
        /// Members that were expected and did not announce.
        silent: Vec<NodeId>,
    },
    /// Nothing was done, and why (for logs and transcripts).
    Ignored {
        /// Why.
        why: Ignored,
    },
}

/// What to do with a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Propose it; tell the member when the journal has answered, then feed [`Input::Settled`].
    Accept,
    /// As [`Verdict::Accept`]: it is a former leader's attempt that nobody was given since.
    Adopt,
    /// Tell the member so and record it (`Fact::ReportRefused`).
    Refuse(Denial),
    /// It is being written: nothing to do, the member hears when the journal has answered.
    Duplicate,
    /// It was written before: tell the member that it counts, record nothing.
    AlreadySettled,
}

/// Why an input had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Before [`Input::Opened`].
    #[error("no leadership has opened")]
    NotOpened,
    /// The board has no such lease (any more).
    #[error("there is no such lease")]
    NoSuchLease,
    /// The node has not offered anything.
    #[error("the node is not known")]
    UnknownNode,
    /// A member carries a fence of a later term: this leader has been replaced and will learn of it.
    #[error("the fence is of a later term than this leadership")]
    LaterTerm,
    /// The board has as many members as it can.
    #[error("there are too many members")]
    TooManyMembers,
    /// The answer to a question that was not asked, or not in order.
    #[error("it was not asked for")]
    NotAsked,
}
