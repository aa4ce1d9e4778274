//! What tasks need and members hold: who waits, who passes, and in which order.

use super::*;
use crate::task::Level;

const FULL: Need = Need { level: Level::Full, memory_enforced: false };
const PARTIAL: Need = Need { level: Level::Partial, memory_enforced: false };
const MEMORY: Need = Need { level: Level::ProcessOnly, memory_enforced: true };

fn needing(need: Need) -> Queue {
    Queue { need, ..queue("default") }
}

fn ready_needing(need: Need, task: u64) -> Input {
    Input::Ready { queue: needing(need), task: TaskId(task), attempt: ONE }
}

/// An offer of one pod with so many slots by a node that holds this.
fn holding(node: u64, slots: u32, holds: Need) -> Input {
    let (boot, held, processed, accepts) = (1, vec![], Fence::default(), true);
    Input::Offer(Offer { node: NodeId(node), boot, pods: vec![pod(&["default"], slots)], held, processed, accepts, holds })
}

#[test]
fn a_task_waits_while_nobody_holds_what_it_needs_and_runs_when_somebody_joins_who_does() {
    let mut board = opened(0, &[]);
    let _ = board.step(ms(0), holding(1, 4, PARTIAL));
    assert_eq!(board.step(ms(0), ready_needing(FULL, 1)), []);
    assert_eq!(board.step(ms(1), holding(2, 4, MEMORY)), []);
    assert_eq!(board.step(ms(5_000), Input::Tick { wall: UnixMillis(5_000) }), [], "it waits, and nothing fails");
    let out = board.step(ms(9_000), holding(3, 1, FULL));
    assert_eq!(assigned(&out), [(3, 0, 1)]);
    assert!(matches!(out[..], [Output::Assign { attempt: ONE, .. }]), "{out:?}");
}

#[test]
fn a_task_that_needs_nothing_is_not_held_up_by_one_in_front_of_it_and_each_queue_keeps_its_order() {
    let mut board = opened(0, &[]);
    for (task, need) in [(1, FULL), (2, Need::default()), (3, FULL), (4, MEMORY), (5, Need::default())] {
        let _ = board.step(ms(0), ready_needing(need, task));
    }
    assert_eq!(assigned(&board.step(ms(1), holding(1, 9, PARTIAL))), [(1, 0, 2), (1, 0, 5)]);
    assert_eq!(assigned(&board.step(ms(2), holding(2, 9, FULL))), [(2, 0, 1), (2, 0, 3)]);
    assert_eq!(board.waiting(), 1);
    let _ = board.step(ms(3), Input::Cancelled { task: TaskId(4) });
    assert_eq!(assigned(&board.step(ms(4), holding(3, 9, MEMORY))), []);
}

#[test]
fn the_oldest_goes_first_over_all_queues_whose_need_is_met() {
    let mut board = opened(0, &[]);
    for (task, need) in [(1, MEMORY), (2, PARTIAL), (3, Need::default()), (4, FULL)] {
        let _ = board.step(ms(0), ready_needing(need, task));
    }
    let out = board.step(ms(1), holding(1, 3, FULL));
    assert_eq!(assigned(&out), [(1, 0, 2), (1, 0, 3), (1, 0, 4)]);
}

#[test]
fn a_member_that_holds_more_or_less_than_before_gets_other_tasks() {
    let mut board = opened(0, &[]);
    let _ = board.step(ms(0), ready_needing(FULL, 1));
    let _ = board.step(ms(0), holding(1, 1, PARTIAL));
    assert_eq!(assigned(&board.step(ms(1), holding(1, 1, FULL))), [(1, 0, 1)]);
    let _ = board.step(ms(2), report(1, 1, 1, fence(2, 1)));
    let _ = board.step(ms(3), holding(1, 1, PARTIAL));
    assert_eq!(assigned(&board.step(ms(4), ready_needing(FULL, 2))), []);
    assert_eq!(assigned(&board.step(ms(4), ready_needing(PARTIAL, 3))), [(1, 0, 3)]);
}

#[test]
fn a_member_that_comes_to_hold_more_has_the_ledger_asked_and_leaves_nothing_behind_when_it_is_lost() {
    let mut board = opened(0, &[]);
    let _ = board.step(ms(0), Input::Window { queue: needing(FULL), tasks: vec![], more: true });
    assert_eq!(board.step(ms(0), holding(1, 1, PARTIAL)), []);
    let asked = Output::Refill { queue: needing(FULL), after: TaskId(0), limit: 4_096 };
    assert_eq!(board.step(ms(1), holding(1, 1, FULL)), [asked]);
    let _ = board.step(ms(2), Input::Window { queue: needing(FULL), tasks: vec![], more: false });
    let _ = board.step(ms(3), Input::MemberLost { node: NodeId(1), why: LostWhy::MemberLost });
    assert_eq!(board.groups.len(), 0);
}

#[test]
fn a_new_leaders_board_asks_for_each_queue_by_name_and_hands_out_by_need() {
    let mut board = opened(70, &[]);
    for need in [Need::default(), FULL] {
        let asked = board.step(ms(0), Input::Window { queue: needing(need), tasks: vec![], more: true });
        assert_eq!(asked, [], "nobody serves it yet");
    }
    let out = board.step(ms(1), holding(1, 1, PARTIAL));
    let base = Output::Refill { queue: needing(Need::default()), after: TaskId(0), limit: 4_096 };
    assert_eq!(out, [base], "nobody meets the need of the other queue");
    let tasks = vec![(TaskId(7), ONE)];
    let out = board.step(ms(2), Input::Window { queue: needing(Need::default()), tasks, more: false });
    assert_eq!(assigned(&out), [(1, 0, 7)]);
    let out = board.step(ms(3), holding(2, 2, FULL));
    assert_eq!(out, [Output::Refill { queue: needing(FULL), after: TaskId(0), limit: 4_096 }]);
    let tasks = vec![(TaskId(3), ONE), (TaskId(5), ONE), (TaskId(9), ONE)];
    let out = board.step(ms(4), Input::Window { queue: needing(FULL), tasks, more: false });
    assert_eq!(assigned(&out), [(2, 0, 3), (2, 0, 5)]);
    // The need goes with the task when its hand-out comes back.
    let (node, task, fence) = (NodeId(2), TaskId(3), fence(2, 2));
    let _ = board.step(ms(5), Input::MemberDraining { node });
    assert_eq!(assigned(&board.step(ms(6), Input::Undelivered { node, task, fence })), []);
    assert_eq!(assigned(&board.step(ms(7), holding(1, 9, PARTIAL))), []);
    assert_eq!(assigned(&board.step(ms(8), holding(3, 1, FULL))), [(3, 0, 3)]);
}

#[test]
fn an_adopted_attempt_and_a_delayed_one_keep_their_need() {
    let mut board = opened(9, &[1]);
    let old = super::fence(1, 3);
    let _ = board.step(ms(0), offer(1, vec![pod(&["default"], 1)], vec![held(5, 1, old)], old));
    let next = Next::Ready { queue: needing(FULL), attempt: ONE };
    assert_eq!(board.step(ms(1), Input::Verified { task: TaskId(5), fence: old, next }), [], "what runs goes on");
    let _ = board.step(ms(2), report(1, 5, 1, old));
    let (until, attempt) = (UnixMillis(50), AttemptNumber(2));
    let next = Next::Delayed { until, due: until, queue: needing(FULL), attempt };
    let _ = board.step(ms(3), Input::Settled { task: TaskId(5), fence: old, next });
    assert_eq!(board.step(ms(60), Input::Tick { wall: UnixMillis(60) }), []);
    assert_eq!(assigned(&board.step(ms(61), holding(2, 1, FULL))), [(2, 0, 5)]);
}

#[test]
fn a_queue_with_a_need_is_forgotten_when_nothing_is_left_in_it() {
    let mut board = opened(0, &[]);
    let _ = board.step(ms(0), ready_needing(FULL, 1));
    assert_eq!((board.groups.len(), board.groups.heads().len()), (1, 1));
    let _ = board.step(ms(1), Input::Cancelled { task: TaskId(1) });
    assert_eq!((board.groups.len(), board.waiting()), (0, 0));
}
