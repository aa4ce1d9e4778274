//! Three nodes that all stand at once, searched exhaustively within bounds: see `sim::explore`.

use std::println;
use std::time::Duration;

use crate::sim::explore::{Bounds, explore};
use crate::{Rules, Settings};

/// Everybody stands in the same millisecond and counts 1, 0: the shortest way into trouble.
fn hasty() -> Settings {
    let millisecond = Duration::from_millis(1);
    Settings { jitter_min: millisecond, jitter_max: millisecond, count: 1, draw_max: 2, ..Settings::default() }
}

#[test]
fn three_nodes_keep_their_promises_in_every_run_with_two_departures() {
    let bounds = Bounds { depth: 50, departures: 2, crashes: 1, states: 400_000 };
    let report = explore(3, hasty(), Rules::ALL, bounds);
    println!("{report:?}");
    assert!(report.broken.is_none(), "{report:?}");
    assert!(report.complete, "the bounds are too wide for the limit of states: {report:?}");
    assert!(report.acting > 0 && report.led > report.acting, "the search never reached a leader: {report:?}");
}

#[test]
fn the_search_finds_two_leaders_where_zero_crowns() {
    let rules = Rules { majority: false, refuse: false, ratify: false, opening: false, quorum_lease: false, ..Rules::ALL };
    let bounds = Bounds { depth: 70, departures: 2, crashes: 0, states: 400_000 };
    let report = explore(3, hasty(), rules, bounds);
    assert!(report.broken.is_some(), "the sketch's rule is broken within two departures: {report:?}");
}
