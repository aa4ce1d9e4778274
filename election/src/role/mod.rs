//! What a node can be: one enum, so that standing and voting for another exclude each other by type.
//!
//! Each file holds one role's state and what the machine does in it; the dispatch between them is in [`crate::machine`].

pub(crate) mod candidate;
pub(crate) mod founding;
pub(crate) mod leader;
pub(crate) mod member;
pub(crate) mod observer;
pub(crate) mod voter;

use candidate::Candidate;
use founding::Founding;
use leader::Leader;
use member::Member;
use voter::Voter;

/// What this node is now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Belongs to no swarm yet.
    Founding(Founding),
    /// Follows beats; neither stands nor votes.
    Observer,
    /// May stand and vote.
    Member(Member),
    /// Is for another node.
    Voter(Voter),
    /// Stands.
    Candidate(Candidate),
    /// Was ratified by Raft.
    Leader(Leader),
}
