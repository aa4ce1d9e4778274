//! One cause a test, on the real board and the real table of members.

use std::collections::BTreeSet;

use super::*;
use crate::dispatch::{BoardConfig, DelayedTask, Input, Next, Offer};
use crate::roster::{Heartbeat, LivenessConfig};
use crate::task::{AttemptNumber, Fence, GroupName, Level, MemberRole, Pod, Term};

const ONE: AttemptNumber = AttemptNumber(1);
const FULL: Need = Need { level: Level::Full, memory_enforced: false };

/// A leader with its board and its members.
struct World {
    board: Board,
    liveness: Liveness,
    now: Duration,
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn beat(groups: &[&str], slots: u32, level: Level) -> Heartbeat {
    Heartbeat {
        boot: 1,
        seq: 1,
        name: String::new(),
        version: String::new(),
        rank: 0,
        role: MemberRole::Voter,
        pods: vec![Pod { groups: groups.iter().map(|name| group(name)).collect(), slots }],
        held: vec![],
        processed: Fence::default(),
        draining: false,
        busy: false,
        level,
        memory_enforced: false,
        requires: Level::ProcessOnly,
    }
}

impl World {
    fn new() -> Self {
        Self::opened(0, &[])
    }

    fn opened(last: u64, expected: &[u64]) -> Self {
        let mut board = Board::new(BoardConfig::default());
        let expected: BTreeSet<NodeId> = expected.iter().copied().map(NodeId).collect();
        let _ = board.step(Duration::ZERO, Input::Opened { term: Term(1), last_task_before: TaskId(last), expected });
        World { board, liveness: Liveness::new(LivenessConfig::default()), now: Duration::ZERO }
    }

    fn step(&mut self, input: Input) {
        let _ = self.board.step(self.now, input);
    }

    fn hear(&mut self, node: u64, beat: Heartbeat) {
        let (node, accepts, holds) = (NodeId(node), beat.accepts(), beat.sandbox().holds());
        let Heartbeat { boot, pods, held, processed, .. } = beat.clone();
        let _ = self.liveness.heartbeat(self.now, node, beat);
        self.step(Input::Offer(Offer { node, boot, pods, held, processed, accepts, holds }));
    }

    fn submit(&mut self, name: &str, need: Need, tasks: std::ops::RangeInclusive<u64>) {
        tasks.for_each(|task| {
            self.step(Input::Ready { queue: Queue::new(group(name), need), task: TaskId(task), attempt: ONE });
        });
    }

    fn ask(&self, name: &str, need: Need, task: u64) -> WaitView {
        self.ask_delayed(name, need, task, None)
    }

    fn ask_delayed(&self, name: &str, need: Need, task: u64, until: Option<u64>) -> WaitView {
        let queue = Queue::new(group(name), need);
        let asked = Asked { task: TaskId(task), queue: &queue, until: until.map(UnixMillis) };
        let wall = UnixMillis(u64::try_from(self.now.as_millis()).unwrap());
        let name = |node: NodeId| format!("n{}", node.0);
        why(&asked, &Known { board: &self.board, liveness: &self.liveness, now: self.now, wall, name: &name })
    }
}

fn told(view: &WaitView) -> (WaitCause, &str) {
    (view.cause, &view.text)
}

#[test]
fn nobody_serves_its_group() {
    let mut world = World::new();
    world.hear(1, beat(&["default"], 2, Level::Full));
    world.hear(2, beat(&["gpu"], 2, Level::Full));
    world.now = Duration::from_secs(2);
    world.hear(1, Heartbeat { seq: 2, ..beat(&["default"], 2, Level::Full) });
    world.liveness.known(world.now, NodeId(3));
    world.now = Duration::from_secs(4);
    assert_eq!(world.liveness.tick(world.now).len(), 1);
    world.now = Duration::from_millis(4_900);
    world.submit("gpu", Need::default(), 1..=1);
    let view = world.ask("gpu", Need::default(), 1);
    assert_eq!(told(&view), (WaitCause::Group, "no live node serves group gpu; n2 did until it was lost"));
    let lines: Vec<_> = view.nodes.iter().map(|node| format!("{} {}", node.name, node.obstacle)).collect();
    let expected = [
        "n2 lost for 0 s; it served the group and held full",
        "n3 not heard yet since the leader took over",
        "n1 does not serve the group",
    ];
    assert_eq!(lines, expected);
    assert_eq!(told(&world.ask("camera", FULL, 1)).1, "no live node serves group camera");
}

#[test]
fn those_who_serve_it_hold_less_than_it_needs() {
    let mut world = World::new();
    world.hear(1, beat(&["default"], 2, Level::Full));
    world.hear(2, beat(&["gpu"], 2, Level::Partial));
    world.hear(3, beat(&["gpu", "default"], 2, Level::ProcessOnly));
    world.submit("gpu", FULL, 1..=1);
    let expected = "it needs full; the nodes of group gpu hold: n2 partial, n3 process-only";
    assert_eq!(told(&world.ask("gpu", FULL, 1)), (WaitCause::Need, expected));
    let memory = Need { level: Level::ProcessOnly, memory_enforced: true };
    world.submit("default", memory, 2..=2);
    let expected = "it needs process-only, memory enforced; the nodes of group default hold: n1 full, n3 process-only";
    assert_eq!(told(&world.ask("default", memory, 2)).1, expected);
    for node in 4..20 {
        world.hear(node, beat(&["gpu"], 1, Level::Partial));
    }
    let view = world.ask("gpu", FULL, 1);
    assert!(view.text.ends_with("n5 partial, n6 partial and 13 more"), "{}", view.text);
}

#[test]
fn those_who_would_do_take_nothing_new() {
    let mut world = World::new();
    let full = || beat(&["default"], 2, Level::Full);
    world.hear(1, Heartbeat { draining: true, ..full() });
    world.hear(2, Heartbeat { level: Level::Partial, requires: Level::Full, ..full() });
    world.hear(3, Heartbeat { busy: true, ..full() });
    world.submit("default", Need::default(), 1..=1);
    let view = world.ask("default", Need::default(), 1);
    let expected = "the nodes that could run it take nothing new: n3 takes nothing until its next heartbeat, n1 finishes what it \
                    has and takes nothing new, n2 takes no tasks: holds partial, and its owner asks for full";
    assert_eq!(told(&view), (WaitCause::Open, expected));
}

#[test]
fn all_slots_are_busy_and_so_many_come_before_it() {
    let mut world = World::new();
    world.hear(1, beat(&["default"], 2, Level::Full));
    world.hear(2, beat(&["default"], 1, Level::ProcessOnly));
    world.submit("default", Need::default(), 1..=6);
    let ask = |world: &World, task| world.ask("default", Need::default(), task).text;
    assert_eq!(ask(&world, 4), "all 3 slots for group default are busy; it is the next of its queue");
    assert_eq!(ask(&world, 5), "all 3 slots for group default are busy; 1 task of its queue comes before it");
    let view = world.ask("default", Need::default(), 6);
    assert_eq!(view.cause, WaitCause::Slot);
    assert_eq!(view.nodes[0].obstacle.to_string(), "its 2 slots are busy: task 1, 3");
    assert_eq!(view.nodes[1].obstacle.to_string(), "its slot is busy: task 2");
    world.submit("default", FULL, 7..=7);
    let expected = "all 2 slots for group default of nodes that hold what it needs are busy; it is the next of its queue";
    assert_eq!(world.ask("default", FULL, 7).text, expected);
    assert_eq!(world.ask("default", FULL, 7).nodes[1].obstacle.to_string(), "holds process-only");
}

#[test]
fn a_task_far_behind_is_not_counted_out() {
    let mut world = World::new();
    world.hear(1, beat(&["default"], 1, Level::Full));
    world.submit("default", Need::default(), 1..=5_000);
    let view = world.ask("default", Need::default(), 5_000);
    let expected = "the one slot for group default is busy; more than 4096 tasks of its queue come before it";
    assert_eq!(told(&view), (WaitCause::Slot, expected));
}

#[test]
fn the_pause_before_its_next_attempt_goes_before_everything() {
    let mut world = World::new();
    let (queue, attempt) = (Queue::new(group("gpu"), FULL), AttemptNumber(2));
    world.step(Input::DelayedWindow { tasks: vec![], more: false });
    let (until, due) = (UnixMillis(9_000), UnixMillis(2_500));
    let delayed = DelayedTask { until, due, task: TaskId(1), queue, attempt };
    world.step(Input::DelayedWindow { tasks: vec![delayed], more: false });
    let view = world.ask_delayed("gpu", FULL, 1, Some(9_000));
    assert_eq!(told(&view), (WaitCause::Pause, "for the pause before its next attempt, which is over in 2.5 s"));
    assert_eq!(world.ask_delayed("gpu", FULL, 2, Some(4_000)).text.split("over in ").last(), Some("4.0 s"), "not in memory");
    world.now = Duration::from_secs(3);
    world.step(Input::Tick { wall: UnixMillis(3_000) });
    assert_eq!(world.ask_delayed("gpu", FULL, 1, Some(9_000)).cause, WaitCause::Group, "its time has come");
}

#[test]
fn a_new_leader_hears_the_members_first_and_a_slow_journal_holds_up_all() {
    let mut world = World::opened(5, &[1, 2]);
    let tasks = vec![(TaskId(4), ONE)];
    world.step(Input::Window { queue: Queue::new(group("default"), Need::default()), tasks, more: false });
    world.hear(1, beat(&["default"], 1, Level::Full));
    assert_eq!(world.ask("default", Need::default(), 4).cause, WaitCause::Announcements);
    assert_eq!(world.ask("default", Need::default(), 6).cause, WaitCause::Turn, "a newer one need not wait for that");

    let mut world = World::new();
    world.board = Board::new(BoardConfig { unsettled: 1, ..BoardConfig::default() });
    world.step(Input::Opened { term: Term(1), last_task_before: TaskId(0), expected: BTreeSet::new() });
    world.hear(1, beat(&["default"], 1, Level::Full));
    world.submit("default", Need::default(), 1..=2);
    let (node, fence) = (NodeId(1), Fence { term: Term(1), sequence: 1 });
    world.step(Input::Reported { node, task: TaskId(1), attempt: ONE, fence, slot_free: true });
    assert_eq!(world.ask("default", Need::default(), 2).cause, WaitCause::Journal);
    world.step(Input::Settled { task: TaskId(1), fence, next: Next::Final });
    assert!(world.board.lease(TaskId(2)).is_some());
}

#[test]
fn an_answer_names_so_many_nodes_and_no_more() {
    let mut world = World::new();
    for node in 1..=300 {
        world.hear(node, beat(&["gpu"], 1, if node == 300 { Level::Full } else { Level::Partial }));
    }
    world.submit("gpu", FULL, 1..=2);
    let view = world.ask("gpu", FULL, 2);
    assert_eq!((view.nodes.len(), view.more_nodes), (WaitView::MAX_NODES, 100));
    assert_eq!(view.nodes[0].node, NodeId(300), "the one that comes closest is first");
}
