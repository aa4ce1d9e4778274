//! What comes in by mail: the envelope is checked, then beats, candidacies and votes are sorted by what this node is.
//!
//! A packet that is forged, foreign, doubled or old ends here, and so does one whose term is over. What a role makes of the rest is in
//! [`crate::role`].

use super::{Living, Machine};
use crate::bid::{NodeId, Term};
use crate::message::{Envelope, Message, Packet};
use crate::output::{Ignored, Output, StepDown};
use crate::role::Role;
use crate::role::member::{Heard, Member};
use crate::time::Instant;

/// The most senders whose last packet is remembered; voters come first.
const MAX_SENDERS: usize = 256;

impl Machine {
    /// The envelope is checked here, and only here: sender, swarm, voter, order.
    pub(super) fn on_packet(&mut self, from: NodeId, packet: Packet) {
        let Packet { envelope, message } = packet;
        if envelope.from != from || from == self.me {
            self.ignore(Some(from), Ignored::ForgedSender);
            return;
        }
        if let Message::Hello(hello) = message {
            if self.is_news(&envelope) {
                self.on_hello(from, hello);
            }
            return;
        }
        let any_voter = self.voters.is_empty() && matches!(message, Message::Beat { .. });
        let refused = if self.swarm != Some(envelope.swarm) {
            Some(Ignored::OtherSwarm)
        } else if !self.voters.contains(&from) && !any_voter {
            Some(Ignored::NotAVoter)
        } else if matches!(self.role, Role::Observer) && !matches!(message, Message::Beat { .. }) {
            Some(Ignored::NotTakingPart)
        } else {
            None
        };
        match refused {
            Some(why) => self.ignore(Some(from), why),
            None if self.is_news(&envelope) => self.on_message(from, message),
            None => {}
        }
    }

    /// Whether this packet is newer than all heard from its sender; remembers it.
    fn is_news(&mut self, envelope: &Envelope) -> bool {
        let order = (envelope.boot, envelope.seq);
        if self.senders.get(&envelope.from).is_some_and(|newest| *newest >= order) {
            self.ignore(Some(envelope.from), Ignored::OldPacket);
            return false;
        }
        if !self.senders.contains_key(&envelope.from) && self.senders.len() >= MAX_SENDERS {
            let voters = &self.voters;
            self.senders.retain(|node, _| voters.contains(node));
            if self.senders.len() >= MAX_SENDERS {
                self.ignore(Some(envelope.from), Ignored::TooManyPeers);
                return false;
            }
        }
        self.senders.insert(envelope.from, order);
        true
    }

    fn on_message(&mut self, from: NodeId, message: Message) {
        let newest = self.candidacy_seq;
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.heard.insert(from, newest);
        }
        match message {
            Message::Beat { term, sent_at } => self.on_beat(from, term, sent_at),
            Message::Ack { term, sent_at } => self.leader_on_ack(from, term, sent_at),
            Message::Candidacy { target_term, bid, seq, .. } => {
                self.on_candidacy(from, Heard { target_term, bid, seq });
            }
            Message::Vote { target_term, to, seq } => self.on_vote(from, target_term, to, seq),
            Message::Refuse { term, leader } => {
                self.learn_term(term);
                self.candidate_on_refuse(from, leader);
            }
            Message::Stale { term } => self.learn_term(term),
            Message::Withdraw => {
                self.votes_heard.remove(&from);
                self.voter_on_withdraw(from);
            }
            // Greetings were taken before: they need no swarm.
            Message::Hello(_) => {}
        }
    }

    fn on_beat(&mut self, from: NodeId, term: Term, sent_at: Instant) {
        if self.gone.is_some_and(|(gone, until)| gone == from && self.now < until) {
            self.ignore(Some(from), Ignored::ProcessGone);
            return;
        }
        let observer = matches!(self.role, Role::Observer);
        if term < self.raft_term {
            if !observer && self.rules.tell_stale {
                self.send(from, Message::Stale { term: self.raft_term });
            }
            self.ignore(Some(from), Ignored::StaleTerm);
            return;
        }
        let taken = match &self.role {
            Role::Leader(leader) => leader.term >= term,
            _ => self.live_leader().is_some_and(|living| living.term == term && living.node != from),
        };
        if taken {
            self.ignore(Some(from), Ignored::TermTaken);
            return;
        }
        self.step_down(StepDown::NewerTerm(term));
        self.learn_term(term);
        self.retries = 0;
        self.votes_heard.clear();
        self.set_silence(true);
        if !observer {
            self.role = Role::Member(Member::default());
        }
        let known = self.leader.is_some_and(|living| (living.node, living.term) == (from, term));
        self.leader = Some(Living { node: from, term, until: self.now + self.config.lease });
        if !known {
            self.push(Output::Following { leader: from, term });
        }
        if !observer {
            self.send(from, Message::Ack { term, sent_at });
        }
    }

    /// E3. The order of the questions is the rule: a living leader, then the term, then the bid.
    fn on_candidacy(&mut self, from: NodeId, heard: Heard) {
        if heard.bid.node != from {
            self.ignore(Some(from), Ignored::ForgedSender);
            return;
        }
        // The candidate knows this term; a leader of an older one is none any more.
        self.learn_term(Term(heard.target_term.0.saturating_sub(1)));
        if let Role::Leader(leader) = &self.role {
            let (term, sent_at) = (leader.term, leader.beaten_at);
            self.push(Output::Challenge { candidate: from, target_term: heard.target_term, bid: heard.bid });
            if self.rules.answer_challenge {
                self.send(from, Message::Beat { term, sent_at });
            }
            return;
        }
        if let Some(living) = self.live_leader().copied()
            && self.rules.refuse
        {
            self.send(from, Message::Refuse { term: living.term, leader: living.node });
            return;
        }
        if heard.target_term <= self.raft_term {
            if self.rules.tell_stale {
                self.send(from, Message::Stale { term: self.raft_term });
            }
            self.ignore(Some(from), Ignored::StaleTerm);
            return;
        }
        if self.is_booting() {
            self.ignore(Some(from), Ignored::NotTakingPart);
            return;
        }
        match &self.role {
            Role::Member(_) => self.member_on_candidacy(from, heard),
            Role::Voter(_) => self.voter_on_candidacy(from, heard),
            Role::Candidate(_) => self.candidate_on_candidacy(from, heard),
            Role::Founding(_) | Role::Observer | Role::Leader(_) => {}
        }
    }

    fn on_vote(&mut self, from: NodeId, target_term: Term, to: NodeId, seq: u64) {
        self.votes_heard.insert(from, to);
        match &self.role {
            Role::Candidate(_) => self.candidate_on_vote(from, target_term, to, seq),
            Role::Voter(_) => self.voter_on_vote(from, to),
            _ => {}
        }
    }
}
