//! Short ways to write histories down.

use std::collections::BTreeSet;

use dunlin_history::{
    Answer, Checker, Digest, Entry, Fact, Fence, NodeId, Outcome, Record, Report, Request, Rule, State, TaskId, Term,
};

/// A history that is being written: one log, held alike by three nodes, unless a test says otherwise.
pub(crate) struct Story {
    pub(crate) records: Vec<Record>,
    next: u64,
    pub(crate) term: Term,
    pub(crate) copies: Vec<u64>,
}

impl Story {
    /// Leader 1 opened term 1.
    pub(crate) fn new() -> Self {
        let mut story = Story { records: Vec::new(), next: 1, term: 1, copies: vec![1, 2, 3] };
        story.opens(1, 1);
        story
    }

    /// The next entry, on every node.
    pub(crate) fn entry(&mut self, facts: Vec<Fact>) -> &mut Self {
        self.entry_claiming(None, facts)
    }

    /// The next entry of a leadership that is not the log's own.
    pub(crate) fn entry_claiming(&mut self, claims: Option<Term>, facts: Vec<Fact>) -> &mut Self {
        for node in self.copies.clone() {
            self.on(node, self.next, |entry| (entry.claims, entry.facts) = (claims, facts.clone()));
        }
        self.next += 1;
        self
    }

    /// An entry of one node alone, as it would usually be but for a change.
    pub(crate) fn on(&mut self, node: u64, index: u64, change: impl FnOnce(&mut Entry)) -> &mut Self {
        let digest = Digest(index * 1_000 + self.term);
        let mut entry =
            Entry { node: NodeId(node), index, term: self.term, claims: None, digest, committed: true, facts: vec![] };
        change(&mut entry);
        self.records.push(Record::Entry(entry));
        self
    }

    /// The place of the next entry.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn opens(&mut self, term: Term, leader: u64) -> &mut Self {
        self.term = term;
        self.entry(vec![Fact::Opened { term, leader: NodeId(leader) }])
    }

    /// A client submits; the journals hold it; the client is told so.
    pub(crate) fn acknowledged(&mut self, task: TaskId) -> &mut Self {
        self.asks(submit(task)).entry(vec![submitted(task)]).told(submit(task), Answer::Acknowledged(task))
    }

    pub(crate) fn asks(&mut self, request: Request) -> &mut Self {
        self.push(Record::Invoked { request })
    }

    pub(crate) fn told(&mut self, request: Request, answer: Answer) -> &mut Self {
        self.push(Record::Answered { request, answer })
    }

    pub(crate) fn push(&mut self, record: Record) -> &mut Self {
        self.records.push(record);
        self
    }

    /// Its first attempt succeeds.
    pub(crate) fn succeeds(&mut self, task: TaskId) -> &mut Self {
        self.entry(vec![ended(task, 1, (self.term, task), Outcome::Succeeded, Some(State::Succeeded))])
    }

    pub(crate) fn healed(&mut self) -> &mut Self {
        self.push(Record::Healed)
    }

    pub(crate) fn finals(&mut self, task: TaskId, state: State) -> &mut Self {
        for node in self.copies.clone() {
            self.push(Record::Final { node: NodeId(node), task, state });
        }
        self
    }

    pub(crate) fn judged(&self) -> Report {
        let mut checker = Checker::new();
        self.records.iter().for_each(|record| checker.take(record));
        checker.finish()
    }

    /// The history is refused by this rule and by no other; the words hold these.
    #[track_caller]
    pub(crate) fn breaks(&self, rule: Rule, words: &[&str]) {
        let report = self.judged();
        let broken: BTreeSet<Rule> = report.violations.iter().map(|violation| violation.rule).collect();
        assert_eq!(broken, BTreeSet::from([rule]), "{report}");
        assert!(!report.is_clean() && report.broken(rule) > 0);
        let said = report.to_string();
        words.iter().for_each(|word| assert!(said.contains(word), "no {word:?} in: {said}"));
    }

    #[track_caller]
    pub(crate) fn is_good(&self) -> Report {
        let report = self.judged();
        assert!(report.is_clean(), "{report}");
        report
    }

    /// The same history as text.
    pub(crate) fn lines(&self) -> String {
        self.records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect()
    }
}

pub(crate) fn key(task: TaskId) -> String {
    format!("key-{task}")
}

pub(crate) fn submit(task: TaskId) -> Request {
    Request::Submit(key(task))
}

pub(crate) fn submitted(task: TaskId) -> Fact {
    Fact::Submitted { task: Some(task), key: Some(key(task)) }
}

pub(crate) fn ended(task: TaskId, attempt: u32, fence: (Term, u64), outcome: Outcome, after: Option<State>) -> Fact {
    let fence = Fence { term: fence.0, sequence: fence.1 };
    Fact::AttemptEnded { task, attempt, fence, node: NodeId(2), outcome, after }
}

pub(crate) fn cancelled(task: TaskId) -> Fact {
    Fact::Cancelled { task, accepted: true }
}

pub(crate) fn retried(task: TaskId) -> Fact {
    Fact::Retried { task, accepted: true }
}
