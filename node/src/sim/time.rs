//! Clocks of simulated nodes: tokio's paused time, seen a little fast or slow, with a wall clock that may be far off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::task::UnixMillis;

/// Where the simulated wall clocks begin (September 2020), far from 0 so that jumps never end there.
const EPOCH_MILLIS: i64 = 1_600_000_000_000;

/// One node's clock; clones are the same clock.
#[derive(Clone, Debug)]
pub(super) struct SimClock {
    origin: Instant,
    /// Nanoseconds that it gains in a millisecond: 50,000 is 5 % fast.
    gain: i64,
    wall_offset: Arc<AtomicI64>,
}

impl SimClock {
    pub(super) fn new(gain: i64) -> Self {
        // Not 0: a node must not take "just started" for "never".
        SimClock { origin: Instant::now(), gain, wall_offset: Arc::default() }
    }

    /// Sets the wall clock this far off.
    pub(super) fn set_wall(&self, offset_millis: i64) {
        self.wall_offset.store(offset_millis, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        let elapsed = i64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(i64::MAX / 2);
        let seen = elapsed + elapsed / 1_000_000 * self.gain;
        Duration::from_secs(1_000) + Duration::from_nanos(u64::try_from(seen).unwrap_or(0))
    }

    fn wall(&self) -> UnixMillis {
        let elapsed = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(0);
        UnixMillis(u64::try_from(EPOCH_MILLIS + elapsed + self.wall_offset.load(Ordering::Relaxed)).unwrap_or(0))
    }
}
