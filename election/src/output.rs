//! What the machine wants done, in this order, and what it has to tell.
//!
//! [`Output`]s up to [`Output::FoundingRefused`] are orders or announcements; [`Output::Ignored`] and [`Output::Note`] change
//! nothing and exist so that a run can be read.

use alloc::collections::BTreeSet;
use alloc::vec::{self, Vec};

use crate::bid::{Bid, Draw, NodeId, Term};
use crate::message::{Charter, Packet, Pledge, SwarmId};

/// What one step wants done, first to last. Dropping it loses messages and, worse, silences.
#[must_use = "outputs are to be carried out in order"]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outputs(pub(crate) Vec<Output>);

impl Outputs {
    /// The outputs, first to last.
    pub fn iter(&self) -> core::slice::Iter<'_, Output> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Outputs {
    type Item = Output;
    type IntoIter = vec::IntoIter<Output>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Outputs {
    type Item = &'a Output;
    type IntoIter = core::slice::Iter<'a, Output>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// One thing to do or to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Send this to one node. May be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        packet: Packet,
    },
    /// Send this to every other voter directly and to the whole swarm by gossip; while founding, to every peer in reach. May be lost.
    Broadcast(Packet),
    /// Ask Raft for its vote, once; answer with [`crate::Input::Ratified`] or [`crate::Input::RatifyFailed`].
    Ratify {
        /// The term announced to the others; Raft's own may turn out lower or higher.
        target_term: Term,
    },
    /// This node is still Raft's leader of that term: commit a marker entry in it; answer with [`crate::Input::Opened`] or
    /// [`crate::Input::RatifyFailed`].
    Reclaim {
        /// The term.
        term: Term,
    },
    /// Commit an opening entry in this term; answer with [`crate::Input::Opened`].
    Open {
        /// The term.
        term: Term,
    },
    /// While on, no AppendEntries and no snapshot leaves this node (E9).
    Silence(bool),
    /// While on, Raft's Vote requests are not answered: in the wait after a start (E1), and before the journal has its first term.
    HoldVotes(bool),
    /// The acting gate is open: [`crate::Machine::may_act`] says for how long.
    MayAct {
        /// The term: the fencing token.
        term: Term,
    },
    /// This node leads no more and must not act.
    SteppedDown {
        /// The term it led.
        term: Term,
        /// Why.
        why: StepDown,
    },
    /// Somebody stands although this node leads: for the log of challenges.
    Challenge {
        /// Who.
        candidate: NodeId,
        /// The term it wants.
        target_term: Term,
        /// What it offers.
        bid: Bid,
    },
    /// A living leader is known now, or another one, or in another term.
    Following {
        /// Who (may be this node).
        leader: NodeId,
        /// Of which term.
        term: Term,
    },
    /// No living leader is known any more.
    Leaderless {
        /// Who led last.
        last: NodeId,
        /// In which term.
        term: Term,
    },
    /// Write this pledge to disk and sync it; answer with [`crate::Input::PledgeStored`].
    PersistPledge(Pledge),
    /// All have pledged: write the charter to disk, derive the swarm's id, answer with [`crate::Input::Entered`].
    Found(Charter),
    /// Create this node's journal with these voters; every founding voter does, with the same set, and Raft's first term that follows
    /// arrives as [`crate::Input::RaftTerm`]. Repeated until it does.
    Initialize(BTreeSet<NodeId>),
    /// A swarm exists: join it; answer with [`crate::Input::Entered`].
    JoinExisting {
        /// Which.
        swarm: SwarmId,
        /// Who said so.
        via: NodeId,
    },
    /// Founding can't go on; to be said loudly.
    FoundingRefused(FoundingRefusal),
    /// An input that changed nothing.
    Ignored {
        /// Whose, if it was a message.
        from: Option<NodeId>,
        /// Why.
        why: Ignored,
    },
    /// For those who watch.
    Note(Note),
}

/// Why a leader stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepDown {
    /// No majority acknowledged a beat within the leader's lease (E9).
    NoMajority,
    /// A newer term exists.
    NewerTerm(Term),
    /// Raft says that this node does not lead.
    RaftDeposed,
    /// This node votes no more.
    NotAVoter,
}

/// Why founding can't go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FoundingRefusal {
    /// More unfounded nodes than expected: all of them, this one too.
    TooMany {
        /// How many were expected.
        expect: u8,
        /// Who is there.
        nodes: BTreeSet<NodeId>,
    },
    /// A node was told another number.
    ExpectDiffers {
        /// Which.
        node: NodeId,
        /// What it expects.
        theirs: u8,
        /// What this node expects.
        ours: u8,
    },
    /// A node of this node's pledge has pledged to others: one of the two sets can't come together.
    PledgeDiffers {
        /// Which.
        node: NodeId,
        /// Its pledge.
        theirs: Pledge,
        /// This node's.
        ours: Pledge,
    },
}

/// Why an input changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// The envelope names another sender than the transport.
    ForgedSender,
    /// Another swarm's, or none's.
    OtherSwarm,
    /// Not one of Raft's voters.
    NotAVoter,
    /// Said before something already heard from that node, or the same again.
    OldPacket,
    /// A beat of a process that is gone.
    ProcessGone,
    /// Too many unknown nodes talk to us.
    TooManyPeers,
    /// This node does not take part yet or at all (boot wait, observer, founding).
    NotTakingPart,
    /// Its term is over.
    StaleTerm,
    /// A bid lower than that of the candidate we vote for.
    LowerBid,
    /// We asked Raft already; its answer decides.
    Ratifying,
    /// A vote or refusal for a candidacy that is over.
    NotStanding,
    /// An acknowledgement of something this leadership never sent.
    NotOurs,
    /// Another node claims a term that has its leader: must not happen.
    TermTaken,
    /// A leader lives.
    LeaderLives,
    /// An outsider speaks of a swarm to a node that has pledged itself: which swarm that is, only those it pledged with
    /// can tell.
    Hearsay,
    /// Nothing to do with the present state.
    Irrelevant,
}

/// What happened, for transcripts, the demo's narration and the lessons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The wait after the start is over (E1).
    BootWaitOver,
    /// This node stands.
    Stood {
        /// For which term.
        target_term: Term,
        /// With what.
        bid: Bid,
        /// Because it heard this lower bid (the objection), if not because a lease ran out.
        against: Option<NodeId>,
    },
    /// This node is now for another.
    Voted {
        /// For whom.
        to: NodeId,
        /// For which term.
        target_term: Term,
    },
    /// This node stood and gave way to a better bid.
    Yielded {
        /// To whom.
        to: NodeId,
    },
    /// The countdown is at this number.
    Counted(u8),
    /// The countdown starts again because too few votes were renewed.
    LostMajority {
        /// How many there are.
        votes: usize,
        /// How many it takes.
        needed: usize,
    },
    /// A node refused: it hears a leader.
    Refused {
        /// Who refused.
        by: NodeId,
        /// Whom it hears.
        leader: NodeId,
    },
    /// An equal bid: this node drew.
    Tied {
        /// With whom.
        with: NodeId,
        /// Its new draw.
        draw: Draw,
    },
    /// Zero: Raft is asked.
    Ratifying {
        /// For this term.
        target_term: Term,
    },
    /// Zero, and Raft's leader still: its old term is claimed again.
    Reclaiming {
        /// That term.
        term: Term,
    },
    /// Raft said yes.
    Crowned {
        /// The term.
        term: Term,
    },
    /// Raft said no, or nothing in time.
    RatificationFailed,
    /// This node withdrew.
    Withdrew(Withdrawal),
    /// The candidate this node voted for is gone; it decides again.
    Released {
        /// That candidate.
        by: NodeId,
    },
}

/// Why a candidate withdrew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Withdrawal {
    /// It heard less than a majority for too long (E12).
    Deaf,
    /// Its round is over.
    RoundOver,
    /// Raft did not ratify (E7).
    NotRatified,
}
