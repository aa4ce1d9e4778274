//! What clients asked, were told and saw, held against the journals in the end (H3, and H1 where a client saw an end).
//!
//! One line of memory a key and a task, however often a client tried.

use std::collections::{BTreeMap, HashMap};

use crate::model::{Model, end_bit};
use crate::record::{Answer, Request, State, TaskId};
use crate::report::{Report, Rule, Subject};

#[derive(Debug, Default)]
pub(crate) struct Clients {
    keys: HashMap<String, Key>,
    tasks: BTreeMap<TaskId, Seen>,
}

/// All tries under one key.
#[derive(Debug, Default)]
struct Key {
    invoked: u32,
    failed: u32,
    acknowledged: Option<(TaskId, u64)>,
}

/// What clients were told of one task; each with the first record that says so.
#[derive(Debug, Default)]
struct Seen {
    cancelled: Option<u64>,
    retried: Option<u64>,
    observed: Option<u64>,
    ends: [Option<(State, u64)>; 3],
}

impl Clients {
    pub(crate) fn invoked(&mut self, request: &Request, report: &mut Report) {
        report.counts.invoked += 1;
        if let Request::Submit(key) = request {
            self.key(key).invoked += 1;
        }
    }

    fn key(&mut self, key: &str) -> &mut Key {
        self.keys.entry(key.to_owned()).or_default()
    }

    pub(crate) fn answered(&mut self, number: u64, request: &Request, answer: Answer, report: &mut Report) {
        match answer {
            Answer::Maybe => report.counts.maybe += 1,
            Answer::Failed => {
                report.counts.failed += 1;
                if let Request::Submit(key) = request {
                    self.key(key).failed += 1;
                }
            }
            Answer::Acknowledged(task) => {
                report.counts.acknowledged += 1;
                self.acknowledged(number, request, task, report);
            }
        }
    }

    fn acknowledged(&mut self, number: u64, request: &Request, task: TaskId, report: &mut Report) {
        match request {
            Request::Submit(key) => {
                let (known, record) = *self.key(key).acknowledged.get_or_insert((task, number));
                if known != task {
                    let why = format!("key {key:?} was acknowledged as this one, and as task {known} (record {record})");
                    report.add(Rule::H3, number, Subject::Task(task), why);
                }
            }
            Request::Cancel(task) => _ = self.tasks.entry(*task).or_default().cancelled.get_or_insert(number),
            Request::Retry(task) => _ = self.tasks.entry(*task).or_default().retried.get_or_insert(number),
        }
    }

    pub(crate) fn observed(&mut self, number: u64, task: TaskId, state: State) {
        let seen = self.tasks.entry(task).or_default();
        seen.observed.get_or_insert(number);
        if state.is_final() {
            seen.ends[end_bit(state).trailing_zeros() as usize].get_or_insert((state, number));
        }
    }

    /// Holds everything against the journals.
    pub(crate) fn finish(self, model: &Model, report: &mut Report) {
        let mut acknowledged = Vec::new();
        for (name, key) in &self.keys {
            match key.acknowledged {
                Some((task, record)) => acknowledged.push((task, record, name)),
                None if key.invoked == key.failed && key.failed > 0 => {
                    if let Some(task) = model.keys.get(name) {
                        let record = model.tasks.get(task).map_or(0, |task| task.record);
                        let why = format!("every try was refused for good, and yet it is there as task {task}");
                        report.add(Rule::H3, record, Subject::Key(name.clone()), why);
                    }
                }
                None => {}
            }
        }
        // In the order of the history, whatever the order of the map.
        acknowledged.sort_by_key(|(_, record, _)| *record);
        for (task, record, key) in acknowledged {
            is_there(model, task, record, key, report);
        }
        for (task, seen) in &self.tasks {
            seen.judge(*task, model, report);
        }
    }
}

fn is_there(model: &Model, task: TaskId, record: u64, key: &str, report: &mut Report) {
    let why = match model.tasks.get(&task) {
        None => format!("it was acknowledged under key {key:?}, and no journal holds it"),
        Some(known) => match known.key.as_deref() {
            Some(held) if held != key => {
                format!("it was acknowledged under key {key:?}, and the journals hold it under key {held:?}")
            }
            _ => return report.counts.acknowledged_tasks += 1,
        },
    };
    report.add(Rule::H3, record, Subject::Task(task), why);
}

impl Seen {
    fn judge(&self, task: TaskId, model: &Model, report: &mut Report) {
        let Some(known) = model.tasks.get(&task) else {
            if let Some(record) = [self.cancelled, self.retried, self.observed].into_iter().flatten().min() {
                let why = "a client was told of it, and no journal holds it".to_owned();
                report.add(Rule::H3, record, Subject::Task(task), why);
            }
            return;
        };
        let missing = |done: bool, told: Option<u64>| told.filter(|_| !done);
        if let Some(record) = missing(known.ends & end_bit(State::Cancelled) != 0, self.cancelled) {
            report.add(Rule::H3, record, Subject::Task(task), "its cancel was acknowledged, and no journal holds it".to_owned());
        }
        if let Some(record) = missing(known.retried, self.retried) {
            report.add(Rule::H3, record, Subject::Task(task), "its retry was acknowledged, and no journal holds it".to_owned());
        }
        for (state, record) in self.ends.into_iter().flatten().filter(|(state, _)| known.ends & end_bit(*state) == 0) {
            let why = format!("a client was told that it had ended as {state}, and by the journals it never did");
            report.add(Rule::H1, record, Subject::Task(task), why);
        }
    }
}
