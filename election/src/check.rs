//! The invariants of one machine, as code: run after every step in tests and in the simulator.
//!
//! What must hold between machines (one acting leader, one leader a term) is for the world that sees them all.

use core::fmt;

use crate::bid::{NodeId, Term};
use crate::machine::Machine;
use crate::role::Role;

/// An invariant that does not hold: a defect of this crate, never of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A node without a vote takes part.
    TakesPartWithoutVote(NodeId),
    /// It stands or votes during the wait after its start (E1).
    TakesPartWhileBooting(NodeId),
    /// It stands or votes although it hears a living leader (E3).
    TakesPartUnderLeader(NodeId),
    /// It is for itself.
    VotesForItself(NodeId),
    /// Its count is above the configured one, or it counts answers to broadcasts it never made.
    ImpossibleCountdown(NodeId),
    /// It drew more often than allowed, or lost nothing by it.
    ImpossibleDraw(NodeId),
    /// It asks Raft before zero.
    AsksBeforeZero(NodeId),
    /// It leads a term other than the newest it knows.
    LeadsOldTerm(NodeId, Term),
    /// It leads and takes another for the leader.
    LeadsAndFollows(NodeId),
    /// It may act, but its opening entry or its majority is missing (E8).
    ActsWithoutLease(NodeId),
    /// It neither leads nor asks to, but is not silent; or it leads and is (E9).
    WrongSilence(NodeId),
    /// It waits for nothing although it could stand.
    NothingToWaitFor(NodeId),
    /// A step ended with outputs not handed out.
    OutputsLeft(NodeId),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl core::error::Error for Violation {}

impl Machine {
    /// Whether this machine's state is one that the rules allow.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        let me = self.me;
        if !self.out.is_empty() {
            return Err(Violation::OutputsLeft(me));
        }
        self.check_part()?;
        self.check_silence()?;
        match &self.role {
            Role::Candidate(_) => self.check_candidate(),
            Role::Leader(_) => self.check_leader(),
            Role::Voter(voter) if voter.to == me => Err(Violation::VotesForItself(me)),
            _ => Ok(()),
        }
    }

    fn check_part(&self) -> Result<(), Violation> {
        let me = self.me;
        let standing = matches!(self.role, Role::Candidate(_) | Role::Voter(_));
        let voting_role = standing || matches!(self.role, Role::Leader(_) | Role::Member(_));
        if voting_role != self.voters.contains(&me) && !matches!(self.role, Role::Founding(_)) {
            return Err(Violation::TakesPartWithoutVote(me));
        }
        if standing && self.is_booting() {
            return Err(Violation::TakesPartWhileBooting(me));
        }
        if standing && self.leader.is_some() && self.rules.refuse {
            return Err(Violation::TakesPartUnderLeader(me));
        }
        let Role::Member(member) = &self.role else { return Ok(()) };
        if member.stand_at.is_none() && self.leader.is_none() && self.has_terms() {
            return Err(Violation::NothingToWaitFor(me));
        }
        Ok(())
    }

    fn check_silence(&self) -> Result<(), Violation> {
        let speaks = match &self.role {
            Role::Leader(_) => true,
            Role::Candidate(candidate) => candidate.ratifying.is_some(),
            _ => false,
        };
        if speaks == self.silent && self.rules.silence {
            return Err(Violation::WrongSilence(self.me));
        }
        Ok(())
    }

    fn check_candidate(&self) -> Result<(), Violation> {
        let (me, Role::Candidate(candidate)) = (self.me, &self.role) else { return Ok(()) };
        let invented = candidate.votes.values().chain(candidate.heard.values()).any(|seq| *seq > self.candidacy_seq);
        let strangers = candidate.votes.keys().any(|node| !self.voters.contains(node) || *node == me);
        if candidate.count.is_some_and(|count| count > self.config.count) || invented || strangers {
            return Err(Violation::ImpossibleCountdown(me));
        }
        if candidate.ties > self.config.ties || candidate.draw.points() > -i32::from(candidate.ties) {
            return Err(Violation::ImpossibleDraw(me));
        }
        if candidate.ratifying.is_some() && candidate.count != Some(0) {
            return Err(Violation::AsksBeforeZero(me));
        }
        Ok(())
    }

    fn check_leader(&self) -> Result<(), Violation> {
        let (me, Role::Leader(leader)) = (self.me, &self.role) else { return Ok(()) };
        if leader.term != self.raft_term {
            return Err(Violation::LeadsOldTerm(me, leader.term));
        }
        if self.leader.is_some() {
            return Err(Violation::LeadsAndFollows(me));
        }
        if self.may_act(self.now).is_some() && self.rules.quorum_lease {
            let recent = leader.acks.values().filter(|sent| **sent + self.config.leader_lease > self.now).count();
            if !leader.open || recent < self.majority() {
                return Err(Violation::ActsWithoutLease(me));
            }
        }
        Ok(())
    }
}
