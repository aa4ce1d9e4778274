//! The machine: what all roles share, and the dispatch of inputs to them.
//!
//! Enters: facts ([`Input`]) with the time at which they happened. Leaves: an ordered list of [`Outputs`]. It reads no clock,
//! draws no randomness but from the seed it was given, and keeps nothing on disk: all of it may be lost at any moment.

mod mail;

use alloc::collections::{BTreeMap, BTreeSet};

use crate::bid::{Bid, Draw, NodeId, Position, Rank, Term};
use crate::config::Config;
use crate::input::{History, Input, Start};
use crate::message::{Charter, Envelope, Message, Packet, SwarmId};
use crate::output::{Ignored, Note, Output, Outputs, StepDown};
use crate::random::Random;
use crate::role::Role;
use crate::role::founding::Founding;
use crate::role::member::Member;
use crate::rules::Rules;
use crate::time::Instant;

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
            silent: rules.silence,
            role: Role::Observer,
            now,
            out: Outputs::default(),
        };
        machine.push(Output::Silence(rules.silence));
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
        if on && !self.rules.silence {
            return;
        }
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
