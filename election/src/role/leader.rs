//! Leader: ratified by Raft. It beats, and may act only while a majority has acknowledged a recent beat (E8).
//!
//! The lease runs from the moment the beat was *sent*, on this node's clock: what counts is when the others last can have
//! started theirs, and a leader that was paused sees at once that its own has passed.

use super::Role;
use crate::bid::{NodeId, Term};
use crate::machine::Machine;
use crate::message::Message;
use crate::output::{Ignored, Note, Output, StepDown};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A leader's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    /// The term Raft gave.
    pub(crate) term: Term,
    /// When Raft said so, or when the voters changed last: a first lease runs from here, for staying, not for acting.
    pub(crate) crowned_at: Instant,
    /// Per voter, when the newest beat it acknowledged was sent.
    pub(crate) acks: BTreeMap<NodeId, Instant>,
    /// Whether the opening entry is committed.
    pub(crate) open: bool,
    /// When the next beat is due.
    pub(crate) beat_at: Instant,
    /// When the newest beat was sent.
    pub(crate) beaten_at: Instant,
    /// Until when a majority's acknowledgements permit to act.
    pub(crate) lease_until: Option<Instant>,
    /// Whether [`Output::MayAct`] was said.
    pub(crate) announced: bool,
}

impl Machine {
    /// Raft says that this node leads `term`, as an answer to our question or by itself.
    pub(crate) fn on_raft_leads(&mut self, leads: Option<Term>, asked: bool) {
        let changed = self.raft_leads != leads;
        self.raft_leads = leads;
        match (&self.role, leads) {
            (Role::Leader(leader), Some(term)) if leader.term == term => {}
            (Role::Leader(_), Some(term)) => {
                self.step_down(StepDown::RaftDeposed);
                self.crown_if_due(term);
            }
            (Role::Leader(_), None) => self.step_down(StepDown::RaftDeposed),
            (_, Some(term)) if changed || asked => self.crown_if_due(term),
            _ => {}
        }
    }

    fn crown_if_due(&mut self, term: Term) {
        if matches!(self.role, Role::Founding(_) | Role::Observer) {
            self.ignore(None, Ignored::NotTakingPart);
        } else if self.is_booting() || self.renounced == Some(term) {
            // A leader that restarted or stepped down finds itself Raft's leader still: it must win a countdown first (E10).
            self.renounced = Some(term);
            self.ignore(None, Ignored::NotTakingPart);
        } else if term < self.raft_term || self.live_leader().is_some_and(|living| living.term >= term) {
            // The late winner: Raft's answer was on its way while others went on.
            self.renounced = Some(term);
            self.ignore(None, Ignored::StaleTerm);
            if matches!(&self.role, Role::Candidate(candidate) if candidate.ratifying.is_some()) {
                self.on_ratify_failed();
            } else {
                self.set_silence(true);
            }
        } else {
            self.crown(term);
        }
    }

    pub(crate) fn crown(&mut self, term: Term) {
        self.learn_term(term);
        self.leader = None;
        self.retries = 0;
        self.role = Role::Leader(Leader {
            term,
            crowned_at: self.now,
            acks: BTreeMap::new(),
            open: !self.rules.opening,
            beat_at: self.now,
            beaten_at: self.now,
            lease_until: None,
            announced: false,
        });
        self.push(Output::Note(Note::Crowned { term }));
        self.push(Output::Following { leader: self.me, term });
        self.set_silence(false);
        self.push(Output::Open { term });
        self.beat();
    }

    /// The opening entry is committed; for a reclaimed term it is Raft's yes as well (E10).
    pub(crate) fn on_opened(&mut self, term: Term) {
        if let Role::Candidate(candidate) = &self.role
            && candidate.ratifying.is_some_and(|ratifying| ratifying.reclaim == Some(term))
        {
            self.renounced = None;
            self.crown(term);
            // Its marker is the opening entry: none is asked for twice.
            self.out.0.retain(|output| !matches!(output, Output::Open { .. }));
        }
        match &mut self.role {
            Role::Leader(leader) if leader.term == term => leader.open = true,
            _ => self.ignore(None, Ignored::StaleTerm),
        }
    }

    pub(crate) fn leader_timer(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if leader.beat_at > self.now {
            return;
        }
        // E9. A new leader has a lease's time to collect its first acknowledgements.
        let first = leader.crowned_at + self.config.leader_lease;
        let until = leader.lease_until.map_or(first, |lease| lease.max(first));
        if until <= self.now && self.rules.step_down && !self.is_sole_voter() {
            self.step_down(StepDown::NoMajority);
        } else {
            self.beat();
        }
    }

    fn beat(&mut self) {
        let (now, me) = (self.now, self.me);
        let next = now + self.config.beat;
        let Role::Leader(leader) = &mut self.role else { return };
        leader.acks.insert(me, now);
        leader.beat_at = next;
        leader.beaten_at = now;
        let term = leader.term;
        self.renew_lease();
        self.broadcast(Message::Beat { term, sent_at: now });
    }

    /// The voters changed under this leader. New ones acknowledged nothing yet, as observers do not: they are asked at once,
    /// and have a lease's time to answer before the leader takes them for silent.
    pub(crate) fn ask_new_voters(&mut self) {
        let now = self.now;
        if let Role::Leader(leader) = &mut self.role {
            leader.crowned_at = now;
            self.beat();
        }
    }

    /// E8(c): when the newest beat that a majority acknowledged was sent, plus the leader's lease.
    pub(crate) fn renew_lease(&mut self) {
        let needed = self.majority();
        let Role::Leader(leader) = &mut self.role else { return };
        let mut sent: Vec<Instant> = leader.acks.values().copied().collect();
        sent.sort_unstable_by(|a, b| b.cmp(a));
        leader.lease_until = sent.get(needed - 1).map(|newest| *newest + self.config.leader_lease);
    }

    pub(crate) fn leader_on_ack(&mut self, from: NodeId, term: Term, sent_at: Instant) {
        let Role::Leader(leader) = &mut self.role else {
            self.ignore(Some(from), Ignored::Irrelevant);
            return;
        };
        // Nothing this leadership did not send may prolong it: not another boot's clock, not another term's beat.
        if leader.term != term || sent_at < leader.crowned_at || sent_at > leader.beaten_at {
            self.ignore(Some(from), Ignored::NotOurs);
            return;
        }
        let newest = leader.acks.entry(from).or_insert(sent_at);
        *newest = (*newest).max(sent_at);
        self.renew_lease();
    }

    /// Says once that the gate is open: the driver asks [`Machine::may_act`] from then on.
    pub(crate) fn announce_acting(&mut self) {
        let Some(term) = self.may_act(self.now) else { return };
        if let Role::Leader(leader) = &mut self.role
            && !leader.announced
        {
            leader.announced = true;
            self.push(Output::MayAct { term });
        }
    }

    /// E9: stop acting first, then fall silent, so that nothing of ours prolongs anybody's lease.
    pub(crate) fn step_down(&mut self, why: StepDown) {
        let Role::Leader(leader) = &self.role else { return };
        let term = leader.term;
        self.renounced = Some(term);
        self.push(Output::SteppedDown { term, why });
        self.set_silence(true);
        self.push(Output::Leaderless { last: self.me, term });
        self.become_waiting_member();
    }
}
