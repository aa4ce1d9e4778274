//! Small swarms searched exhaustively within bounds: see `sim::explore`. `scripts/sim election --explore` searches further.

use std::println;

use crate::Rules;
use crate::sim::explore::{Bounds, Report, Scenario, explore};
use crate::sim::scenarios::{founding, standing};

/// Few enough that all searches of a test run end within ten seconds, unoptimised.
const STATES: usize = 200_000;

fn searched(scenario: &Scenario, depth: u32, departures: u8, crashes: u8) -> Report {
    let report = explore(scenario, Bounds { depth, departures, crashes, states: STATES });
    println!("{report}");
    assert!(report.broken.is_none(), "{report}");
    assert!(report.complete, "the bounds are too wide for the limit of states: {report}");
    report
}

#[test]
fn three_nodes_keep_their_promises_in_every_run_with_two_departures() {
    let report = searched(&standing(3), 30, 2, 1);
    assert!(report.led > 0, "the search never reached a leader: {report}");
}

#[test]
fn three_nodes_keep_their_promises_into_the_second_term_in_every_run_with_a_departure() {
    let report = searched(&standing(3), 140, 1, 1);
    assert!(report.acting > 0 && report.terms >= 2, "the search never reached a second leadership: {report}");
}

#[test]
fn two_nodes_with_a_crash_keep_their_promises_over_two_terms() {
    let report = searched(&standing(2), 80, 1, 1);
    assert!(report.terms >= 2, "the search never reached a second leadership: {report}");
}

#[test]
fn three_nodes_that_found_a_swarm_found_one_in_every_run_with_a_departure() {
    let report = searched(&founding(3, 3), 70, 1, 1);
    assert!(report.founded > 0 && report.acting > 0, "the search never founded: {report}");
}

#[test]
fn of_three_nodes_that_expect_two_at_most_one_swarm_comes_in_every_run_with_two_departures() {
    let report = searched(&founding(3, 2), 40, 2, 1);
    assert!(report.founded > 0, "the search never founded: {report}");
}

/// A search that finds nothing proves nothing unless it finds what is there.
#[test]
fn the_search_finds_two_leaders_where_zero_crowns() {
    let rules = Rules { majority: false, refuse: false, ratify: false, opening: false, quorum_lease: false, ..Rules::ALL };
    let crowns = explore(&Scenario { rules, ..standing(3) }, Bounds { depth: 70, departures: 2, crashes: 0, states: STATES });
    assert!(crowns.broken.as_ref().is_some_and(|(fault, _)| fault.name() == "two-acting"), "{crowns}");
    println!("{crowns}");
}
