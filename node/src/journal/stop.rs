//! The signal that the journal can't go on, and why. Set once; everybody who asks later gets the same answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::of_this_process;
use futures::FutureExt;
use tokio::sync::watch;

/// See the head of this file; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    reason: Arc<watch::Sender<Option<String>>>,
    /// The owner closes the journal: what stops now is no fault.
    closing: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Stop { reason: Arc::new(watch::Sender::new(None)), closing: Arc::default() }
    }

    /// From now on stopping is what was asked for.
    pub(super) fn closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Stops, unless that has happened already.
    pub(super) fn now(&self, reason: String) {
        self.reason.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                if self.closing.load(Ordering::Relaxed) {
                    tracing::debug!(%reason, "the journal closes");
                } else {
                    tracing::error!(%reason, "the journal stops");
                }
                *known = Some(reason);
            }
            first
        });
    }

    /// Runs a part of the journal that must not end by a panic: if it does, its state is in doubt and the journal stops.
    pub(super) fn guard(&self, part: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.clone();
        tokio::spawn(of_this_process(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                stop.now(format!("{part} panicked; the log above says where"));
            }
        }));
    }

    /// The same for a part that has a thread of its own.
    pub(super) fn guarded(&self, part: &'static str, work: impl FnOnce()) {
        if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
            self.now(format!("{part} panicked; the log above says where"));
        }
    }

    pub(super) fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.reason.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_stops_the_journal_and_is_named() {
        let stop = Stop::new();
        stop.guard("the batcher", async { panic!("a bug") });
        let mut watch = stop.watch();
        let reason = watch.wait_for(Option::is_some).await.unwrap().clone();
        assert!(reason.unwrap().starts_with("the batcher panicked"));
        let stop = Stop::new();
        stop.guarded("the log's thread", || panic!("a bug"));
        assert!(stop.reason().unwrap().starts_with("the log's thread panicked"));
    }
}
