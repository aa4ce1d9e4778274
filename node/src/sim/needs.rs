//! What simulated nodes hold and what tasks need: drawn from streams of their own, so that they move no other draw; and what
//! must follow from it at every moment.
//!
//! Each life of a node draws anew: a node can hold more or less after a restart. A node that holds less than its owner asks
//! for takes nothing at all.

use std::collections::BTreeMap;

use super::audit::Audit;
use super::random::Random;
use super::{Plan, name};
use crate::api::SandboxView;
use crate::task::{Level, Need, NodeId, Queue, TaskId};

/// What one life of a node holds, and what its owner asks for.
pub(super) type Holding = SandboxView;

/// Holds everything and asks for nothing.
pub(super) const WHOLE: Holding = SandboxView { level: Level::Full, memory_enforced: true, required: Level::ProcessOnly };

/// Whether such a node is given a task that needs this.
pub(super) fn meets(holding: &Holding, need: Need) -> bool {
    holding.is_enough() && need.is_met_by(holding.level, holding.memory_enforced)
}

/// What the life of a node with this number holds.
pub(super) fn of_life(plan: &Plan, node: NodeId, turn: u64) -> Holding {
    if !plan.needs {
        return WHOLE;
    }
    let mut random = Random::new(plan.seed ^ node.0.wrapping_mul(0x9fb2_1c65_1e98_df25) ^ turn << 32, 10);
    if random.chance(150) {
        return WHOLE;
    }
    let Need { level, memory_enforced } = any_need(&mut random);
    let required = if random.chance(200) { Level::ALL[random.place(Level::ALL.len())] } else { Level::ProcessOnly };
    SandboxView { level, memory_enforced, required }
}

/// What the next task of a client needs.
pub(super) fn of_task(plan: &Plan, random: &mut Random) -> Need {
    if plan.needs && random.chance(400) { any_need(random) } else { Need::default() }
}

fn any_need(random: &mut Random) -> Need {
    Need::ALL[random.place(Need::ALL.len())]
}

/// What the audit knows of it.
#[derive(Default)]
pub(super) struct Needs {
    /// Where each task waits.
    queues: BTreeMap<TaskId, Queue>,
    /// What each node has held in one of its lives in which it took tasks.
    held: BTreeMap<NodeId, Vec<Need>>,
}

impl Needs {
    /// A task was submitted.
    pub(super) fn submitted(&mut self, task: TaskId, queue: Queue) {
        self.queues.insert(task, queue);
    }

    pub(super) fn queue(&self, task: TaskId) -> Option<&Queue> {
        self.queues.get(&task)
    }

    /// How many tasks needed something.
    pub(super) fn needing(&self) -> u64 {
        self.queues.values().filter(|queue| queue.need != Need::default()).count() as u64
    }

    fn need(&self, task: TaskId) -> Need {
        self.queue(task).map(|queue| queue.need).unwrap_or_default()
    }

    /// An attempt was counted: only a node that has held enough in one of its lives can have made it.
    pub(super) fn counted(&self, task: TaskId, node: NodeId) -> Result<(), String> {
        let need = self.need(task);
        let held = self.held.get(&node).into_iter().flatten().any(|held| need.is_met_by(held.level, held.memory_enforced));
        if held {
            return Ok(());
        }
        Err(format!("an attempt of task {task} was counted, which needs {need}; {} has never held that", name(node)))
    }
}

impl Audit {
    /// A life of a node begins.
    pub(super) fn begins(&self, node: NodeId, holding: &Holding) {
        if holding.is_enough() {
            self.state().needs.held.entry(node).or_default().push(holding.holds());
        }
    }

    /// An attempt begins on a node: one that holds what its task needs, and what its owner asks for.
    pub(super) fn runs(&self, node: NodeId, launch: &str, holding: &Holding) {
        let task = launch.split('-').next().and_then(|task| task.parse().ok()).map(TaskId);
        let Some(task) = task else { return self.violation(&format!("an attempt is called {launch}")) };
        self.must_meet(node, task, holding, "runs");
    }

    /// What a leader has handed out and what the members have announced to it.
    pub(super) fn handed_out(&self, hand_outs: &[(NodeId, TaskId, SandboxView)]) {
        for (node, task, announced) in hand_outs {
            self.must_meet(*node, *task, announced, "was handed");
        }
    }

    fn must_meet(&self, node: NodeId, task: TaskId, holding: &Holding, does: &str) {
        let need = self.state().needs.need(task);
        if !meets(holding, need) {
            self.violation(&format!("{} {does} task {task}, which needs {need}, and says {holding:?}", name(node)));
        }
    }

    /// Where a task waits, if anybody has folded its submission.
    pub(super) fn queue(&self, task: TaskId) -> Option<Queue> {
        self.state().needs.queue(task).cloned()
    }
}
