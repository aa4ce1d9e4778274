//! The in-memory network keeps the contract of every mesh.

use futures::FutureExt;

use super::super::contract::{Ground, Node, OURS, hold_the_contract, next, pair};
use super::*;

#[derive(Default)]
struct InMemory {
    network: MemoryNetwork,
    started: u64,
}

impl Ground for InMemory {
    fn start(&mut self, name: &'static str) -> BoxFuture<'_, Node> {
        self.started += 1;
        let (mesh, inboxes) = self.network.join(NodeId(self.started), name);
        std::future::ready(Node { mesh, inboxes }).boxed()
    }
}

hold_the_contract! { [tokio::test(start_paused = true)], InMemory::default() }

#[tokio::test(start_paused = true)]
async fn a_cut_is_silent_until_the_peer_is_held_for_lost_and_heals() {
    let mut ground = InMemory::default();
    let (mut a, mut b) = pair(&mut ground).await;
    ground.network.cut(a.id(), b.id());
    let start = Instant::now();
    a.mesh.send(b.id(), Service::Work, Bytes::from_static(b"lost")).unwrap();
    assert!(!a.until_down(b.id()).await);
    assert!(!b.until_down(a.id()).await);
    assert_eq!(start.elapsed(), SILENCE);
    ground.network.heal(a.id(), b.id());
    a.until_up(b.id(), Some(OURS)).await;
    a.mesh.send(b.id(), Service::Work, Bytes::from_static(b"heard")).unwrap();
    assert_eq!(next(&mut b.inboxes.work).await.bytes, "heard");
}

#[tokio::test(start_paused = true)]
async fn a_one_way_cut_stops_one_way_only() {
    let mut ground = InMemory::default();
    let (mut a, mut b) = pair(&mut ground).await;
    ground.network.cut_one_way(a.id(), b.id());
    a.mesh.send(b.id(), Service::Work, Bytes::from_static(b"lost")).unwrap();
    b.mesh.send(a.id(), Service::Work, Bytes::from_static(b"heard")).unwrap();
    assert_eq!(next(&mut a.inboxes.work).await.bytes, "heard");
    ground.network.heal_one_way(a.id(), b.id());
    a.mesh.send(b.id(), Service::Work, Bytes::from_static(b"again")).unwrap();
    assert_eq!(next(&mut b.inboxes.work).await.bytes, "again", "and what was sent while it was cut stays lost");
}

#[tokio::test(start_paused = true)]
async fn a_reset_link_comes_back_and_a_restart_shows_in_the_boot_number() {
    let mut ground = InMemory::default();
    let (mut a, b) = pair(&mut ground).await;
    ground.network.reset(a.id(), b.id());
    assert!(!a.until_down(b.id()).await);
    a.until_up(b.id(), Some(OURS)).await;
    let id = b.id();
    drop(b);
    assert!(a.until_down(id).await);
    let (_again, _inboxes) = ground.network.join(id, "bob");
    a.until_up(id, None).await;
    assert_eq!(a.mesh.peers()[0].boot, 2);
}

#[tokio::test(start_paused = true)]
async fn two_runs_are_alike() {
    async fn run() -> Vec<(NodeId, Bytes)> {
        let mut ground = InMemory::default();
        let (mut a, b) = pair(&mut ground).await;
        let c = ground.start("cid").await;
        c.mesh.enter(OURS);
        a.until_up(c.id(), Some(OURS)).await;
        for n in 0..100u8 {
            for mesh in [&b.mesh, &c.mesh] {
                mesh.broadcast(Service::Roster, Bytes::copy_from_slice(&[n]));
            }
        }
        let mut heard = Vec::new();
        for _ in 0..200 {
            let message = next(&mut a.inboxes.roster).await;
            heard.push((message.from, message.bytes));
        }
        heard
    }
    assert_eq!(run().await, run().await);
}
