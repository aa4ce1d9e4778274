//! Where this node stands in the election, as the other rooms see it.

use std::time::Duration;

use crate::task::{NodeId, SwarmId, Term};

/// A snapshot of the election as this node has it. Published whenever it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The swarm this node belongs to, once it does.
    pub swarm: Option<SwarmId>,
    /// `member`, `voter`, `candidate`, `leader`, `observer` or `founding`.
    pub role: &'static str,
    /// The newest term this node knows.
    pub term: Term,
    /// The living leader and its term.
    pub leader: Option<(NodeId, Term)>,
    /// The term in which this node leads and has opened. The acting gate still has the last word.
    pub acting: Option<Term>,
    /// Since when, by this node's clock, the leader has been what it is.
    pub since: Duration,
    /// How the last countdown that this node won or followed was decided, in words.
    pub why: String,
}

impl Standing {
    /// Whether this node leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.acting.is_some()
    }
}
