//! Puts the rooms together; the only place that knows all of them.

mod config;

pub use config::{Belonging, ConfigError, MAX_FOUNDERS, MAX_RANK, NodeConfig, Secret, standard_pod};
