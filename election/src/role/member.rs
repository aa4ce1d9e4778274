//! Member: follows a leader, or waits to stand.
//!
//! Enters: candidacies of others, the end of the lease. Leaves: a vote, a refusal, or a candidacy of its own. Standing at once
//! on hearing a lower bid *is* the objection: there is no other message for it.

use super::Role;
use super::candidate::Candidate;
use super::voter::Voter;
use crate::bid::{Bid, Draw, NodeId, Term};
use crate::machine::Machine;
use crate::message::Message;
use crate::output::{Ignored, Note, Output};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use core::time::Duration;

/// The longest doubling of the jitter: 2^3 = 8 times.
const MAX_DOUBLINGS: u32 = 3;

/// A member's state: the leader it follows is the machine's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    /// When it stands; none while it follows a living leader or Raft has never had a term.
    pub(crate) stand_at: Option<Instant>,
}

/// A candidacy as heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) target_term: Term,
    pub(crate) bid: Bid,
    pub(crate) seq: u64,
}

impl Machine {
    /// A member that waits a whole lease before it looks for another leader: after it led, entered or became a voter itself.
    pub(crate) fn become_waiting_member(&mut self) {
        let wait = if self.is_sole_voter() { Duration::ZERO } else { self.config.lease };
        let stand_at = (self.leader.is_none() && self.has_terms()).then(|| self.now + wait + self.jitter());
        self.role = Role::Member(Member { stand_at });
    }

    pub(crate) fn stand_after_jitter(&mut self) {
        let stand_at = self.has_terms().then(|| self.now.max(self.boot_until.unwrap_or(self.now)) + self.jitter());
        self.role = Role::Member(Member { stand_at });
    }

    /// Raft can elect nobody before its first term: the journal is initialized then, not fought for.
    pub(crate) fn has_terms(&self) -> bool {
        self.raft_term > Term(0)
    }

    pub(crate) fn jitter(&mut self) -> Duration {
        if self.is_sole_voter() || !self.rules.jitter {
            return Duration::ZERO;
        }
        let longest =
            self.config.jitter_max.saturating_mul(1 << self.retries.min(if self.rules.doubling { MAX_DOUBLINGS } else { 0 }));
        self.random.duration(self.config.jitter_min, longest)
    }

    pub(crate) fn member_timer(&mut self) {
        let follows = self.live_leader().is_some();
        let Role::Member(member) = &mut self.role else { return };
        if member.stand_at.is_none_or(|at| at > self.now) {
            return;
        }
        // A deadline that has come must not stay: the driver would spin. The leader's own lease wakes a follower.
        member.stand_at = None;
        if !follows {
            self.stand(None);
        }
    }

    /// E3, for a Member: the higher or equal bid gets the vote, a lower one is answered by standing.
    pub(crate) fn member_on_candidacy(&mut self, from: NodeId, heard: Heard) {
        if self.standing_at_least(&heard.bid) {
            self.vote_for(from, heard);
        } else if self.rules.object {
            self.stand(Some(from));
        } else {
            self.ignore(Some(from), Ignored::LowerBid);
        }
    }

    pub(crate) fn vote_for(&mut self, to: NodeId, heard: Heard) {
        let watch_until = self.now + self.config.watch;
        self.role = Role::Voter(Voter { to, bid: heard.bid, target_term: heard.target_term, watch_until });
        self.push(Output::Note(Note::Voted { to, target_term: heard.target_term }));
        self.broadcast(Message::Vote { target_term: heard.target_term, to, seq: heard.seq });
    }

    /// E2: stands, unless E1 or a living leader forbids it.
    pub(crate) fn stand(&mut self, against: Option<NodeId>) {
        if self.is_booting() || !self.has_terms() {
            self.ignore(against, Ignored::NotTakingPart);
            return;
        }
        if self.live_leader().is_some() {
            self.ignore(against, Ignored::LeaderLives);
            return;
        }
        self.candidacy_seq += 1;
        let round = self.random.duration(self.config.round_min, self.config.round_max);
        self.role = Role::Candidate(Candidate {
            count: None,
            draw: Draw::NONE,
            ties: 0,
            votes: BTreeMap::new(),
            heard: BTreeMap::new(),
            dry: 0,
            refused: false,
            step_at: self.now + self.config.step,
            round_until: self.now + round,
            ratifying: None,
        });
        let (target_term, bid) = (self.target_term(), self.bid(Draw::NONE));
        self.push(Output::Note(Note::Stood { target_term, bid, against }));
        self.broadcast_candidacy();
    }
}
