//! Takes records, hands each to the one who judges its sort, and puts the verdicts together in the end.
//!
//! What can be judged by itself (two leaders of a term, two entries at one place) is judged when it is taken. What needs
//! the whole (is an acknowledged task anywhere?) waits for [`Checker::finish`].

use crate::clients::Clients;
use crate::ledgers::Ledgers;
use crate::logs::Logs;
use crate::model::Model;
use crate::record::{Fact, Record};
use crate::report::Report;
use crate::terms::Terms;

/// See the head of the crate.
#[derive(Debug, Default)]
pub struct Checker {
    clients: Clients,
    logs: Logs,
    terms: Terms,
    ledgers: Ledgers,
    healed: bool,
    report: Report,
}

impl Checker {
    /// A checker that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Checker::default()
    }

    /// Takes the next record.
    pub fn take(&mut self, record: &Record) {
        let report = &mut self.report;
        report.counts.records += 1;
        let number = report.counts.records;
        match record {
            Record::Invoked { request } => self.clients.invoked(request, report),
            Record::Answered { request, answer } => self.clients.answered(number, request, *answer, report),
            Record::Observed { task, state } => self.clients.observed(number, *task, *state),
            Record::Entry(entry) => {
                for fact in &entry.facts {
                    if let Fact::Opened { term, leader } = fact {
                        self.terms.opened(number, *term, *leader, report);
                    }
                }
                self.logs.entry(number, entry, report);
            }
            Record::Snapshot { node, index } => self.logs.snapshot(*node, *index),
            Record::Acting { node, term, from, to } => self.terms.acted(number, *term, *node, *from..*to, report),
            Record::Healed => self.healed = true,
            Record::Final { node, task, state } => self.ledgers.holds(number, *node, *task, *state, report),
        }
    }

    /// How many records were taken; a violation's number is one of these.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.report.counts.records
    }

    /// Counts a line that says nothing, so that the numbers of records stay those of lines.
    pub(crate) fn pass_over(&mut self) {
        self.report.counts.records += 1;
    }

    /// The verdict over everything that was taken.
    #[must_use]
    pub fn finish(self) -> Report {
        let mut report = self.report;
        self.terms.finish(&mut report);
        let mut model = Model::default();
        self.logs.finish(&mut report).into_values().for_each(|held| model.entry(held, &mut report));
        self.clients.finish(&model, &mut report);
        self.ledgers.finish(&model, self.healed, &mut report);
        model.finish(self.healed, &mut report);
        report
    }
}
