//! The rules that can be switched off, one by one, to see what each is for.
//!
//! A machine outside the simulator always has all of them: [`Rules::ALL`] is the only value that exists there.

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules {
    /// E1: wait one lease after a start.
    pub boot_wait: bool,
    /// E3: who hears a leader refuses.
    pub refuse: bool,
    /// E4: equals draw.
    pub draw: bool,
    /// E5: a step of the countdown needs a majority of votes.
    pub majority: bool,
    /// E6: zero asks Raft; without it the first at zero leads.
    pub ratify: bool,
    /// E8(b): acting needs a committed opening entry.
    pub opening: bool,
    /// E8(c), E9: acting needs beats acknowledged by a majority.
    pub quorum_lease: bool,
    /// E10: a Raft leader that stepped down claims its old term.
    pub reclaim: bool,
    /// E11: votes are public, and a Voter without a candidate decides again soon.
    pub public_votes: bool,
    /// E12: who hears nobody withdraws.
    pub withdraw_deaf: bool,
    /// The journal counts before the rank.
    pub journal_first: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Rules = Rules {
        boot_wait: true,
        refuse: true,
        draw: true,
        majority: true,
        ratify: true,
        opening: true,
        quorum_lease: true,
        reclaim: true,
        public_votes: true,
        withdraw_deaf: true,
        journal_first: true,
    };
}
