//! What every [`Mesh`] must do, as tests that are run over each of them.
//!
//! A [`Ground`] makes nodes that find each other; the claims below are made of any ground.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::link::{QUEUE, QUEUE_BYTES};
use super::{Inboxes, Incoming, MAX_MESSAGE, PeerEvent, RequestError, SendError, Service, SharedMesh};
use crate::task::{NodeId, SwarmId};

/// Nothing in these tests may take longer.
pub(super) const SOON: Duration = Duration::from_secs(20);

pub(super) const OURS: SwarmId = SwarmId([0xaa; 16]);
pub(super) const OTHER: SwarmId = SwarmId([0xbb; 16]);

/// Somewhere nodes can be started; each finds all that were started before it.
pub(super) trait Ground {
    fn start(&mut self, name: &'static str) -> BoxFuture<'_, Node>;
}

pub(super) struct Node {
    pub(super) mesh: SharedMesh,
    pub(super) inboxes: Inboxes,
}

impl Node {
    pub(super) fn id(&self) -> NodeId {
        self.mesh.local()
    }

    /// Reads events until one is as wanted.
    pub(super) async fn until<T>(&mut self, wanted: impl Fn(&PeerEvent) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let search = async {
            loop {
                let event = self.inboxes.peers.recv().await.expect("the mesh lives");
                if let Some(found) = wanted(&event) {
                    return Some(found);
                }
                seen.push(event);
            }
        };
        let found = timeout(SOON, search).await.unwrap_or_default();
        found.unwrap_or_else(|| panic!("the event did not come; these did: {seen:?}"))
    }

    /// Waits until that node is up and of that swarm.
    pub(super) async fn until_up(&mut self, node: NodeId, swarm: Option<SwarmId>) {
        let up = |event: &PeerEvent| matches!(event, PeerEvent::Up(peer) if peer.node == node && peer.swarm == swarm);
        self.until(|event| up(event).then_some(())).await;
    }

    /// Waits until that node is down; says whether it is gone.
    pub(super) async fn until_down(&mut self, wanted: NodeId) -> bool {
        self.until(|event| match event {
            PeerEvent::Down { node, gone } if *node == wanted => Some(*gone),
            _ => None,
        })
        .await
    }

    /// Waits for a refusal and gives its reason.
    pub(super) async fn until_refused(&mut self) -> String {
        self.until(|event| match event {
            PeerEvent::Refused { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await
    }
}

pub(super) async fn next(inbox: &mut mpsc::Receiver<Incoming>) -> Incoming {
    timeout(SOON, inbox.recv()).await.expect("a message in time").expect("the mesh lives")
}

/// Two nodes of one swarm that can talk.
pub(super) async fn pair(ground: &mut impl Ground) -> (Node, Node) {
    let mut a = ground.start("ann").await;
    let mut b = ground.start("bob").await;
    a.mesh.enter(OURS);
    b.mesh.enter(OURS);
    a.until_up(b.id(), Some(OURS)).await;
    b.until_up(a.id(), Some(OURS)).await;
    (a, b)
}

fn number(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

pub(super) async fn messages_keep_their_order_within_a_service(ground: &mut impl Ground) {
    const COUNT: u32 = 200;
    let (a, mut b) = pair(ground).await;
    for n in 0..COUNT {
        a.mesh.send(b.id(), Service::Work, number(n)).unwrap();
        a.mesh.send(b.id(), Service::Election, number(n)).unwrap();
    }
    for n in 0..COUNT {
        let (work, beat) = (next(&mut b.inboxes.work).await, next(&mut b.inboxes.election).await);
        assert_eq!((work.from, work.bytes), (a.id(), number(n)));
        assert_eq!(beat.bytes, number(n));
        assert!(work.reply.is_none());
    }
}

pub(super) async fn questions_get_their_own_answers(ground: &mut impl Ground) {
    let (a, mut b) = pair(ground).await;
    let questions: Vec<_> = (0..50).map(|n| a.mesh.request(b.id(), Service::Api, number(n), SOON)).collect();
    let answering = async {
        let mut held = Vec::new();
        for _ in 0..50 {
            held.push(next(&mut b.inboxes.api).await);
        }
        // Answered in the opposite order.
        for asked in held.into_iter().rev() {
            let doubled = u32::from_be_bytes(asked.bytes[..].try_into().unwrap()) * 2;
            asked.reply.unwrap().send(number(doubled));
        }
    };
    let (answers, ()) = tokio::join!(join_all(questions), answering);
    for (n, answer) in (0u32..).zip(answers) {
        assert_eq!(answer.unwrap(), number(n * 2));
    }
}

pub(super) async fn a_dropped_reply_is_a_refusal(ground: &mut impl Ground) {
    let (a, mut b) = pair(ground).await;
    let asked = a.mesh.request(b.id(), Service::Raft, Bytes::new(), SOON);
    let (answer, ()) = tokio::join!(asked, async { drop(next(&mut b.inboxes.raft).await) });
    assert_eq!(answer, Err(RequestError::Refused(b.id())));
}

pub(super) async fn a_question_nobody_answers_times_out(ground: &mut impl Ground) {
    let (a, mut b) = pair(ground).await;
    let asked = a.mesh.request(b.id(), Service::Raft, Bytes::new(), Duration::from_millis(50));
    let (answer, held) = tokio::join!(asked, next(&mut b.inboxes.raft));
    assert_eq!(answer, Err(RequestError::TimedOut(b.id())));
    drop(held);
}

pub(super) async fn messages_up_to_the_limit_pass_and_larger_ones_are_refused(ground: &mut impl Ground) {
    let (a, mut b) = pair(ground).await;
    let largest: Bytes = (0..MAX_MESSAGE).map(|n| u8::try_from(n % 251).unwrap()).collect();
    a.mesh.send(b.id(), Service::Raft, largest.clone()).unwrap();
    a.mesh.send(b.id(), Service::Raft, number(1)).unwrap();
    assert!(next(&mut b.inboxes.raft).await.bytes == largest);
    assert_eq!(next(&mut b.inboxes.raft).await.bytes, number(1));
    let larger = Bytes::from(vec![0; MAX_MESSAGE + 1]);
    let refused = SendError::TooLarge(MAX_MESSAGE + 1);
    assert_eq!(a.mesh.send(b.id(), Service::Raft, larger.clone()), Err(refused));
    let asked = a.mesh.request(b.id(), Service::Raft, larger.clone(), SOON).await;
    assert_eq!(asked, Err(RequestError::Send(refused)));
    // An answer that is too large is a refusal, not a silence.
    let asked = a.mesh.request(b.id(), Service::Raft, Bytes::new(), SOON);
    let answering = async { next(&mut b.inboxes.raft).await.reply.unwrap().send(larger) };
    assert_eq!(tokio::join!(asked, answering).0, Err(RequestError::Refused(b.id())));
}

pub(super) async fn strangers_are_not_connected(ground: &mut impl Ground) {
    let (a, _b) = pair(ground).await;
    let stranger = NodeId(12345);
    assert_eq!(a.mesh.send(stranger, Service::Work, Bytes::new()), Err(SendError::NotConnected(stranger)));
    let asked = a.mesh.request(stranger, Service::Work, Bytes::new(), SOON).await;
    assert_eq!(asked, Err(RequestError::Send(SendError::NotConnected(stranger))));
}

pub(super) async fn a_peer_that_leaves_in_the_middle_of_a_question_is_noticed(ground: &mut impl Ground) {
    let (mut a, mut b) = pair(ground).await;
    let (gone, asked) = (b.id(), a.mesh.request(b.id(), Service::Raft, Bytes::new(), SOON));
    let leaving = async {
        let held = next(&mut b.inboxes.raft).await;
        drop(b);
        held
    };
    let (answer, _held) = tokio::join!(asked, leaving);
    assert_eq!(answer, Err(RequestError::Disconnected(gone)));
    assert!(a.until_down(gone).await, "its port refuses, so it is gone");
    assert!(a.mesh.peers().is_empty());
    assert_eq!(a.mesh.send(gone, Service::Raft, Bytes::new()), Err(SendError::NotConnected(gone)));
}

pub(super) async fn a_broadcast_reaches_every_member(ground: &mut impl Ground) {
    let mut nodes = Vec::new();
    for name in ["ann", "bob", "cid", "dot"] {
        let node = ground.start(name).await;
        node.mesh.enter(OURS);
        nodes.push(node);
    }
    let ids: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    for node in &mut nodes {
        let others: Vec<_> = ids.iter().copied().filter(|id| *id != node.id()).collect();
        let mut missing: std::collections::BTreeSet<_> = others.into_iter().collect();
        while !missing.is_empty() {
            let up = |event: &PeerEvent| match event {
                PeerEvent::Up(peer) if peer.swarm == Some(OURS) => Some(peer.node),
                _ => None,
            };
            missing.remove(&node.until(up).await);
        }
    }
    for n in 0..10 {
        nodes[0].mesh.broadcast(Service::Roster, number(n));
    }
    for node in &mut nodes[1..] {
        for n in 0..10 {
            let heard = next(&mut node.inboxes.roster).await;
            assert_eq!((heard.from, heard.bytes), (ids[0], number(n)));
            assert!(heard.reply.is_none());
        }
    }
    assert!(nodes[0].inboxes.roster.try_recv().is_err(), "not to itself");
}

pub(super) async fn two_swarms_turn_each_other_away_by_name(ground: &mut impl Ground) {
    let mut a = ground.start("ann").await;
    a.mesh.enter(OURS);
    let mut b = ground.start("bob").await;
    b.mesh.enter(OTHER);
    let (at_a, at_b) = tokio::join!(a.until_refused(), b.until_refused());
    assert!(at_a.contains(&OTHER.to_string()), "{at_a}");
    assert!(at_b.contains(&OURS.to_string()), "{at_b}");
    assert_eq!(a.mesh.send(b.id(), Service::Work, Bytes::new()), Err(SendError::NotConnected(b.id())));
}

pub(super) async fn nodes_of_no_swarm_may_only_found_one(ground: &mut impl Ground) {
    let mut a = ground.start("ann").await;
    let mut b = ground.start("bob").await;
    a.until_up(b.id(), None).await;
    b.until_up(a.id(), None).await;
    for service in [Service::Election, Service::Raft, Service::Roster, Service::Work, Service::Api] {
        assert_eq!(a.mesh.send(b.id(), service, Bytes::new()), Err(SendError::NotConnected(b.id())));
    }
    a.mesh.send(b.id(), Service::Founding, number(1)).unwrap();
    assert_eq!(next(&mut b.inboxes.founding).await.bytes, number(1));
    // One that has a swarm may answer one that has none.
    b.mesh.enter(OURS);
    a.until_up(b.id(), Some(OURS)).await;
    let asked = a.mesh.request(b.id(), Service::Founding, number(2), SOON);
    let answering = async { next(&mut b.inboxes.founding).await.reply.unwrap().send(number(3)) };
    assert_eq!(tokio::join!(asked, answering).0, Ok(number(3)));
    assert_eq!(b.mesh.send(a.id(), Service::Work, Bytes::new()), Err(SendError::NotConnected(a.id())));
}

pub(super) async fn entering_a_swarm_is_told_before_anything_else(ground: &mut impl Ground) {
    let mut a = ground.start("ann").await;
    let mut b = ground.start("bob").await;
    a.until_up(b.id(), None).await;
    b.until_up(a.id(), None).await;
    b.mesh.enter(OURS);
    a.until_up(b.id(), Some(OURS)).await;
    a.mesh.enter(OURS);
    a.mesh.send(b.id(), Service::Work, number(1)).unwrap();
    assert_eq!(next(&mut b.inboxes.work).await.bytes, number(1));
    b.until_up(a.id(), Some(OURS)).await;
    let peers = b.mesh.peers();
    assert_eq!(peers.len(), 1);
    assert_eq!((peers[0].name.as_str(), peers[0].swarm, peers[0].boot), ("ann", Some(OURS), 1));
}

pub(super) async fn a_slow_reader_fills_a_bounded_queue(ground: &mut impl Ground) {
    let (a, mut b) = pair(ground).await;
    let large = Bytes::from(vec![7; 1 << 20]);
    // Nothing yields here, so that what is taken is what the queue holds.
    let mut taken = 0;
    let full = loop {
        match a.mesh.send(b.id(), Service::Work, large.clone()) {
            Ok(()) => taken += 1,
            Err(problem) => break problem,
        }
        assert!(taken < 10_000, "the queue has no end");
    };
    assert_eq!(full, SendError::QueueFull(b.id()));
    // On several threads the writer may take some away in the meantime.
    let fits = QUEUE_BYTES >> 20;
    assert!((fits..=4 * fits).contains(&taken), "{taken} messages of 1 MiB were queued");
    // A full queue of one kind does not stop the urgent ones for good, and the link recovers.
    assert_eq!(next(&mut b.inboxes.work).await.bytes, large);
    let beat = async {
        loop {
            if a.mesh.send(b.id(), Service::Election, number(5)).is_ok() {
                break;
            }
            let _ = timeout(Duration::from_millis(20), b.inboxes.work.recv()).await;
        }
        next(&mut b.inboxes.election).await.bytes
    };
    assert_eq!(timeout(SOON, beat).await.unwrap(), number(5));
}

pub(super) async fn a_room_that_does_not_read_does_not_silence_the_others(ground: &mut impl Ground) {
    let (a, mut b) = pair(ground).await;
    let flood = u32::try_from(QUEUE).unwrap() / 2;
    for n in 0..flood {
        a.mesh.send(b.id(), Service::Work, number(n)).unwrap();
    }
    let asked = a.mesh.request(b.id(), Service::Work, Bytes::new(), SOON).await;
    assert_eq!(asked, Err(RequestError::Refused(b.id())), "its inbox is full");
    a.mesh.send(b.id(), Service::Raft, number(1)).unwrap();
    assert_eq!(next(&mut b.inboxes.raft).await.bytes, number(1));
    let mut kept = 0;
    while b.inboxes.work.try_recv().is_ok() {
        kept += 1;
    }
    assert_eq!(kept, super::inbox::BULK_INBOX);
}

/// Runs every claim, each over a new ground, under the test attribute given.
macro_rules! hold_the_contract {
    (@one $attribute:tt, $ground:expr, $($claim:ident)*) => {
        $($crate::mesh::contract::hold_the_contract!(@test $attribute, $ground, $claim);)*
    };
    (@test [$($attribute:tt)*], $ground:expr, $claim:ident) => {
        #[$($attribute)*]
        async fn $claim() {
            $crate::mesh::contract::$claim(&mut $ground).await;
        }
    };
    ($attribute:tt, $ground:expr) => {
        $crate::mesh::contract::hold_the_contract! {
            @one $attribute, $ground,
            messages_keep_their_order_within_a_service
            questions_get_their_own_answers
            a_dropped_reply_is_a_refusal
            a_question_nobody_answers_times_out
            messages_up_to_the_limit_pass_and_larger_ones_are_refused
            strangers_are_not_connected
            a_peer_that_leaves_in_the_middle_of_a_question_is_noticed
            a_broadcast_reaches_every_member
            two_swarms_turn_each_other_away_by_name
            nodes_of_no_swarm_may_only_found_one
            entering_a_swarm_is_told_before_anything_else
            a_slow_reader_fills_a_bounded_queue
            a_room_that_does_not_read_does_not_silence_the_others
        }
    };
}
pub(super) use hold_the_contract;
