//! What nodes say to one another, and the envelope that says who speaks, for which swarm, and in which order.
//!
//! Bytes are the business of [`crate::codec`]. Nothing here is trusted: the machine checks the envelope first.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::bid::{Bid, NodeId, Rank, Term};
use crate::time::Instant;

/// A swarm's id: the driver derives it from the charter's canonical bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwarmId(pub [u8; 16]);

impl SwarmId {
    /// Stands in the envelope of a node that belongs to no swarm yet.
    pub const NONE: SwarmId = SwarmId([0; 16]);
}

/// Who speaks, and where this packet stands in what it has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Envelope {
    /// The sender's swarm, or [`SwarmId::NONE`].
    pub swarm: SwarmId,
    /// The sender; must equal the peer that the transport authenticated.
    pub from: NodeId,
    /// Counts the sender's process starts.
    pub boot: u64,
    /// Counts its packets since that start. Older packets are dropped, and the same one twice.
    pub seq: u64,
}

/// A message in its envelope: what travels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Who speaks.
    pub envelope: Envelope,
    /// What it says.
    pub message: Message,
}

impl Packet {
    /// Whether it may come from, and go to, nodes outside the swarm.
    #[must_use]
    pub const fn is_founding(&self) -> bool {
        matches!(self.message, Message::Hello(_))
    }
}

/// Everything the election says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// A leader lives.
    Beat {
        /// The term it leads.
        term: Term,
        /// The leader's own clock when it was sent; echoed by the [`Message::Ack`].
        sent_at: Instant,
    },
    /// A beat was heard.
    Ack {
        /// The beat's term.
        term: Term,
        /// The beat's `sent_at`.
        sent_at: Instant,
    },
    /// A node stands, or still stands.
    Candidacy {
        /// The Raft term it wants to lead: one above the newest it knows.
        target_term: Term,
        /// What it offers.
        bid: Bid,
        /// Counts its broadcasts; a vote names the one it answers.
        seq: u64,
        /// Where its countdown is; none before it has a majority.
        count: Option<u8>,
    },
    /// For whom the sender is now: broadcast when it changes, repeated to the candidate at each of its broadcasts.
    Vote {
        /// The candidacy's target term.
        target_term: Term,
        /// The candidate.
        to: NodeId,
        /// The broadcast it answers.
        seq: u64,
    },
    /// The sender hears a living leader: no vote.
    Refuse {
        /// That leader's term.
        term: Term,
        /// Who it is.
        leader: NodeId,
    },
    /// What was said belongs to a term that is over.
    Stale {
        /// The newest term the sender knows.
        term: Term,
    },
    /// The sender does not stand any more.
    Withdraw,
    /// Founding: who the sender is and how far it has come.
    Hello(Hello),
}

/// What a node says of itself while a swarm is founded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hello {
    /// From how many nodes it wants to found.
    pub expect: u8,
    /// Its rank.
    pub rank: Rank,
    /// How far it has come.
    pub stage: Stage,
    /// Looking: the unfounded nodes it sees, itself among them. Pledged: its pledge. Founded: the charter's members, if it knows them.
    pub nodes: Pledge,
}

/// How far a node has come in founding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It has promised nothing.
    Looking,
    /// Its one pledge is on disk.
    Pledged,
    /// It belongs to a swarm.
    Founded(SwarmId),
}

/// The nodes somebody founds with, each with its rank: the one promise a node keeps on disk before a swarm exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pledge(pub BTreeMap<NodeId, Rank>);

impl Pledge {
    /// The members, best bid first: before a journal exists a bid is rank, then id.
    #[must_use]
    pub fn by_bid(&self) -> Vec<NodeId> {
        let mut order: Vec<(Rank, NodeId)> = self.0.iter().map(|(node, rank)| (*rank, *node)).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        order.into_iter().map(|(_, node)| node).collect()
    }
}

/// What a swarm was founded from: all members pledged to it, and the voters follow from the members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Charter {
    members: Pledge,
    voters: BTreeSet<NodeId>,
}

impl Charter {
    /// The charter of these members. All of 1, 2, 3 or 5 vote; of 4 the best three, of more than 5 the best five:
    /// an even number of voters survives no more failures than the odd one below it.
    #[must_use]
    pub fn new(members: Pledge) -> Charter {
        let voters = match members.0.len() {
            few @ 0..=3 => few,
            4 => 3,
            _ => 5,
        };
        let voters = members.by_bid().into_iter().take(voters).collect();
        Charter { members, voters }
    }

    /// Who pledged, with the rank each had.
    #[must_use]
    pub const fn members(&self) -> &Pledge {
        &self.members
    }

    /// Whose disks count at first.
    #[must_use]
    pub const fn voters(&self) -> &BTreeSet<NodeId> {
        &self.voters
    }

    /// The same bytes on every node that holds this charter; the driver hashes them (with the swarm's secret, if it likes)
    /// to the swarm's id: a label and version, the number of members, then each member's id and rank, little-endian, ascending by id.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = b"dunlin charter 1".to_vec();
        bytes.extend_from_slice(&(self.members.0.len() as u64).to_le_bytes());
        for (node, rank) in &self.members.0 {
            bytes.extend_from_slice(&node.0.to_le_bytes());
            bytes.extend_from_slice(&rank.0.to_le_bytes());
        }
        bytes
    }
}
