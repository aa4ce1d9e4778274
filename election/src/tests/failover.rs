//! How long the swarm is without a leader, in the simulator with the local network's defaults; printed with `--nocapture`.

use std::println;
use std::time::Duration;
use std::vec::Vec;

use crate::NodeId;
use crate::sim::world::{Setup, World};

const RUNS: u64 = 100;

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

fn led(count: u64, seed: u64) -> (World, NodeId) {
    led_by(Setup::swarm(count, seed))
}

/// A swarm with a leader, at a moment that differs from seed to seed; and that leader.
fn led_by(setup: Setup) -> (World, NodeId) {
    let seed = setup.seed;
    let mut world = World::new(setup, false);
    assert!(world.run_until(Duration::from_secs(5), |world| !world.acting().is_empty()), "seed {seed}: no first leader");
    world.run(Duration::from_millis(700) + Duration::from_micros(seed * 7_919 % 150_000));
    let leader = world.acting().first().map(|(node, _)| *node).expect("the leader still acts");
    (world, leader)
}

fn until_another_acts(world: &mut World, old: NodeId, seed: u64) -> Duration {
    let before = world.elapsed();
    let took = world.run_until(Duration::from_secs(5), |world| world.acting().iter().any(|(node, _)| *node != old));
    assert!(took, "seed {seed}: no successor");
    assert!(world.faults.is_empty(), "seed {seed}: {:?}", world.faults);
    world.elapsed() - before
}

fn measure(name: &str, setup: &Setup, strike: impl Fn(&mut World, NodeId)) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|seed| {
            let (mut world, leader) = led_by(Setup { seed, ..setup.clone() });
            strike(&mut world, leader);
            until_another_acts(&mut world, leader, seed)
        })
        .collect();
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!("{name}, {} nodes: p50 {} ms, p99 {} ms", setup.nodes.len(), p50.as_millis(), p99.as_millis());
    (p50, p99)
}

#[test]
fn a_killed_leader_is_replaced_within_a_lease_and_a_countdown() {
    for count in [3, 5, 7] {
        let (p50, p99) = measure("killed", &Setup::swarm(count, 0), World::kill);
        assert!(p50 < Duration::from_millis(1_300) && p99 < Duration::from_millis(1_600), "{count}: {p50:?} {p99:?}");
    }
}

/// Under load the followers heard AppendEntries a moment ago, so Raft's own lease decides how fast this can be.
#[test]
fn a_process_seen_to_be_gone_is_replaced_as_soon_as_rafts_lease_permits() {
    let gone = |world: &mut World, leader| {
        world.kill(leader);
        world.gone(leader);
    };
    for count in [3, 5] {
        let mut setup = Setup { writes: Some(Duration::from_millis(20)), ..Setup::swarm(count, 0) };
        measure("seen to be gone, Raft's lease 900 ms", &setup, gone);
        setup.raft_rules.lease_ms = 200;
        let (p50, p99) = measure("seen to be gone, Raft's lease 200 ms", &setup, gone);
        assert!(p50 < Duration::from_millis(400) && p99 < Duration::from_millis(700), "{count}: {p50:?} {p99:?}");
    }
}

#[test]
fn a_mute_an_isolated_and_a_deaf_leader_are_replaced() {
    let others = |world: &World, leader: NodeId| world.ids().into_iter().filter(move |node| *node != leader).collect::<Vec<_>>();
    let (_, mute) = measure("mute", &Setup::swarm(5, 0), |world, leader| {
        let links = others(world, leader).into_iter().map(|other| (leader, other));
        world.net.cuts.extend(links);
    });
    let (_, isolated) = measure("isolated", &Setup::swarm(5, 0), |world, leader| {
        others(world, leader).into_iter().for_each(|other| world.net.cut(leader, other));
    });
    let (_, deaf) = measure("deaf", &Setup::swarm(5, 0), |world, leader| {
        let links = others(world, leader).into_iter().map(|other| (other, leader));
        world.net.cuts.extend(links);
    });
    assert!(mute.max(isolated) < Duration::from_millis(1_600), "{mute:?} {isolated:?}");
    assert!(deaf < Duration::from_millis(2_500), "{deaf:?}");
}

#[test]
fn of_two_nodes_the_survivor_stops_acting_within_its_lease() {
    for seed in 0..20 {
        let (mut world, leader) = led(2, seed);
        let other = world.ids().into_iter().find(|node| *node != leader).expect("two nodes");
        world.kill(other);
        let stopped = world.run_until(Duration::from_millis(600), |world| world.acting().is_empty());
        assert!(stopped, "seed {seed}: acts without a majority");
        world.run(Duration::from_secs(3));
        assert!(world.acting().is_empty(), "seed {seed}: acts again without a majority");
    }
}

#[test]
fn a_bridge_and_a_healed_minority_change_no_leader() {
    for seed in 0..20 {
        let (mut world, leader) = led(5, seed);
        let followers: Vec<NodeId> = world.ids().into_iter().filter(|node| *node != leader).collect();
        let terms = world.watch.leaders.len();
        world.net.cut(leader, followers[0]);
        world.run(Duration::from_secs(4));
        world.net.heal();
        followers[..2].iter().for_each(|cut| world.ids().into_iter().for_each(|other| world.net.cut(*cut, other)));
        world.run(Duration::from_secs(4));
        world.net.heal();
        world.run(Duration::from_secs(3));
        assert_eq!(world.acting().first().map(|(node, _)| *node), Some(leader), "seed {seed}");
        assert_eq!(world.watch.leaders.len(), terms, "seed {seed}: nobody else led a term meanwhile");
    }
}

#[test]
fn the_highest_rank_leads_after_a_calm_start() {
    for seed in 0..30 {
        let mut setup = Setup::swarm(5, seed);
        setup.nodes.get_mut(&NodeId(2)).expect("five nodes").rank = crate::Rank(120);
        let mut world = World::new(setup, false);
        world.run(Duration::from_secs(2));
        assert_eq!(world.acting().first().map(|(node, _)| *node), Some(NodeId(2)), "seed {seed}");
    }
}
