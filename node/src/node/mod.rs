//! Puts the rooms together; the only place that knows all of them.

mod config;
mod narration;

pub use config::{Belonging, ConfigError, MAX_FOUNDERS, MAX_PODS, MAX_RANK, MAX_SLOTS, NodeConfig, Pod, Secret};
pub use narration::{Narration, NarrationKind, Narrator};
