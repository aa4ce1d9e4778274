//! From a connection to a link and back: which of two connections stays, who came, who was lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;

use super::super::super::contacts::{self, Contact};
use super::super::super::hello::{Hello, Objection};
use super::super::super::intake::Intake;
use super::super::super::link::Link;
use super::super::super::{Peer, PeerEvent};
use super::super::carrier::{self, End};
use super::super::transport::{describe, socket_address};
use super::super::{keys, probe};
use super::{Connection, Hub, Report};
use crate::task::NodeId;

/// A link older than this is replaced by a new connection: the peer would not have made one if it still had the old.
const SETTLED: Duration = Duration::from_secs(3);

impl Hub {
    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId, endpoint: &ConnectedPoint) {
        let (node, now) = (keys::node_id(&peer), Instant::now());
        let address = socket_address(endpoint.get_remote_address());
        let outbound = endpoint.is_dialer();
        if let Some(dialled) = self.dialling.remove(&connection) {
            self.dialer.identified(dialled, node, now);
        }
        self.connections.insert(connection, Connection { node, address, outbound, since: now, link: None });
        if outbound && self.table.link(node).is_some() {
            // Another address of a node that is linked already.
            self.swarm.close_connection(connection);
        } else if outbound {
            self.swarm.behaviour_mut().streams.open(peer, connection);
        }
    }

    pub(super) fn opened(&mut self, connection: ConnectionId, stream: libp2p::Stream) {
        let Some(known) = self.connections.get(&connection) else { return };
        let (node, address) = (known.node, known.address);
        let (table, reports) = (self.table.clone(), self.reports.clone());
        tokio::spawn(async move {
            let report = match carrier::meet(stream, &table, node).await {
                Ok(met) => Report::Met(connection, Box::new(met)),
                Err(end) => Report::NotMet { connection, node, address, end },
            };
            drop(reports.send(report).await);
        });
    }

    pub(super) fn disconnected(&mut self, connection: ConnectionId, why: String) {
        let Some(known) = self.connections.remove(&connection) else { return };
        match known.link {
            Some(link) => self.lost(&link, &End::Closed(std::io::Error::other(why))),
            // It never became a link; if no other does, it is dialled again.
            None if self.table.link(known.node).is_none() => {
                if let Some(address) = known.address.filter(|_| known.outbound) {
                    self.dialer.failed(address, Instant::now());
                }
            }
            None => {}
        }
    }

    /// Both sides have said hello: this connection becomes the link, unless the one that is there stays.
    pub(super) fn met(&mut self, connection: ConnectionId, met: carrier::Met<libp2p::Stream>) {
        let Some(known) = self.connections.get(&connection) else { return };
        let (node, address, outbound) = (known.node, known.address, known.outbound);
        if self.standing(node).is_some_and(|standing| !self.replaces(standing, outbound, met.hello.boot)) {
            self.swarm.close_connection(connection);
            return;
        }
        let home = if outbound { address } else { home_of(address, &met.hello) };
        let hello = met.hello.clone();
        let (name, swarm, boot) = (hello.name, hello.swarm, hello.boot);
        let peer = Peer { node, name, swarm, address: describe(home.or(address)), boot };
        self.restarted(node, boot);
        let (link, outlet) = Link::new(peer.clone(), self.table.clone(), met.swarm.clone());
        let intake =
            Intake::new(link.clone(), self.table.clone(), &self.inlets, self.events.clone()).with_contacts(self.contacts.clone());
        if let Some(replaced) = self.table.insert(&link) {
            // Its task reports the end, and its connection is closed then.
            replaced.end();
        }
        if let Some(known) = self.connections.get_mut(&connection) {
            known.link = Some(link.clone());
        }
        if let Some(home) = home {
            self.homes.insert(node, home);
            self.book.record(node, home);
            self.dialer.identified(home, node, Instant::now());
            self.make_known(&link, home);
        }
        self.dialer.linked(node);
        self.events.emit(PeerEvent::Up(peer));
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let end = carrier::carry(met, link.clone(), outlet, intake).await;
            drop(reports.send(Report::Ended(connection, link, end)).await);
        });
    }

    /// Tells a new peer of all others, and them of it.
    fn make_known(&self, newcomer: &Arc<Link>, home: SocketAddr) {
        let others = self.homes.iter().map(|(node, home)| (*node, *home)).filter(|(node, _)| *node != newcomer.node());
        let others: Vec<Contact> = others.filter(|(_, other)| is_of_use(*other, home)).collect();
        for frame in contacts::frames(&others) {
            // A new link's queue has room.
            let _ = newcomer.push(frame);
        }
        for link in self.table.links().into_iter().filter(|link| link.node() != newcomer.node()) {
            let theirs = self.homes.get(&link.node());
            if theirs.is_some_and(|theirs| is_of_use(home, *theirs)) {
                for frame in contacts::frames(&[(newcomer.node(), home)]) {
                    // If its queue is full it hears of it at the next link, or from somebody else.
                    let _ = link.push(frame);
                }
            }
        }
    }

    /// A peer named others: they are tried like any address.
    pub(super) fn introduced(&mut self, contacts: Vec<Contact>) {
        let now = Instant::now();
        for (node, address) in contacts.into_iter().filter(|(node, _)| *node != self.table.local()) {
            self.dialer.learn(address, Some(node), now);
        }
    }

    /// The connection that carries the link to a node.
    pub(super) fn standing(&self, node: NodeId) -> Option<&Connection> {
        let current = self.table.link(node)?;
        self.connections.values().find(|other| other.link.as_ref().is_some_and(|link| Arc::ptr_eq(link, &current)))
    }

    /// Both ends decide alike, whatever each of them saw first.
    pub(super) fn replaces(&self, standing: &Connection, outbound: bool, boot: u64) -> bool {
        let same_boot = standing.link.as_ref().is_some_and(|link| link.peer().boot == boot);
        // Two that crossed: the one that the smaller node dialled stays.
        let preferred = outbound == (self.table.local() < standing.node);
        !same_boot || standing.since.elapsed() > SETTLED || standing.outbound == outbound || preferred
    }

    /// If the node that comes up was up before with another boot, or is being probed, its end is told first.
    pub(super) fn restarted(&mut self, node: NodeId, boot: u64) {
        let before = self.probing.remove(&node).or_else(|| self.table.link(node).map(|link| link.peer().boot));
        if before.is_some_and(|before| before != boot) {
            self.events.emit(PeerEvent::Down { node, gone: true });
        }
    }

    /// A link ended, for whatever reason; harmless if it was replaced before.
    pub(super) fn lost(&mut self, link: &Arc<Link>, end: &End) {
        link.end();
        if !self.table.remove(link) {
            return;
        }
        let (node, now) = (link.node(), Instant::now());
        tracing::debug!(%node, %end, "lost a peer");
        if end.is_misbehaviour() {
            let peer = link.peer();
            let ip = peer.address.parse::<SocketAddr>().ok().map(|address| address.ip());
            self.refusals.report(ip, peer.address, end.to_string());
        }
        self.dialer.lost(node, end.is_misbehaviour(), now);
        match self.homes.remove(&node) {
            Some(home) if matches!(end, End::Closed(_)) => {
                self.probing.insert(node, link.peer().boot);
                let reports = self.reports.clone();
                tokio::spawn(async move {
                    let gone = probe::is_gone(home).await;
                    drop(reports.send(Report::Probed(node, gone)).await);
                });
            }
            _ => self.events.emit(PeerEvent::Down { node, gone: false }),
        }
    }

    /// Links to nodes of other swarms.
    pub(super) fn strangers(&self) -> Vec<(Arc<Link>, Objection)> {
        let Some(ours) = self.table.swarm() else { return Vec::new() };
        let stranger = |link: Arc<Link>| {
            let theirs = link.peer().swarm.filter(|theirs| *theirs != ours)?;
            Some((link, Objection::OtherSwarm { theirs, ours }))
        };
        self.table.links().into_iter().filter_map(stranger).collect()
    }
}

/// Whether a node that listens at `to` can make use of `address`: an address of this machine is of none elsewhere.
fn is_of_use(address: SocketAddr, to: SocketAddr) -> bool {
    !address.ip().is_loopback() || to.ip().is_loopback()
}

/// Where a peer that dialled us can be dialled.
fn home_of(came_from: Option<SocketAddr>, hello: &Hello) -> Option<SocketAddr> {
    let observed = || Some(SocketAddr::new(came_from?.ip(), hello.port?));
    hello.announce.or_else(observed).filter(|home| home.port() != 0)
}
