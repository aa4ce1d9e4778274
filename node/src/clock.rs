//! Time, read at the edge: one port for every room that needs it.
//!
//! Two clocks leave here. The monotonic one also runs while the machine is suspended (std's `Instant` may not), which the
//! leader's lease rests on. The wall clock is for people and for the end of a retry's delay, nothing else. Pure rooms
//! never read either: they are told.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::task::UnixMillis;

/// Where a node reads the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since an arbitrary origin; never goes back, counts suspended time.
    fn now(&self) -> Duration;

    /// The wall clock, as right or wrong as this machine has it.
    fn wall(&self) -> UnixMillis;
}

/// A clock as rooms hold it.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        let now = rustix::time::clock_gettime(monotonic());
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    fn wall(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn monotonic() -> rustix::time::ClockId {
    rustix::time::ClockId::Boottime
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn monotonic() -> rustix::time::ClockId {
    rustix::time::ClockId::Monotonic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let clock = SystemClock;
        let readings: Vec<Duration> = (0..100).map(|_| clock.now()).collect();
        assert!(readings.is_sorted());
        assert!(clock.wall() > UnixMillis(0));
    }
}
