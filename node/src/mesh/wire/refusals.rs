//! Peers that were turned away: told once in the log and to the listener, then not again for a while.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::PeerEvent;
use super::super::events::Events;

/// The same address is not reported for the same reason again within this time.
const QUIET: Duration = Duration::from_secs(10);

/// Reports that are remembered; beyond that the oldest is forgotten.
const REMEMBERED: usize = 256;

/// The one place that reports refusals. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    events: Events,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told(BTreeMap<(Option<IpAddr>, String), Instant>);

impl Refusals {
    pub(super) fn new(events: Events) -> Refusals {
        Refusals { events, told: Arc::default() }
    }

    /// Reports a refusal, unless that was done a moment ago. The port doesn't count: an incoming one is new each time.
    pub(super) fn report(&self, ip: Option<IpAddr>, address: String, why: String) {
        let fresh = self.told.lock().unwrap_or_else(PoisonError::into_inner).is_fresh(Instant::now(), ip, &why);
        if fresh {
            // Not a warning here: the node tells its owner of the event, in words.
            tracing::debug!(%address, %why, "turned a peer away");
            self.events.emit(PeerEvent::Refused { address, why });
        }
    }
}

impl Told {
    fn is_fresh(&mut self, now: Instant, ip: Option<IpAddr>, why: &str) -> bool {
        let key = (ip, why.to_owned());
        if self.0.get(&key).is_some_and(|last| now.saturating_duration_since(*last) < QUIET) {
            return false;
        }
        self.0.insert(key, now);
        if self.0.len() > REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            oldest.map(|key| self.0.remove(&key));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_told_once_in_a_while() {
        let mut told = Told::default();
        let (start, ip) = (Instant::now(), Some(IpAddr::from([10, 0, 0, 1])));
        assert!(told.is_fresh(start, ip, "no common secret"));
        assert!(!told.is_fresh(start + QUIET / 2, ip, "no common secret"));
        assert!(told.is_fresh(start + QUIET / 2, ip, "other swarm"));
        assert!(told.is_fresh(start + QUIET, ip, "no common secret"));
        for n in 0..2 * REMEMBERED {
            told.is_fresh(start, None, &n.to_string());
        }
        assert_eq!(told.0.len(), REMEMBERED);
    }
}
