//! The libp2p protocols that a node speaks, put together with their limits.

use std::collections::HashSet;
use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentityTransform, MessageAuthenticity, ValidationMode, WhitelistSubscriptionFilter};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, mdns};

use super::MeshError;
use super::gossip::{MAX_GOSSIP, topic};
use super::streams::Streams;

/// Connections to one peer at a time: two may cross, one of them is closed.
const PER_PEER: u32 = 2;

/// Connections that are being made or accepted at a time.
const PENDING: u32 = 64;

/// Identify tells a peer of our addresses when they change, and else this rarely.
const IDENTIFY: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    pub(super) gossip: gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>,
    mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) streams: Streams,
}

impl Behaviour {
    /// For a node of that key.
    pub(super) fn new(key: &Keypair, max_connections: u32, with_mdns: bool) -> Result<Behaviour, MeshError> {
        let limits = ConnectionLimits::default()
            .with_max_established(Some(max_connections))
            .with_max_established_per_peer(Some(PER_PEER))
            .with_max_pending_incoming(Some(PENDING))
            .with_max_pending_outgoing(Some(PENDING));
        let identify = identify::Config::new("/dunlin/1".to_owned(), key.public())
            .with_agent_version(concat!("dunlin/", env!("CARGO_PKG_VERSION")).to_owned())
            .with_interval(IDENTIFY)
            .with_cache_size(0);
        let mdns = with_mdns
            .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), key.public().to_peer_id()))
            .transpose()
            .map_err(|problem| MeshError::Setup(format!("multicast DNS: {problem}")))?;
        Ok(Behaviour {
            limits: connection_limits::Behaviour::new(limits),
            identify: identify::Behaviour::new(identify),
            gossip: gossip(key)?,
            mdns: Toggle::from(mdns),
            streams: Streams::default(),
        })
    }
}

fn gossip(key: &Keypair) -> Result<gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>, MeshError> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .max_transmit_size(MAX_GOSSIP + 1024)
        .build()
        .map_err(|problem| MeshError::Setup(problem.to_string()))?;
    let only = WhitelistSubscriptionFilter(HashSet::from([topic().hash()]));
    gossipsub::Behaviour::new_with_subscription_filter(MessageAuthenticity::Signed(key.clone()), config, only)
        .map_err(|problem| MeshError::Setup(problem.to_owned()))
}
