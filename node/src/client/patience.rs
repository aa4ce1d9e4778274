//! How long and how often something transient is tried again.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);

/// Waits that double up to half a second, until the patience is over.
#[derive(Debug)]
pub(super) struct Backoff {
    began: Instant,
    until: Instant,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(patience: Duration) -> Self {
        let began = Instant::now();
        Backoff { began, until: began + patience, next: FIRST }
    }

    /// How long it has been going on.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long to wait before the next try; `None` when it is time to give up.
    pub(super) fn wait_again(&mut self) -> Option<Duration> {
        if Instant::now() + self.next > self.until {
            return None;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        Some(wait)
    }
}
