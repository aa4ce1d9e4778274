//! Candidate: broadcasts its bid at every step, counts down while a majority keeps voting, and at zero asks Raft.
//!
//! It never makes itself leader. What ends a candidacy: a better bid, a beat, Raft's answer, its round, or silence all around.

use super::Role;
use super::member::{Heard, Member};
use crate::bid::{Draw, NodeId, Term};
use crate::machine::Machine;
use crate::message::Message;
use crate::output::{Ignored, Note, Output, Withdrawal};
use crate::time::Instant;
use alloc::collections::BTreeMap;

/// How much longer the step after a refusal is (E5).
const REFUSED_STEPS: u32 = 4;

/// A candidate's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    /// Where the countdown is.
    pub(crate) count: Option<u8>,
    /// What it lost in draws.
    pub(crate) draw: Draw,
    /// How often it drew.
    pub(crate) ties: u8,
    /// Who voted, each with the broadcast it answered last.
    pub(crate) votes: BTreeMap<NodeId, u64>,
    /// Who was heard at all, each with the broadcast that was current then.
    pub(crate) heard: BTreeMap<NodeId, u64>,
    /// Steps in a row without hearing a majority.
    pub(crate) dry: u8,
    /// Whether this step was refused already.
    pub(crate) refused: bool,
    /// When the next step is.
    pub(crate) step_at: Instant,
    /// When the candidacy ends at the latest.
    pub(crate) round_until: Instant,
    /// What was asked of Raft, and until when its answer is awaited.
    pub(crate) ratifying: Option<Ratifying>,
}

/// An open question to Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ratifying {
    /// The term announced to the others.
    pub(crate) target_term: Term,
    /// The old term, if it is claimed again (E10).
    pub(crate) reclaim: Option<Term>,
    /// When no answer is taken as a no.
    pub(crate) until: Instant,
}

impl Machine {
    pub(crate) fn broadcast_candidacy(&mut self) {
        if let Some(message) = self.candidacy() {
            self.broadcast(message);
        }
    }

    fn candidacy(&self) -> Option<Message> {
        let Role::Candidate(candidate) = &self.role else { return None };
        Some(Message::Candidacy {
            target_term: self.target_term(),
            bid: self.bid(candidate.draw),
            seq: self.candidacy_seq,
            count: candidate.count,
        })
    }

    /// How many of the voters are in `answers` with one of the last two broadcasts, and this node itself.
    pub(crate) fn fresh(&self, answers: &BTreeMap<NodeId, u64>) -> usize {
        answers.values().filter(|seq| **seq + 1 >= self.candidacy_seq || !self.rules.renew).count() + 1
    }

    pub(crate) fn candidate_timer(&mut self) {
        let Role::Candidate(candidate) = &self.role else { return };
        match candidate.ratifying {
            Some(ratifying) if ratifying.until <= self.now => self.on_ratify_failed(),
            Some(_) => {}
            None if candidate.round_until <= self.now => {
                self.retries = self.retries.saturating_add(1);
                self.withdraw(Withdrawal::RoundOver);
            }
            None if candidate.step_at <= self.now => self.candidate_step(),
            None => {}
        }
    }

    /// E5 and E12: one step of the countdown.
    fn candidate_step(&mut self) {
        let Role::Candidate(candidate) = &self.role else { return };
        let needed = self.majority();
        let (votes, heard) = (self.fresh(&candidate.votes), self.fresh(&candidate.heard));
        let carried = votes >= needed || !self.rules.majority;
        let (start, dry_steps) = (self.config.count, self.config.dry_steps);
        let step_at = self.now + self.config.step;

        let Role::Candidate(candidate) = &mut self.role else { return };
        candidate.dry = if heard >= needed { 0 } else { candidate.dry.saturating_add(1) };
        if candidate.dry >= dry_steps && self.rules.withdraw_deaf {
            self.withdraw(Withdrawal::Deaf);
            return;
        }
        candidate.step_at = step_at;
        candidate.refused = false;
        let before = candidate.count;
        candidate.count = match before {
            _ if !carried => None,
            None => Some(start),
            Some(count) => Some(count.saturating_sub(1)),
        };
        let count = candidate.count;
        self.candidacy_seq += 1;
        match count {
            Some(count) => self.push(Output::Note(Note::Counted(count))),
            None if before.is_some() => self.push(Output::Note(Note::LostMajority { votes, needed })),
            None => {}
        }
        self.broadcast_candidacy();
        if count == Some(0) {
            self.ask_raft();
        }
    }

    /// E6 and E10: zero. The silence ends first, or Raft could not be heard as a leader.
    fn ask_raft(&mut self) {
        let target_term = self.target_term();
        if !self.rules.ratify {
            self.crown(target_term);
            return;
        }
        let until = self.now + self.config.ratify;
        let reclaim = self.raft_leads.filter(|term| *term == self.raft_term && self.rules.reclaim);
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.ratifying = Some(Ratifying { target_term, reclaim, until });
        }
        self.set_silence(false);
        if let Some(term) = reclaim {
            self.push(Output::Note(Note::Reclaiming { term }));
            self.push(Output::Reclaim { term });
        } else {
            self.push(Output::Note(Note::Ratifying { target_term }));
            self.push(Output::Ratify { target_term });
        }
    }

    /// E7: no crown this time. The term Raft learnt arrives as an input of its own.
    pub(crate) fn on_ratify_failed(&mut self) {
        let Role::Candidate(Candidate { ratifying: Some(_), .. }) = &self.role else {
            self.ignore(None, Ignored::Irrelevant);
            return;
        };
        self.push(Output::Note(Note::RatificationFailed));
        self.retries = self.retries.saturating_add(1);
        if !self.rules.back_off {
            self.count_again();
            return;
        }
        self.withdraw(Withdrawal::NotRatified);
    }

    /// What E7 forbids: the candidacy goes on as if nobody had been asked.
    fn count_again(&mut self) {
        let step_at = self.now + self.config.step;
        if let Role::Candidate(candidate) = &mut self.role {
            (candidate.ratifying, candidate.count, candidate.step_at) = (None, None, step_at);
        }
        self.set_silence(true);
    }

    /// Gives up, tells the voters so, and is a Member that stands later: after a pause of leases if it was deaf.
    pub(crate) fn withdraw(&mut self, why: Withdrawal) {
        self.push(Output::Note(Note::Withdrew(why)));
        self.broadcast(Message::Withdraw);
        self.set_silence(true);
        if why == Withdrawal::Deaf {
            let lease = self.config.lease;
            let shortest = lease.saturating_mul(u32::from(self.config.cool_off_min));
            let longest = lease.saturating_mul(u32::from(self.config.cool_off_max));
            let stand_at = Some(self.now + self.random.duration(shortest, longest));
            self.role = Role::Member(Member { stand_at });
        } else {
            self.stand_after_jitter();
        }
    }

    /// E3 and E4, for a Candidate.
    pub(crate) fn candidate_on_candidacy(&mut self, from: NodeId, heard: Heard) {
        let Role::Candidate(candidate) = &self.role else { return };
        if candidate.ratifying.is_some() {
            self.ignore(Some(from), Ignored::Ratifying);
            return;
        }
        let own = self.bid(candidate.draw);
        if own.ties_with(&heard.bid) && candidate.ties < self.config.ties && self.rules.draw {
            self.draw_against(from);
        } else if self.outranks(&heard.bid, &own) && self.rules.give_way {
            self.push(Output::Note(Note::Yielded { to: from }));
            self.vote_for(from, heard);
        } else if let Some(message) = self.candidacy() {
            self.send(from, message);
        }
    }

    fn draw_against(&mut self, with: NodeId) {
        let lost = u16::try_from(self.random.between(1, u64::from(self.config.draw_max))).unwrap_or(1);
        let step_at = self.now + self.config.step;
        let Role::Candidate(candidate) = &mut self.role else { return };
        candidate.draw = candidate.draw.minus(lost);
        candidate.ties += 1;
        candidate.count = None;
        candidate.step_at = step_at;
        let draw = candidate.draw;
        self.candidacy_seq += 1;
        self.push(Output::Note(Note::Tied { with, draw }));
        self.broadcast_candidacy();
    }

    /// A vote for this candidacy, or for another one: then it counts here no more.
    pub(crate) fn candidate_on_vote(&mut self, from: NodeId, target_term: Term, to: NodeId, seq: u64) {
        let (me, wanted, newest) = (self.me, self.target_term(), self.candidacy_seq);
        let Role::Candidate(candidate) = &mut self.role else { return };
        if to != me {
            candidate.votes.remove(&from);
        } else if target_term != wanted || seq > newest {
            self.ignore(Some(from), Ignored::NotStanding);
        } else {
            let last = candidate.votes.entry(from).or_insert(seq);
            *last = (*last).max(seq);
        }
    }

    /// E5: somebody hears a leader. Start the countdown again, and more slowly: our own lease may have been the unlucky one.
    pub(crate) fn candidate_on_refuse(&mut self, from: NodeId, leader: NodeId) {
        let steps = if self.rules.slow_after_refusal { REFUSED_STEPS } else { 1 };
        let step_at = self.now + self.config.step.saturating_mul(steps);
        let Role::Candidate(candidate) = &mut self.role else {
            self.ignore(Some(from), Ignored::NotStanding);
            return;
        };
        if candidate.ratifying.is_some() {
            self.ignore(Some(from), Ignored::Ratifying);
            return;
        }
        candidate.count = None;
        if !candidate.refused {
            candidate.refused = true;
            candidate.step_at = step_at;
        }
        self.push(Output::Note(Note::Refused { by: from, leader }));
    }
}
