//! The one task that drives libp2p: it dials, accepts, keeps one link per peer and tells who came and went.
//!
//! Enter: libp2p's events, the handle's commands, reports of the tasks it started. Payloads do not pass through here, but
//! for broadcasts that travel over others.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::gossipsub;
use libp2p::mdns;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use tokio::sync::{Notify, mpsc};

use super::super::contacts::Contact;
use super::super::events::Events;
use super::super::inbox::Inlets;
use super::super::link::Link;
use super::super::table::Table;
use super::super::{Incoming, PeerEvent};
use super::address_book::AddressBook;
use super::behaviour::{Behaviour, BehaviourEvent};
use super::carrier::{self, End};
use super::dialer::Dialer;
use super::gossip::{Gossip, topic};
use super::refusals::Refusals;
use super::streams::StreamEvent;
use super::transport::{describe, ip_of, multiaddress, socket_address};
use super::{MeshConfig, MeshError, keys};
use crate::task::NodeId;

mod links;

/// libp2p's swarm of connections; not to be confused with a swarm of nodes.
pub(super) type Swarm = libp2p::Swarm<Behaviour>;

/// Where this node can be reached, shared with its handle.
pub(super) type Addresses = Arc<RwLock<Vec<SocketAddr>>>;

/// Reports of started tasks that wait.
const REPORTS: usize = 256;

/// Lists of contacts that wait; more are dropped.
const CONTACTS: usize = 64;

/// Housekeeping: connections without a link, the address book.
const SWEEP: Duration = Duration::from_secs(2);

/// A connection must have become a link within this time.
const UNLINKED: Duration = Duration::from_secs(15);

/// A name must be resolved within this time.
const RESOLVE: Duration = Duration::from_secs(5);

/// Addresses of one name that are tried.
const MAX_RESOLVED: usize = 64;

/// What the handle wants.
#[derive(Debug)]
pub(super) enum Command {
    Gossip(Gossip),
    Dial(Vec<String>),
}

/// What a started task found out.
enum Report {
    Met(ConnectionId, Box<carrier::Met<libp2p::Stream>>),
    /// The connection may be gone already, since both sides close it.
    NotMet {
        connection: ConnectionId,
        node: NodeId,
        address: Option<SocketAddr>,
        end: End,
    },
    Ended(ConnectionId, Arc<Link>, End),
    Probed(NodeId, bool),
    Resolved(String, Vec<SocketAddr>),
}

/// A connection, linked or about to be.
struct Connection {
    node: NodeId,
    address: Option<SocketAddr>,
    outbound: bool,
    since: Instant,
    link: Option<Arc<Link>>,
}

/// See the module.
pub(super) struct Hub {
    swarm: Swarm,
    table: Arc<Table>,
    inlets: Inlets,
    events: Events,
    refusals: Refusals,
    addresses: Addresses,
    announced: bool,
    connections: HashMap<ConnectionId, Connection>,
    dialling: HashMap<ConnectionId, SocketAddr>,
    /// Where each linked node listens.
    homes: BTreeMap<NodeId, SocketAddr>,
    /// Lost nodes of which it is not yet known whether they are gone, with their boot.
    probing: BTreeMap<NodeId, u64>,
    dialer: Dialer,
    book: AddressBook,
    reports: mpsc::Sender<Report>,
    reported: mpsc::Receiver<Report>,
    contacts: mpsc::Sender<Vec<Contact>>,
    heard_of: mpsc::Receiver<Vec<Contact>>,
}

impl Hub {
    /// Listens on all addresses; gives those that libp2p reports first, one for each.
    pub(super) async fn listen(swarm: &mut Swarm, listen: &[SocketAddr]) -> Result<Vec<SocketAddr>, MeshError> {
        let mut bound = Vec::new();
        for address in listen {
            let failed = |source: std::io::Error| match source.kind() {
                std::io::ErrorKind::AddrInUse => MeshError::PortTaken { address: *address },
                _ => MeshError::Listen { address: *address, source },
            };
            let listener = swarm.listen_on(multiaddress(*address)).map_err(|problem| match problem {
                libp2p::TransportError::Other(source) => failed(source),
                other => MeshError::Setup(other.to_string()),
            })?;
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::NewListenAddr { listener_id, address } if listener_id == listener => {
                        bound.extend(socket_address(&address));
                        break;
                    }
                    SwarmEvent::ListenerClosed { listener_id, reason: Err(source), .. } if listener_id == listener => {
                        return Err(failed(source));
                    }
                    _ => {}
                }
            }
        }
        Ok(bound)
    }

    /// Ready to run.
    pub(super) fn new(
        swarm: Swarm,
        table: Arc<Table>,
        inlets: Inlets,
        events: Events,
        refusals: Refusals,
        addresses: Addresses,
        config: &MeshConfig,
    ) -> Hub {
        let (reports, reported) = mpsc::channel(REPORTS);
        let (contacts, heard_of) = mpsc::channel(CONTACTS);
        let now = Instant::now();
        let mut dialer = Dialer::new(getrandom::u64().unwrap_or(table.local().0));
        let book = AddressBook::load(&config.data);
        config.peers.iter().for_each(|peer| dialer.add_name(peer.clone(), now));
        book.peers()
            .filter(|(node, _)| *node != table.local())
            .for_each(|(node, address)| dialer.learn(address, Some(node), now));
        Hub {
            swarm,
            table,
            inlets,
            events,
            refusals,
            addresses,
            announced: config.announce.is_some(),
            connections: HashMap::new(),
            dialling: HashMap::new(),
            homes: BTreeMap::new(),
            probing: BTreeMap::new(),
            dialer,
            book,
            reports,
            reported,
            contacts,
            heard_of,
        }
    }

    /// Runs until the handle is dropped or closes it; then every link and listener is closed.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, closing: Arc<Notify>) {
        let mut ours = self.table.watch_swarm();
        if ours.borrow_and_update().is_some() {
            // Entered before this task ran.
            self.entered();
        }
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.dial_due();
            let dial_next = self.dialer.deadline();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(report) = self.reported.recv() => self.on_report(report),
                Some(contacts) = self.heard_of.recv() => self.introduced(contacts),
                command = commands.recv() => match command {
                    None => break,
                    Some(Command::Gossip(gossip)) => self.gossip(&gossip),
                    Some(Command::Dial(peers)) => {
                        peers.into_iter().for_each(|peer| self.dialer.add_name(peer, Instant::now()));
                    }
                },
                Ok(()) = ours.changed() => self.entered(),
                _ = sweep.tick() => self.sweep(),
                () = closing.notified() => break,
                () = sleep_until(dial_next) => {}
            }
        }
        self.table.clear();
        if let Some(save) = self.book.save() {
            tokio::task::spawn_blocking(save);
        }
    }

    /// This node can be reached there.
    pub(super) fn listening(&self, address: SocketAddr) {
        tracing::debug!(%address, "listening");
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        if !self.announced && !addresses.contains(&address) {
            addresses.push(address);
            // What others can use comes first.
            addresses.sort_by_key(|address| address.ip().is_loopback());
        }
    }

    fn dial_due(&mut self) {
        let table = self.table.clone();
        let due = self.dialer.due(Instant::now(), |node| table.link(node).is_some());
        for name in due.resolve {
            let reports = self.reports.clone();
            tokio::spawn(async move {
                let addresses = resolve(&name).await;
                drop(reports.send(Report::Resolved(name, addresses)).await);
            });
        }
        for address in due.dial {
            let options = libp2p::swarm::dial_opts::DialOpts::unknown_peer_id()
                .address(multiaddress(address))
                // Never from the listening port: a peer that restarts would find the pair of ports still in use.
                .allocate_new_port()
                .build();
            self.dialling.insert(options.connection_id(), address);
            let connection = options.connection_id();
            if let Err(problem) = self.swarm.dial(options) {
                self.dial_failed(connection, &problem);
            }
        }
    }

    fn dial_failed(&mut self, connection: ConnectionId, problem: &DialError) {
        let Some(address) = self.dialling.remove(&connection) else { return };
        if let DialError::LocalPeerId { .. } = problem {
            tracing::debug!(%address, "this is our own address");
            self.dialer.own(address, Instant::now());
        } else {
            tracing::debug!(%address, %problem, "dialling failed");
            self.dialer.failed(address, Instant::now());
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(connection_id, peer_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                let why = cause.map_or_else(|| "it was closed".to_owned(), |cause| cause.to_string());
                self.disconnected(connection_id, why);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => self.dial_failed(connection_id, &error),
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(address = %send_back_addr, %error, "an incoming connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(address) = socket_address(&address) {
                    self.listening(address);
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let expired = socket_address(&address);
                let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
                addresses.retain(|address| self.announced || Some(*address) != expired);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "the listener has a problem"),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(StreamEvent::Opened { connection, stream }) => self.opened(connection, stream),
            BehaviourEvent::Streams(StreamEvent::Failed { connection, why }) => {
                tracing::debug!(why, "a peer refused our stream");
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. }) => self.heard(message),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    if let Some(address) = socket_address(&address) {
                        self.dialer.learn(address, Some(keys::node_id(&peer)), Instant::now());
                    }
                }
            }
            _ => {}
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Met(connection, met) => self.met(connection, *met),
            Report::NotMet { connection, node, address, end } => {
                tracing::debug!(%node, %end, "a peer did not become a link");
                // Closed first: its end must not bring forward the next try.
                self.swarm.close_connection(connection);
                let known = self.connections.remove(&connection);
                let dialled = known.filter(|known| known.outbound).and_then(|known| known.address);
                if end.is_misbehaviour() {
                    self.refusals.report(ip_of(address), describe(address), end.to_string());
                    if self.table.link(node).is_none() {
                        self.dialer.lost(node, true, Instant::now());
                    }
                } else if let Some(dialled) = dialled {
                    self.dialer.failed(dialled, Instant::now());
                }
            }
            Report::Ended(connection, link, end) => {
                self.lost(&link, &end);
                self.swarm.close_connection(connection);
            }
            Report::Probed(node, gone) => {
                if self.probing.remove(&node).is_some() {
                    self.events.emit(PeerEvent::Down { node, gone });
                }
            }
            Report::Resolved(name, addresses) => self.dialer.resolved(&name, &addresses, Instant::now()),
        }
    }

    /// This node belongs to a swarm now: it listens to that one's broadcasts and turns others away.
    fn entered(&mut self) {
        if let Err(problem) = self.swarm.behaviour_mut().gossip.subscribe(&topic()) {
            tracing::warn!(%problem, "broadcasts of other nodes can't be heard");
        }
        // Their links end in the next sweep at the latest: our new hello goes out first, so that they know why.
        for (link, objection) in self.strangers() {
            let peer = link.peer();
            let ip = peer.address.parse::<SocketAddr>().ok().map(|address| address.ip());
            self.refusals.report(ip, peer.address, objection.to_string());
        }
    }

    fn gossip(&mut self, gossip: &Gossip) {
        let Some(bytes) = gossip.encode() else { return };
        if let Err(problem) = self.swarm.behaviour_mut().gossip.publish(topic(), bytes) {
            tracing::trace!(%problem, "nobody to gossip with");
        }
    }

    fn heard(&mut self, message: gossipsub::Message) {
        let (Some(source), Some(gossip)) = (message.source, Gossip::decode(message.data)) else { return };
        let from = keys::node_id(&source);
        let ours = self.table.swarm() == Some(gossip.swarm) && from != self.table.local();
        if ours && self.table.is_first(from, gossip.id) {
            let incoming = Incoming { from, bytes: gossip.payload, reply: None };
            if self.inlets.offer(gossip.service, incoming).is_err() {
                self.inlets.count_drop(gossip.service);
            }
        }
    }

    fn sweep(&mut self) {
        for (link, objection) in self.strangers() {
            self.lost(&link, &End::Fault(objection.into()));
        }
        let idle = self.connections.iter().filter(|(_, known)| known.link.is_none() && known.since.elapsed() > UNLINKED);
        for connection in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.swarm.close_connection(connection);
        }
        if let Some(save) = self.book.save() {
            tokio::task::spawn_blocking(save);
        }
    }
}

/// What a name stands for now; nothing if it can't be found out.
async fn resolve(name: &str) -> Vec<SocketAddr> {
    match tokio::time::timeout(RESOLVE, tokio::net::lookup_host(name)).await {
        Ok(Ok(addresses)) => addresses.take(MAX_RESOLVED).collect(),
        Ok(Err(problem)) => {
            tracing::debug!(name, %problem, "a peer's name could not be resolved");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
