//! Connections that came and went, on their way to the one who listens.
//!
//! A slow listener never blocks the mesh and never makes this grow: of each node at most one `Down` and one `Up` wait,
//! and of refusals the newest [`REFUSALS`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::PeerEvent;
use crate::process::of_this_process;
use crate::task::NodeId;

/// Events in the listener's channel.
const CHANNEL: usize = 256;

/// Refusals that wait for a slow listener; older ones are dropped.
const REFUSALS: usize = 64;

/// The end at which events are put in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<VecDeque<PeerEvent>>,
    more: Notify,
}

impl Events {
    /// Both ends; a task carries what waits from one to the other and ends when the receiver is dropped.
    pub(crate) fn channel() -> (Events, mpsc::Receiver<PeerEvent>) {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let events = Events::default();
        tokio::spawn(of_this_process(events.clone().carry(sender)));
        (events, receiver)
    }

    /// Puts one in. Never waits.
    pub(crate) fn emit(&self, event: PeerEvent) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        coalesce(&mut waiting, event);
        drop(waiting);
        self.0.more.notify_one();
    }

    async fn carry(self, sender: mpsc::Sender<PeerEvent>) {
        loop {
            let Ok(place) = sender.reserve().await else { return };
            let next = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(event) => place.send(event),
                None => {
                    drop(place);
                    tokio::select! {
                        biased;
                        () = self.0.more.notified() => {}
                        () = sender.closed() => return,
                    }
                }
            }
        }
    }
}

/// Adds an event, dropping what it makes superfluous.
fn coalesce(waiting: &mut VecDeque<PeerEvent>, mut event: PeerEvent) {
    if let PeerEvent::Refused { .. } = event {
        let refused = |event: &PeerEvent| matches!(event, PeerEvent::Refused { .. });
        let full = waiting.iter().filter(|event| refused(event)).count() >= REFUSALS;
        if let Some(oldest) = waiting.iter().position(refused).filter(|_| full) {
            waiting.remove(oldest);
        }
    } else if let Some(last) = waiting.iter().rposition(|earlier| node_of(earlier) == node_of(&event)) {
        match (&waiting[last], &mut event) {
            // Nobody saw that it was up: what stays to be told is that it is down.
            (PeerEvent::Up(_), PeerEvent::Down { node, .. }) => {
                let node = *node;
                waiting.retain(|earlier| node_of(earlier) != Some(node));
            }
            (PeerEvent::Up(_), PeerEvent::Up(_)) => {
                waiting.remove(last);
            }
            (PeerEvent::Down { gone: before, .. }, PeerEvent::Down { gone, .. }) => {
                *gone |= *before;
                waiting.remove(last);
            }
            _ => {}
        }
    }
    waiting.push_back(event);
}

fn node_of(event: &PeerEvent) -> Option<NodeId> {
    match event {
        PeerEvent::Up(peer) => Some(peer.node),
        PeerEvent::Down { node, .. } => Some(*node),
        PeerEvent::Refused { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Peer;
    use super::*;

    fn up(node: u64) -> PeerEvent {
        let name = String::new();
        PeerEvent::Up(Peer { node: NodeId(node), name, swarm: None, address: String::new(), boot: 1 })
    }

    fn down(node: u64, gone: bool) -> PeerEvent {
        PeerEvent::Down { node: NodeId(node), gone }
    }

    fn folded(events: impl IntoIterator<Item = PeerEvent>) -> Vec<PeerEvent> {
        let mut waiting = VecDeque::new();
        events.into_iter().for_each(|event| coalesce(&mut waiting, event));
        waiting.into()
    }

    #[test]
    fn a_slow_listener_finds_at_most_a_down_and_an_up_of_each_node() {
        assert_eq!(folded([up(1), down(1, false), up(1)]), [down(1, false), up(1)]);
        assert_eq!(folded([down(1, true), up(1), up(2), down(1, false), up(1)]), [up(2), down(1, false), up(1)]);
        assert_eq!(folded([down(1, true), down(1, false)]), [down(1, true)]);
        assert_eq!(folded([up(1), up(1)]), [up(1)]);
    }

    #[test]
    fn refusals_are_bounded_and_the_newest_stay() {
        let refused = |n: usize| PeerEvent::Refused { address: n.to_string(), why: String::new() };
        let kept = folded((0..REFUSALS + 5).map(refused));
        assert_eq!(kept.len(), REFUSALS);
        assert_eq!(kept.last(), Some(&refused(REFUSALS + 4)));
    }

    #[tokio::test]
    async fn events_arrive_in_order() {
        let (events, mut receiver) = Events::channel();
        events.emit(up(1));
        events.emit(up(2));
        assert_eq!(receiver.recv().await, Some(up(1)));
        assert_eq!(receiver.recv().await, Some(up(2)));
    }
}
