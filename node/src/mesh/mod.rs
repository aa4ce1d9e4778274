//! How nodes reach each other: who is connected, one message to one node, one to all, and questions with an answer.
//!
//! Bytes enter and leave; what they mean is the other rooms' business. No libp2p type leaves this room.
//! Delivery is at most once and in order per peer and service; nothing is retried here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::task::{NodeId, SwarmId};

mod contacts;
#[cfg(test)]
mod contract;
mod events;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hello;
mod inbox;
mod intake;
mod link;
pub mod memory;
mod table;
pub mod wire;

/// Which room a message is for. Each has a bounded inbox of its own, so that one room's flood does not delay another's mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Service {
    /// Founding: the only one that speaks to peers of no swarm yet.
    Founding = 0,
    /// Candidacies, votes, beats.
    Election = 1,
    /// The replicated log.
    Raft = 2,
    /// Heartbeats and announcements.
    Roster = 3,
    /// Hand-outs, cancels and reports.
    Work = 4,
    /// Clients' requests, forwarded to the leader.
    Api = 5,
}

impl Service {
    /// Every service, in the order of its number.
    pub const ALL: [Service; 6] =
        [Service::Founding, Service::Election, Service::Raft, Service::Roster, Service::Work, Service::Api];

    /// Whether its messages overtake those of the other services in a full queue (small ones that liveness rests on).
    #[must_use]
    pub fn is_urgent(self) -> bool {
        matches!(self, Service::Founding | Service::Election | Service::Roster)
    }
}

/// The largest message in bytes; a longer frame is refused before anything is allocated for it.
pub const MAX_MESSAGE: usize = 4 << 20;

/// How long nothing may be heard from a peer before it is held for lost. Peers with nothing to say ping three times as often.
pub const SILENCE: Duration = Duration::from_secs(15);

/// Why a message could not be handed to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection to that node now.
    #[error("no connection to node {0}")]
    NotConnected(NodeId),
    /// The peer's queue is full: it reads more slowly than we write.
    #[error("node {0} reads too slowly; its queue is full")]
    QueueFull(NodeId),
    /// Over [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is larger than the limit of {MAX_MESSAGE}")]
    TooLarge(usize),
}

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The connection ended before the answer came; the peer may have acted on it.
    #[error("the connection to node {0} ended before it answered")]
    Disconnected(NodeId),
    /// No answer in time; the peer may have acted on it.
    #[error("node {0} did not answer in time")]
    TimedOut(NodeId),
    /// The peer took the question but its room refused or was too busy to answer.
    #[error("node {0} refused the request")]
    Refused(NodeId),
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub node: NodeId,
    /// The name it calls itself by.
    pub name: String,
    /// The swarm it belongs to, if it has one yet.
    pub swarm: Option<SwarmId>,
    /// Where it was reached or came from.
    pub address: String,
    /// Counts the peer's process starts, so that a restart is told from a reconnect.
    pub boot: u64,
}

/// What happened to the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A peer can be written to (or said hello again, as when it has just joined a swarm).
    Up(Peer),
    /// A peer can't be reached any more.
    Down {
        /// Which.
        node: NodeId,
        /// True only if its kernel reset the connection *and* its port refuses new ones: the process is gone, not merely silent.
        gone: bool,
    },
    /// A peer was turned away, and why, in words for people: other swarm's id, wrong version, id collision.
    Refused {
        /// Where it was.
        address: String,
        /// Why.
        why: String,
    },
}

/// A message in a room's inbox.
#[derive(Debug)]
pub struct Incoming {
    /// The authenticated sender.
    pub from: NodeId,
    /// The message.
    pub bytes: Bytes,
    /// Present if the sender waits for an answer; dropping it tells the sender [`RequestError::Refused`].
    pub reply: Option<Reply>,
}

/// The way back for one answer.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Bytes>);

impl Reply {
    /// A way back and the end at which the answer arrives; for implementations of [`Mesh`].
    #[must_use]
    pub fn channel() -> (Reply, oneshot::Receiver<Bytes>) {
        let (sender, receiver) = oneshot::channel();
        (Reply(sender), receiver)
    }

    /// Answers. Nothing happens if the asker has gone.
    pub fn send(self, bytes: Bytes) {
        let _ = self.0.send(bytes);
    }
}

/// The receiving ends of a mesh, taken apart once when the node is put together.
#[derive(Debug)]
pub struct Inboxes {
    /// Connections that came and went; bounded, and coalesced by the mesh if the reader is slow.
    pub peers: mpsc::Receiver<PeerEvent>,
    /// See [`Service::Founding`].
    pub founding: mpsc::Receiver<Incoming>,
    /// See [`Service::Election`].
    pub election: mpsc::Receiver<Incoming>,
    /// See [`Service::Raft`].
    pub raft: mpsc::Receiver<Incoming>,
    /// See [`Service::Roster`].
    pub roster: mpsc::Receiver<Incoming>,
    /// See [`Service::Work`].
    pub work: mpsc::Receiver<Incoming>,
    /// See [`Service::Api`].
    pub api: mpsc::Receiver<Incoming>,
}

/// The network as the node sees it.
pub trait Mesh: Send + Sync + 'static {
    /// This node.
    fn local(&self) -> NodeId;

    /// Addresses on which this node can be reached (what a join line shows).
    fn addresses(&self) -> Vec<SocketAddr>;

    /// Queues one message to one node. Never waits.
    ///
    /// # Errors
    /// See [`SendError`]; a message that was taken may still be lost.
    fn send(&self, to: NodeId, service: Service, bytes: Bytes) -> Result<(), SendError>;

    /// Queues one message to every node of the swarm, also over others where there is no direct connection. The receivers
    /// find it in the service's inbox without a way to reply; they may see it twice.
    fn broadcast(&self, service: Service, bytes: Bytes);

    /// Asks one node and waits for its answer, at most `patience`.
    fn request(
        &self,
        to: NodeId,
        service: Service,
        bytes: Bytes,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>>;

    /// The peers that can be written to now.
    fn peers(&self) -> Vec<Peer>;

    /// From now on this node belongs to a swarm: peers are told, and those of another swarm are turned away.
    fn enter(&self, swarm: SwarmId);

    /// Adds addresses to try, `host:port` each; names may resolve to several. Tried again with back-off for as long as the mesh lives.
    fn dial(&self, peers: Vec<String>);

    /// Leaves the network: links and listeners are closed soon after. Harmless if done twice; dropping the last handle does
    /// the same.
    fn close(&self);
}

/// The mesh as rooms hold it.
pub type SharedMesh = Arc<dyn Mesh>;
