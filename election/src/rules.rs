//! The rules that can be switched off, one by one, to see what each is for.
//!
//! A machine outside the simulator always has all of them: [`Rules::ALL`] is the only value that exists there.

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules {
    /// E1: wait one lease after a start.
    pub boot_wait: bool,
    /// E2: a random wait before standing.
    pub jitter: bool,
    /// E3: who hears a leader refuses.
    pub refuse: bool,
    /// E3: a member with a better bid stands at once.
    pub object: bool,
    /// E3: a voter turns to a better bid, a candidate gives way to it.
    pub give_way: bool,
    /// E3: a leader answers a candidacy with a beat at once.
    pub answer_challenge: bool,
    /// E3: who speaks of a term that is over is told so.
    pub tell_stale: bool,
    /// E4: equals draw.
    pub draw: bool,
    /// E5: a step of the countdown needs a majority of votes.
    pub majority: bool,
    /// E5: a vote counts only if it was renewed within the last two broadcasts.
    pub renew: bool,
    /// E5: a refusal makes the next step longer.
    pub slow_after_refusal: bool,
    /// E6: zero asks Raft; without it the first at zero leads.
    pub ratify: bool,
    /// E7: who was not ratified withdraws and is a member again.
    pub back_off: bool,
    /// E7: the wait doubles with each failure.
    pub doubling: bool,
    /// E8(b): acting needs a committed opening entry.
    pub opening: bool,
    /// E8(c): acting needs beats acknowledged by a majority.
    pub quorum_lease: bool,
    /// E9: a leader without a majority's acknowledgements steps down.
    pub step_down: bool,
    /// E9: who does not lead sends no AppendEntries.
    pub silence: bool,
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
        jitter: true,
        refuse: true,
        object: true,
        give_way: true,
        answer_challenge: true,
        tell_stale: true,
        draw: true,
        majority: true,
        renew: true,
        slow_after_refusal: true,
        ratify: true,
        back_off: true,
        doubling: true,
        opening: true,
        quorum_lease: true,
        step_down: true,
        silence: true,
        reclaim: true,
        public_votes: true,
        withdraw_deaf: true,
        journal_first: true,
    };
}
