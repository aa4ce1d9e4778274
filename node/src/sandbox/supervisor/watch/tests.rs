//! A task under watch, seen by seen: no process runs here.

use super::*;

const MS: Duration = Duration::from_millis(1);
const NOBODY: Seen = Seen::Reaped { leader: None, alone: true };

fn watch(change: impl FnOnce(&mut ResolvedLimits)) -> Watch {
    let mut limits = ResolvedLimits { wall: Some(1000 * MS), grace: 100 * MS, ..ResolvedLimits::default() };
    change(&mut limits);
    Watch::new(limits)
}

fn ended(end: End, alone: bool) -> Seen {
    Seen::Reaped { leader: Some(end), alone }
}

#[test]
fn an_end_without_leftovers_needs_no_look_at_the_tree() {
    let mut watch = watch(|_| {});
    assert_eq!(watch.step(MS, ended(End::Exited(3), true)), [Act::Finish]);
    assert_eq!(watch.outcome(), Outcome::Exited(3));
}

#[test]
fn leftovers_are_killed_and_the_outcome_stays_the_programs() {
    let mut watch = watch(|_| {});
    assert_eq!(watch.step(MS, ended(End::Exited(0), false)), [Act::Kill]);
    assert_eq!(watch.step(2 * MS, Seen::Reaped { leader: None, alone: false }), []);
    assert_eq!(watch.deadline(), Some(6 * MS));
    assert_eq!(watch.step(6 * MS, Seen::Time), [Act::Kill]);
    assert_eq!(watch.step(7 * MS, NOBODY), [Act::Finish]);
    assert_eq!(watch.outcome(), Outcome::Exited(0));
}

#[test]
fn a_timeout_gives_grace_to_the_whole_tree_then_kills() {
    let mut watch = watch(|_| {});
    assert_eq!(watch.deadline(), Some(1000 * MS));
    assert_eq!(watch.step(1000 * MS, Seen::Time), [Act::Terminate]);
    // The leader obeys; a child of it still uses its grace.
    assert_eq!(watch.step(1010 * MS, ended(End::Signaled(15), false)), []);
    assert_eq!(watch.deadline(), Some(1100 * MS));
    assert_eq!(watch.step(1100 * MS, Seen::Time), [Act::Kill]);
    assert_eq!(watch.step(1101 * MS, NOBODY), [Act::Finish]);
    assert_eq!(watch.outcome(), Outcome::TimedOut { limit: 1000 * MS });
}

#[test]
fn the_first_cause_stands() {
    let mut watch = watch(|_| {});
    assert_eq!(watch.step(MS, Seen::Cancelled), [Act::Terminate]);
    assert_eq!(watch.step(2 * MS, Seen::Cancelled), []);
    assert_eq!(watch.step(3 * MS, Seen::NodeGone), [Act::Kill]);
    assert_eq!(watch.outcome(), Outcome::Cancelled);
}

#[test]
fn what_sigkill_can_not_end_is_given_up_within_its_patience() {
    let mut watch = watch(|_| {});
    let _ = watch.step(MS, Seen::NodeGone);
    assert_eq!(watch.step(11 * MS, Seen::Time), [Act::Kill]);
    assert_eq!(watch.step(MS + KILL_PATIENCE, Seen::Time), [Act::Finish]);
}

#[test]
fn limits_of_the_tree_are_measured_only_when_set() {
    assert_eq!(watch(|_| {}).deadline(), Some(1000 * MS));
    let mut hog = watch(|limits| limits.memory = Some(100));
    assert_eq!(hog.deadline(), Some(MEASURE_EVERY));
    assert_eq!(hog.step(50 * MS, Seen::Time), [Act::Measure]);
    assert_eq!(hog.step(50 * MS, Seen::Measured(Measure { memory: 101, ..Measure::default() })), [Act::Kill]);
    assert_eq!(hog.outcome(), Outcome::OutOfMemory { limit: 100, peak: 101 });

    let mut busy = watch(|limits| limits.cpu = Some(70 * MS));
    assert_eq!(busy.step(60 * MS, Seen::Measured(Measure { cpu: 71 * MS, ..Measure::default() })), [Act::Terminate]);
    assert_eq!(busy.outcome(), Outcome::CpuLimit { limit: 70 * MS });

    let mut bomb = watch(|limits| limits.processes = Some(8));
    assert_eq!(bomb.step(60 * MS, Seen::Measured(Measure { threads: 9, ..Measure::default() })), [Act::Kill]);
    assert_eq!(bomb.outcome(), Outcome::TooManyProcesses { limit: 8 });
}

#[test]
fn a_full_scratch_directory_ends_a_task_at_once() {
    let mut writer = watch(|limits| limits.scratch = Some(100));
    assert_eq!(writer.step(50 * MS, Seen::Time), [Act::Measure]);
    assert_eq!(writer.step(51 * MS, Seen::Measured(Measure { scratch: 100, ..Measure::default() })), []);
    assert_eq!(writer.step(101 * MS, Seen::Time), [Act::Measure]);
    assert_eq!(writer.step(102 * MS, Seen::Measured(Measure { scratch: 101, ..Measure::default() })), [Act::Kill]);
    assert_eq!(writer.outcome(), Outcome::ScratchLimit { limit: 100, used: 101 });
    assert_eq!(writer.scratch_peak(), 101);
}

#[test]
fn a_long_look_is_followed_by_a_long_rest() {
    let mut writer = watch(|limits| limits.scratch = Some(100));
    let _ = writer.step(50 * MS, Seen::Time);
    let _ = writer.step(52 * MS, Seen::Measured(Measure::default()));
    assert_eq!(writer.deadline(), Some(102 * MS));
    let _ = writer.step(102 * MS, Seen::Time);
    let _ = writer.step(132 * MS, Seen::Measured(Measure::default()));
    assert_eq!(writer.deadline(), Some((132 + 4 * 30) * MS));
}

#[test]
fn who_failed_with_a_full_scratch_directory_failed_by_that() {
    let ended_with = |code: i32, used: u64| {
        let mut watch = watch(|limits| limits.scratch = Some(100));
        let _ = watch.step(MS, ended(End::Exited(code), true));
        watch.left_in_scratch(used);
        watch.outcome()
    };
    assert_eq!(ended_with(1, 101), Outcome::ScratchLimit { limit: 100, used: 101 });
    assert_eq!(ended_with(1, 100), Outcome::Exited(1));
    assert_eq!(ended_with(0, 101), Outcome::Exited(0), "it has done what was asked");
    let mut cancelled = watch(|limits| limits.scratch = Some(100));
    let _ = cancelled.step(MS, Seen::Cancelled);
    cancelled.left_in_scratch(101);
    assert_eq!(cancelled.outcome(), Outcome::Cancelled);
}

#[test]
fn a_flood_of_output_ends_a_task_only_where_that_is_limited() {
    let mut limited = watch(|limits| limits.output = Some(7));
    assert_eq!(limited.step(MS, Seen::Flooded), [Act::Kill]);
    assert_eq!(limited.outcome(), Outcome::OutputLimit { limit: 7 });
    assert_eq!(watch(|_| {}).step(MS, Seen::Flooded), []);
}

#[test]
fn the_kernels_own_limits_have_their_own_names() {
    let mut watch = watch(|limits| limits.file_size = Some(10));
    let _ = watch.step(MS, ended(End::Signaled(libc::SIGXFSZ), true));
    assert_eq!(watch.outcome(), Outcome::FileTooLarge { limit: 10 });
}
