//! Puts the rooms together; the only place that knows all of them.

mod config;
mod narration;

pub use config::{Belonging, ConfigError, MAX_FOUNDERS, MAX_RANK, NodeConfig, Secret, standard_pod};
pub use narration::{Narration, NarrationKind, Narrator};
