//! The signal that the journal can't go on, and why. Set once; everybody who asks later gets the same answer.

use std::sync::Arc;

use tokio::sync::watch;

/// See the head of this file; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<watch::Sender<Option<String>>>);

impl Stop {
    pub(super) fn new() -> Self {
        Stop(Arc::new(watch::Sender::new(None)))
    }

    /// Stops, unless that has happened already.
    pub(super) fn now(&self, reason: String) {
        self.0.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                tracing::error!(%reason, "the journal stops");
                *known = Some(reason);
            }
            first
        });
    }

    /// Stops because it was asked to: that is no news for the log.
    pub(super) fn on_purpose(&self) {
        self.0.send_if_modified(|known| known.is_none().then(|| *known = Some("it was closed".to_owned())).is_some());
    }

    pub(super) fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }
}
