//! What a node tells the people who watch it: the election as it happens, peers coming and going.
//!
//! A narration is for reading, never for deciding; a slow reader misses lines and nobody waits for it.

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
    clock: SharedClock,
}

impl Narrator {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Narrator { lines: broadcast::channel(BACKLOG).0, clock }
    }

    /// Tells a line; nothing happens if nobody listens.
    pub(crate) fn tell(&self, kind: NarrationKind, text: impl Into<String>) {
        let text = text.into();
        tracing::debug!(?kind, "{text}");
        let _ = self.lines.send(Narration { at: self.clock.wall(), kind, text });
    }

    /// Lines from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Narration> {
        self.lines.subscribe()
    }
}
