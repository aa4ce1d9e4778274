//! Every rule earns its place: each has a story that ends badly without it, or a figure that says what it is for.
//!
//! The stories are the scripts; `tests/golden.rs` runs them. Here is what no single story shows, and that none is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::path::Path;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use crate::sim::trace::What;
use crate::sim::world::{Setup, World};
use crate::{Message, NodeId, Output, Rank, RoleView, Rules};

/// Parts of rules that no short story shows: what they are for was measured, and stands in the decision beside them.
const MEASURED: [(&str, &str); 2] = [("renew", "0030"), ("tell_stale", "0030")];

#[test]
fn every_rule_has_a_story_that_ends_badly_without_it() {
    let rules = format!("{:?}", Rules::ALL);
    let rules: BTreeSet<&str> = rules.split([' ', '{', ',']).filter_map(|word| word.strip_suffix(':')).collect();
    assert!(rules.len() > 15 && rules.contains("boot_wait"), "{rules:?}");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut told = BTreeSet::new();
    for file in std::fs::read_dir(scripts).expect("the scripts are there").filter_map(Result::ok) {
        let text = std::fs::read_to_string(file.path()).expect("a script is text");
        let removed = text.lines().filter_map(|line| line.strip_prefix("both ").or(line.strip_prefix("without ")));
        told.extend(removed.flat_map(str::split_whitespace).map(String::from));
    }
    for rule in rules {
        let measured = MEASURED.iter().any(|(name, _)| *name == rule);
        assert!(told.contains(rule) != measured, "no story without {rule}, or one that makes its exception needless");
    }
}

/// How often each of some equal nodes is the first to lead, on a slow network.
fn first_leaders(nodes: u64, rules: Rules) -> Vec<u64> {
    let mut led: BTreeMap<NodeId, u64> = (0..nodes).map(|node| (NodeId(node), 0)).collect();
    for seed in 0..300 {
        let mut world = World::new(Setup { rules, ..Setup::swarm(nodes, seed) }, false);
        world.net.delay_max = Duration::from_millis(40);
        assert!(world.run_until(Duration::from_secs(10), |world| !world.acting().is_empty()), "seed {seed}");
        world.acting().iter().for_each(|(node, _)| *led.entry(*node).or_default() += 1);
    }
    led.into_values().collect()
}

#[test]
fn among_equals_the_id_is_no_privilege_and_without_draws_and_waits_it_is_the_only_one() {
    let share = |led: &[u64]| *led.last().expect("nodes") * 100 / led.iter().sum::<u64>();
    let fair = first_leaders(7, Rules::ALL);
    assert!((9..=19).contains(&share(&fair)), "the highest of seven ids leads about a seventh of the time: {fair:?}");
    let named = first_leaders(7, Rules { draw: false, ..Rules::ALL });
    assert!(share(&named) > share(&fair) + 4, "without draws it leads more often: {named:?}");
    let only = first_leaders(3, Rules { draw: false, jitter: false, ..Rules::ALL });
    assert_eq!(only, [0, 0, 300], "without either it leads always");
}

/// A swarm of three whose best node, n0, leads.
fn led_by_n0() -> World {
    let mut setup = Setup::swarm(3, 1);
    setup.nodes.get_mut(&NodeId(0)).expect("three nodes").rank = Rank(110);
    setup.writes = Some(Duration::from_millis(50));
    let mut world = World::new(setup, true);
    world.run(Duration::from_secs(2));
    assert_eq!(world.acting().iter().map(|(node, _)| *node).collect::<Vec<_>>(), [NodeId(0)]);
    world
}

/// Beats and Raft's entries of n0 in what happened since.
fn spoken_as_leader(world: &World, since: usize) -> usize {
    let speaks = |what: &What| match what {
        What::Mail { from, message: Message::Beat { .. }, .. } => *from == NodeId(0),
        What::Raft { from, message: crate::sim::raft::RaftMessage::Append { .. }, .. } => *from == NodeId(0),
        _ => false,
    };
    world.trace[since..].iter().filter(|event| speaks(&event.what)).count()
}

#[test]
fn a_leader_that_hears_nobody_but_can_still_send_falls_silent() {
    let mut world = led_by_n0();
    world.net.cuts.extend([(NodeId(1), NodeId(0)), (NodeId(2), NodeId(0))]);
    world.run(Duration::from_millis(765));
    let view = world.machine(NodeId(0)).expect("it runs").view();
    assert!(view.silent && !matches!(view.role, RoleView::Leader { .. }) && world.acting().is_empty(), "{view:?}");
    let since = world.trace.len();
    world.run(Duration::from_secs(4));
    assert_eq!(spoken_as_leader(&world, since), 0, "neither a beat nor an entry leaves it any more");
    assert!(world.acting().iter().any(|(node, _)| *node != NodeId(0)), "and the others have a leader");
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

#[test]
fn a_raft_leader_that_does_not_act_says_nothing_as_leader_and_takes_its_term_up_again_by_a_countdown() {
    let mut world = led_by_n0();
    let term = world.acting()[0].1;
    // A blink of its process: Raft on its disk says that it leads still, and nobody else has noticed.
    world.kill(NodeId(0));
    world.start(NodeId(0));
    // What was on its way when it died arrives.
    world.run(Duration::from_millis(5));
    let since = world.trace.len();
    world.run(Duration::from_millis(900));
    let view = world.machine(NodeId(0)).expect("it runs").view();
    assert!(view.silent && view.role == RoleView::Booting && world.acting().is_empty(), "{view:?}");
    assert_eq!(spoken_as_leader(&world, since), 0, "it neither beats nor sends entries");
    world.run(Duration::from_secs(2));
    let reclaimed = |what: &What| matches!(what, What::Said(NodeId(0), Output::Reclaim { term: of }) if *of == term);
    assert!(world.trace[since..].iter().any(|event| reclaimed(&event.what)), "it asks for its own term, not for a new one");
    assert_eq!(world.acting(), [(NodeId(0), term)], "and acts in it again");
}
