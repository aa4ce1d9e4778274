//! The network's weather: how late frames are, how many are lost or doubled. Chance decides, the schedule sets the odds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::random::Random;
use super::trace::Trace;
use crate::mesh::Service;
use crate::mesh::memory::Weather;
use crate::task::NodeId;

/// What the weather is like now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    /// Frames lost of a thousand.
    pub(super) lost: u64,
    /// Frames doubled of a thousand.
    pub(super) doubled: u64,
    /// Frames of a thousand that are late by up to `late_millis`, and so overtaken.
    pub(super) late: u64,
    pub(super) late_millis: u64,
    /// The ordinary delay, in microseconds, from and to.
    pub(super) delay: (u64, u64),
}

impl Odds {
    /// A quiet LAN.
    pub(super) const CALM: Odds = Odds { lost: 0, doubled: 0, late: 0, late_millis: 0, delay: (100, 600) };
}

/// How many frames met what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) frames: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) late: u64,
}

/// The weather of one run; clones are the same weather.
#[derive(Clone)]
pub(super) struct Sky(Arc<Mutex<State>>);

struct State {
    random: Random,
    odds: Odds,
    met: Met,
    trace: Trace,
}

impl Sky {
    pub(super) fn new(random: Random, trace: Trace) -> Self {
        Sky(Arc::new(Mutex::new(State { random, odds: Odds::CALM, met: Met::default(), trace })))
    }

    pub(super) fn set(&self, odds: Odds) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).odds = odds;
    }

    pub(super) fn met(&self) -> Met {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).met
    }
}

impl Weather for Sky {
    fn copies(&self, from: NodeId, to: NodeId, service: Service, bytes: usize) -> Vec<Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { random, odds, met, trace } = &mut *state;
        trace.mix(&[from.0, to.0, service as u64, bytes as u64]);
        met.frames += 1;
        if random.chance(odds.lost) {
            met.lost += 1;
            return Vec::new();
        }
        let mut delay = random.micros(odds.delay.0, odds.delay.1);
        if random.chance(odds.late) {
            met.late += 1;
            delay += random.millis(1, odds.late_millis.max(1));
        }
        if random.chance(odds.doubled) {
            met.doubled += 1;
            let second = delay + random.millis(0, 50);
            return vec![delay, second];
        }
        vec![delay]
    }
}
