//! Who is linked with this node now, and everything of [`Mesh`](super::Mesh) that is the same over any carrier.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::frame::{Frame, Kind};
use super::hello::{Hello, PROTOCOL};
use super::link::Link;
use super::{MAX_MESSAGE, Peer, RequestError, SendError, Service};
use crate::task::{NodeId, SwarmId};

/// Copies of broadcasts that are recognised as such.
const REMEMBERED: usize = 4096;

/// What a node says of itself, but its swarm.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) boot: u64,
    pub(crate) port: Option<u16>,
    pub(crate) announce: Option<SocketAddr>,
}

/// The links of one node.
#[derive(Debug)]
pub(crate) struct Table {
    card: Card,
    swarm: watch::Sender<Option<SwarmId>>,
    links: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    next_broadcast: AtomicU64,
    seen: Mutex<Seen>,
}

/// The newest broadcasts, so that the second copy of one is dropped.
#[derive(Debug, Default)]
struct Seen {
    known: BTreeSet<(NodeId, u64)>,
    order: VecDeque<(NodeId, u64)>,
}

impl Table {
    /// No links yet, and no swarm.
    pub(crate) fn new(card: Card) -> Arc<Table> {
        // Ids of broadcasts start anew at each boot, above all earlier ones; 0 means "not a broadcast".
        let next_broadcast = AtomicU64::new((card.boot << 40) | 1);
        Arc::new(Table {
            card,
            swarm: watch::Sender::new(None),
            links: RwLock::default(),
            next_broadcast,
            seen: Mutex::default(),
        })
    }

    /// This node.
    pub(crate) fn local(&self) -> NodeId {
        self.card.node
    }

    /// This node's swarm.
    pub(crate) fn swarm(&self) -> Option<SwarmId> {
        *self.swarm.borrow()
    }

    /// This node's swarm, now and when it changes.
    pub(crate) fn watch_swarm(&self) -> watch::Receiver<Option<SwarmId>> {
        self.swarm.subscribe()
    }

    /// What this node says of itself.
    pub(crate) fn hello(&self, swarm: Option<SwarmId>) -> Hello {
        let Card { node, name, boot, port, announce } = self.card.clone();
        let name = super::hello::plain(&name);
        Hello { protocol: PROTOCOL, node, boot, name, swarm, version: env!("CARGO_PKG_VERSION").to_owned(), port, announce }
    }

    /// The link to a node.
    pub(crate) fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// All links.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Puts a link in, in the place of an earlier one to the same node, which is given back.
    pub(crate) fn insert(&self, link: &Arc<Link>) -> Option<Arc<Link>> {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        link.introduce(link.peer(), self.swarm());
        links.insert(link.node(), link.clone())
    }

    /// Takes a link out, if it is still the one to its node.
    pub(crate) fn remove(&self, link: &Arc<Link>) -> bool {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        let current = links.get(&link.node()).is_some_and(|current| Arc::ptr_eq(current, link));
        if current {
            links.remove(&link.node());
        }
        current
    }

    /// Takes all links out and ends them.
    pub(crate) fn clear(&self) -> Vec<Arc<Link>> {
        let links = std::mem::take(&mut *self.links.write().unwrap_or_else(PoisonError::into_inner));
        links.values().for_each(|link| link.end());
        links.into_values().collect()
    }

    /// A peer said who it is (again).
    pub(crate) fn introduce(&self, link: &Link, peer: Peer) {
        let _no_enter_between = self.links.read().unwrap_or_else(PoisonError::into_inner);
        link.introduce(peer, self.swarm());
    }

    /// Enters a swarm; each link's outlet tells its peer. Given back are the links to peers of other swarms, which must end.
    pub(crate) fn enter(&self, swarm: SwarmId) -> Vec<Arc<Link>> {
        let links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        self.swarm.send_if_modified(|current| current.replace(swarm) != Some(swarm));
        let others = |link: &Arc<Link>| link.peer().swarm.is_some_and(|theirs| theirs != swarm);
        links.values().for_each(|link| link.introduce(link.peer(), Some(swarm)));
        links.values().filter(|link| others(link)).cloned().collect()
    }

    fn admitted(&self, to: NodeId, service: Service) -> Result<Arc<Link>, SendError> {
        self.link(to).filter(|link| link.admits(service)).ok_or(SendError::NotConnected(to))
    }

    /// See [`Mesh::send`](super::Mesh::send).
    pub(crate) fn send(&self, to: NodeId, service: Service, payload: Bytes) -> Result<(), SendError> {
        if payload.len() > MAX_MESSAGE {
            return Err(SendError::TooLarge(payload.len()));
        }
        self.admitted(to, service)?.push(Frame { service, kind: Kind::Message, id: 0, payload })
    }

    /// See [`Mesh::request`](super::Mesh::request).
    pub(crate) fn request(
        &self,
        to: NodeId,
        service: Service,
        payload: Bytes,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        match self.admitted(to, service) {
            Ok(link) => Box::pin(link.ask(service, payload, patience)),
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }

    /// Queues one message to each linked node that may have it; gives the id that marks its copies.
    pub(crate) fn broadcast(&self, service: Service, payload: &Bytes) -> u64 {
        let id = self.next_broadcast.fetch_add(1, Ordering::Relaxed);
        for link in self.links().into_iter().filter(|link| link.admits(service)) {
            let frame = Frame { service, kind: Kind::Message, id, payload: payload.clone() };
            if let Err(problem) = link.push(frame) {
                tracing::debug!(?service, %problem, "a broadcast did not reach a peer directly");
            }
        }
        id
    }

    /// Whether this copy of a broadcast is the first one.
    pub(crate) fn is_first(&self, from: NodeId, id: u64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.known.insert((from, id)) {
            return false;
        }
        seen.order.push_back((from, id));
        if seen.order.len() > REMEMBERED
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.known.remove(&oldest);
        }
        true
    }

    /// See [`Mesh::peers`](super::Mesh::peers).
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.links().iter().map(|link| link.peer()).collect()
    }
}
