//! What the driver tells the machine: at the start ([`Start`]) and with every step ([`Input`]).
//!
//! All of it is fact. The machine asks nothing back; what it wants done comes out as [`crate::Output`].

use alloc::collections::BTreeSet;

use crate::bid::{NodeId, Position, Rank, Term};
use crate::config::Config;
use crate::message::{Charter, Packet, Pledge, SwarmId};

/// What a node knows of itself when its process starts.
#[derive(Clone, Debug)]
pub struct Start {
    /// This node.
    pub me: NodeId,
    /// Its rank.
    pub rank: Rank,
    /// Counts this node's process starts; must grow with each (kept on disk).
    pub boot: u64,
    /// Where the draws and waits start; different at every start.
    pub seed: u64,
    /// What was found on disk.
    pub history: History,
}

/// What was found on disk.
#[derive(Clone, Debug)]
pub enum History {
    /// No charter, and this node is not to found one: it waits for a swarm to join.
    Joining,
    /// No charter: this node founds, with the pledge it already made, or joins.
    Unfounded {
        /// The pledge of an earlier start.
        pledge: Option<Pledge>,
    },
    /// A member of a swarm.
    Founded {
        /// Which.
        swarm: SwarmId,
        /// Its charter, if this node was there.
        charter: Option<Charter>,
        /// Raft's voters as this node knows them.
        voters: BTreeSet<NodeId>,
        /// The end of its journal.
        position: Position,
        /// Raft's term on disk.
        raft_term: Term,
        /// The term that this node's Raft says it leads, right after the start.
        raft_leads: Option<Term>,
        /// Whether this node may ever have granted Raft's vote; `false` only on a node that never had a journal (E1 does not apply).
        has_voted: bool,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A packet came in.
    Packet {
        /// The peer that the transport authenticated.
        from: NodeId,
        /// What it sent.
        packet: Packet,
    },
    /// [`crate::Machine::deadline`] has come.
    Timer,
    /// The newest term that this node's Raft knows.
    RaftTerm(Term),
    /// The term that this node's Raft leads, from the engine's own state, whenever it changes: also when it leads no more.
    RaftLeads(Option<Term>),
    /// Raft made this node the leader of that term (the answer to [`crate::Output::Ratify`]).
    Ratified(Term),
    /// Raft did not, or the marker of [`crate::Output::Reclaim`] was not committed.
    RatifyFailed,
    /// The entry asked for by [`crate::Output::Open`] or [`crate::Output::Reclaim`] is committed in that term.
    Opened(Term),
    /// The journal reaches this far now.
    Journal(Position),
    /// Raft's voters now.
    Voters(BTreeSet<NodeId>),
    /// The operator gave this node another rank; counts from the next candidacy or greeting.
    Rank(Rank),
    /// Other durations from now on (all nodes must be given the same).
    Configure(Config),
    /// That node's kernel reset the connection *and* its port refuses new ones: its process is gone. Never said of a node that
    /// merely does not answer.
    PeerGone(NodeId),
    /// That node can be reached now (or greeted again), and says it belongs to this swarm or to none. Matters while founding.
    Seen {
        /// Which.
        node: NodeId,
        /// Its swarm.
        swarm: Option<SwarmId>,
    },
    /// That node can't be reached any more. Matters while founding.
    Lost(NodeId),
    /// The pledge of [`crate::Output::PersistPledge`] is on disk and synced.
    PledgeStored,
    /// This node now belongs to a swarm: after [`crate::Output::Found`] with its charter, after [`crate::Output::JoinExisting`]
    /// with what the join brought.
    Entered {
        /// Which.
        swarm: SwarmId,
        /// Its charter, if this node founded it.
        charter: Option<Charter>,
        /// Raft's voters, as far as they are known (a joiner may know none yet).
        voters: BTreeSet<NodeId>,
    },
}
