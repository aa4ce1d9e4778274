//! The libp2p behaviour that gives each connection exactly one stream, opened by the side that dialled.
//!
//! Enters: which connection to open a stream on. Leaves: streams, each with the connection it belongs to. What is said on
//! them is the carrier's business; which connection to keep is the hub's.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    Stream, StreamProtocol, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// The protocol's name on the wire.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/dunlin/link/1");

/// Something happened to a connection's stream.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// It is open.
    Opened { connection: ConnectionId, stream: Stream },
    /// The other side does not speak our protocol, or the connection broke.
    Failed { connection: ConnectionId, why: String },
}

/// One stream for each connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    waiting: VecDeque<ToSwarm<StreamEvent, Open>>,
}

/// Tells a connection's handler to open its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open;

impl Streams {
    /// Opens the stream of a connection that this side dialled.
    pub(super) fn open(&mut self, peer_id: PeerId, connection: ConnectionId) {
        self.waiting.push_back(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event: Open });
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler { accepts: true, ..Handler::default() })
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let event = match event {
            Ok(stream) => StreamEvent::Opened { connection, stream },
            Err(why) => StreamEvent::Failed { connection, why },
        };
        self.waiting.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Woken by the swarm after each of the calls above.
        self.waiting.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// One connection's share.
#[derive(Debug, Default)]
pub(super) struct Handler {
    /// Whether the other side may still open the one stream.
    accepts: bool,
    wanted: bool,
    ready: Option<Result<Stream, String>>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Result<Stream, String>;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    /// A quiet connection stays: silence is judged on the link, and the hub closes what it does not want.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if std::mem::take(&mut self.wanted) {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        match self.ready.take() {
            Some(result) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(result)),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, Open: Open) {
        self.wanted = true;
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            // A second stream, or one that the dialled side opens, is dropped, which resets it.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) if self.accepts => {
                self.accepts = false;
                self.ready = Some(Ok(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.ready = Some(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(failed) => self.ready = Some(Err(failed.error.to_string())),
            _ => {}
        }
    }
}
