//! Seeds that once went wrong, a few that never did, and that a seed is a run.

use super::*;

fn clean(seed: u64) -> Run {
    let run = run(seed, 400).unwrap();
    let tail = run.lines.join("\n");
    assert!(run.violations.is_empty(), "seed {seed}: {:#?}\n{tail}\n{LEGEND}", run.violations);
    run
}

#[test]
fn the_first_seeds_are_clean_and_do_something() {
    let runs: Vec<Run> = (0..6).map(clean).collect();
    let sum = |of: fn(&Run) -> u64| runs.iter().map(of).sum::<u64>();
    assert!(sum(|run| run.tally.acknowledged) > 100, "clients got through");
    assert!(sum(|run| run.tally.leaderships) > 6, "leaders fell");
    assert!(sum(|run| run.injected.kills) > 6);
}

#[test]
fn a_seed_runs_twice_alike() {
    if !REPLAYS {
        eprintln!("skipped: this build has no --cfg tokio_unstable, without which the engine shuffles its own events");
        return;
    }
    for seed in 100..102 {
        let (one, two) = (clean(seed), clean(seed));
        assert_eq!(one.lines, two.lines, "seed {seed}");
        assert_eq!(one.hash, two.hash, "seed {seed}");
    }
}
