//! The mesh as the node holds it, and how it starts and stops.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use libp2p::identity::Keypair;
use tokio::sync::{Notify, mpsc};

use super::super::events::Events;
use super::super::inbox::inboxes;
use super::super::table::{Card, Table};
use super::super::{Inboxes, Mesh, Peer, RequestError, SendError, Service, SharedMesh};
use super::hub::{Addresses, Command, Hub};
use super::refusals::Refusals;
use super::transport::transport;
use super::{MeshConfig, MeshError, keys};
use crate::task::{NodeId, SwarmId};

/// Commands that wait for the hub.
const COMMANDS: usize = 256;

/// Listening must have begun within this time.
const PATIENCE: Duration = Duration::from_secs(5);

struct WireMesh {
    table: Arc<Table>,
    addresses: Addresses,
    /// The hub stops when this is dropped.
    hub: mpsc::Sender<Command>,
    closing: Arc<Notify>,
}

/// Starts the mesh; when this returns, others can connect. It stops when the last handle is dropped, or by
/// [`Mesh::close`].
///
/// # Errors
/// The address is taken, the key or the configuration can't be used; see [`MeshError`].
pub async fn start(config: MeshConfig) -> Result<(SharedMesh, Inboxes), MeshError> {
    check(&config)?;
    let key = keys::load_or_create(&config.data)?;
    let (events, peers) = Events::channel();
    let (inlets, inboxes) = inboxes(peers);
    let refusals = Refusals::new(events.clone());
    let mut swarm = swarm(&key, &config, refusals.clone())?;
    let addresses = Addresses::new(RwLock::new(config.announce.into_iter().collect()));
    let listening = Hub::listen(&mut swarm, &config.listen);
    let bound = tokio::time::timeout(PATIENCE, listening).await;
    let bound = bound.map_err(|_| MeshError::Setup(format!("listening did not begin within {PATIENCE:?}")))??;
    let card = Card {
        node: keys::node_id(&key.public().to_peer_id()),
        name: config.name.clone(),
        boot: config.boot,
        port: bound.first().map(SocketAddr::port),
        announce: config.announce,
    };
    let table = Table::new(card);
    let (hub, commands) = mpsc::channel(COMMANDS);
    let task = Hub::new(swarm, table.clone(), inlets, events, refusals, addresses.clone(), &config);
    bound.into_iter().for_each(|address| task.listening(address));
    let closing = Arc::new(Notify::new());
    tokio::spawn(task.run(commands, closing.clone()));
    Ok((Arc::new(WireMesh { table, addresses, hub, closing }), inboxes))
}

fn check(config: &MeshConfig) -> Result<(), MeshError> {
    if config.secret.is_empty() {
        return Err(MeshError::EmptySecret);
    }
    if config.listen.is_empty() {
        return Err(MeshError::NoListener);
    }
    if let Some(peer) = config.peers.iter().find(|peer| !is_host_and_port(peer)) {
        return Err(MeshError::BadPeer { peer: peer.chars().take(100).collect() });
    }
    config.listen.iter().try_for_each(|address| check_free(*address))
}

/// Two listeners of one user could share a port, since libp2p allows it to be used again; so it is tried strictly first.
fn check_free(address: SocketAddr) -> Result<(), MeshError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(problem) if problem.kind() == std::io::ErrorKind::AddrInUse => Err(MeshError::PortTaken { address }),
        Err(source) => Err(MeshError::Listen { address, source }),
    }
}

/// Whether a text looks like `host:port`.
fn is_host_and_port(peer: &str) -> bool {
    let parts = peer.rsplit_once(':').filter(|(host, _)| !host.is_empty() && host.len() <= 253);
    parts.is_some_and(|(host, port)| {
        let plain = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        plain && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn swarm(key: &Keypair, config: &MeshConfig, refusals: Refusals) -> Result<super::hub::Swarm, MeshError> {
    let transport = transport(key, keys::network_key(&config.secret), refusals)?;
    let behaviour = super::behaviour::Behaviour::new(key, config.max_connections, config.mdns)?;
    // Quiet connections stay: each handler says so itself.
    let settings = libp2p::swarm::Config::with_tokio_executor();
    Ok(super::hub::Swarm::new(transport, behaviour, key.public().to_peer_id(), settings))
}

impl Mesh for WireMesh {
    fn local(&self) -> NodeId {
        self.table.local()
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, to: NodeId, service: Service, bytes: Bytes) -> Result<(), SendError> {
        self.table.send(to, service, bytes)
    }

    fn broadcast(&self, service: Service, bytes: Bytes) {
        let id = self.table.broadcast(service, &bytes);
        if let Some(swarm) = self.table.swarm() {
            // The direct copies are on their way; this one is for those that have no link.
            if self.hub.try_send(Command::Gossip(super::gossip::Gossip { swarm, service, id, payload: bytes })).is_err() {
                tracing::debug!(?service, "a broadcast went to linked peers only");
            }
        }
    }

    fn request(
        &self,
        to: NodeId,
        service: Service,
        bytes: Bytes,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        self.table.request(to, service, bytes, patience)
    }

    fn peers(&self) -> Vec<Peer> {
        self.table.peers()
    }

    /// Peers learn it by a new hello on each link; the hub turns away those of other swarms when it sees the change.
    fn enter(&self, swarm: SwarmId) {
        self.table.enter(swarm);
    }

    fn dial(&self, peers: Vec<String>) {
        let (good, bad): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| is_host_and_port(peer));
        for peer in bad {
            tracing::warn!(?peer, "not an address of the form host:port");
        }
        if self.hub.try_send(Command::Dial(good)).is_err() {
            tracing::warn!("too busy to take more addresses to dial");
        }
    }

    fn close(&self) {
        self.closing.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_written_host_and_port() {
        for good in ["127.0.0.1:4000", "node:4000", "a.b.example:1", "[::1]:4000"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["", "node", ":4000", "node:", "node:0", "node:70000", "::1:4000", "a b:1"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }
}
