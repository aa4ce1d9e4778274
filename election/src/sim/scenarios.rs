//! The small swarms that are searched exhaustively, and how far: a little in every test run, further by `scripts/sim election --explore`.

use std::time::Duration;
use std::vec::Vec;

use super::explore::{Bounds, Scenario};
use crate::{Rules, Settings};

/// Nodes of a swarm that all stand in the same millisecond and count 1, 0: the shortest way into trouble.
#[must_use]
pub fn standing(nodes: u64) -> Scenario {
    let millisecond = Duration::from_millis(1);
    let settings = Settings { jitter_min: millisecond, jitter_max: millisecond, count: 1, draw_max: 2, ..Settings::default() };
    Scenario { nodes, founding: false, settings, rules: Rules::ALL }
}

/// Nodes without a swarm that found one of `expect`.
#[must_use]
pub fn founding(nodes: u64, expect: u8) -> Scenario {
    let plain = standing(nodes);
    Scenario { founding: true, settings: Settings { expect, ..plain.settings }, ..plain }
}

/// What `scripts/sim election --explore` searches: a name, the swarm, the bounds.
#[must_use]
pub fn wide() -> Vec<(&'static str, Scenario, Bounds)> {
    let bounds = |depth, departures, crashes| Bounds { depth, departures, crashes, states: 20_000_000 };
    std::vec![
        ("three nodes, with a crash", standing(3), bounds(110, 2, 1)),
        ("three nodes, with two crashes, up to the vote", standing(3), bounds(22, 3, 2)),
        ("two nodes, with a crash, over two terms", standing(2), bounds(110, 2, 1)),
        ("two nodes, with two crashes", standing(2), bounds(60, 3, 2)),
        ("founding of three, with a crash", founding(3, 3), bounds(90, 2, 1)),
        ("founding of two out of three, with a crash", founding(3, 2), bounds(90, 2, 1)),
    ]
}
