//! What a node is told: flags before `DUNLIN_*` before `dunlin.toml` before defaults.
//!
//! Texts enter from those four places and one checked [`Config`] leaves, with where each value came from. Deliberately not
//! here: acting on it. The list of keys (`keys`) is data; the file's template, `config show`, the names of the variables
//! and the search for misspelt keys are all made from it.

mod build;
mod keys;
mod layer;
mod place;
mod secret;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use dunlin_node::node::SandboxSettings;
use dunlin_node::sandbox::ResolvedLimits;
use dunlin_node::task::GroupName;

pub(crate) use build::{checked_peer, checked_pod};
pub(crate) use layer::{Given, Value};
pub(crate) use place::Surroundings;
pub(crate) use secret::{Secret, SecretError, SecretFrom};
pub(crate) use show::{shown, template};

/// Everything a node is told, checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// What the node calls itself.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) data: PathBuf,
    /// Where it listens for other nodes.
    pub(crate) listen: SocketAddr,
    /// Nodes to try, `host:port`.
    pub(crate) peers: Vec<String>,
    /// The swarm's secret, if it was given directly.
    pub(crate) secret: Option<Secret>,
    /// A file that holds it.
    pub(crate) secret_file: Option<PathBuf>,
    /// How many nodes found the swarm together; 0 means that this one only joins.
    pub(crate) expect: u32,
    /// Who leads first.
    pub(crate) rank: u32,
    /// Whether to look for other nodes by multicast.
    pub(crate) mdns: bool,
    /// What it runs.
    pub(crate) pods: Vec<Pod>,
    /// What a task may use that does not say.
    pub(crate) limits: ResolvedLimits,
    /// What stands between tasks and this node.
    pub(crate) sandbox: SandboxSettings,
    /// Where its API listens.
    pub(crate) socket: PathBuf,
    /// What is logged.
    pub(crate) log: String,
}

/// Some groups and some slots of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) groups: Vec<GroupName>,
    pub(crate) slots: u32,
}

/// Why there is no configuration; each says where the mistake stands.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("could not read {path}: {why}")]
    Read { path: String, why: String },
    #[error("{place}: {why}")]
    Syntax { place: String, why: String },
    #[error("{place}: there is no setting {key:?}{}", .nearest.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    UnknownKey { place: String, key: String, nearest: Option<String> },
    #[error("{}: {why}", setting(.place, .key))]
    BadValue { place: String, key: String, why: String },
}

/// Where a value stands, with the setting's name unless that is plain from the place (`--rank`, `DUNLIN_RANK`).
fn setting(place: &str, key: &str) -> String {
    if place.starts_with("--") || place.starts_with("DUNLIN_") { place.to_owned() } else { format!("{place}: {key}") }
}

/// The effective settings and where each came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) given: BTreeMap<&'static str, Given>,
}

/// Puts the layers together.
///
/// `flags` win over the environment, that over the file (`explicit`, or the usual one if there is one), that over defaults.
///
/// # Errors
/// See [`ConfigError`].
pub(crate) fn load(
    flags: Vec<(&'static str, Given)>,
    explicit: Option<PathBuf>,
    around: &Surroundings,
) -> Result<Loaded, ConfigError> {
    let mut given = BTreeMap::new();
    let file = explicit.or_else(|| around.variable("DUNLIN_CONFIG").map(PathBuf::from)).or_else(|| around.usual_file());
    if let Some(path) = file {
        given.extend(layer::from_text_of(&path, &layer::read(&path)?)?);
    }
    given.extend(layer::from_environment(around)?);
    given.extend(flags);
    let config = build::build(&mut given, around)?;
    Ok(Loaded { config, given })
}

/// Checks a file alone: neither flags nor variables take part.
///
/// # Errors
/// See [`ConfigError`].
pub(crate) fn load_file_alone(path: &std::path::Path, around: &Surroundings) -> Result<Loaded, ConfigError> {
    load_text_alone(path, &layer::read(path)?, around)
}

/// Checks a file's text alone; `path` is for messages only.
///
/// # Errors
/// See [`ConfigError`].
pub(crate) fn load_text_alone(path: &std::path::Path, text: &str, around: &Surroundings) -> Result<Loaded, ConfigError> {
    let mut given = layer::from_text_of(path, text)?;
    let config = build::build(&mut given, around)?;
    Ok(Loaded { config, given })
}
