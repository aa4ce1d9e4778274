//! The acting gate (E8): may this node act as the leader right now?
//!
//! The election's driver sets it from its own thread; everybody who is about to hand out work, accept an end or answer
//! a read asks it. It closes by itself when the lease runs out, also if the driver never gets to say so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::SharedClock;
use crate::task::Term;

/// A leadership and the moment until which a majority's acknowledgements carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mandate {
    term: Term,
    until: Duration,
}

/// The gate, shared by every room that acts for the leader.
#[derive(Clone, Debug)]
pub struct Gate {
    mandate: Arc<Mutex<Option<Mandate>>>,
    clock: SharedClock,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Gate { mandate: Arc::new(Mutex::new(None)), clock }
    }

    /// Opens the gate for a term until a moment of the monotonic clock, or closes it.
    pub fn set(&self, mandate: Option<(Term, Duration)>) {
        let mut held = self.mandate.lock().unwrap_or_else(PoisonError::into_inner);
        *held = mandate.map(|(term, until)| Mandate { term, until });
    }

    /// The term in which this node may act at this very moment.
    #[must_use]
    pub fn acting(&self) -> Option<Term> {
        let held = *self.mandate.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|mandate| self.clock.now() < mandate.until).map(|mandate| mandate.term)
    }

    /// Whether this node may act in exactly this term at this very moment.
    #[must_use]
    pub fn permits(&self, term: Term) -> bool {
        self.acting() == Some(term)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::task::UnixMillis;

    #[derive(Debug, Default)]
    struct HandClock(AtomicU64);

    impl Clock for HandClock {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn wall(&self) -> UnixMillis {
            UnixMillis(0)
        }
    }

    #[test]
    fn the_gate_closes_by_itself_when_the_lease_has_run_out() {
        let clock = Arc::new(HandClock::default());
        let gate = Gate::new(clock.clone());
        assert_eq!(gate.acting(), None);
        gate.set(Some((Term(3), Duration::from_millis(600))));
        clock.0.store(599, Ordering::Relaxed);
        assert!(gate.permits(Term(3)));
        assert!(!gate.permits(Term(2)));
        clock.0.store(600, Ordering::Relaxed);
        assert_eq!(gate.acting(), None);
    }
}
