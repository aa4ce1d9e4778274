//! The board's promises, one claim a test; and the board in a small world.

mod needs;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::task::Denial;
use crate::task::{
    AttemptNumber, Fence, GroupName, HeldAttempt, LostWhy, Need, NodeId, Pod, PodId, Queue, TaskId, Term, UnixMillis,
};

const ONE: AttemptNumber = AttemptNumber(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The queue of a group's tasks that need nothing.
fn queue(name: &str) -> Queue {
    Queue::new(name.parse::<GroupName>().unwrap(), Need::default())
}

fn pod(groups: &[&str], slots: u32) -> Pod {
    Pod { groups: groups.iter().map(|name| name.parse().unwrap()).collect(), slots }
}

fn fence(term: u64, sequence: u64) -> Fence {
    Fence { term: Term(term), sequence }
}

fn ready(name: &str, task: u64) -> Input {
    Input::Ready { queue: queue(name), task: TaskId(task), attempt: ONE }
}

fn offer(node: u64, pods: Vec<Pod>, held: Vec<HeldAttempt>, processed: Fence) -> Input {
    Input::Offer(Offer { node: NodeId(node), boot: 1, pods, held, processed, accepts: true, holds: Need::default() })
}

fn held(task: u64, attempt: u32, fence: Fence) -> HeldAttempt {
    let (task, attempt) = (TaskId(task), AttemptNumber(attempt));
    HeldAttempt { task, attempt, fence, pod: PodId(0), takes_slot: true, ended: false }
}

fn report(node: u64, task: u64, attempt: u32, fence: Fence) -> Input {
    let (node, task, attempt) = (NodeId(node), TaskId(task), AttemptNumber(attempt));
    Input::Reported { node, task, attempt, fence, slot_free: true }
}

/// A board of term 2, `last` tasks before it, waiting for these nodes.
fn opened(last: u64, expected: &[u64]) -> Board {
    let mut board = Board::new(BoardConfig::default());
    let expected: BTreeSet<NodeId> = expected.iter().copied().map(NodeId).collect();
    let _ = board.step(ms(0), Input::Opened { term: Term(2), last_task_before: TaskId(last), expected });
    board
}

/// (node, pod, task) of the hand-outs among the outputs.
fn assigned(outputs: &[Output]) -> Vec<(u64, u16, u64)> {
    let assign = |output: &Output| match output {
        Output::Assign { node, pod, task, .. } => Some((node.0, pod.0, task.0)),
        _ => None,
    };
    outputs.iter().filter_map(assign).collect()
}

fn verdict(outputs: &[Output]) -> Verdict {
    let verdict = outputs.iter().find_map(|output| match output {
        Output::Verdict { verdict, .. } => Some(*verdict),
        _ => None,
    });
    verdict.unwrap()
}

#[test]
fn before_a_leadership_opens_nothing_is_done() {
    let mut board = Board::new(BoardConfig::default());
    assert_eq!(board.step(ms(0), ready("default", 1)), [Output::Ignored { why: Ignored::NotOpened }]);
}

#[test]
fn one_slot_runs_one_task_at_a_time_and_takes_the_oldest_over_its_groups() {
    let mut board = opened(0, &[]);
    for (name, task) in [("b", 2), ("a", 3), ("b", 4)] {
        assert_eq!(assigned(&board.step(ms(0), ready(name, task))), []);
    }
    let out = board.step(ms(1), offer(7, vec![pod(&["a", "b"], 1)], vec![], Fence::default()));
    assert_eq!(assigned(&out), [(7, 0, 2)]);
    // The slot is free when the report arrives; the journal has not answered yet.
    let out = board.step(ms(2), report(7, 2, 1, fence(2, 1)));
    assert_eq!(verdict(&out), Verdict::Accept);
    assert_eq!(assigned(&out), [(7, 0, 3)]);
    assert!(board.lease(TaskId(2)).unwrap().ended);
    let out = board.step(ms(3), Input::Settled { task: TaskId(2), fence: fence(2, 1), next: Next::Final });
    assert_eq!(assigned(&out), []);
    assert_eq!(board.leased(), 1);
}

#[test]
fn the_member_idle_the_longest_is_first_and_an_idle_one_before_a_busy_one() {
    let mut board = opened(0, &[]);
    let _ = board.step(ms(0), offer(1, vec![pod(&["default"], 2)], vec![], Fence::default()));
    let _ = board.step(ms(1), offer(2, vec![pod(&["default"], 2)], vec![], Fence::default()));
    let order: Vec<_> = (1..=5).flat_map(|task| assigned(&board.step(ms(2), ready("default", task)))).collect();
    assert_eq!(order, [(1, 0, 1), (2, 0, 2), (1, 0, 3), (2, 0, 4)]);
    // Node 2 gives back both, node 1 one: node 2 is wholly idle.
    let _ = board.step(ms(3), Input::Cancelled { task: TaskId(5) });
    for (node, task) in [(2, 2), (2, 4), (1, 1)] {
        let _ = board.step(ms(4), report(node, task, 1, fence(2, task)));
    }
    assert_eq!(assigned(&board.step(ms(5), ready("default", 6))), [(2, 0, 6)]);
}

#[test]
fn a_group_that_nobody_serves_waits_and_runs_when_somebody_joins() {
    let mut board = opened(0, &[]);
    let _ = board.step(ms(0), offer(1, vec![pod(&["default"], 4)], vec![], Fence::default()));
    assert_eq!(assigned(&board.step(ms(0), ready("gpu", 1))), []);
    let out = board.step(ms(9_000), offer(2, vec![pod(&["gpu"], 1)], vec![], Fence::default()));
    assert_eq!(assigned(&out), [(2, 0, 1)]);
}

#[test]
fn an_announced_attempt_is_adopted_under_its_old_fence_and_withheld_tasks_wait_for_all_announcements() {
    let mut board = opened(3, &[1, 2]);
    let tasks = (1..=3).map(|task| (TaskId(task), ONE)).collect();
    let _ = board.step(ms(0), Input::Window { queue: queue("default"), tasks, more: false });
    let old = fence(1, 44);
    let out = board.step(ms(10), offer(1, vec![pod(&["default"], 2)], vec![held(2, 1, old)], old));
    assert_eq!(assigned(&out), []);
    assert_eq!(board.lease(TaskId(2)).unwrap().fence, old);
    // A new task is nobody's: it need not wait.
    assert_eq!(assigned(&board.step(ms(11), ready("default", 4))), [(1, 0, 4)]);
    let out = board.step(ms(12), offer(2, vec![pod(&["default"], 1)], vec![], Fence::default()));
    assert_eq!(out[0], Output::AdoptionOver { adopted: 1, silent: vec![] });
    assert_eq!(assigned(&out), [(2, 0, 1)]);
    let out = board.step(ms(13), report(1, 2, 1, old));
    assert_eq!(verdict(&out), Verdict::Adopt);
    assert_eq!(assigned(&out), [(1, 0, 3)]);
}

#[test]
fn adoption_ends_after_its_time_and_a_late_announcement_is_cancelled() {
    let mut board = opened(1, &[1, 2]);
    let _ = board.step(ms(0), Input::Window { queue: queue("default"), tasks: vec![(TaskId(1), ONE)], more: false });
    let _ = board.step(ms(5), offer(1, vec![pod(&["default"], 1)], vec![], Fence::default()));
    assert_eq!(board.step(ms(999), Input::Tick { wall: UnixMillis(0) }), []);
    let out = board.step(ms(1_000), Input::Tick { wall: UnixMillis(0) });
    assert_eq!(out[0], Output::AdoptionOver { adopted: 0, silent: vec![NodeId(2)] });
    assert_eq!(assigned(&out), [(1, 0, 1)]);
    let old = fence(1, 9);
    let late = offer(2, vec![pod(&["default"], 1)], vec![held(1, 1, old)], old);
    let cancel = Output::CancelAttempt { node: NodeId(2), task: TaskId(1), attempt: ONE, fence: old };
    assert_eq!(board.step(ms(1_100), late), std::slice::from_ref(&cancel));
    // Its slot is taken until it has ended.
    assert_eq!(assigned(&board.step(ms(1_101), ready("default", 2))), []);
    let out = board.step(ms(1_102), report(2, 1, 1, old));
    assert_eq!(verdict(&out), Verdict::Refuse(Denial::StaleAttempt));
    assert_eq!(assigned(&out), [(2, 0, 2)]);
}

#[test]
fn an_announced_attempt_of_an_ended_task_is_found_out_by_asking_the_ledger() {
    let mut board = opened(9, &[1]);
    let old = fence(1, 3);
    let out = board.step(ms(0), offer(1, vec![pod(&["default"], 1)], vec![held(5, 2, old)], old));
    assert!(out.contains(&Output::Verify { task: TaskId(5), fence: old }));
    let out = board.step(ms(1), Input::Verified { task: TaskId(5), fence: old, next: Next::Final });
    assert_eq!(out, [Output::CancelAttempt { node: NodeId(1), task: TaskId(5), attempt: AttemptNumber(2), fence: old }]);
    assert_eq!(board.lease(TaskId(5)), None);
}

#[test]
fn a_lost_members_attempts_are_lost_and_their_late_reports_refused() {
    let mut board = opened(0, &[]);
    let _ = board.step(ms(0), offer(1, vec![pod(&["default"], 1)], vec![], Fence::default()));
    let _ = board.step(ms(0), ready("default", 1));
    let node = NodeId(1);
    let out = board.step(ms(5), Input::MemberLost { node, why: LostWhy::MemberLost });
    let lost = Output::AttemptLost { task: TaskId(1), attempt: ONE, fence: fence(2, 1), node, why: LostWhy::MemberLost };
    assert_eq!(out, [lost]);
    let _ = board.step(ms(6), offer(2, vec![pod(&["default"], 1)], vec![], Fence::default()));
    let next = Next::Ready { queue: queue("default"), attempt: AttemptNumber(2) };
    let out = board.step(ms(7), Input::Settled { task: TaskId(1), fence: fence(2, 1), next });
    assert_eq!(assigned(&out), [(2, 0, 1)]);
    assert_eq!(board.lease(TaskId(1)).unwrap().attempt, AttemptNumber(2));
    assert_eq!(verdict(&board.step(ms(8), report(1, 1, 1, fence(2, 1)))), Verdict::Refuse(Denial::StaleAttempt));
}

#[test]
fn a_hand_out_that_the_member_processed_but_does_not_list_is_lost_and_one_under_way_is_not() {
    let mut board = opened(0, &[]);
    let pods = || vec![pod(&["default"], 2)];
    let _ = board.step(ms(0), offer(1, pods(), vec![], Fence::default()));
    let _ = board.step(ms(0), ready("default", 1));
    assert_eq!(board.step(ms(1), offer(1, pods(), vec![], Fence::default())), []);
    let out = board.step(ms(2), offer(1, pods(), vec![], fence(2, 1)));
    assert!(matches!(out[..], [Output::AttemptLost { why: LostWhy::MemberRestarted, .. }]), "{out:?}");
    // One that never arrives is given again, with the same number and another fence.
    let _ = board.step(ms(3), ready("default", 2));
    let out = board.step(ms(6_000), offer(1, pods(), vec![], fence(2, 1)));
    assert!(
        matches!(out[..], [Output::Assign { task: TaskId(2), attempt: ONE, fence: Fence { sequence: 3, .. }, .. }]),
        "{out:?}"
    );
}

#[test]
fn a_report_sent_twice_is_answered_twice_and_written_once() {
    let mut board = opened(0, &[]);
    let _ = board.step(ms(0), offer(1, vec![pod(&["default"], 1)], vec![], Fence::default()));
    let _ = board.step(ms(0), ready("default", 1));
    assert_eq!(verdict(&board.step(ms(1), report(2, 1, 1, fence(2, 1)))), Verdict::Refuse(Denial::StaleAttempt));
    assert_eq!(verdict(&board.step(ms(1), report(1, 1, 1, fence(2, 1)))), Verdict::Accept);
    assert_eq!(verdict(&board.step(ms(2), report(1, 1, 1, fence(2, 1)))), Verdict::Duplicate);
    let _ = board.step(ms(3), Input::Settled { task: TaskId(1), fence: fence(2, 1), next: Next::Final });
    assert_eq!(verdict(&board.step(ms(4), report(1, 1, 1, fence(2, 1)))), Verdict::AlreadySettled);
}

#[test]
fn a_cancel_reaches_the_member_and_again_if_it_did_not_hear() {
    let mut board = opened(0, &[]);
    let pods = || vec![pod(&["default"], 1)];
    let _ = board.step(ms(0), offer(1, pods(), vec![], Fence::default()));
    let _ = board.step(ms(0), ready("default", 1));
    let _ = board.step(ms(0), ready("default", 2));
    let cancel = Output::CancelAttempt { node: NodeId(1), task: TaskId(1), attempt: ONE, fence: fence(2, 1) };
    assert_eq!(board.step(ms(1), Input::Cancelled { task: TaskId(1) }), std::slice::from_ref(&cancel));
    assert_eq!(board.step(ms(2), offer(1, pods(), vec![held(1, 1, fence(2, 1))], fence(2, 1))), [cancel]);
    let out = board.step(ms(3), report(1, 1, 1, fence(2, 1)));
    assert_eq!((verdict(&out), assigned(&out)), (Verdict::Accept, vec![(1, 0, 2)]));
}

#[test]
fn a_handler_that_outlived_its_time_keeps_its_slot_until_a_heartbeat_says_otherwise() {
    let mut board = opened(0, &[]);
    let pods = || vec![pod(&["default"], 1)];
    let _ = board.step(ms(0), offer(1, pods(), vec![], Fence::default()));
    let _ = board.step(ms(0), ready("default", 1));
    let _ = board.step(ms(0), ready("default", 2));
    let (node, task, attempt) = (NodeId(1), TaskId(1), ONE);
    let out = board.step(ms(1), Input::Reported { node, task, attempt, fence: fence(2, 1), slot_free: false });
    assert_eq!(assigned(&out), []);
    let _ = board.step(ms(2), Input::Settled { task, fence: fence(2, 1), next: Next::Final });
    let stuck = HeldAttempt { ended: true, ..held(1, 1, fence(2, 1)) };
    assert_eq!(board.step(ms(3), offer(1, pods(), vec![stuck], fence(2, 1))), []);
    assert_eq!(assigned(&board.step(ms(4), offer(1, pods(), vec![], fence(2, 1)))), [(1, 0, 2)]);
}

#[test]
fn a_heartbeat_older_than_a_report_does_not_take_the_slot_again() {
    let mut board = opened(0, &[]);
    let pods = || vec![pod(&["default"], 1)];
    let _ = board.step(ms(0), offer(1, pods(), vec![], Fence::default()));
    let _ = board.step(ms(0), ready("default", 1));
    let _ = board.step(ms(1), report(1, 1, 1, fence(2, 1)));
    let _ = board.step(ms(2), offer(1, pods(), vec![held(1, 1, fence(2, 1))], fence(2, 1)));
    assert_eq!(assigned(&board.step(ms(3), ready("default", 2))), [(1, 0, 2)]);
}

#[test]
fn a_million_queued_tasks_do_not_live_in_memory() {
    let mut board = opened(0, &[]);
    for task in 1..=10_000 {
        let _ = board.step(ms(0), ready("lonely", task));
        let _ = board.step(ms(0), ready("default", 1_000_000 + task));
    }
    assert_eq!(board.waiting(), 2 * BoardConfig::default().small_window);
    let out = board.step(ms(1), offer(1, vec![pod(&["default"], 1)], vec![], Fence::default()));
    assert_eq!(assigned(&out), [(1, 0, 1_000_001)]);
    let after = TaskId(1_000_064);
    assert_eq!(out[1..], [Output::Refill { queue: queue("default"), after, limit: 4_096 }]);
    let tasks = (1_000_065..1_004_161).map(|task| (TaskId(task), ONE)).collect();
    assert_eq!(board.step(ms(2), Input::Window { queue: queue("default"), tasks, more: true }), []);
    assert_eq!(board.waiting(), 64 + 63 + 4_096);
}

#[test]
fn delayed_tasks_run_when_their_time_has_come_and_the_rest_stay_in_the_ledger() {
    let mut board = Board::new(BoardConfig { delayed: 2, ..BoardConfig::default() });
    let expected = BTreeSet::new();
    let _ = board.step(ms(0), Input::Opened { term: Term(2), last_task_before: TaskId(0), expected });
    let delayed = |task, until| {
        let (task, until) = (TaskId(task), UnixMillis(until));
        DelayedTask { until, due: until, task, queue: queue("default"), attempt: AttemptNumber(2) }
    };
    let _ = board.step(ms(0), offer(1, vec![pod(&["default"], 9)], vec![], Fence::default()));
    let tasks = vec![delayed(3, 50), delayed(1, 60), delayed(2, 70)];
    assert_eq!(board.step(ms(0), Input::DelayedWindow { tasks, more: false }), []);
    assert_eq!(board.next_delayed(), Some(UnixMillis(50)));
    assert_eq!(assigned(&board.step(ms(1), Input::Tick { wall: UnixMillis(49) })), []);
    let out = board.step(ms(2), Input::Tick { wall: UnixMillis(60) });
    assert_eq!(assigned(&out), [(1, 0, 1), (1, 0, 3)]);
    assert_eq!(out[2], Output::RefillDelayed { after: (UnixMillis(60), TaskId(1)), limit: 1 });
    let _ = board.step(ms(3), Input::DelayedWindow { tasks: vec![delayed(2, 70)], more: false });
    assert_eq!(assigned(&board.step(ms(4), Input::Tick { wall: UnixMillis(70) })), [(1, 0, 2)]);
}

/// Found by the simulator (its seeds 0 and 3): a leader whose clock was an hour ahead had written the time down.
#[test]
fn a_delayed_task_comes_due_when_its_policy_says_wherever_the_ledger_has_it() {
    let mut board = Board::new(BoardConfig { delayed: 2, ..BoardConfig::default() });
    let expected = BTreeSet::new();
    let _ = board.step(ms(0), Input::Opened { term: Term(2), last_task_before: TaskId(0), expected });
    let _ = board.step(ms(0), offer(1, vec![pod(&["default"], 9)], vec![], Fence::default()));
    let delayed = |task, until, due| DelayedTask {
        until: UnixMillis(until),
        due: UnixMillis(due),
        task: TaskId(task),
        queue: queue("default"),
        attempt: AttemptNumber(2),
    };
    let tasks = vec![delayed(1, 50, 50), delayed(2, 3_600_000, 40)];
    let _ = board.step(ms(0), Input::DelayedWindow { tasks, more: false });
    assert_eq!(board.next_delayed(), Some(UnixMillis(40)));
    assert_eq!(assigned(&board.step(ms(1), Input::Tick { wall: UnixMillis(45) })), [(1, 0, 2)]);
    assert_eq!(assigned(&board.step(ms(2), Input::Tick { wall: UnixMillis(50) })), [(1, 0, 1)]);
}

#[test]
fn nothing_is_handed_out_while_too_many_ends_wait_for_the_journal() {
    let mut board = Board::new(BoardConfig { unsettled: 2, ..BoardConfig::default() });
    let expected = BTreeSet::new();
    let _ = board.step(ms(0), Input::Opened { term: Term(2), last_task_before: TaskId(0), expected });
    let _ = board.step(ms(0), offer(1, vec![pod(&["default"], 1)], vec![], Fence::default()));
    (1..=4).for_each(|task| drop(board.step(ms(0), ready("default", task))));
    assert_eq!(assigned(&board.step(ms(1), report(1, 1, 1, fence(2, 1)))), [(1, 0, 2)]);
    assert_eq!(assigned(&board.step(ms(2), report(1, 2, 1, fence(2, 2)))), []);
    let out = board.step(ms(3), Input::Settled { task: TaskId(1), fence: fence(2, 1), next: Next::Final });
    assert_eq!(assigned(&out), [(1, 0, 3)]);
}

#[test]
fn a_leader_that_takes_its_term_up_again_adopts_its_own_hand_outs_and_numbers_above_them() {
    let mut board = Board::new(BoardConfig { numbered_after: 100, ..BoardConfig::default() });
    let _ =
        board.step(ms(0), Input::Opened { term: Term(2), last_task_before: TaskId(2), expected: BTreeSet::from([NodeId(1)]) });
    let window = Input::Window { queue: queue("a"), tasks: vec![(TaskId(1), ONE), (TaskId(2), ONE)], more: false };
    let _ = board.step(ms(1), window);
    // Given before the leadership was lost, in the same term, and still running: it goes on.
    let earlier = fence(2, 100);
    let out = board.step(ms(2), offer(1, vec![pod(&["a"], 2)], vec![held(1, 1, earlier)], earlier));
    assert_eq!(board.lease(TaskId(1)).map(|lease| lease.fence), Some(earlier));
    assert_eq!(assigned(&out), [(1, 0, 2)]);
    assert_eq!(board.lease(TaskId(2)).map(|lease| lease.fence), Some(fence(2, 101)));
    assert_eq!(verdict(&board.step(ms(3), report(1, 1, 1, earlier))), Verdict::Accept);
    // What this board never gave, or took back, is refused as before.
    assert_eq!(verdict(&board.step(ms(4), report(1, 2, 1, fence(2, 102)))), Verdict::Refuse(Denial::StaleAttempt));
}
