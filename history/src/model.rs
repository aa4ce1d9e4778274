//! What the committed log adds up to by the rules alone, fact by fact: H1's ends, H2's completions, H4's fence.
//!
//! The journals say which facts took effect; this model says which could have. It never asks why a task died or when it
//! may run again: those are policies, not promises.

use std::collections::{BTreeMap, HashMap};

use crate::logs::Held;
use crate::record::{Fact, Fence, Outcome, State, TaskId, Term};
use crate::report::{Report, Rule, Subject};

/// One task as the journals have it.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) state: State,
    pub(crate) key: Option<String>,
    /// Every end that it has had: [`end_bit`].
    pub(crate) ends: u8,
    pub(crate) retried: bool,
    /// The record that showed its submission.
    pub(crate) record: u64,
    /// Of the last end of an attempt that counted.
    last: Option<(u32, Fence)>,
}

/// The log so far.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) keys: HashMap<String, TaskId>,
    opened: Term,
    log_term: Term,
}

/// An end as one bit of a set; nothing for a state that is no end.
pub(crate) fn end_bit(state: State) -> u8 {
    match state {
        State::Queued | State::Delayed => 0,
        State::Succeeded => 1,
        State::Dead => 2,
        State::Cancelled => 4,
    }
}

/// Where in the history something stands.
struct Place {
    record: u64,
    claims: Term,
}

impl Model {
    /// Adds the next entry of the committed log.
    pub(crate) fn entry(&mut self, held: Held, report: &mut Report) {
        if held.term < self.log_term {
            let why = format!("it is of term {}, and stands behind an entry of term {}", held.term, self.log_term);
            report.add(Rule::H4, held.record, Subject::Entry(held.index), why);
        }
        self.log_term = self.log_term.max(held.term);
        let place = Place { record: held.record, claims: held.claims };
        for fact in held.facts {
            self.fact(&place, fact, report);
        }
    }

    fn fact(&mut self, place: &Place, fact: Fact, report: &mut Report) {
        match fact {
            Fact::Opened { term, .. } => self.opened = self.opened.max(term),
            Fact::Submitted { task: Some(task), key } => self.submitted(place, task, key, report),
            Fact::Submitted { task: None, .. } => {}
            Fact::AttemptEnded { after: None, .. } | Fact::Refused { .. } => report.counts.ends_refused += 1,
            Fact::AttemptEnded { task, attempt, fence, outcome, after: Some(after), .. } => {
                report.counts.ends_accepted += 1;
                self.fenced(place, task, "an attempt's end", report);
                self.ended(place, task, (attempt, fence), outcome, after, report);
            }
            Fact::Cancelled { task, accepted: true } => self.cancelled(place, task, report),
            Fact::Retried { task, accepted: true } => self.retried(place, task, report),
            Fact::Cancelled { accepted: false, .. } | Fact::Retried { accepted: false, .. } => {}
        }
    }

    /// Something took effect: its leadership must be the newest that was opened (H4).
    fn fenced(&self, place: &Place, task: TaskId, what: &str, report: &mut Report) {
        if place.claims != self.opened {
            let why = format!("{what} took effect in term {}, but the term that is open here is {}", place.claims, self.opened);
            report.add(Rule::H4, place.record, Subject::Task(task), why);
        }
    }

    fn submitted(&mut self, place: &Place, task: TaskId, key: Option<String>, report: &mut Report) {
        self.fenced(place, task, "its submission", report);
        let known = key.as_ref().and_then(|key| self.keys.get(key)).copied();
        match known {
            Some(known) if known == task => return,
            Some(known) => {
                let why = format!("its key {:?} had been taken as task {known} before", key.unwrap_or_default());
                return report.add(Rule::H3, place.record, Subject::Task(task), why);
            }
            None => {}
        }
        if let Some(taken) = self.tasks.get(&task) {
            let why = format!("its number was given to another submission before (record {})", taken.record);
            return report.add(Rule::H3, place.record, Subject::Task(task), why);
        }
        if let Some(key) = &key {
            self.keys.insert(key.clone(), task);
        }
        let fresh = Task { state: State::Queued, key, ends: 0, retried: false, record: place.record, last: None };
        self.tasks.insert(task, fresh);
    }

    /// The task that something took effect on.
    fn known<'m>(&'m mut self, place: &Place, task: TaskId, what: &str, report: &mut Report) -> Option<&'m mut Task> {
        let known = self.tasks.get_mut(&task);
        if known.is_none() {
            let why = format!("{what} took effect, but no journal holds its submission before that");
            report.add(Rule::H3, place.record, Subject::Task(task), why);
        }
        known
    }

    fn ended(
        &mut self,
        place: &Place,
        task: TaskId,
        (attempt, fence): (u32, Fence),
        outcome: Outcome,
        after: State,
        report: &mut Report,
    ) {
        let opened = self.opened;
        let Some(known) = self.known(place, task, "an attempt's end", report) else { return };
        let broken = if known.state.is_final() {
            Some((Rule::H2, format!("the end of attempt {attempt} was accepted, but the task had ended as {}", known.state)))
        } else if let Some((last, _)) = known.last.filter(|(last, _)| attempt <= *last) {
            Some((Rule::H2, format!("the end of attempt {attempt} was accepted after that of attempt {last}")))
        } else if let Some((_, last)) = known.last.filter(|(_, last)| fence <= *last) {
            Some((Rule::H4, format!("hand-out {fence} was accepted after hand-out {last}, which is newer")))
        } else if fence.term > opened {
            Some((Rule::H4, format!("hand-out {fence} was accepted, but no term beyond {opened} is open here")))
        } else if (outcome == Outcome::Succeeded) != (after == State::Succeeded) {
            Some((Rule::H2, format!("attempt {attempt} ended as {outcome}, and the task was left as {after}")))
        } else {
            None
        };
        if let Some((rule, why)) = broken {
            report.add(rule, place.record, Subject::Task(task), why);
        }
        known.last = known.last.max(Some((attempt, fence)));
        known.enter(after);
    }

    fn cancelled(&mut self, place: &Place, task: TaskId, report: &mut Report) {
        self.fenced(place, task, "a cancel", report);
        let Some(known) = self.known(place, task, "a cancel", report) else { return };
        if known.state.is_final() {
            let why = format!("it was cancelled after it had ended as {}: a second end", known.state);
            report.add(Rule::H1, place.record, Subject::Task(task), why);
        }
        known.enter(State::Cancelled);
    }

    fn retried(&mut self, place: &Place, task: TaskId, report: &mut Report) {
        self.fenced(place, task, "a retry", report);
        let Some(known) = self.known(place, task, "a retry", report) else { return };
        if !matches!(known.state, State::Dead | State::Cancelled) {
            let why = format!("it was queued again although it was {}; only dead and cancelled tasks may be", known.state);
            report.add(Rule::H1, place.record, Subject::Task(task), why);
        }
        known.retried = true;
        known.enter(State::Queued);
    }

    /// The last look at every task.
    pub(crate) fn finish(self, healed: bool, report: &mut Report) {
        report.counts.tasks = self.tasks.len() as u64;
        for (task, known) in self.tasks {
            if known.state.is_final() {
                report.counts.ended += 1;
            } else if healed {
                let why = format!("it is still {} after everything was healed", known.state);
                report.add(Rule::H1, known.record, Subject::Task(task), why);
            }
        }
    }
}

impl Task {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.ends |= end_bit(state);
    }
}
