//! Random schedules: swarms of 3 to 7 nodes under loss, partitions, one-way cuts, pauses and crashes, then healed.
//!
//! Whatever happens, the promises of `sim::watch` hold; once healed, somebody acts within five seconds. `scripts/sim election` tries
//! many more of the same schedules.

use std::println;
use std::time::Duration;

use crate::sim::report::{REPRODUCE, Report};
use crate::sim::schedule::{PATIENCE, Schedule};
use crate::sim::world::Setup;

/// How many schedules a test run tries.
const SCHEDULES: u64 = 500;

/// How many are tried to see the harm of a missing rule.
const WITHOUT: u64 = 200;

#[test]
fn promises_hold_under_random_faults_and_a_leader_follows_healing() {
    let mut report = Report::default();
    for seed in 0..SCHEDULES {
        let schedule = Schedule::of(seed);
        let outcome = schedule.play(false);
        report.add(seed, &outcome);
        if !outcome.wrongs().is_empty() {
            let lines = schedule.play(true).lines;
            lines[lines.len().saturating_sub(150)..].iter().for_each(|line| println!("{line}"));
            panic!("seed {seed}: {:?}\n{REPRODUCE} {seed}", outcome.wrongs());
        }
    }
    println!("{report}");
    assert!(report.leaderships > SCHEDULES && report.acknowledged > SCHEDULES, "the schedules led nowhere");
    assert!(report.time_to_leader(50) < Duration::from_millis(500) && report.time_to_leader(100) < PATIENCE);
}

#[test]
fn a_schedule_runs_the_same_twice_and_another_seed_runs_another_way() {
    let hash = |seed, record| Schedule::of(seed).play(record).hash;
    assert_eq!(hash(11, false), hash(11, true));
    assert_ne!(hash(11, false), hash(12, false));
}

#[test]
fn a_schedule_told_as_a_script_goes_wrong_as_it_did() {
    let mut schedule = Schedule::of(3);
    schedule.setup.raft_rules.vote_on_disk = false;
    let wrong = |schedule: &Schedule| schedule.play(false).wrongs().contains("vote-regressed");
    let seed = (0..WITHOUT).find(|seed| {
        let acts = Schedule::of(*seed);
        (schedule.setup.seed, schedule.acts, schedule.rest) = (*seed, acts.acts, acts.rest);
        wrong(&schedule)
    });
    assert!(seed.is_some(), "no schedule goes wrong");
    let short = schedule.minimised(wrong);
    assert!(short.acts.len() < schedule.acts.len() && wrong(&short), "{short:?}");
    let script = std::format!("scene x\nwithout vote_on_disk\n{}\nexpect fault vote-regressed", short.script().join("\n"));
    crate::sim::script::run(&script).unwrap_or_else(|error| panic!("{error}\n{script}"));
}

type Change<'a> = &'a dyn Fn(&mut Setup);

/// In how many of the schedules that very thing goes wrong once a rule is gone.
fn harm(wrong: &str, change: Change<'_>) -> usize {
    let harmed = |seed: &u64| {
        let mut schedule = Schedule::of(*seed);
        change(&mut schedule.setup);
        schedule.play(false).wrongs().contains(wrong)
    };
    (0..WITHOUT).filter(harmed).count()
}

#[test]
fn the_schedules_notice_a_missing_rule() {
    let sketch = |setup: &mut Setup| {
        let rules = &mut setup.rules;
        (rules.majority, rules.ratify, rules.refuse, rules.opening, rules.quorum_lease) = (false, false, false, false, false);
    };
    let without: [(&str, &str, Change<'_>); 5] = [
        ("majority, refusal and ratification", "two-acting", &sketch),
        ("the vote on disk", "vote-regressed", &|setup| setup.raft_rules.vote_on_disk = false),
        ("the journal first", "entry-lost", &|setup| (setup.rules.journal_first, setup.raft_rules.log_check) = (false, false)),
        ("the quorum's lease", "two-acting", &|setup| setup.rules.quorum_lease = false),
        ("reclaiming", "leaderless", &|setup| setup.rules.reclaim = false),
    ];
    for (rule, wrong, change) in without {
        let harmed = harm(wrong, change);
        println!("without {rule}: {wrong} in {harmed} of {WITHOUT} schedules");
        assert!(harmed > 0, "without {rule} no {wrong}: the schedules or the checks are blind");
    }
}
