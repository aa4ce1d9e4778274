//! What happened in a world, in order: the raw material of transcripts and diagrams.

use std::string::String;

use super::raft::RaftMessage;
use super::watch::Fault;
use crate::{Instant, Message, NodeId, Output, Term};

/// One thing that happened.
#[derive(Clone, Debug, Hash)]
pub struct Event {
    /// When, on the world's clock.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, Hash)]
pub enum What {
    /// A script or a test did something to the world.
    Done(String),
    /// A machine ordered or told something.
    Said(NodeId, Output),
    /// A machine's message arrived, or was lost on its way.
    Mail {
        /// From whom.
        from: NodeId,
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
        /// Whether it arrived.
        arrived: bool,
    },
    /// Raft's message arrived.
    Raft {
        /// From whom.
        from: NodeId,
        /// To whom.
        to: NodeId,
        /// What.
        message: RaftMessage,
    },
    /// Raft on that node leads that term now.
    RaftLeads(NodeId, Term),
    /// A promise was broken.
    Broken(Fault),
}
