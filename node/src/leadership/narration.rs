//! What a node tells the people who watch it: the election as it happens, peers coming and going.
//!
//! A narration is for reading, never for deciding; a slow reader misses lines and nobody waits for it.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::clock::SharedClock;
use crate::task::UnixMillis;

/// Lines kept for a reader that falls behind.
const BACKLOG: usize = 1_024;

/// One thing that happened on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Narration {
    /// When, by this node's wall clock.
    pub at: UnixMillis,
    /// What sort of thing.
    pub kind: NarrationKind,
    /// In words, without the node's own name.
    pub text: String,
}

/// What a narration is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NarrationKind {
    /// Looking for others, pledging, founding, joining.
    Founding,
    /// A candidacy, a vote, a tie, a step of the countdown, a refusal.
    Election,
    /// This node was ratified and acts as the leader.
    Leading,
    /// This node follows a leader.
    Following,
    /// This node stopped acting as the leader, or knows of none.
    Leaderless,
    /// A peer can be reached.
    PeerUp,
    /// A peer can't be reached any more.
    PeerDown,
    /// A member began to offer its slots, was lost, or is back (told by the leader).
    Member,
    /// Something the owner should look at.
    Warning,
}

/// The telling end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Narrator {
    lines: broadcast::Sender<Narration>,
    /// The first listener's: a node tells things before anybody can have got hold of it, and some are told once.
    first: Arc<Mutex<Option<broadcast::Receiver<Narration>>>>,
    clock: SharedClock,
}

impl Narrator {
    pub(crate) fn new(clock: SharedClock) -> Self {
        let (lines, first) = broadcast::channel(BACKLOG);
        Narrator { lines, first: Arc::new(Mutex::new(Some(first))), clock }
    }

    /// Tells a line; nothing happens if nobody listens.
    pub(crate) fn tell(&self, kind: NarrationKind, text: impl Into<String>) {
        let text = text.into();
        tracing::debug!(?kind, "{text}");
        let _ = self.lines.send(Narration { at: self.clock.wall(), kind, text });
    }

    /// Lines from now on; whoever listens first hears the earlier ones too, as many as are kept.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Narration> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.lines.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_first_listener_hears_what_was_told_before_it_came() {
        let narrator = Narrator::new(Arc::new(SystemClock));
        narrator.tell(NarrationKind::Warning, "said once");
        let (mut first, mut second) = (narrator.listen(), narrator.listen());
        assert_eq!(first.try_recv().unwrap().text, "said once");
        assert!(second.try_recv().is_err());
        narrator.tell(NarrationKind::Leading, "leads");
        assert_eq!(first.try_recv().unwrap().text, "leads");
        assert_eq!(second.try_recv().unwrap().text, "leads");
    }
}
