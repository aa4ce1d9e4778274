//! The machine: what all roles share, and the dispatch of inputs to them.
//!
//! Enters: facts ([`Input`]) with the time at which they happened. Leaves: an ordered list of [`Outputs`]. It reads no clock,
//! draws no randomness but from the seed it was given, and keeps nothing on disk: all of it may be lost at any moment.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::bid::{Bid, Draw, NodeId, Position, Rank, Term};
use crate::config::Config;
use crate::input::{History, Input, Start};
use crate::message::{Charter, Envelope, Message, Packet, SwarmId};
use crate::output::{Ignored, Note, Output, Outputs, StepDown};
use crate::random::Random;
use crate::role::Role;
use crate::role::founding::Founding;
use crate::role::member::{Heard, Member};
use crate::rules::Rules;
use crate::time::Instant;

/// The most senders whose last packet is remembered; voters come first.
const MAX_SENDERS: usize = 256;

/// A leader that was heard within the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Living {
    pub(crate) node: NodeId,
    pub(crate) term: Term,
    pub(crate) until: Instant,
}

/// One node's part in the election.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    pub(crate) me: NodeId,
    pub(crate) rank: Rank,
    pub(crate) boot: u64,
    pub(crate) seq: u64,
    pub(crate) candidacy_seq: u64,
    pub(crate) random: Random,
    pub(crate) swarm: Option<SwarmId>,
    pub(crate) charter: Option<Charter>,
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) position: Position,
    pub(crate) raft_term: Term,
    pub(crate) raft_leads: Option<Term>,
    /// The term this node led, or might have, and gave up: only a countdown brings it back (E10).
    pub(crate) renounced: Option<Term>,
    pub(crate) boot_until: Option<Instant>,
    /// When the journal is to be created (again).
    pub(crate) initialize_at: Option<Instant>,
    pub(crate) senders: BTreeMap<NodeId, (u64, u64)>,
    pub(crate) votes_heard: BTreeMap<NodeId, NodeId>,
    pub(crate) leader: Option<Living>,
    /// A process that is gone, and until when beats that it sent before are taken as such.
    pub(crate) gone: Option<(NodeId, Instant)>,
    pub(crate) retries: u32,
    pub(crate) silent: bool,
    pub(crate) role: Role,
    pub(crate) now: Instant,
    pub(crate) out: Outputs,
}

impl Machine {
    /// A machine, and what is to be done before anything else. A restarted node starts silent and holds Raft's votes (E1).
    pub fn new(config: Config, start: Start, now: Instant) -> (Machine, Outputs) {
        Machine::with_rules(config, start, now, Rules::ALL)
    }

    /// The same with some rules switched off; [`Machine::new`] has them all.
    pub(crate) fn with_rules(config: Config, start: Start, now: Instant, rules: Rules) -> (Machine, Outputs) {
        let mut machine = Machine {
            config,
            rules,
            me: start.me,
            rank: start.rank,
            boot: start.boot,
            seq: 0,
            candidacy_seq: 0,
            random: Random::new(start.seed),
            swarm: None,
            charter: None,
            voters: BTreeSet::new(),
            position: Position::default(),
            raft_term: Term(0),
            raft_leads: None,
            renounced: None,
            boot_until: None,
            initialize_at: None,
            senders: BTreeMap::new(),
            votes_heard: BTreeMap::new(),
            leader: None,
            gone: None,
            retries: 0,
            silent: true,
            role: Role::Observer,
            now,
            out: Outputs::default(),
        };
        machine.push(Output::Silence(true));
        machine.push(Output::HoldVotes(true));
        machine.begin(start.history);
        let out = core::mem::take(&mut machine.out);
        (machine, out)
    }

    fn begin(&mut self, history: History) {
        match history {
            History::Joining => {
                self.role = Role::Founding(Founding { join_only: true, ..Founding::default() });
                self.start_founding();
            }
            History::Unfounded { pledge } => {
                let stored = pledge.is_some();
                self.role = Role::Founding(Founding { pledge, stored, ..Founding::default() });
                self.start_founding();
            }
            History::Founded { swarm, charter, voters, position, raft_term, raft_leads, has_voted } => {
                self.swarm = Some(swarm);
                self.charter = charter;
                self.voters = voters;
                self.position = position;
                self.raft_term = raft_term;
                self.raft_leads = raft_leads;
                self.renounced = raft_leads;
                let wait = has_voted && !self.is_sole_voter() && self.rules.boot_wait;
                self.boot_until = wait.then(|| self.now + self.config.lease);
                self.release_votes();
                if self.voters.contains(&self.me) {
                    self.role = Role::Member(Member::default());
                    self.stand_after_jitter();
                }
                self.schedule_initialize();
                self.initialize_timer();
            }
        }
    }

    /// Takes one fact in. Time never runs backwards here: an earlier `now` counts as the last one.
    pub fn step(&mut self, now: Instant, input: Input) -> Outputs {
        self.now = self.now.max(now);
        self.expire();
        match input {
            Input::Packet { from, packet } => self.on_packet(from, packet),
            Input::Timer => self.on_timer(),
            Input::RaftTerm(term) => self.learn_term(term),
            Input::RaftLeads(term) => self.on_raft_leads(term, false),
            Input::Ratified(term) => self.on_raft_leads(Some(term), true),
            Input::RatifyFailed => self.on_ratify_failed(),
            Input::Opened(term) => self.on_opened(term),
            Input::Journal(position) => self.position = position,
            Input::Voters(voters) => self.on_voters(voters),
            Input::Rank(rank) => self.rank = rank,
            Input::Configure(config) => self.config = config,
            Input::PeerGone(node) => self.on_peer_gone(node),
            Input::Seen { node, swarm } => self.on_seen(node, swarm),
            Input::Lost(node) => self.on_lost(node),
            Input::PledgeStored => self.on_pledge_stored(),
            Input::Entered { swarm, charter, voters } => self.on_entered(swarm, charter, voters),
        }
        self.announce_acting();
        core::mem::take(&mut self.out)
    }

    /// When [`Input::Timer`] is due at the latest; none if nothing but an input can change anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let role = match &self.role {
            Role::Founding(founding) if founding.done => None,
            Role::Founding(founding) => Some(founding.hello_at),
            Role::Observer => None,
            Role::Member(member) => member.stand_at,
            Role::Voter(voter) => Some(voter.watch_until),
            Role::Candidate(candidate) => match candidate.ratifying {
                Some(ratifying) => Some(ratifying.until),
                None => Some(candidate.step_at.min(candidate.round_until)),
            },
            Role::Leader(leader) => Some(leader.beat_at),
        };
        let leader = self.leader.map(|living| living.until);
        [role, self.boot_until, self.initialize_at, leader].into_iter().flatten().min()
    }

    /// E8, the acting gate: the term in which this node may act at `now`, if it may. Asked before every dispatch, accepted
    /// completion and leader read.
    #[must_use]
    pub fn may_act(&self, now: Instant) -> Option<Term> {
        let Role::Leader(leader) = &self.role else { return None };
        let in_lease = self.acting_until().is_some_and(|until| now < until) || !self.rules.quorum_lease;
        (leader.open && in_lease).then_some(leader.term)
    }

    /// Until when, exclusively, this node may act if nothing else happens: to be published to other threads after every step.
    /// None if it may not act at all.
    #[must_use]
    pub fn acting_until(&self) -> Option<Instant> {
        match &self.role {
            Role::Leader(leader) if leader.open => leader.lease_until,
            _ => None,
        }
    }

    /// This node.
    #[must_use]
    pub const fn me(&self) -> NodeId {
        self.me
    }

    /// What ran out before this step, so that a timer that comes late and a message that comes first meet the same state.
    fn expire(&mut self) {
        if self.boot_until.is_some_and(|until| until <= self.now) {
            self.boot_until = None;
            self.release_votes();
            self.push(Output::Note(Note::BootWaitOver));
        }
        if self.leader.is_some_and(|living| living.until <= self.now) {
            self.lose_leader();
        }
    }

    /// Raft may answer Vote requests once the boot wait is over and its journal has begun.
    fn release_votes(&mut self) {
        if self.has_terms() && self.boot_until.is_none() {
            self.push(Output::HoldVotes(false));
        }
    }

    fn on_timer(&mut self) {
        self.initialize_timer();
        match &self.role {
            Role::Founding(_) => self.founding_timer(),
            Role::Observer => {}
            Role::Member(_) => self.member_timer(),
            Role::Voter(_) => self.voter_timer(),
            Role::Candidate(_) => self.candidate_timer(),
            Role::Leader(_) => self.leader_timer(),
        }
    }

    /// The envelope is checked here, and only here: sender, swarm, voter, order.
    fn on_packet(&mut self, from: NodeId, packet: Packet) {
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
            if !observer {
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
            self.send(from, Message::Beat { term, sent_at });
            return;
        }
        if let Some(living) = self.live_leader().copied()
            && self.rules.refuse
        {
            self.send(from, Message::Refuse { term: living.term, leader: living.node });
            return;
        }
        if heard.target_term <= self.raft_term {
            self.send(from, Message::Stale { term: self.raft_term });
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

    /// A newer Raft term is known. Whoever leads or believes in an older one stops doing so; a candidacy starts again for the next.
    pub(crate) fn learn_term(&mut self, term: Term) {
        if term <= self.raft_term {
            return;
        }
        let first = !self.has_terms();
        self.raft_term = term;
        if first {
            self.begin_terms();
        }
        if self.leader.is_some_and(|living| living.term < term) {
            self.lose_leader();
        }
        match &mut self.role {
            Role::Leader(leader) if leader.term < term => self.step_down(StepDown::NewerTerm(term)),
            Role::Candidate(candidate) if candidate.ratifying.is_none() => {
                candidate.count = None;
                candidate.votes.clear();
            }
            _ => {}
        }
    }

    /// The journal exists: elections may begin, and nobody can have led before.
    fn begin_terms(&mut self) {
        self.initialize_at = None;
        self.release_votes();
        if matches!(self.role, Role::Member(_)) && self.leader.is_none() {
            self.stand_after_jitter();
        }
    }

    /// A beat on its way when its sender died must not bring it back for a lease. Only for two beats' time: should the report be wrong,
    /// the next beat mends it.
    fn on_peer_gone(&mut self, node: NodeId) {
        self.gone = Some((node, self.now + self.config.beat.saturating_mul(2)));
        if self.leader.is_some_and(|living| living.node == node) {
            self.lose_leader();
        }
        match &mut self.role {
            Role::Voter(voter) if voter.to == node => self.decide_again(node),
            Role::Candidate(candidate) => {
                candidate.votes.remove(&node);
            }
            Role::Founding(_) => self.on_lost(node),
            _ => {}
        }
    }

    pub(crate) fn live_leader(&self) -> Option<&Living> {
        self.leader.as_ref().filter(|living| living.until > self.now)
    }

    pub(crate) fn is_booting(&self) -> bool {
        self.boot_until.is_some_and(|until| until > self.now)
    }

    pub(crate) fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    pub(crate) fn is_sole_voter(&self) -> bool {
        self.voters.len() == 1 && self.voters.contains(&self.me)
    }

    pub(crate) fn target_term(&self) -> Term {
        match &self.role {
            Role::Candidate(candidate) => candidate.ratifying.map_or(self.raft_term.next(), |ratifying| ratifying.target_term),
            _ => self.raft_term.next(),
        }
    }

    pub(crate) const fn bid(&self, draw: Draw) -> Bid {
        Bid { position: self.position, rank: self.rank, draw, node: self.me }
    }

    pub(crate) fn outranks(&self, one: &Bid, other: &Bid) -> bool {
        if self.rules.journal_first {
            one > other
        } else {
            (one.rank, one.position, one.draw, one.node) > (other.rank, other.position, other.draw, other.node)
        }
    }

    /// Whether a Member has nothing to object to this bid.
    pub(crate) fn standing_at_least(&self, bid: &Bid) -> bool {
        if self.rules.journal_first {
            bid.standing() >= (self.position, self.rank)
        } else {
            (bid.rank, bid.position) >= (self.rank, self.position)
        }
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.out.0.push(output);
    }

    pub(crate) fn ignore(&mut self, from: Option<NodeId>, why: Ignored) {
        self.push(Output::Ignored { from, why });
    }

    pub(crate) fn set_silence(&mut self, on: bool) {
        if self.silent != on {
            self.silent = on;
            self.push(Output::Silence(on));
        }
    }

    fn packet(&mut self, message: Message) -> Packet {
        self.seq += 1;
        let swarm = self.swarm.unwrap_or(SwarmId::NONE);
        Packet { envelope: Envelope { swarm, from: self.me, boot: self.boot, seq: self.seq }, message }
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        let packet = self.packet(message);
        self.push(Output::Send { to, packet });
    }

    pub(crate) fn broadcast(&mut self, message: Message) {
        let packet = self.packet(message);
        self.push(Output::Broadcast(packet));
    }
}
