//! Random schedules: swarms of 3 to 7 nodes under loss, partitions, one-way cuts, pauses and crashes, then healed.
//!
//! Whatever happens, the promises of `sim::watch` hold; once healed, somebody acts within five seconds.

use std::boxed::Box;
use std::time::Duration;
use std::vec::Vec;
use std::{format, println};

use crate::random::Random;
use crate::sim::line;
use crate::sim::world::{Setup, World};
use crate::{NodeId, Rank};

/// How many schedules a test run tries; `DUNLIN_SEEDS` asks for more.
const SEEDS: u64 = 300;

fn seeds() -> u64 {
    std::env::var("DUNLIN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

fn world(seed: u64, random: &mut Random, change: impl Fn(&mut Setup), record: bool) -> World {
    let count = random.between(3, 7);
    let mut setup = Setup::swarm(count, seed);
    setup.restarted = random.between(0, 1) == 1;
    setup.writes = Some(Duration::from_millis(200));
    for node in setup.nodes.values_mut() {
        node.rank = Rank(u32::try_from(random.between(98, 100)).expect("small"));
        node.rate = random.between(950, 1_050);
    }
    change(&mut setup);
    World::new(setup, record)
}

fn disturb(world: &mut World, random: &mut Random) {
    let ids = world.ids();
    let pick = |random: &mut Random| ids[usize::try_from(random.between(0, ids.len() as u64 - 1)).expect("small")];
    let (one, other) = (pick(random), pick(random));
    match random.between(0, 9) {
        0 => world.kill(one),
        1 | 2 if world.machine(one).is_none() => world.start(one),
        1 => world.pause(one),
        2 | 3 => world.resume(one),
        4 => {
            world.net.cuts.insert((one, other));
        }
        5 => {
            let side: Vec<NodeId> = ids.iter().copied().filter(|_| random.between(0, 1) == 0).collect();
            for a in &side {
                ids.iter().filter(|b| !side.contains(b)).for_each(|b| world.net.cut(*a, *b));
            }
        }
        6 => world.net.cuts.clear(),
        7 => world.net.loss = u8::try_from(random.between(0, 40)).expect("small"),
        8 => world.net.delay_max = Duration::from_millis(random.between(2, 200)),
        _ => world.net.twice = u8::try_from(random.between(0, 30)).expect("small"),
    }
}

fn heal(world: &mut World) {
    world.net.heal();
    for id in world.ids() {
        if world.machine(id).is_none() {
            world.start(id);
        } else {
            world.resume(id);
        }
    }
}

/// A schedule; on a broken promise the same again with a trace, of which the end is shown.
fn run(seed: u64) -> (World, Duration) {
    match attempt(seed, |_| (), false) {
        Ok(done) if done.0.faults.is_empty() => done,
        _ => {
            let (world, why) = match attempt(seed, |_| (), true) {
                Ok((world, _)) => (world, "a promise was broken"),
                Err(world) => (*world, "nobody acts 5 s after all was healed"),
            };
            let lines: Vec<_> = world.trace.iter().filter_map(line).collect();
            lines[lines.len().saturating_sub(150)..].iter().for_each(|line| println!("{line}"));
            panic!("seed {seed}: {why}: {:?}", world.faults);
        }
    }
}

fn attempt(seed: u64, change: impl Fn(&mut Setup), record: bool) -> Result<(World, Duration), Box<World>> {
    let mut random = Random::new(seed.wrapping_mul(0x5851_F42D));
    let mut world = world(seed, &mut random, change, record);
    for _ in 0..random.between(5, 14) {
        world.run(Duration::from_millis(random.between(10, 1_500)));
        disturb(&mut world, &mut random);
    }
    heal(&mut world);
    let healed = world.elapsed();
    let led = world.run_until(Duration::from_secs(5), |world| !world.acting().is_empty());
    if !led {
        return Err(Box::new(world));
    }
    let took = world.elapsed() - healed;
    world.run(Duration::from_millis(1_500));
    Ok((world, took))
}

#[test]
fn promises_hold_under_random_faults_and_a_leader_follows_healing() {
    let (mut times, mut leaderships, mut entries) = (Vec::new(), 0, 0);
    let seeds = seeds();
    for seed in 0..seeds {
        let (world, took) = run(seed);
        leaderships += world.leaderships;
        entries += world.watch.acknowledged.len();
        times.push(took);
    }
    times.sort();
    let at = |percent: usize| format!("{:?}", times[(times.len() - 1) * percent / 100]);
    println!("{seeds} schedules, {leaderships} leaderships, {entries} entries; healed to led p50 {} p99 {}", at(50), at(99));
    assert!(leaderships > seeds && entries > 0, "the schedules led nowhere");
}

#[test]
fn a_schedule_runs_the_same_twice() {
    let runs: Vec<_> = (0..2).map(|_| run(11)).map(|(world, took)| (world.leaderships, took, world.elapsed())).collect();
    assert_eq!(runs[0], runs[1]);
}

type Change<'a> = &'a dyn Fn(&mut Setup);

/// In how many of the schedules that very thing goes wrong once a rule is gone.
fn harm(fault: &str, change: impl Fn(&mut Setup)) -> usize {
    let harmed = |seed: &u64| match attempt(*seed, &change, false) {
        Ok((world, _)) => world.faults.iter().any(|seen| seen.name() == fault),
        Err(_) => fault == "leaderless",
    };
    (0..SEEDS).filter(harmed).count()
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
    for (rule, fault, change) in without {
        let harmed = harm(fault, change);
        println!("without {rule}: {fault} in {harmed} of {SEEDS} schedules");
        assert!(harmed > 0, "without {rule} no {fault}: the schedules or the checks are blind");
    }
}
