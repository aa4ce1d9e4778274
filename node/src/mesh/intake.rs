//! What happens with a frame that came over a link: into an inbox, to the one who asked, or an objection.
//!
//! Frames enter in the order in which they were carried; an error means that the peer broke the rules and is not talked
//! to any longer. Reading frames off a wire is the carrier's business.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::contacts::Contact;
use super::events::Events;
use super::frame::{Frame, Kind};
use super::hello::{Hello, Objection};
use super::inbox::{Delivery, Inlets};
use super::link::Link;
use super::table::Table;
use super::{Incoming, Peer, PeerEvent, Reply, Service};
use crate::task::NodeId;

/// Hellos that a peer may say in [`HELLO_WINDOW`].
const HELLOS: u32 = 30;

/// See [`HELLOS`].
const HELLO_WINDOW: Duration = Duration::from_secs(60);

/// How a peer broke the rules.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Objection(#[from] Objection),
    #[error("it said hello more than {HELLOS} times a minute")]
    TooManyHellos,
}

/// One link's way in.
#[derive(Debug)]
pub(crate) struct Intake {
    link: Arc<Link>,
    table: Arc<Table>,
    delivery: Delivery,
    events: Events,
    hellos: u32,
    window: Instant,
    contacts: Option<mpsc::Sender<Vec<Contact>>>,
}

impl Intake {
    /// The way in for what the peer of `link` sends.
    pub(crate) fn new(link: Arc<Link>, table: Arc<Table>, inlets: &Inlets, events: Events) -> Intake {
        Intake { link, table, delivery: inlets.delivery(), events, hellos: 0, window: Instant::now(), contacts: None }
    }

    /// Passes on whom the peer names; what is not taken quickly enough is dropped, it will be told again.
    pub(crate) fn with_contacts(self, contacts: mpsc::Sender<Vec<Contact>>) -> Intake {
        Intake { contacts: Some(contacts), ..self }
    }

    /// Whose frames these are.
    pub(crate) fn from(&self) -> NodeId {
        self.link.node()
    }

    /// Takes one frame; waits at most the inboxes' patience.
    pub(crate) async fn take(&mut self, frame: Frame) -> Result<(), Fault> {
        let Frame { service, kind, id, payload } = frame;
        match kind {
            Kind::Message => self.message(service, id, payload).await,
            Kind::Request => self.request(service, id, payload).await,
            Kind::Response => self.link.settle(id, Some(payload)),
            Kind::Refusal => self.link.settle(id, None),
            Kind::Hello => self.hello(&payload)?,
            Kind::Ping => {}
            Kind::Contacts => self.contacts(&payload),
        }
        Ok(())
    }

    async fn message(&mut self, service: Service, id: u64, bytes: Bytes) {
        let from = self.link.node();
        if !self.link.admits(service) {
            tracing::debug!(%from, ?service, "ignored a message of a peer that is not of this swarm");
        } else if id == 0 || self.table.is_first(from, id) {
            self.delivery.deliver(service, Incoming { from, bytes, reply: None }).await;
        }
    }

    async fn request(&mut self, service: Service, id: u64, bytes: Bytes) {
        let from = self.link.node();
        let (reply, answer) = Reply::channel();
        let accepted = self.link.admits(service) && self.link.answer_later(service, id, answer);
        if accepted {
            self.delivery.deliver(service, Incoming { from, bytes, reply: Some(reply) }).await;
        } else if let Err(problem) = self.link.push(Frame::bare(service, Kind::Refusal, id)) {
            tracing::debug!(%from, ?service, %problem, "a refusal could not be queued");
        }
    }

    fn contacts(&self, bytes: &[u8]) {
        if let Some(contacts) = &self.contacts {
            drop(contacts.try_send(super::contacts::decode(bytes)));
        }
    }

    fn hello(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.window.elapsed() > HELLO_WINDOW {
            self.window = Instant::now();
            self.hellos = 0;
        }
        self.hellos += 1;
        if self.hellos > HELLOS {
            return Err(Fault::TooManyHellos);
        }
        let hello = Hello::decode(bytes)?;
        hello.judge(self.link.node(), self.table.local(), self.table.swarm())?;
        let before = self.link.peer();
        let now = Peer { name: hello.name, swarm: hello.swarm, boot: hello.boot, ..before };
        self.table.introduce(&self.link, now.clone());
        self.events.emit(PeerEvent::Up(now));
        Ok(())
    }
}
