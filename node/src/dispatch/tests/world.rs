//! The board in a small world: a ledger, a journal that answers late, members with the real [`Slots`], and every kind of
//! trouble in any order: reports that come late, twice, from the wrong node or with a fence that is over; members that are
//! lost, return, restart; leaders that are replaced or take up their own term again.
//!
//! Whatever happens, no task is handed out twice at a time, out of order, beyond a pod's slots, to a node that does not meet
//! its need, after its end, or forgotten; none waits while a node that meets its need stands idle for it;
//! no report is accepted twice; fences only grow; and what the board remembers stays within its bounds.

mod acts;
mod checks;
mod ledger;
mod members;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use self::acts::act;
use crate::dispatch::*;
use crate::task::strategies::repeatable;
use crate::task::{AttemptEnd, AttemptNumber, Fence, GroupName, Level, Need, NodeId, Pod, Queue, TaskId, UnixMillis};
use crate::worker::Slots;

const NODES: u64 = 3;

#[derive(Clone, Debug, PartialEq)]
enum State {
    Queued,
    Delayed(UnixMillis),
    Succeeded,
    Cancelled,
}

#[derive(Clone, Debug)]
struct Row {
    queue: Queue,
    attempt: AttemptNumber,
    state: State,
}

struct Node {
    boot: u64,
    holds: Need,
    slots: Slots,
    inbox: VecDeque<Output>,
    cancelled: BTreeSet<Fence>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    task: TaskId,
    attempt: AttemptNumber,
    fence: Fence,
    node: NodeId,
    outcome: Option<bool>,
}

struct World {
    board: Board,
    term: u64,
    now: u64,
    bound: TaskId,
    rows: BTreeMap<TaskId, Row>,
    nodes: BTreeMap<NodeId, Node>,
    /// What each node has last said that it holds.
    offered: BTreeMap<NodeId, Need>,
    journal: VecDeque<End>,
    /// Answers as the ledger had them when they were asked for, so that they are late.
    answers: VecDeque<Input>,
    successes: BTreeMap<TaskId, u32>,
    /// The newest hand-out there ever was.
    newest: Fence,
    /// This leader's hand-outs that are not over.
    open: BTreeMap<TaskId, (NodeId, Fence, u64)>,
    /// What this leader has accepted.
    accepted: BTreeSet<(TaskId, Fence)>,
    reports: VecDeque<(NodeId, AttemptEnd, bool)>,
    /// Tasks that were queued again by hand: the only ones that a window may hold beyond its bound.
    revived: usize,
}

fn group(index: u8) -> GroupName {
    ["a", "b", "c"][usize::from(index % 3)].parse().unwrap()
}

fn pods(node: NodeId) -> Vec<Pod> {
    let pod = |groups: &[u8], slots| Pod { groups: groups.iter().map(|g| group(*g)).collect(), slots };
    match node.0 {
        0 => vec![pod(&[0, 1], 1)],
        1 => vec![pod(&[0], 2), pod(&[1, 2], 1)],
        _ => vec![pod(&[0, 1, 2], 3)],
    }
}

/// The last one serves every group and holds everything.
fn holds(node: NodeId) -> Need {
    match node.0 {
        0 => Need::default(),
        1 => Need { level: Level::Partial, memory_enforced: true },
        _ => Need { level: Level::Full, memory_enforced: true },
    }
}

fn queue(group_index: u8, need: u8) -> Queue {
    Queue::new(group(group_index), Need::ALL[usize::from(need % 6)])
}

fn config() -> BoardConfig {
    BoardConfig {
        window: 6,
        small_window: 2,
        total: 14,
        delayed: 3,
        unsettled: 5,
        remembered: 4,
        delivery: Duration::from_millis(400),
        ..BoardConfig::default()
    }
}

impl World {
    fn new() -> Self {
        let nodes = (0..NODES).map(NodeId).map(|id| {
            let slots = Slots::new(&pods(id));
            (id, Node { boot: 1, holds: holds(id), slots, inbox: VecDeque::new(), cancelled: BTreeSet::new() })
        });
        let mut world = World {
            board: Board::new(config()),
            term: 0,
            now: 0,
            bound: TaskId(0),
            rows: BTreeMap::new(),
            nodes: nodes.collect(),
            offered: BTreeMap::new(),
            journal: VecDeque::new(),
            answers: VecDeque::new(),
            successes: BTreeMap::new(),
            newest: Fence::default(),
            open: BTreeMap::new(),
            accepted: BTreeSet::new(),
            reports: VecDeque::new(),
            revived: 0,
        };
        world.new_leader(true);
        world
    }

    fn step(&mut self, input: Input) {
        self.close(&input);
        let outputs = self.board.step(Duration::from_millis(self.now), input);
        for output in outputs {
            self.output(output);
        }
        self.check_slots();
        self.check_memory();
        self.check_nobody_is_overlooked();
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Assign { node, pod, task, attempt, fence } => {
                self.check_assign(node, pod, task, attempt, fence);
                assert!(fence > self.newest, "{fence} was given after {}", self.newest);
                self.newest = fence;
                let before = self.open.insert(task, (node, fence, self.now));
                assert!(before.is_none(), "{task} was handed out as {fence} while {before:?} holds");
                self.nodes.get_mut(&node).unwrap().inbox.push_back(output);
            }
            Output::CancelAttempt { node, .. } => self.nodes.get_mut(&node).unwrap().inbox.push_back(output),
            Output::AttemptLost { task, attempt, fence, node, .. } => {
                let settled = self.gave(fence) && self.accepted.contains(&(task, fence));
                assert!(!settled, "{task} was lost as {fence} after its report was accepted");
                self.open.remove(&task);
                self.journal.push_back(End { task, attempt, fence, node, outcome: None });
            }
            Output::Refill { queue, after, limit } => {
                let answer = self.page(&queue, after, limit);
                self.answers.push_back(answer);
            }
            Output::RefillDelayed { after, limit } => {
                let answer = self.delayed_page(after, limit);
                self.answers.push_back(answer);
            }
            Output::Verify { task, fence } => {
                let next = self.next(task);
                self.answers.push_back(Input::Verified { task, fence, next });
            }
            Output::Verdict { .. } | Output::AdoptionOver { .. } | Output::Ignored { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 50_000, ..repeatable(400) })]

    #[test]
    fn nothing_is_lost_doubled_overtaken_or_beyond_the_slots(acts in prop::collection::vec(act(), 1..250), alone: bool) {
        let mut world = World::new();
        acts.iter().for_each(|act| world.act(act));
        let rounds = world.calm(alone);
        let left: Vec<_> = world.rows.iter().filter(|(_, r)| !matches!(r.state, State::Succeeded | State::Cancelled)).collect();
        prop_assert!(rounds.is_some(), "never ended: {left:?}");
        for (task, row) in &world.rows {
            let successes = world.successes.get(task).copied().unwrap_or(0);
            prop_assert_eq!(successes, u32::from(row.state == State::Succeeded), "task {}", task);
        }
    }
}
