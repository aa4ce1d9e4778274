//! Everything a node gets from outside: time, chance, disks, other nodes, and whoever runs its attempts.
//!
//! The rooms see only this. A real node opens it from its configuration (see `start`); the simulator gives its own, and
//! that is the whole difference between the two.

use std::sync::Arc;

use crate::clock::SharedClock;
use crate::journal::JournalConfig;
use crate::leadership::{Belongs, Keep};
use crate::mesh::{Inboxes, SharedMesh};
use crate::task::Findings;
use crate::worker::Runner;

/// Eight random bytes, or why there are none.
pub(crate) type Entropy = Arc<dyn Fn() -> Result<u64, String> + Send + Sync>;

/// See the head of this file.
pub(crate) struct Surroundings {
    pub(crate) clock: SharedClock,
    pub(crate) entropy: Entropy,
    pub(crate) mesh: SharedMesh,
    pub(crate) inboxes: Inboxes,
    /// Its executor is also the node's: where it says inline, the election too runs where the node was started.
    pub(crate) journal: JournalConfig,
    pub(crate) runner: Arc<dyn Runner>,
    /// What the runner holds against its tasks.
    pub(crate) findings: Findings,
    pub(crate) keep: Keep,
    /// How often this node was started, this time included.
    pub(crate) boot: u64,
    pub(crate) belongs: Option<Belongs>,
    /// Holds the data folder for this process, if it is a real one.
    pub(crate) lock: Option<std::fs::File>,
}

/// The machine's own chance.
pub(super) fn system_entropy() -> Entropy {
    Arc::new(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
        Ok(u64::from_be_bytes(bytes))
    })
}
