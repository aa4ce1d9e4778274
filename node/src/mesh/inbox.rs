//! The bounded inboxes of the rooms, and what happens when one is full.
//!
//! Urgent messages are dropped at once: a newer one follows soon. The others hold up their sender's stream for at most
//! [`PATIENCE`] per congestion, then they are dropped too, so that one slow room never silences the rest for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::timeout;

use super::{Inboxes, Incoming, PeerEvent, Service};

/// Messages in an urgent service's inbox.
pub(crate) const URGENT_INBOX: usize = 1024;

/// Messages in another service's inbox.
pub(crate) const BULK_INBOX: usize = 256;

/// How long a full inbox may hold up a peer's stream. Far below the election's lease, since beats wait behind it.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

const SERVICES: usize = Service::ALL.len();

/// The sending ends of a node's inboxes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Inlets {
    senders: [mpsc::Sender<Incoming>; SERVICES],
    dropped: Arc<[AtomicU64; SERVICES]>,
}

/// One peer's way into the inboxes: remembers which of them are congested.
#[derive(Debug)]
pub(crate) struct Delivery {
    inlets: Inlets,
    congested: [bool; SERVICES],
}

/// The inboxes of a node, and the ends that fill them.
pub(crate) fn inboxes(peers: mpsc::Receiver<PeerEvent>) -> (Inlets, Inboxes) {
    let channel = |service: Service| mpsc::channel(if service.is_urgent() { URGENT_INBOX } else { BULK_INBOX });
    let (founding_in, founding) = channel(Service::Founding);
    let (election_in, election) = channel(Service::Election);
    let (raft_in, raft) = channel(Service::Raft);
    let (roster_in, roster) = channel(Service::Roster);
    let (work_in, work) = channel(Service::Work);
    let (api_in, api) = channel(Service::Api);
    let senders = [founding_in, election_in, raft_in, roster_in, work_in, api_in];
    let inlets = Inlets { senders, dropped: Arc::default() };
    (inlets, Inboxes { peers, founding, election, raft, roster, work, api })
}

impl Inlets {
    /// A way in for one peer.
    pub(crate) fn delivery(&self) -> Delivery {
        Delivery { inlets: self.clone(), congested: [false; SERVICES] }
    }

    /// Puts a message in if there is room now.
    pub(crate) fn offer(&self, service: Service, incoming: Incoming) -> Result<(), Incoming> {
        match self.senders[service as usize].try_send(incoming) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(incoming) | TrySendError::Closed(incoming)) => Err(incoming),
        }
    }

    /// Counts a message that found no room, and says so at the first and then ever more rarely.
    pub(crate) fn count_drop(&self, service: Service) {
        let dropped = self.dropped[service as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            tracing::warn!(?service, dropped, "an inbox is full: messages were dropped");
        }
    }

    /// Messages dropped so far for want of room.
    #[cfg(test)]
    pub(crate) fn dropped(&self, service: Service) -> u64 {
        self.dropped[service as usize].load(Ordering::Relaxed)
    }
}

impl Delivery {
    /// Delivers, or drops after the patience that the service deserves. A dropped request's reply says so to the asker.
    pub(crate) async fn deliver(&mut self, service: Service, incoming: Incoming) {
        let index = service as usize;
        let Err(incoming) = self.inlets.offer(service, incoming) else {
            self.congested[index] = false;
            return;
        };
        if service.is_urgent() || self.congested[index] {
            self.inlets.count_drop(service);
            return;
        }
        match timeout(PATIENCE, self.inlets.senders[index].reserve()).await {
            Ok(Ok(place)) => place.send(incoming),
            Ok(Err(_)) => {}
            Err(_) => {
                self.congested[index] = true;
                self.inlets.count_drop(service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::task::NodeId;

    fn message() -> Incoming {
        Incoming { from: NodeId(1), bytes: Bytes::new(), reply: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_inbox_holds_up_its_peer_once_and_urgent_ones_never() {
        let (inlets, mut inboxes) = inboxes(mpsc::channel(1).1);
        let mut delivery = inlets.delivery();
        let start = tokio::time::Instant::now();
        for _ in 0..URGENT_INBOX + 10 {
            delivery.deliver(Service::Election, message()).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(inlets.dropped(Service::Election), 10);
        for _ in 0..BULK_INBOX + 10 {
            delivery.deliver(Service::Work, message()).await;
        }
        let waited = start.elapsed();
        assert!(waited >= PATIENCE && waited < PATIENCE * 2, "{waited:?}");
        assert_eq!(inlets.dropped(Service::Work), 10);
        inboxes.work.recv().await.unwrap();
        delivery.deliver(Service::Work, message()).await;
        assert_eq!(inlets.dropped(Service::Work), 10);
    }
}
