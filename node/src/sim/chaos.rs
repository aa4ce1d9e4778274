//! The fault schedule: what goes wrong when, drawn from the seed. At most a minority is ever damaged for good.

use std::sync::Arc;
use std::time::Duration;

use super::random::Random;
use super::weather::Odds;
use super::world::World;
use crate::task::NodeId;

/// How many faults of each kind a run has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Injected {
    /// Processes killed.
    pub kills: u64,
    /// Power cuts of one node.
    pub power_cuts: u64,
    /// Power cuts of the whole swarm at once.
    pub blackouts: u64,
    /// Power cuts in the middle of a write.
    pub torn_writes: u64,
    /// Partitions, into halves or of one node.
    pub partitions: u64,
    /// Directions cut alone.
    pub one_way: u64,
    /// Connections reset.
    pub resets: u64,
    /// Spells of loss, delay, doubles.
    pub storms: u64,
    /// Disks that were full for a while.
    pub full_disks: u64,
    /// Disks that failed to sync.
    pub failed_syncs: u64,
    /// Disks that were slow for a while.
    pub slow_disks: u64,
    /// Leaders that died while their disk was behind those of their followers.
    pub outrun: u64,
    /// Bits flipped.
    pub flips: u64,
    /// Processes that were stopped for a while.
    pub stops: u64,
    /// Wall clocks set up to an hour off.
    pub clock_jumps: u64,
}

/// Draws faults until the time is over.
pub(super) async fn run(world: &Arc<World>, mut random: Random, time: Duration) {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        let pause = random.millis(50, 1_800);
        tokio::time::sleep(pause).await;
        one(world, &mut random);
        world.audit_now();
    }
}

/// A leader sends an entry while its own disk still writes it: from time to time it dies in between, and one of those who may
/// have the entry is away while the others go on.
pub(super) async fn outrun_leaders(world: Arc<World>, mut random: Random) {
    loop {
        let pause = random.millis(500, 6_000);
        tokio::time::sleep(pause).await;
        if world.calm() {
            return;
        }
        let behind = random.millis(60, 500);
        let Some(leader) = world.slow_leader(behind) else { continue };
        tokio::time::sleep(behind * u32::try_from(random.below(90)).unwrap_or(0) / 100).await;
        let away = world.any_node(&mut random);
        let cut = random.chance(600) && away != leader;
        if cut {
            world.isolate(away, true);
        }
        world.outrun(leader, random.chance(500), random.millis(10, 400));
        let pause = random.millis(500, 4_000);
        tokio::time::sleep(pause).await;
        if cut {
            world.isolate(away, false);
        }
    }
}

/// From time to time a process is stopped and goes on, and knows nothing of it: mostly for less than its leader waits for it,
/// sometimes for much longer.
pub(super) async fn stop_processes(world: Arc<World>, mut random: Random) {
    loop {
        let pause = random.millis(300, 7_000);
        tokio::time::sleep(pause).await;
        if world.calm() {
            return;
        }
        let node = world.any_node(&mut random);
        let time = if random.chance(800) { random.millis(50, 4_000) } else { random.millis(4_000, 20_000) };
        world.stop(node, time);
    }
}

fn one(world: &Arc<World>, random: &mut Random) {
    let node = world.any_node(random);
    match random.below(100) {
        0..=17 => world.kill(node, random.millis(50, 4_000), "killed"),
        18..=23 => world.cut_power(node, random.millis(50, 4_000)),
        24..=25 => world.blackout(random),
        26..=30 => world.cut_in_write(node, random.below(60)),
        31..=42 => world.partition(random),
        43..=52 => world.cut_one_way(random),
        53..=60 => world.reset(random),
        61..=72 => world.storm(draw_odds(random)),
        73..=84 => world.clear_sky(),
        85..=87 => world.fill_disk(node, random.millis(200, 4_000)),
        88..=89 => world.fail_syncs(node),
        90..=94 => world.slow_disk(node, random.millis(5, 500), random.millis(500, 5_000)),
        95..=96 => world.flip(node, random),
        _ => world.set_clock(node, i64::try_from(random.below(7_200_000)).unwrap_or(0) - 3_600_000),
    }
}

fn draw_odds(random: &mut Random) -> Odds {
    Odds {
        lost: random.below(250),
        doubled: random.below(150),
        late: random.below(300),
        late_millis: random.below(250),
        delay: (100, 600 + random.below(20_000)),
    }
}

/// The two sides of a random split, the first never empty and never all.
pub(super) fn split(nodes: &[NodeId], random: &mut Random) -> (Vec<NodeId>, Vec<NodeId>) {
    let alone = random.place(nodes.len());
    let (mut one, mut other) = (vec![nodes[alone]], Vec::new());
    for (place, node) in nodes.iter().enumerate() {
        if place != alone {
            if random.chance(350) { one.push(*node) } else { other.push(*node) }
        }
    }
    (one, other)
}
