//! What a node must be told before it can take part, and what can be wrong with it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Connections at a time, unless configured otherwise.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 128;

/// How a node takes part in the network.
#[derive(Clone)]
pub struct MeshConfig {
    /// Where to listen; port 0 takes a free one, and more than one address is possible.
    pub listen: Vec<SocketAddr>,
    /// The swarm's secret. Who does not have it is refused before anything it sends is parsed.
    pub secret: String,
    /// Whom to try, `host:port` each; a name may resolve to several addresses, and this node may be among them.
    pub peers: Vec<String>,
    /// Whether to look for peers in the local network by multicast DNS.
    pub mdns: bool,
    /// What this node calls itself.
    pub name: String,
    /// The node's data folder; the key and the address book are kept in it. It must exist.
    pub data: PathBuf,
    /// Counts this node's process starts; must grow with each.
    pub boot: u64,
    /// Connections at a time, incoming and outgoing.
    pub max_connections: u32,
    /// Where others can reach this node, if that differs from where it listens (behind a port mapping).
    pub announce: Option<SocketAddr>,
}

impl std::fmt::Debug for MeshConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // All but the secret.
        f.debug_struct("MeshConfig")
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .field("mdns", &self.mdns)
            .field("name", &self.name)
            .field("data", &self.data)
            .field("boot", &self.boot)
            .field("max_connections", &self.max_connections)
            .field("announce", &self.announce)
            .finish_non_exhaustive()
    }
}

/// Why the mesh could not start.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// Somebody else listens there.
    #[error("the address {address} is taken: another program, or another node, listens there")]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// Listening failed for another reason.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No address to listen on was given.
    #[error("no address to listen on was given")]
    NoListener,
    /// The node's key could not be read or written.
    #[error("can't use the node's key {path}")]
    Key {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The node's key file holds something else.
    #[error("{path} is not a node's key: {why}")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A peer is not written `host:port`.
    #[error("{peer:?} is not an address of the form host:port")]
    BadPeer {
        /// What was given.
        peer: String,
    },
    /// The secret is empty.
    #[error("the swarm's secret is empty")]
    EmptySecret,
    /// The network stack refused.
    #[error("the network can't be set up: {0}")]
    Setup(String),
}
