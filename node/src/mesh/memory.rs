//! A network in memory: the same queues, inboxes and rules as over the wire, without sockets, threads or randomness.
//!
//! Nodes join and leave; links can be cut and healed, also in one direction, and reset. Its only clock is tokio's, so that
//! it runs under paused time and two runs are alike. Frames take no time and none is lost, unless a [`Weather`] says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::events::Events;
use super::frame::{Frame, Kind};
use super::hello::Objection;
use super::inbox::{Inlets, inboxes};
use super::intake::Intake;
use super::link::{Link, Outlet};
use super::table::{Card, Table};
use super::{Inboxes, Mesh, Peer, PeerEvent, RequestError, SILENCE, SendError, Service, SharedMesh};
use crate::task::{NodeId, SwarmId};

/// How long after a reset two nodes are linked again, as the wire's quick retry has it.
const RELINK: Duration = Duration::from_millis(250);

/// Frames of one direction that may be under way at a time where there is weather.
const UNDER_WAY: usize = 4_096;

/// What happens to frames on their way. It is asked once for each, in the order in which they are sent.
pub trait Weather: Send + Sync {
    /// After how long each copy of a frame of so many bytes arrives: none if it is lost, two if it is doubled. A copy may
    /// overtake an earlier frame.
    fn copies(&self, from: NodeId, to: NodeId, service: Service, bytes: usize) -> Vec<Duration>;
}

/// A network that nodes of one process can join. Cheap to clone; all clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
    weather: Option<Arc<dyn Weather>>,
    /// The nodes whose processes are stopped, and since when.
    stopped: Arc<watch::Sender<BTreeMap<NodeId, Instant>>>,
}

impl std::fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryNetwork").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<NodeId, Seat>,
    /// Directions in which nothing passes.
    cut: BTreeMap<(NodeId, NodeId), Instant>,
    boots: BTreeMap<NodeId, u64>,
}

#[derive(Clone, Debug)]
struct Seat {
    table: Arc<Table>,
    events: Events,
    inlets: Inlets,
}

struct MemoryMesh {
    network: MemoryNetwork,
    seat: Seat,
}

impl MemoryNetwork {
    /// An empty network.
    #[must_use]
    pub fn new() -> MemoryNetwork {
        MemoryNetwork::default()
    }

    /// An empty network with weather.
    #[must_use]
    pub fn in_weather(weather: Arc<dyn Weather>) -> MemoryNetwork {
        MemoryNetwork { weather: Some(weather), ..MemoryNetwork::default() }
    }

    /// Joins a node, which is linked at once with all the others. It leaves when the mesh is dropped. A node that joins
    /// again has restarted: its boot number grows. Must be called within a tokio runtime.
    #[must_use]
    pub fn join(&self, node: NodeId, name: &str) -> (SharedMesh, Inboxes) {
        self.leave(node);
        let (events, peers) = Events::channel();
        let (inlets, inboxes) = inboxes(peers);
        let mut state = self.state();
        let boot = state.boots.entry(node).or_default();
        *boot += 1;
        let card = Card { node, name: name.to_owned(), boot: *boot, port: None, announce: None };
        let seat = Seat { table: Table::new(card), events, inlets };
        let others: Vec<NodeId> = state.seats.keys().copied().collect();
        state.seats.insert(node, seat.clone());
        drop(state);
        others.into_iter().for_each(|other| self.connect(node, other));
        (Arc::new(MemoryMesh { network: self.clone(), seat }), inboxes)
    }

    /// Takes a node out as if its process had died: the others see it gone.
    pub fn leave(&self, node: NodeId) {
        self.stopped.send_if_modified(|stopped| stopped.remove(&node).is_some());
        let Some(seat) = self.state().seats.remove(&node) else { return };
        self.vacate(&seat);
    }

    /// Nothing passes between two nodes any more, in silence; after [`SILENCE`] each holds the other for lost.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Nothing passes from one node to the other any more; after [`SILENCE`] the link is lost for both.
    pub fn cut_one_way(&self, from: NodeId, to: NodeId) {
        let since = Instant::now();
        if self.is_cut(from, to) {
            return;
        }
        self.state().cut.insert((from, to), since);
        let Some(link) = self.link(from, to) else { return };
        let network = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SILENCE).await;
            let same = network.link(from, to).is_some_and(|current| Arc::ptr_eq(&current, &link));
            let still = network.state().cut.get(&(from, to)) == Some(&since);
            if same && still {
                network.disconnect(from, to);
            }
        });
    }

    /// Undoes [`cut`](Self::cut); nodes that lost each other are linked again.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        self.heal_one_way(a, b);
        self.heal_one_way(b, a);
    }

    /// Undoes [`cut_one_way`](Self::cut_one_way).
    pub fn heal_one_way(&self, from: NodeId, to: NodeId) {
        self.state().cut.remove(&(from, to));
        self.connect(from, to);
    }

    /// Resets the link between two nodes: both see it go down at once, and unless it is cut it comes back a little later.
    pub fn reset(&self, a: NodeId, b: NodeId) {
        self.disconnect(a, b);
        let network = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RELINK).await;
            network.connect(a, b);
        });
    }

    /// A node's process is stopped: it takes nothing and sends nothing, and what is sent to it lies where it is. After
    /// [`SILENCE`] the others hold it for lost.
    pub fn stop(&self, node: NodeId) {
        let since = Instant::now();
        self.stopped.send_modify(|stopped| _ = stopped.entry(node).or_insert(since));
        let network = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SILENCE).await;
            if network.stopped.borrow().get(&node) == Some(&since) {
                network.others(node).into_iter().for_each(|other| network.disconnect(node, other));
            }
        });
    }

    /// It goes on, and finds what was sent to it; those who hold it for lost are linked again.
    pub fn go_on(&self, node: NodeId) {
        self.stopped.send_if_modified(|stopped| stopped.remove(&node).is_some());
        self.others(node).into_iter().for_each(|other| self.connect(node, other));
    }

    fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.state().seats.keys().copied().filter(|other| *other != node).collect()
    }

    fn is_stopped(&self, node: NodeId) -> bool {
        self.stopped.borrow().contains_key(&node)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(&self, node: NodeId) -> Option<Seat> {
        self.state().seats.get(&node).cloned()
    }

    fn link(&self, from: NodeId, to: NodeId) -> Option<Arc<Link>> {
        self.seat(from)?.table.link(to)
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.state().cut.contains_key(&(from, to))
    }

    fn vacate(&self, seat: &Seat) {
        let gone = seat.table.local();
        for link in seat.table.clear() {
            if let Some(other) = self.seat(link.node()) {
                other.lose(gone, true);
            }
        }
    }

    fn disconnect(&self, a: NodeId, b: NodeId) {
        for (here, there) in [(a, b), (b, a)] {
            if let Some(seat) = self.seat(here) {
                seat.lose(there, false);
            }
        }
    }

    /// Links two nodes if both are there, not linked yet, not cut, and not of different swarms.
    fn connect(&self, a: NodeId, b: NodeId) {
        let (Some(a), Some(b)) = (self.seat(a), self.seat(b)) else { return };
        let (x, y) = (a.table.local(), b.table.local());
        let silent = self.is_cut(x, y) || self.is_cut(y, x) || self.is_stopped(x) || self.is_stopped(y);
        if a.table.link(y).is_some() || silent {
            return;
        }
        let (Ok(a_end), Ok(b_end)) = (a.meet(&b), b.meet(&a)) else { return };
        for (seat, end) in [(&a, &a_end), (&b, &b_end)] {
            seat.table.insert(&end.0);
            seat.events.emit(PeerEvent::Up(end.0.peer()));
        }
        let ((a_link, a_outlet), (b_link, b_outlet)) = (a_end, b_end);
        let to_b = Intake::new(b_link.clone(), b.table.clone(), &b.inlets, b.events.clone());
        let to_a = Intake::new(a_link.clone(), a.table.clone(), &a.inlets, a.events.clone());
        tokio::spawn(self.clone().carry(a_link, a_outlet, to_b, b));
        tokio::spawn(self.clone().carry(b_link, b_outlet, to_a, a));
    }

    /// When the copies of a frame arrive; `None` if it does at once. What the links say for themselves always does.
    fn weathered(&self, from: NodeId, to: NodeId, frame: &Frame) -> Option<Vec<Duration>> {
        match frame.kind {
            Kind::Message | Kind::Request | Kind::Response | Kind::Refusal => {
                Some(self.weather.as_ref()?.copies(from, to, frame.service, frame.payload.len()))
            }
            Kind::Hello | Kind::Ping | Kind::Contacts => None,
        }
    }

    /// Carries what one end of a link sends to the other node's intake, until the link ends.
    async fn carry(self, link: Arc<Link>, mut outlet: Outlet, mut intake: Intake, receiver: Seat) {
        let (sender, to) = (intake.from(), receiver.table.local());
        let mut under_way: BTreeMap<(Instant, u64), Frame> = BTreeMap::new();
        let mut sent = 0_u64;
        let mut stops = self.stopped.subscribe();
        loop {
            let (sends, takes) = {
                let stopped = stops.borrow_and_update();
                (!stopped.contains_key(&sender), !stopped.contains_key(&to))
            };
            let due = under_way.first_key_value().map_or_else(Instant::now, |((due, _), _)| *due);
            let frame = tokio::select! {
                biased;
                () = link.until_ended() => return,
                Ok(()) = stops.changed() => continue,
                () = tokio::time::sleep_until(due), if takes && !under_way.is_empty() => under_way.pop_first().map(|(_, frame)| frame),
                frame = outlet.next(), if sends && under_way.len() < UNDER_WAY => match frame {
                    Some(frame) => match self.weathered(sender, to, &frame) {
                        None if takes => Some(frame),
                        copies => {
                            let copies = copies.unwrap_or_else(|| vec![Duration::ZERO]);
                            for delay in copies {
                                sent += 1;
                                under_way.insert((Instant::now() + delay, sent), frame.clone());
                            }
                            continue;
                        }
                    },
                    None => return,
                },
            };
            let Some(frame) = frame else { continue };
            if self.is_cut(sender, to) {
                continue;
            }
            if let Err(fault) = intake.take(frame).await {
                receiver.refuse(sender, &fault.to_string());
                self.disconnect(sender, to);
                return;
            }
        }
    }
}

impl Seat {
    /// This node's end of a new link to `other`, unless one objects to the other; then it is told here.
    fn meet(&self, other: &Seat) -> Result<(Arc<Link>, Outlet), Objection> {
        let swarm = self.table.watch_swarm();
        let theirs = other.table.hello(other.table.swarm());
        if let Err(objection) = theirs.judge(theirs.node, self.table.local(), self.table.swarm()) {
            self.refuse(theirs.node, &objection.to_string());
            return Err(objection);
        }
        let address = address(theirs.node);
        let peer = Peer { node: theirs.node, name: theirs.name, swarm: theirs.swarm, address, boot: theirs.boot };
        Ok(Link::new(peer, self.table.clone(), swarm))
    }

    fn refuse(&self, node: NodeId, why: &str) {
        tracing::warn!(%node, why, "turned a peer away");
        self.events.emit(PeerEvent::Refused { address: address(node), why: why.to_owned() });
    }

    fn lose(&self, node: NodeId, gone: bool) {
        if let Some(link) = self.table.link(node) {
            link.end();
            if self.table.remove(&link) {
                self.events.emit(PeerEvent::Down { node, gone });
            }
        }
    }
}

fn address(node: NodeId) -> String {
    format!("memory:{node}")
}

impl Mesh for MemoryMesh {
    fn local(&self) -> NodeId {
        self.seat.table.local()
    }

    /// None: nobody can be reached here from outside.
    fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    fn send(&self, to: NodeId, service: Service, bytes: Bytes) -> Result<(), SendError> {
        self.seat.table.send(to, service, bytes)
    }

    fn broadcast(&self, service: Service, bytes: Bytes) {
        self.seat.table.broadcast(service, &bytes);
    }

    fn request(
        &self,
        to: NodeId,
        service: Service,
        bytes: Bytes,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        self.seat.table.request(to, service, bytes, patience)
    }

    fn peers(&self) -> Vec<Peer> {
        self.seat.table.peers()
    }

    fn enter(&self, swarm: SwarmId) {
        let local = self.local();
        for link in self.seat.table.enter(swarm) {
            let theirs = link.peer().swarm.unwrap_or(swarm);
            self.seat.refuse(link.node(), &Objection::OtherSwarm { theirs, ours: swarm }.to_string());
            if let Some(other) = self.network.seat(link.node()) {
                other.refuse(local, &Objection::OtherSwarm { theirs: swarm, ours: theirs }.to_string());
            }
            self.network.disconnect(local, link.node());
        }
    }

    /// Nothing: every node of this network is known already.
    fn dial(&self, _peers: Vec<String>) {}

    fn close(&self) {
        let node = self.local();
        let mut state = self.network.state();
        // Not if the node has joined anew in the meantime.
        if state.seats.get(&node).is_some_and(|seat| Arc::ptr_eq(&seat.table, &self.seat.table)) {
            state.seats.remove(&node);
            drop(state);
            self.network.stopped.send_if_modified(|stopped| stopped.remove(&node).is_some());
            self.network.vacate(&self.seat);
        }
    }
}

impl Drop for MemoryMesh {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
