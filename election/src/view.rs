//! What can be seen of a machine from outside: for status pages, transcripts and checks. Reading it changes nothing.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::bid::{Draw, NodeId, Position, Rank, Term};
use crate::machine::Machine;
use crate::message::SwarmId;
use crate::role::Role;
use crate::time::Instant;

/// A machine's state, as others may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// Its rank.
    pub rank: Rank,
    /// Its swarm, if it has one.
    pub swarm: Option<SwarmId>,
    /// What it is.
    pub role: RoleView,
    /// The newest Raft term it knows.
    pub raft_term: Term,
    /// The living leader it knows (itself, if it leads) and that leader's term.
    pub leader: Option<(NodeId, Term)>,
    /// Raft's voters as it knows them.
    pub voters: BTreeSet<NodeId>,
    /// The end of its journal.
    pub position: Position,
    /// Until when it may act, if it leads.
    pub acting_until: Option<Instant>,
    /// Whether it sends no AppendEntries (E9).
    pub silent: bool,
    /// For whom the others said they are, in the election that runs or ran last.
    pub votes: BTreeMap<NodeId, NodeId>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleView {
    /// Belongs to no swarm yet; whether its pledge is made.
    Founding {
        /// See [`crate::Output::PersistPledge`].
        pledged: bool,
    },
    /// Waits out the first lease (E1).
    Booting,
    /// Follows beats only.
    Observer,
    /// May stand and vote.
    Member,
    /// Is for another.
    Voter {
        /// For whom.
        to: NodeId,
    },
    /// Stands.
    Candidate {
        /// For which term.
        target_term: Term,
        /// Where its countdown is.
        count: Option<u8>,
        /// What it lost in draws.
        draw: Draw,
        /// Its fresh votes, its own among them.
        votes: usize,
        /// Whether it waits for Raft.
        ratifying: bool,
    },
    /// Was ratified.
    Leader {
        /// Its term.
        term: Term,
        /// Whether its opening entry is committed.
        open: bool,
    },
}

impl RoleView {
    /// One lower-case word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            RoleView::Founding { .. } => "founding",
            RoleView::Booting => "booting",
            RoleView::Observer => "observer",
            RoleView::Member => "member",
            RoleView::Voter { .. } => "voter",
            RoleView::Candidate { .. } => "candidate",
            RoleView::Leader { .. } => "leader",
        }
    }
}

impl Machine {
    /// What this node is, as [`RoleView::name`] has it, without the cost of a whole [`View`].
    #[must_use]
    pub fn role_name(&self) -> &'static str {
        self.role_view().name()
    }

    /// The newest Raft term it knows.
    #[must_use]
    pub const fn raft_term(&self) -> crate::Term {
        self.raft_term
    }

    /// What can be seen of this machine now.
    #[must_use]
    pub fn view(&self) -> View {
        let leader = match &self.role {
            Role::Leader(leader) => Some((self.me, leader.term)),
            _ => self.live_leader().map(|living| (living.node, living.term)),
        };
        View {
            me: self.me,
            rank: self.rank,
            swarm: self.swarm,
            role: self.role_view(),
            raft_term: self.raft_term,
            leader,
            voters: self.voters.clone(),
            position: self.position,
            acting_until: self.acting_until(),
            silent: self.silent,
            votes: self.votes_heard.clone(),
        }
    }

    fn role_view(&self) -> RoleView {
        match &self.role {
            Role::Founding(founding) => RoleView::Founding { pledged: founding.stored },
            Role::Observer => RoleView::Observer,
            Role::Member(_) if self.is_booting() => RoleView::Booting,
            Role::Member(_) => RoleView::Member,
            Role::Voter(voter) => RoleView::Voter { to: voter.to },
            Role::Candidate(candidate) => RoleView::Candidate {
                target_term: self.target_term(),
                count: candidate.count,
                draw: candidate.draw,
                votes: self.fresh(&candidate.votes),
                ratifying: candidate.ratifying.is_some(),
            },
            Role::Leader(leader) => RoleView::Leader { term: leader.term, open: leader.open },
        }
    }
}
