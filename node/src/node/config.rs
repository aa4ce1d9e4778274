//! What a node is told before it starts, and the builder that embedding programs use.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::sandbox::ResolvedLimits;
use crate::task::{GroupName, Level, MemberRole, Pod};

/// The largest number of nodes that found a swarm together.
pub const MAX_FOUNDERS: u32 = 64;
/// The highest rank.
pub const MAX_RANK: u32 = 1_000_000;

/// The swarm's shared secret. Whoever has it is let in; it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The shortest secret, in characters.
    pub const MIN_LEN: usize = 16;

    /// Takes a secret as text, white space around it removed.
    ///
    /// # Errors
    /// If it is shorter than [`Secret::MIN_LEN`] or longer than 1,024 bytes.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        if text.chars().count() < Self::MIN_LEN || text.len() > 1_024 {
            return Err(ConfigError::SecretLength);
        }
        Ok(Secret(text.to_owned()))
    }

    /// A fresh random secret of 32 hexadecimal digits.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn generate() -> Result<Self, ConfigError> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).map_err(|error| ConfigError::NoRandomness(error.to_string()))?;
        Ok(Secret(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The secret itself, for the key that is derived from it and for the person who asks for it by name.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The pod of a node that says nothing: group `default`, as many slots as there are processor cores.
#[must_use]
pub fn standard_pod() -> Pod {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Pod { groups: vec![GroupName::default()], slots: u32::try_from(cores).unwrap_or(1).clamp(1, Pod::MAX_SLOTS) }
}

/// How many threads a node's runtime should have: half the cores, for the tasks need the others, and at most four, since
/// disks, handlers and the election have threads of their own. Every further one costs in waking and parking.
#[must_use]
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4))
}

/// How this node comes to belong to a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// Found a swarm with exactly this many nodes, this one included, unless one exists already; 1 founds at once.
    Expect(NonZeroU32),
    /// Join a swarm that exists; never found one.
    Join,
}

/// Everything a node is told.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The folder of its key, journal and socket; made if it is missing.
    pub data: PathBuf,
    /// What people call it.
    pub name: String,
    /// Higher leads first, among nodes whose journals are equally complete.
    pub rank: u32,
    /// Where it listens for other nodes; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Where other nodes may be found: `host:port`.
    pub peers: Vec<String>,
    /// The swarm's secret.
    pub secret: Secret,
    /// See [`Belonging`].
    pub belonging: Belonging,
    /// Whether it may hold the journal and vote.
    pub may_vote: bool,
    /// Whether it announces itself and looks for others by multicast.
    pub mdns: bool,
    /// What it runs.
    pub pods: Vec<Pod>,
    /// Limits of tasks that set none.
    pub task_defaults: ResolvedLimits,
    /// What stands between tasks and this node.
    pub sandbox: SandboxSettings,
}

/// What the owner of a node says of its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The least that the machine must hold: below it the node starts, says what is missing, and takes no tasks.
    pub require: Level,
    /// The most that is used of what the machine holds; `None` is all of it.
    pub at_most: Option<Level>,
    /// Absolute paths that tasks may ask to read, and what lies below.
    pub read: Vec<PathBuf>,
    /// Absolute paths that no task may see, beside the node's own folder.
    pub hide: Vec<PathBuf>,
    /// Whether the node's cgroup is its own to take over, so that the kernel itself holds memory limits.
    pub cgroups: bool,
}

impl NodeConfig {
    /// A swarm of one in this folder with everything else at its default.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, secret: Secret) -> Self {
        NodeConfig {
            data: data.into(),
            name: "dunlin".to_owned(),
            rank: 100,
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            peers: Vec::new(),
            secret,
            belonging: Belonging::Expect(NonZeroU32::MIN),
            may_vote: true,
            mdns: false,
            pods: vec![standard_pod()],
            task_defaults: ResolvedLimits::default(),
            sandbox: SandboxSettings::default(),
        }
    }

    /// What this node may be in the journal's membership.
    #[must_use]
    pub(super) fn role(&self) -> MemberRole {
        if self.may_vote { MemberRole::Voter } else { MemberRole::Worker }
    }

    /// Checks every number against its limit.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() || self.name.len() > 64 || self.name.chars().any(char::is_control) {
            return Err(ConfigError::Name(self.name.chars().take(80).collect()));
        }
        if self.rank > MAX_RANK {
            return Err(ConfigError::Rank(self.rank));
        }
        if self.listen.is_empty() {
            return Err(ConfigError::NowhereToListen);
        }
        if let Belonging::Expect(count) = self.belonging
            && count.get() > MAX_FOUNDERS
        {
            return Err(ConfigError::TooManyFounders(count.get()));
        }
        if self.pods.len() > Pod::MAX_PODS {
            return Err(ConfigError::TooManyPods(self.pods.len()));
        }
        for pod in &self.pods {
            if pod.groups.is_empty() || pod.groups.len() > Pod::MAX_GROUPS {
                return Err(ConfigError::PodGroups(pod.groups.len()));
            }
            if pod.slots == 0 || pod.slots > Pod::MAX_SLOTS {
                return Err(ConfigError::PodSlots(pod.slots));
            }
        }
        let paths = self.sandbox.read.iter().chain(&self.sandbox.hide);
        if let Some(path) = paths.into_iter().find(|path| !path.is_absolute()) {
            return Err(ConfigError::SandboxPath(path.clone()));
        }
        match self.peers.iter().find(|peer| !is_host_and_port(peer)) {
            Some(peer) => Err(ConfigError::Peer(peer.chars().take(80).collect())),
            None => Ok(()),
        }
    }
}

fn is_host_and_port(peer: &str) -> bool {
    peer.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// A rule of the configuration that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too short to keep anybody out, or absurdly long.
    #[error("the secret must have 16 to 1,024 characters; `openssl rand -hex 16` makes a good one")]
    SecretLength,
    /// The operating system refused.
    #[error("the operating system gave no random bytes: {0}")]
    NoRandomness(String),
    /// A name that can't be shown.
    #[error("the node's name {0:?} must be 1 to 64 characters without control characters")]
    Name(String),
    /// Over [`MAX_RANK`].
    #[error("rank {0} is higher than the highest, {MAX_RANK}")]
    Rank(u32),
    /// No listen address.
    #[error("at least one address to listen on is needed, such as 0.0.0.0:7440")]
    NowhereToListen,
    /// Over [`MAX_FOUNDERS`].
    #[error("{0} nodes cannot found a swarm together; the limit is {MAX_FOUNDERS} (more can join later)")]
    TooManyFounders(u32),
    /// Over [`Pod::MAX_PODS`].
    #[error("{0} pods are more than the limit of {limit}", limit = Pod::MAX_PODS)]
    TooManyPods(usize),
    /// A pod that could never run anything, or with too many groups.
    #[error("a pod needs 1 to {limit} groups, not {0}", limit = Pod::MAX_GROUPS)]
    PodGroups(usize),
    /// A pod without slots, or with too many.
    #[error("a pod needs 1 to {limit} slots, not {0}", limit = Pod::MAX_SLOTS)]
    PodSlots(u32),
    /// A path of the sandbox's settings that depends on where the node was started.
    #[error("the path {} in the sandbox's settings must be absolute", .0.display())]
    SandboxPath(PathBuf),
    /// Not `host:port`.
    #[error("the peer {0:?} is not of the form HOST:PORT")]
    Peer(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NodeConfig {
        NodeConfig::new("/nowhere", Secret::generate().unwrap())
    }

    #[test]
    fn the_default_is_valid_and_every_broken_rule_is_named() {
        assert_eq!(config().validate(), Ok(()));
        let broken = |change: fn(&mut NodeConfig)| {
            let mut config = config();
            change(&mut config);
            config.validate().unwrap_err()
        };
        assert_eq!(broken(|c| c.listen.clear()), ConfigError::NowhereToListen);
        assert_eq!(broken(|c| c.rank = MAX_RANK + 1), ConfigError::Rank(MAX_RANK + 1));
        assert_eq!(broken(|c| c.pods[0].groups.clear()), ConfigError::PodGroups(0));
        assert_eq!(broken(|c| c.peers.push("host".into())), ConfigError::Peer("host".into()));
        assert_eq!(broken(|c| c.peers.push("host:0".into())), ConfigError::Peer("host:0".into()));
        assert!(matches!(broken(|c| c.name = "a\nb".into()), ConfigError::Name(_)));
    }

    #[test]
    fn a_secret_is_never_shown_by_debug() {
        let secret = Secret::new("correct horse battery").unwrap();
        assert!(!format!("{secret:?}").contains("horse"));
        assert_eq!(Secret::new("short"), Err(ConfigError::SecretLength));
    }
}
