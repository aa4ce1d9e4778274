//! Real nodes under faults, with clients at work; in the end the history checker decides.
//!
//! A seed and a length enter; a table of what was done and seen leaves, and a history without violations, or the test fails
//! and keeps the history. The rows are those of the table of faults: kills, pauses, partitions, one-way cuts, bad weather on
//! the wire, a clock that jumps, everything killed at once, founding races, a task that kills its own sandbox.
//!
//! Cuts need network namespaces and nftables (root, `ip`, `nft`), the clock needs libfaketime. What this machine lacks is
//! named and its rows are left out. All of it lives in namespaces of its own, bridge included, and goes with them.
//! Goals are printed beside what was seen; only promises fail the test, for how fast a busy machine is promises nothing.
//! Not here: a disk that fails (`journal` injects that), and what only a simulator can order exactly.

mod clients;
mod clock;
mod dice;
mod faults;
mod founding;
mod proxy;
mod storm;
mod table;
mod verdict;
mod weather;
mod wires;

use std::time::{Duration, Instant};

use dice::Dice;
use faults::Fault;
use storm::Storm;
use table::Table;

/// A number from the surroundings.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// The seed of this run; printed, so that the same plan can be asked for again. What the processes make of it differs.
fn seed() -> u64 {
    let seed = setting("DUNLIN_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}");
    seed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_storm_breaks_no_promise() {
    let mut table = Table::new();
    let mut dice = Dice::new(seed());
    let mut storm = Storm::gather(5, &mut dice, &mut table).await;
    let until = Instant::now() + Duration::from_secs(15);
    for fault in Fault::SHORT {
        if Instant::now() < until {
            storm.play(fault, &mut dice, &mut table).await;
        }
    }
    storm.end(&mut table).await;
    println!("{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_started_in_a_race_found_one_swarm_also_if_one_crashes() {
    let mut table = Table::new();
    founding::race(3, Duration::from_millis(500), &mut Dice::new(seed()), &mut table).await;
    println!("{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "for looking at one kind of weather: DUNLIN_CHAOS_DELAY_MS, DUNLIN_CHAOS_SECONDS"]
async fn a_swarm_behind_a_slow_proxy_breaks_no_promise() {
    let mut table = Table::new();
    let length = Duration::from_secs(setting("DUNLIN_CHAOS_SECONDS").unwrap_or(20));
    weather::behind_a_slow_proxy(length, &mut Dice::new(seed()), &mut table).await;
    println!("{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: scripts/chaos"]
async fn a_long_storm_breaks_no_promise() {
    let length = Duration::from_secs(setting("DUNLIN_CHAOS_SECONDS").unwrap_or(120));
    let end = Instant::now() + length;
    let mut table = Table::new();
    let mut dice = Dice::new(seed());
    // A third of the time for what needs swarms of its own.
    founding::races(end - length.mul_f32(0.87), &mut dice, &mut table).await;
    weather::behind_a_slow_proxy(length.mul_f32(0.1), &mut dice, &mut table).await;
    clock::jumps(&mut dice, &mut table).await;
    let mut storm = Storm::gather(5, &mut dice, &mut table).await;
    // Each kind in turn, so that a short run has them all once; the order within a turn is the dice's.
    'storm: loop {
        for fault in dice.shuffled(Fault::ALL) {
            if end.saturating_duration_since(Instant::now()) < length.mul_f32(0.12) {
                break 'storm;
            }
            storm.play(fault, &mut dice, &mut table).await;
        }
    }
    storm.end(&mut table).await;
    println!("{table}");
}
