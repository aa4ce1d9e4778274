//! Limits of what a task leaves on the disk and writes to its outputs, and what its result says that it used.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use dunlin_node::sandbox::Report;
use dunlin_node::task::Outcome;

use super::cases::cases;
use super::harness::{Case, skip};
use super::house::{House, SOON, out};

pub(crate) const ALL: &[Case] = cases![
    a_full_scratch_directory_ends_the_task,
    many_small_files_fill_a_scratch_directory,
    deleted_and_closed_off_files_count,
    what_is_within_the_limit_or_elsewhere_does_not_count,
    a_failure_with_a_full_scratch_directory_is_told_as_that,
    a_flood_of_output_ends_the_task_where_that_is_limited,
    results_say_what_was_used,
];

const MIB: u64 = 1 << 20;

/// Runs a shell script with so much disk.
fn with_scratch(house: &House, limit: u64, script: &str) -> Report {
    house.run(&["sh", "-c", script], |launch| launch.limits.scratch = Some(limit))
}

fn errors(report: &Report) -> String {
    String::from_utf8_lossy(&report.stderr.tail).into_owned()
}

fn is_full(report: &Report, limit: u64) -> bool {
    matches!(report.outcome, Outcome::ScratchLimit { limit: told, used } if told == limit && used > limit)
}

fn a_full_scratch_directory_ends_the_task() {
    let house = House::new();
    let limit = 4 * MIB;
    // A second process goes on beside the writer, in a session of its own: all of it ends.
    let script = "setsid sleep 1000 & while :; do head -c 1000000 /dev/zero >>tmp/data; sleep 0.02; done";
    let report = with_scratch(&house, limit, script);
    assert!(is_full(&report, limit), "{:?}", report.outcome);
    assert_eq!(report.outcome.to_string(), "killed: wrote more than 4 MiB to its scratch folder");
    assert!(report.usage.wall < SOON, "{:?}", report.usage);
    house.no_scratch_is_left();
}

fn many_small_files_fill_a_scratch_directory() {
    let house = House::new();
    // Empty ones: it is their number that fills a disk.
    let script = "i=0; while :; do mkdir $i; : >$i/a; : >$i/b; i=$((i+1)); done";
    let report = with_scratch(&house, MIB, script);
    assert!(is_full(&report, MIB), "{:?}", report.outcome);
}

fn deleted_and_closed_off_files_count() {
    let house = House::new();
    let limit = 4 * MIB;
    let deleted = "exec 3>hidden; rm hidden; head -c 8000000 /dev/zero >&3; sleep 1000";
    let report = with_scratch(&house, limit, deleted);
    assert!(is_full(&report, limit), "{:?} {}", report.outcome, errors(&report));
    let closed = "mkdir closed; exec 3>closed/file; chmod 0 closed; head -c 8000000 /dev/zero >&3; exec 3>&-; sleep 1000";
    let report = with_scratch(&house, limit, closed);
    assert!(is_full(&report, limit), "{:?} {}", report.outcome, errors(&report));
    house.no_scratch_is_left();
}

fn what_is_within_the_limit_or_elsewhere_does_not_count() {
    let house = House::new();
    // A hole of a terabyte, a link to everything, two names of one file, and what was there only for a while.
    let script = "truncate -s 1T hole; ln -s / all; head -c 2000000 /dev/zero >a; ln a b; ln a c; \
                  for i in 1 2 3 4 5; do head -c 1000000 /dev/zero >d; rm d; done; sleep 0.3; echo done";
    let report = with_scratch(&house, 4 * MIB, script);
    assert_eq!((report.outcome.clone(), out(&report)), (Outcome::Exited(0), "done\n".to_owned()), "{}", errors(&report));
    let quick = with_scratch(&house, 4 * MIB, "head -c 2000000 /dev/zero >a");
    for peak in [report.usage.scratch_peak, quick.usage.scratch_peak] {
        assert!((2_000_000..4 * MIB).contains(&peak), "{peak}");
    }
    assert_eq!(house.run(&["true"], |_| {}).usage.scratch_peak, 0, "nobody looked");
}

fn a_failure_with_a_full_scratch_directory_is_told_as_that() {
    let house = House::new();
    // Over before anybody has looked.
    let report = with_scratch(&house, MIB, "head -c 3000000 /dev/zero >a; exit 3");
    assert!(is_full(&report, MIB), "{:?}", report.outcome);
    assert_eq!(with_scratch(&house, MIB, "exit 3").outcome, Outcome::Exited(3));
}

fn a_flood_of_output_ends_the_task_where_that_is_limited() {
    let house = House::new();
    let report = house.run(&["yes"], |launch| launch.limits.output = Some(MIB));
    assert_eq!(report.outcome, Outcome::OutputLimit { limit: MIB });
    assert!(report.stdout.total > MIB && report.stdout.total < 64 * MIB, "{}", report.stdout.total);
    assert_eq!(report.stdout.tail.len(), 256 << 10, "its end is kept as ever");
    // Both outputs together.
    let both = "while :; do echo 0123456789012345678901234567890123456789; echo 0123456789 >&2; done";
    let report = house.run(&["sh", "-c", both], |launch| launch.limits.output = Some(100_000));
    assert_eq!(report.outcome, Outcome::OutputLimit { limit: 100_000 });
    assert!(report.stdout.total > 0 && report.stderr.total > 0);
    let within = house.run(&["seq", "1", "10000"], |launch| launch.limits.output = Some(MIB));
    assert_eq!(within.outcome, Outcome::Exited(0));
}

fn results_say_what_was_used() {
    if !PathBuf::from("/usr/bin/perl").exists() {
        skip("it needs perl, which is not installed here");
    }
    let house = House::new();
    let burn = "my $m = 'x' x 30_000_000; 1 while times() < 0.2; print 'o' x 100_000; print STDERR 'e' x 300_000;";
    let report = house.run(&["perl", "-e", burn], |_| {});
    assert_eq!(report.outcome, Outcome::Exited(0), "{}", errors(&report));
    let usage = report.usage;
    assert!(usage.cpu >= Duration::from_millis(190) && usage.cpu < Duration::from_secs(10), "{usage:?}");
    assert!(usage.wall >= usage.cpu / 2, "{usage:?}");
    assert!(usage.memory_peak >= 30_000_000 && usage.memory_peak < 300_000_000, "{usage:?}");
    assert_eq!((report.stdout.total, report.stderr.total), (100_000, 300_000));
    assert_eq!((report.stdout.tail.len(), report.stderr.tail.len()), (100_000, 256 << 10));
    // What one task used is not counted as the next one's.
    let usage = house.run(&["true"], |_| {}).usage;
    assert!(usage.cpu < Duration::from_millis(190) && usage.memory_peak < 30_000_000, "{usage:?}");
    assert!(fs::read_dir(&house.root).unwrap().next().is_none());
}
