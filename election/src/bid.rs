//! What a node offers when it wants to lead, and the one order in which bids are compared.
//!
//! Journal first: a node that misses an acknowledged entry must never win. Rank next: that is the operator's wish. Then the
//! draw, which exists only to break a tie between equals and is forgotten afterwards, and the node's id at last.

/// A node's id: unique in a swarm, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A term of Raft: it grows with every ratified leadership and is the fencing token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// The next term.
    #[must_use]
    pub const fn next(self) -> Term {
        Term(self.0.saturating_add(1))
    }
}

/// How far a journal reaches, compared by the last entry's term first (as Raft does).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The term of the last entry.
    pub term: Term,
    /// Its index; 0 means an empty journal.
    pub index: u64,
}

/// How much the operator wants this node to lead: higher is better. Never changed by an election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u32);

/// What a candidate lost in draws against its equals: 0 or less, forgotten when the candidacy ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Draw(i32);

impl Draw {
    /// Nothing lost yet.
    pub const NONE: Draw = Draw(0);

    /// A draw of `points`; anything above 0 is taken as 0.
    #[must_use]
    pub const fn new(points: i32) -> Draw {
        Draw(if points > 0 { 0 } else { points })
    }

    /// The points, 0 or less.
    #[must_use]
    pub const fn points(self) -> i32 {
        self.0
    }

    /// The draw after losing `points` more.
    #[must_use]
    pub const fn minus(self, points: u16) -> Draw {
        Draw(self.0.saturating_sub(points as i32))
    }
}

/// What a candidate offers. The derived order, field by field, is the order of the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bid {
    /// How far its journal reaches.
    pub position: Position,
    /// Its rank.
    pub rank: Rank,
    /// What it lost in draws.
    pub draw: Draw,
    /// Who it is.
    pub node: NodeId,
}

impl Bid {
    /// Whether only the node ids tell the two apart (E4).
    #[must_use]
    pub fn ties_with(&self, other: &Bid) -> bool {
        self.node != other.node && self.position == other.position && self.rank == other.rank && self.draw == other.draw
    }

    /// What a Member compares: it has not stood, so it has no draw, and its id must not make it object.
    #[must_use]
    pub const fn standing(&self) -> (Position, Rank) {
        (self.position, self.rank)
    }
}
