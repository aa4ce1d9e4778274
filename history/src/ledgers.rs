//! What each node's ledger holds in the end: the same as the others' (H6), and everything (H3).

use std::collections::BTreeMap;

use crate::model::Model;
use crate::record::{NodeId, State, TaskId};
use crate::report::{Report, Rule, Subject};

/// Nodes whose ledgers are looked through for missing tasks, at most: one bit each a task.
const MAX_NODES: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    /// In the order in which they were first seen.
    nodes: Vec<NodeId>,
    tasks: BTreeMap<TaskId, Kept>,
}

#[derive(Debug)]
struct Kept {
    state: State,
    node: NodeId,
    record: u64,
    /// One bit a node.
    on: u64,
}

impl Ledgers {
    pub(crate) fn holds(&mut self, number: u64, node: NodeId, task: TaskId, state: State, report: &mut Report) {
        let place = self.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        let kept = self.tasks.entry(task).or_insert(Kept { state, node, record: number, on: 0 });
        if place < MAX_NODES {
            kept.on |= 1 << place;
        }
        if kept.state != state {
            let why = format!(
                "the ledger of {node} has it as {state}, that of {} as {} (record {})",
                kept.node, kept.state, kept.record
            );
            report.add(Rule::H6, number, Subject::Task(task), why);
        }
    }

    pub(crate) fn finish(self, model: &Model, healed: bool, report: &mut Report) {
        for (task, kept) in &self.tasks {
            let why = match model.tasks.get(task) {
                None => format!("the ledger of {} holds it, and no journal does", kept.node),
                Some(known) if known.state != kept.state => {
                    format!("the ledger of {} has it as {}; the journals add up to {}", kept.node, kept.state, known.state)
                }
                Some(_) => continue,
            };
            report.add(Rule::H6, kept.record, Subject::Task(*task), why);
        }
        // Before everything is healed a ledger may be behind.
        if healed {
            for (place, node) in self.nodes.iter().take(MAX_NODES).enumerate() {
                let lacks = |task: &TaskId| self.tasks.get(task).is_none_or(|kept| kept.on & (1 << place) == 0);
                for (task, known) in model.tasks.iter().filter(|(task, _)| lacks(task)) {
                    let why = format!("the ledger of {node} does not hold it after everything was healed");
                    report.add(Rule::H3, known.record, Subject::Task(*task), why);
                }
            }
        }
    }
}
