//! Founding: identical nodes become one swarm, quickly, and never two.

use std::collections::BTreeSet;
use std::time::Duration;
use std::vec::Vec;

use crate::random::Random;
use crate::sim::world::{Setup, World};
use crate::{
    Charter, Envelope, Hello, History, Input, Instant, Machine, Message, NodeId, Output, Packet, Pledge, Rank, RoleView,
    Settings, Stage, Start, SwarmId,
};

fn unfounded_setup(count: u64, expect: u8, seed: u64) -> Setup {
    let mut setup = Setup::swarm(count, seed);
    setup.founded = None;
    setup.settings.expect = expect;
    setup.nodes.values_mut().for_each(|node| node.log.clear());
    setup
}

fn unfounded(count: u64, expect: u8, seed: u64) -> World {
    World::new(unfounded_setup(count, expect, seed), true)
}

fn meet_all(world: &mut World) {
    let ids = world.ids();
    for (place, one) in ids.iter().enumerate() {
        ids[place + 1..].iter().for_each(|other| world.meet(*one, *other));
    }
}

fn swarms(world: &World) -> BTreeSet<SwarmId> {
    world.ids().into_iter().filter_map(|id| world.machine(id)).filter_map(|machine| machine.view().swarm).collect()
}

fn told(world: &World, words: &str) -> bool {
    world.trace.iter().filter_map(crate::sim::line).any(|line| line.contains(words))
}

#[test]
fn one_to_seven_nodes_found_one_swarm_within_a_second_of_meeting() {
    for count in 1..=7_u8 {
        for seed in 0..10 {
            let mut world = unfounded(u64::from(count), count, seed);
            meet_all(&mut world);
            let led = world.run_until(Duration::from_secs(1), |world| !world.acting().is_empty());
            assert!(led, "{count} nodes, seed {seed}: nobody acts after a second");
            world.run(Duration::from_millis(500));
            assert_eq!(swarms(&world).len(), 1, "{count} nodes, seed {seed}");
            let all_in = world.ids().iter().all(|id| world.machine(*id).is_some_and(|machine| machine.view().leader.is_some()));
            assert!(all_in, "{count} nodes, seed {seed}: all follow the leader");
            assert!(world.faults.is_empty(), "{count} nodes, seed {seed}: {:?}", world.faults);
        }
    }
}

#[test]
fn the_voters_are_odd_and_the_best_bids() {
    let members = |count: u64| Pledge((0..count).map(|id| (NodeId(id), Rank(u32::from(id == 0) * 9))).collect());
    for (count, voters) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5), (6, 5), (9, 5)] {
        let charter = Charter::new(members(count));
        assert_eq!(charter.voters().len(), voters, "{count} members");
        assert!(charter.voters().contains(&NodeId(0)), "the best rank votes");
        assert!(charter.voters().contains(&NodeId(count - 1)), "of equal ranks the higher id votes");
    }
}

#[test]
fn canonical_bytes_tell_charters_apart() {
    let one = Charter::new(Pledge([(NodeId(1), Rank(1)), (NodeId(2), Rank(1))].into()));
    let other = Charter::new(Pledge([(NodeId(1), Rank(1)), (NodeId(2), Rank(2))].into()));
    assert_eq!(one.canonical_bytes(), one.clone().canonical_bytes());
    assert_ne!(one.canonical_bytes(), other.canonical_bytes());
}

#[test]
fn more_nodes_than_expected_are_named_and_nobody_founds() {
    let mut world = unfounded(4, 3, 1);
    meet_all(&mut world);
    world.run(Duration::from_secs(2));
    assert!(swarms(&world).is_empty(), "nobody founds");
    assert!(told(&world, "does not found: 3 nodes expected, seen are n0 n1 n2 n3"));
    // The one too many goes; the others see it and found.
    world.kill(NodeId(3));
    world.run(Duration::from_secs(3));
    assert_eq!((swarms(&world).len(), world.acting().len()), (1, 1));
}

#[test]
fn a_latecomer_joins_what_was_founded_without_it() {
    let mut world = unfounded(4, 3, 2);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        world.meet(NodeId(one), NodeId(other));
    }
    (0..3).for_each(|id| world.net.cut(NodeId(3), NodeId(id)));
    world.run(Duration::from_secs(2));
    assert_eq!(world.acting().len(), 1);
    world.net.heal();
    world.meet(NodeId(0), NodeId(3));
    world.run(Duration::from_secs(1));
    let joined = world.machine(NodeId(3)).expect("it runs").view();
    assert_eq!((swarms(&world).len(), joined.role), (1, RoleView::Observer));
    assert!(joined.leader.is_some(), "it follows the leader's beats");
}

#[test]
fn the_others_go_on_if_one_dies_while_the_journals_are_created() {
    let mut world = unfounded(3, 3, 5);
    meet_all(&mut world);
    let founded = world.run_until(Duration::from_secs(1), |world| {
        [0, 1].iter().all(|id| world.machine(NodeId(*id)).is_some_and(|machine| machine.view().swarm.is_some()))
    });
    assert!(founded);
    // n2 would win; its questions for votes may have reached the others, its journal has not.
    (0..2).for_each(|id| world.net.cut(NodeId(2), NodeId(id)));
    world.kill(NodeId(2));
    world.run(Duration::from_secs(6));
    assert_eq!(world.acting().len(), 1, "one of the others acts");
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

/// What comes of random meetings, cuts and crashes of fewer than twice the expected nodes.
fn random_founding(seed: u64) -> World {
    let mut random = Random::new(seed);
    let expect = random.between(2, 3);
    let count = random.between(expect, 2 * expect - 1);
    let mut world = unfounded(count, u8::try_from(expect).expect("small"), seed);
    world.record = false;
    world.net.loss = 20;
    let ids: Vec<NodeId> = world.ids();
    for _ in 0..20 {
        let pick = |random: &mut Random| ids[usize::try_from(random.between(0, count - 1)).expect("small")];
        let (one, other) = (pick(&mut random), pick(&mut random));
        match random.between(0, 5) {
            0 => world.net.cut(one, other),
            1 => world.net.cuts.clear(),
            2 if world.is_up(one) => world.kill(one),
            2 | 3 if !world.is_up(one) => world.start(one),
            _ => world.meet(one, other),
        }
        world.run(Duration::from_millis(random.between(1, 300)));
        if swarms(&world).len() > 1 {
            break;
        }
    }
    world
}

#[test]
fn with_fewer_than_twice_the_nodes_random_meetings_found_at_most_one_swarm() {
    let mut founded = 0;
    for seed in 0..150 {
        let world = random_founding(seed);
        assert!(swarms(&world).len() <= 1 && world.faults.is_empty(), "seed {seed}: {:?}", world.faults);
        founded += swarms(&world).len();
    }
    assert!(founded > 30, "the schedules found something: {founded}");
}

/// Found by the node's simulator (its seed 11): the first founder's swarm was joined by a late sixth node, by whose word the
/// four other founders then joined it as mere observers. Nobody could ever lead.
#[test]
fn a_founder_takes_no_swarms_name_from_an_outsider() {
    let pledge = Pledge((0..3).map(|id| (NodeId(id), Rank(100))).collect());
    let history = History::Unfounded { pledge: Some(pledge.clone()) };
    let settings = Settings { expect: 3, ..Settings::default() };
    let start = Start { me: NodeId(0), rank: Rank(100), boot: 2, seed: 1, history };
    let now = Instant::from_nanos(5_000_000_000);
    let (mut machine, _) = Machine::new(settings.validate().expect("defaults"), start, now);
    let swarm = SwarmId([7; 16]);
    let says = |from: u64, nodes: Pledge| {
        let envelope = Envelope { swarm: SwarmId::NONE, from: NodeId(from), boot: 1, seq: 1 };
        let hello = Hello { expect: 3, rank: Rank(100), stage: Stage::Founded(swarm), nodes };
        Input::Packet { from: NodeId(from), packet: Packet { envelope, message: Message::Hello(hello) } }
    };
    let seen = machine.step(now, Input::Seen { node: NodeId(9), swarm: Some(swarm) });
    let heard = machine.step(now, says(9, Pledge::default()));
    let joins = |output: &Output| matches!(output, Output::JoinExisting { .. });
    assert!(!seen.iter().chain(heard.iter()).any(joins), "an outsider's word");
    let told = machine.step(now, says(1, pledge));
    assert!(told.iter().any(|output| matches!(output, Output::Found(_))), "a fellow founder's charter");
}

/// One of n0 and n1 pledges first; the other hears of it and founds. The first dies before it hears as much, comes back, and meets n2 only.
fn founded_behind_a_restarted_nodes_back(pledge_on_disk: bool) -> World {
    let mut setup = unfounded_setup(3, 2, 1);
    setup.pledge_on_disk = pledge_on_disk;
    let mut world = World::new(setup, true);
    world.part(&[NodeId(2)].into());
    world.meet(NodeId(0), NodeId(1));
    assert!(world.run_until(Duration::from_secs(2), |world| told(world, "pledges to n0 n1")));
    let (first, other) = if told(&world, "n0  pledges") { (NodeId(0), NodeId(1)) } else { (NodeId(1), NodeId(0)) };
    world.net.cuts.insert((other, first));
    assert!(world.run_until(Duration::from_secs(2), |world| told(world, "founds: all have pledged")));
    world.kill(first);
    world.net.heal();
    world.part(&[other].into());
    world.start(first);
    world.meet(first, NodeId(2));
    world.run(Duration::from_secs(3));
    world
}

#[test]
fn a_pledge_outlives_its_node_or_two_swarms_are_founded() {
    let kept = founded_behind_a_restarted_nodes_back(true);
    assert_eq!((swarms(&kept).len(), kept.faults.len()), (1, 0), "it is bound to the other, and n2 alone founds nothing");
    let forgotten = founded_behind_a_restarted_nodes_back(false);
    assert_eq!(swarms(&forgotten).len(), 2, "what the pledge on disk is for");
}
