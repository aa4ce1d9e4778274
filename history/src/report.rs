//! What the checker says in the end: which rule was broken where, in words, and how much it has seen.

use std::fmt;

use serde::Serialize;

use crate::record::{Index, TaskId, Term};

/// Violations of one rule that are kept with their words; more are only counted, so that a wholly broken history does not
/// fill the memory with sentences.
pub const MAX_KEPT: usize = 100;

/// The promises that a history is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Rule {
    /// Every acknowledged task reaches exactly one final state after healing; a person's retry gives it one more life.
    H1,
    /// One accepted completion a task, and a life.
    H2,
    /// Nothing that was acknowledged is missing, nothing that was refused is there, a key is one task.
    H3,
    /// Nothing of a leadership that is over takes effect.
    H4,
    /// One leader a term, and one acting leader at any moment.
    H5,
    /// All journals hold the same entries, and all ledgers add up to the same.
    H6,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 6] = [Rule::H1, Rule::H2, Rule::H3, Rule::H4, Rule::H5, Rule::H6];

    /// The rule in one sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Rule::H1 => "every acknowledged task reaches exactly one final state after healing",
            Rule::H2 => "one accepted completion per task",
            Rule::H3 => "no acknowledged task is missing",
            Rule::H4 => "nothing of a fenced term is committed with effect",
            Rule::H5 => "one leader per term",
            Rule::H6 => "all journals agree",
        }
    }

    fn place(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What a violation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A task.
    Task(TaskId),
    /// A submission that has no number.
    Key(String),
    /// A leadership.
    Term(Term),
    /// A place in the log.
    Entry(Index),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Task(task) => write!(f, "task {task}"),
            Subject::Key(key) => write!(f, "key {key:?}"),
            Subject::Term(term) => write!(f, "term {term}"),
            Subject::Entry(index) => write!(f, "entry {index}"),
        }
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The record that shows it, counted from 1 in the order in which they were taken: the line of a file.
    pub record: u64,
    /// What it is about.
    pub subject: Subject,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: record {}: {}: {}", self.rule, self.record, self.subject, self.why)
    }
}

/// How much was looked at. A clean report over nothing is no proof, so these belong beside every verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records taken.
    pub records: u64,
    /// Requests that clients sent.
    pub invoked: u64,
    /// Answers that said yes.
    pub acknowledged: u64,
    /// Answers that said no.
    pub failed: u64,
    /// Answers that left it open.
    pub maybe: u64,
    /// Tasks that the journals hold.
    pub tasks: u64,
    /// Of those, tasks that were acknowledged to a client.
    pub acknowledged_tasks: u64,
    /// Tasks whose last state is final.
    pub ended: u64,
    /// Ends of attempts that counted.
    pub ends_accepted: u64,
    /// Ends of attempts that did not count, refused by the fold or by a leader.
    pub ends_refused: u64,
    /// Committed entries, each once.
    pub entries: u64,
    /// Nodes whose journals were seen.
    pub journals: u64,
    /// Terms that were opened.
    pub terms: u64,
}

/// The verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is wrong, in the order in which it was found; at most [`MAX_KEPT`] for each rule.
    pub violations: Vec<Violation>,
    /// How many there are of each rule, in the order of [`Rule::ALL`], those that were not kept included.
    pub broken: [u64; 6],
    /// What was looked at.
    pub counts: Counts,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.broken == [0; 6]
    }

    /// How many violations of a rule there are.
    #[must_use]
    pub fn broken(&self, rule: Rule) -> u64 {
        self.broken[rule.place()]
    }

    pub(crate) fn add(&mut self, rule: Rule, record: u64, subject: Subject, why: String) {
        let count = &mut self.broken[rule.place()];
        *count += 1;
        if *count <= MAX_KEPT as u64 {
            self.violations.push(Violation { rule, record, subject, why });
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.violations.iter().try_for_each(|violation| writeln!(f, "{violation}"))?;
        for rule in Rule::ALL {
            let more = self.broken(rule).saturating_sub(MAX_KEPT as u64);
            if more > 0 {
                writeln!(f, "{rule}: {more} more that are not shown")?;
            }
        }
        let c = &self.counts;
        writeln!(
            f,
            "{} records: {} requests ({} acknowledged, {} failed, {} maybe); {} tasks ({} acknowledged, {} ended)",
            c.records, c.invoked, c.acknowledged, c.failed, c.maybe, c.tasks, c.acknowledged_tasks, c.ended
        )?;
        writeln!(
            f,
            "{} journals of {} entries, {} terms; {} ends of attempts accepted, {} refused",
            c.journals, c.entries, c.terms, c.ends_accepted, c.ends_refused
        )?;
        write!(f, "{} violations", self.broken.iter().sum::<u64>())
    }
}
