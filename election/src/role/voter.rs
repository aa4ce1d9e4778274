//! Voter: is for another node, and says so to everybody.
//!
//! Its vote is volatile and may move to a higher bid at any time; what can't move is Raft's vote, which comes later. It repeats
//! its vote at each broadcast of its candidate and decides again when that candidate is silent, yields or withdraws (E11).

use super::Role;
use super::member::{Heard, Member};
use crate::bid::{Bid, NodeId, Term};
use crate::machine::Machine;
use crate::message::Message;
use crate::output::{Ignored, Note, Output};
use crate::time::Instant;
use core::time::Duration;

/// A voter's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Voter {
    /// Whom it is for.
    pub(crate) to: NodeId,
    /// That node's newest bid.
    pub(crate) bid: Bid,
    /// The term it wants.
    pub(crate) target_term: Term,
    /// When it is taken as gone.
    pub(crate) watch_until: Instant,
}

impl Machine {
    pub(crate) fn voter_timer(&mut self) {
        let Role::Voter(voter) = &self.role else { return };
        if voter.watch_until <= self.now {
            let gone = voter.to;
            self.decide_again(gone);
        }
    }

    /// E3, for a Voter: renew to our candidate, switch to a higher bid, ignore the rest.
    pub(crate) fn voter_on_candidacy(&mut self, from: NodeId, heard: Heard) {
        let watch_until = self.now + self.config.watch;
        let Role::Voter(voter) = &mut self.role else { return };
        if voter.to == from {
            voter.bid = heard.bid;
            voter.target_term = heard.target_term;
            voter.watch_until = watch_until;
            self.send(from, Message::Vote { target_term: heard.target_term, to: from, seq: heard.seq });
            return;
        }
        let current = voter.bid;
        if self.outranks(&heard.bid, &current) && self.rules.give_way {
            self.vote_for(from, heard);
        } else {
            self.ignore(Some(from), Ignored::LowerBid);
        }
    }

    /// E11: our candidate has turned to another. If that other is this node, nobody else can be meant.
    pub(crate) fn voter_on_vote(&mut self, from: NodeId, to: NodeId) {
        let Role::Voter(voter) = &self.role else { return };
        if voter.to != from || to == from || !self.rules.public_votes {
            return;
        }
        if to == self.me {
            self.role = Role::Member(Member::default());
            self.push(Output::Note(Note::Released { by: from }));
            self.stand(None);
        } else {
            self.decide_again(from);
        }
    }

    pub(crate) fn voter_on_withdraw(&mut self, from: NodeId) {
        let Role::Voter(voter) = &self.role else { return };
        if voter.to == from && self.rules.public_votes {
            self.decide_again(from);
        }
    }

    /// Without a candidate: a Member again that stands within a short while unless somebody better does.
    pub(crate) fn decide_again(&mut self, gone: NodeId) {
        let wait = self.random.duration(Duration::from_millis(1), self.config.decide);
        self.role = Role::Member(Member { stand_at: Some(self.now + wait) });
        self.push(Output::Note(Note::Released { by: gone }));
    }
}
