//! The narrow trait between the node and its replication engine, so that another engine can take its place.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use super::entry::{Entry, Fact, Reply};
use crate::task::{NodeId, Term};

/// A place in the log, compared by term first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPosition {
    /// The term of the last entry.
    pub term: Term,
    /// Its index, from 1; 0 means an empty log.
    pub index: u64,
}

/// What Raft on this node knows of itself now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// The newest term seen.
    pub term: Term,
    /// Whom Raft takes as the leader of that term.
    pub leader: Option<NodeId>,
    /// Whether this node is Raft's leader of `term`. This alone does not permit it to act (E8).
    pub is_leader: bool,
    /// The end of this node's log.
    pub last: LogPosition,
    /// What of it this node's ledger has folded.
    pub applied: u64,
    /// The nodes whose disks count. Empty before founding.
    pub voters: Vec<NodeId>,
    /// Nodes that receive the log but do not count.
    pub learners: Vec<NodeId>,
}

impl RaftStatus {
    /// Whether two states differ in more than how far the log has come.
    pub(super) fn turned_from(&self, other: &RaftStatus) -> bool {
        (self.term, self.leader, self.is_leader) != (other.term, other.leader, other.is_leader)
            || self.voters != other.voters
            || self.learners != other.learners
    }
}

/// An entry that this node's ledger has folded, as listeners see it.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Its index.
    pub index: u64,
    /// What was in it.
    pub entry: Arc<Entry>,
    /// The fold's answer to each fact.
    pub replies: Arc<Vec<Reply>>,
}

/// Why a proposal got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node is not (any more) Raft's leader of that term: not written, ask the leader.
    #[error("this node does not lead term {0}")]
    NotLeader(Term),
    /// No majority answered in time. It may still be written later.
    #[error("no majority of the voters answered in time; it may still be written")]
    TimedOut,
    /// Too many proposals wait already: not written, try again.
    #[error("the journal's queue is full")]
    Full,
    /// More facts or bytes than one entry holds: not written.
    #[error("{what} of one proposal: {size}; the limit is {limit}")]
    TooLarge {
        /// `facts` or `bytes`.
        what: &'static str,
        /// How many.
        size: usize,
        /// At most.
        limit: usize,
    },
    /// The disk is full: not written.
    #[error("the disk is full")]
    DiskFull,
    /// The journal has stopped (a failed disk); the node is about to stop too.
    #[error("the journal has stopped: {0}")]
    Stopped(String),
}

/// Why this node was not elected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElectError {
    /// A majority did not grant its vote in time.
    #[error("no majority granted its vote in time")]
    Refused,
    /// The journal has stopped.
    #[error("the journal has stopped: {0}")]
    Stopped(String),
}

/// Why the set of voters or learners did not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader changes it.
    #[error("this node does not lead")]
    NotLeader,
    /// Another change is under way.
    #[error("another change of the membership is under way")]
    Busy,
    /// The engine's words.
    #[error("the membership did not change: {0}")]
    Failed(String),
}

/// The replicated log as the node sees it. Reading what it adds up to is the ledger's business.
pub trait Journal: Send + Sync + 'static {
    /// Writes facts down: answered when they are on a majority of disks and folded here, one reply a fact.
    /// What waits is written together, up to 1,000 facts or 1 MiB an entry; a caller's facts stay together and in order.
    fn propose(&self, term: Term, facts: Vec<Fact>) -> BoxFuture<'static, Result<Vec<Reply>, ProposeError>>;

    /// Asks Raft for the votes of the next term, once. Answers with the term that this node now leads.
    fn elect(&self) -> BoxFuture<'static, Result<Term, ElectError>>;

    /// Creates the log with its first voters. Every founding voter calls it with the same set; a second call is harmless.
    fn initialize(&self, voters: Vec<NodeId>) -> BoxFuture<'static, Result<(), MembershipError>>;

    /// Lets a node receive the log without counting.
    fn add_learner(&self, node: NodeId) -> BoxFuture<'static, Result<(), MembershipError>>;

    /// Replaces the set of voters (one at a time is the caller's discipline); a voter taken out keeps nothing.
    fn change_voters(&self, voters: Vec<NodeId>) -> BoxFuture<'static, Result<(), MembershipError>>;

    /// Raft's state, whenever it changes.
    fn status(&self) -> watch::Receiver<RaftStatus>;

    /// The same state, but whoever waits is woken only when the term, the leader or the members change: an entry more is no
    /// reason to wake a thread. What is read there is never older than the last such change; `status` is always fresh.
    fn turns(&self) -> watch::Receiver<RaftStatus>;

    /// Entries as this node folds them. A listener that is too slow is told so and reads the ledger instead.
    fn applied(&self) -> broadcast::Receiver<Applied>;

    /// E9: while true, this node sends no AppendEntries and no snapshot. Starts true after a restart.
    fn silence(&self, on: bool);

    /// E1: while true, this node answers no Vote request. Starts true after a restart.
    fn hold_votes(&self, on: bool);

    /// Stops and closes the files; what was acknowledged is on disk.
    fn stop(&self) -> BoxFuture<'static, ()>;
}

/// The journal as rooms hold it.
pub type SharedJournal = Arc<dyn Journal>;
