//! A small model of Raft: persisted votes, one leader a term, a log that a leader copies to its followers as a whole.
//!
//! Just enough to be the ratifier and to lose an entry if a rule is missing. Like the engine it stands for, it elects only when
//! told to, ignores that order while it leads, and keeps no lease across restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use std::vec::Vec;

use crate::{Instant, NodeId, Position, Term};

/// What is missing from the model, to see what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RaftRules {
    /// A vote is on disk before it is answered.
    pub vote_on_disk: bool,
    /// A vote is given only to a log that is not behind.
    pub log_check: bool,
    /// A follower that heard an AppendEntries gives no vote for so many milliseconds, as openraft's followers do.
    pub lease_ms: u64,
}

impl RaftRules {
    /// Nothing missing.
    pub const ALL: RaftRules = RaftRules { vote_on_disk: true, log_check: true, lease_ms: 900 };
}

/// An entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term in which it was written.
    pub term: Term,
    /// Which entry it is, unique in a world.
    pub id: u64,
}

/// What Raft says to Raft.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RaftMessage {
    /// May I lead this term?
    RequestVote {
        /// The term.
        term: Term,
        /// The end of the asker's log.
        last: Position,
    },
    /// Yes.
    Grant {
        /// The term.
        term: Term,
    },
    /// No.
    Reject {
        /// The newest term known, which may be the reason.
        term: Term,
    },
    /// This is the log now.
    Append {
        /// The leader's term.
        term: Term,
        /// All of it.
        log: Rc<Vec<Entry>>,
        /// The voters, for one that does not know them yet.
        voters: Rc<BTreeSet<NodeId>>,
    },
    /// It is on disk.
    Appended {
        /// The leader's term.
        term: Term,
        /// How long the log is.
        len: usize,
    },
}

/// Raft on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    me: NodeId,
    rules: RaftRules,
    /// Whose disks count.
    pub voters: Rc<BTreeSet<NodeId>>,
    /// The newest term seen.
    pub term: Term,
    /// Who got this node's vote in that term.
    pub voted_for: Option<NodeId>,
    /// What a crash leaves of the two, if votes are not written before they are answered.
    on_disk: (Term, Option<NodeId>),
    /// The log.
    pub log: Rc<Vec<Entry>>,
    /// Whether this node leads `term`.
    pub leads: bool,
    /// How many entries a majority holds, as the leader knows it.
    pub committed: usize,
    /// See [`crate::Output::Silence`].
    pub silent: bool,
    /// See [`crate::Output::HoldVotes`].
    pub hold_votes: bool,
    granted: BTreeSet<NodeId>,
    held: BTreeMap<NodeId, usize>,
    lease_until: Instant,
}

/// Messages to send: to one node, or to every other voter.
pub type Mail = Vec<(Option<NodeId>, RaftMessage)>;

impl Raft {
    /// Raft on a node with this log, at the term of its last entry.
    #[must_use]
    pub fn new(me: NodeId, voters: BTreeSet<NodeId>, log: Vec<Entry>, term: Term, rules: RaftRules) -> Raft {
        Raft {
            me,
            rules,
            voters: Rc::new(voters),
            term,
            voted_for: None,
            on_disk: (term, None),
            committed: 0,
            log: Rc::new(log),
            leads: false,
            silent: true,
            hold_votes: true,
            granted: BTreeSet::new(),
            held: BTreeMap::new(),
            lease_until: Instant::ORIGIN,
        }
    }

    /// The end of the log.
    #[must_use]
    pub fn position(&self) -> Position {
        let term = self.log.last().map_or(Term(0), |entry| entry.term);
        Position { term, index: self.log.len() as u64 }
    }

    /// The process ends and starts again: what was on disk is left, and a leader of that term finds itself leader still.
    pub fn restart(&mut self) {
        self.silent = true;
        self.hold_votes = true;
        self.granted.clear();
        self.lease_until = Instant::ORIGIN;
        if !self.rules.vote_on_disk {
            (self.term, self.voted_for) = self.on_disk;
            self.leads = false;
        }
        if self.leads {
            self.held = BTreeMap::from([(self.me, self.log.len())]);
        }
    }

    fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Asks for the next term's votes, once. Nothing happens on a leader.
    pub fn elect(&mut self) -> Mail {
        if self.leads || !self.voters.contains(&self.me) {
            return Vec::new();
        }
        self.term = self.term.next();
        self.voted_for = Some(self.me);
        // A candidate's own vote is always written: forgetting it would only hide what the followers' votes show.
        self.on_disk = (self.term, self.voted_for);
        self.granted = BTreeSet::from([self.me]);
        let mut mail = self.ask();
        mail.extend(self.win_if_granted());
        mail
    }

    /// The question for votes, as it was asked already.
    #[must_use]
    pub fn ask(&self) -> Mail {
        std::vec![(None, RaftMessage::RequestVote { term: self.term, last: self.position() })]
    }

    /// Creates the log with its voters and elects at once, as the engine does.
    pub fn initialize(&mut self, voters: &BTreeSet<NodeId>, id: u64) -> Mail {
        // A node that granted a vote counts as initialized already, with or without a log.
        if !self.log.is_empty() || self.term > Term(0) {
            return Vec::new();
        }
        self.voters = Rc::new(voters.clone());
        self.log = Rc::new(std::vec![Entry { term: Term(0), id }]);
        self.elect()
    }

    fn win_if_granted(&mut self) -> Mail {
        if self.granted.len() < self.majority() || self.leads {
            return Vec::new();
        }
        self.leads = true;
        self.held = BTreeMap::new();
        self.committed = 0;
        Vec::new()
    }

    /// Writes an entry, if this node leads that term.
    pub fn propose(&mut self, term: Term, id: u64) -> Option<Mail> {
        if !self.leads || self.term != term {
            return None;
        }
        Rc::make_mut(&mut self.log).push(Entry { term, id });
        self.held.insert(self.me, self.log.len());
        self.commit();
        Some(self.append())
    }

    /// The log for everybody, unless this node is silent (E9).
    #[must_use]
    pub fn append(&self) -> Mail {
        if self.silent || !self.leads {
            return Vec::new();
        }
        let message = RaftMessage::Append { term: self.term, log: Rc::clone(&self.log), voters: Rc::clone(&self.voters) };
        std::vec![(None, message)]
    }

    /// Whether some voter does not hold the whole log, as far as the leader knows.
    #[must_use]
    pub fn lags(&self) -> bool {
        self.leads && self.voters.iter().any(|node| self.held.get(node).is_none_or(|len| *len < self.log.len()))
    }

    fn commit(&mut self) {
        let mut held: Vec<usize> = self.held.values().copied().collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let len = held.get(self.majority() - 1).copied().unwrap_or(0);
        // Only an entry of its own term tells a leader that it leads (Raft, section 5.4.2).
        if len > self.committed && self.log.get(len - 1).is_some_and(|entry| entry.term == self.term) {
            self.committed = len;
        }
    }

    fn see_term(&mut self, term: Term) {
        if term > self.term {
            self.term = term;
            self.voted_for = None;
            self.leads = false;
            if self.rules.vote_on_disk {
                self.on_disk = (term, None);
            }
        }
    }

    /// Takes a message in.
    pub fn receive(&mut self, from: NodeId, message: RaftMessage, now: Instant) -> Mail {
        match message {
            RaftMessage::RequestVote { term, last } => self.on_request(from, term, last, now),
            RaftMessage::Grant { term } => {
                if term == self.term && self.voted_for == Some(self.me) {
                    self.granted.insert(from);
                    return self.win_if_granted();
                }
                Vec::new()
            }
            RaftMessage::Reject { term } => {
                self.see_term(term);
                Vec::new()
            }
            RaftMessage::Append { term, log, voters } => self.on_append(from, term, log, voters, now),
            RaftMessage::Appended { term, len } => {
                if term == self.term && self.leads {
                    let held = self.held.entry(from).or_insert(0);
                    *held = (*held).max(len);
                    self.commit();
                }
                Vec::new()
            }
        }
    }

    fn on_request(&mut self, from: NodeId, term: Term, last: Position, now: Instant) -> Mail {
        if self.hold_votes {
            return Vec::new();
        }
        if now < self.lease_until {
            return std::vec![(Some(from), RaftMessage::Reject { term: self.term })];
        }
        self.see_term(term);
        let behind = self.rules.log_check && last < self.position();
        if term < self.term || behind || self.voted_for.is_some_and(|to| to != from) || self.leads {
            return std::vec![(Some(from), RaftMessage::Reject { term: self.term })];
        }
        self.voted_for = Some(from);
        if self.rules.vote_on_disk {
            self.on_disk = (self.term, self.voted_for);
        }
        std::vec![(Some(from), RaftMessage::Grant { term })]
    }

    fn on_append(&mut self, from: NodeId, term: Term, log: Rc<Vec<Entry>>, voters: Rc<BTreeSet<NodeId>>, now: Instant) -> Mail {
        if term < self.term || (self.leads && term == self.term) {
            return std::vec![(Some(from), RaftMessage::Reject { term: self.term })];
        }
        self.see_term(term);
        self.lease_until = now + Duration::from_millis(self.rules.lease_ms);
        self.voters = voters;
        // Overtaken copies of the same term are older: the log only grows within a term.
        let same_term = self.log.last().map(|entry| entry.term) == Some(term);
        if !(same_term && log.len() < self.log.len()) {
            self.log = log;
        }
        std::vec![(Some(from), RaftMessage::Appended { term, len: self.log.len() })]
    }
}
