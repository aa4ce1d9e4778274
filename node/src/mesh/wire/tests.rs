//! The mesh over loopback: the contract, and what only a real network can do wrong.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::gossipsub;
use libp2p::swarm::SwarmEvent;
use libp2p_swarm_test::SwarmExt;
use tempfile::TempDir;
use tokio::time::timeout;

use super::behaviour::{Behaviour, BehaviourEvent};
use super::streams::{StreamEvent, Streams};
use super::transport::multiaddress;
use super::*;
use crate::mesh::contract::{Ground, Node, OURS, SOON, hold_the_contract, next, pair};
use crate::mesh::events::Events;
use crate::mesh::frame::{Frame, Kind};
use crate::mesh::hello::{Hello, PROTOCOL};
use crate::mesh::{PeerEvent, Service};
use crate::task::NodeId;

#[derive(Default)]
struct Loopback {
    data: Vec<TempDir>,
    known: Vec<String>,
}

fn config(data: &Path, name: &str, peers: Vec<String>) -> MeshConfig {
    MeshConfig {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        secret: "test secret".to_owned(),
        peers,
        mdns: false,
        name: name.to_owned(),
        data: data.to_owned(),
        boot: 1,
        max_connections: DEFAULT_MAX_CONNECTIONS,
        announce: None,
    }
}

async fn start_node(config: MeshConfig) -> Node {
    let (mesh, inboxes) = start(config).await.unwrap();
    Node { mesh, inboxes }
}

fn only_address(node: &Node) -> SocketAddr {
    node.mesh.addresses()[0]
}

impl Ground for Loopback {
    fn start(&mut self, name: &'static str) -> BoxFuture<'_, Node> {
        async move {
            let data = tempfile::tempdir().unwrap();
            let node = start_node(config(data.path(), name, self.known.clone())).await;
            self.known.push(only_address(&node).to_string());
            self.data.push(data);
            node
        }
        .boxed()
    }
}

hold_the_contract! { [tokio::test(flavor = "multi_thread", worker_threads = 2)], Loopback::default() }

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let data = tempfile::tempdir().unwrap();
    let first = start_node(config(data.path(), "ann", vec![])).await;
    let other = tempfile::tempdir().unwrap();
    let taken = MeshConfig { listen: vec![only_address(&first)], ..config(other.path(), "bob", vec![]) };
    let refused = start(taken).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, MeshError::PortTaken { address } if address == only_address(&first)), "{refused}");
}

#[tokio::test]
async fn a_wrong_secret_gets_nowhere_and_is_named_on_both_sides() {
    let mut ground = Loopback::default();
    let mut a = ground.start("ann").await;
    let data = tempfile::tempdir().unwrap();
    let wrong = MeshConfig { secret: "another".to_owned(), ..config(data.path(), "eve", ground.known.clone()) };
    let mut eve = start_node(wrong).await;
    let (at_a, at_eve) = tokio::join!(a.until_refused(), eve.until_refused());
    assert!(at_a.contains("no common secret"), "{at_a}");
    assert!(at_eve.contains("no common secret"), "{at_eve}");
    assert!(a.mesh.peers().is_empty() && eve.mesh.peers().is_empty());
}

#[tokio::test]
async fn a_closed_peer_is_gone_and_comes_back_under_a_new_boot() {
    let mut ground = Loopback::default();
    let (mut a, b) = pair(&mut ground).await;
    let (id, address) = (b.id(), only_address(&b));
    b.mesh.close();
    let gone = a.until_down(id).await;
    assert!(gone, "its port refuses");
    drop(b);
    let mut again = config(ground.data[1].path(), "bob", vec![]);
    again.listen = vec![address];
    again.boot = 2;
    let back = Instant::now();
    // The restarted node knows nobody but by its book; either side may dial.
    let again = start_node(again).await;
    assert_eq!(again.id(), id, "the key is in the data folder");
    let boot = a
        .until(|event| match event {
            PeerEvent::Up(peer) if peer.node == id => Some(peer.boot),
            _ => None,
        })
        .await;
    assert_eq!(boot, 2);
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_node_among_its_own_peers_is_left_out_and_the_address_book_finds_the_others() {
    let mut ground = Loopback::default();
    let (a, b) = pair(&mut ground).await;
    a.mesh.dial(vec![only_address(&a).to_string(), only_address(&b).to_string()]);
    let (ann, bobs) = (a.id(), only_address(&b));
    drop(a);
    let mut b = b;
    b.until_down(ann).await;
    // No peers are configured: the book alone knows where bob is.
    let book = ground.data[0].path().join("peers.json");
    let written = async {
        while !std::fs::read_to_string(&book).is_ok_and(|text| text.contains(&bobs.to_string())) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, written).await.unwrap();
    let again = MeshConfig { boot: 2, ..config(ground.data[0].path(), "ann", vec![]) };
    let mut again = start_node(again).await;
    again.mesh.enter(OURS);
    again.until_up(b.id(), Some(OURS)).await;
    assert_eq!(again.mesh.peers().len(), 1, "itself is not among them");
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_keep_one_link() {
    let mut ground = Loopback::default();
    let (mut a, mut b) = (ground.start("ann").await, ground.start("bob").await);
    a.mesh.dial(vec![only_address(&b).to_string()]);
    b.mesh.dial(vec![only_address(&a).to_string()]);
    a.mesh.enter(OURS);
    b.mesh.enter(OURS);
    a.until_up(b.id(), Some(OURS)).await;
    b.until_up(a.id(), Some(OURS)).await;
    let answers = async {
        for _ in 0..20 {
            let asked = a.mesh.request(b.id(), Service::Api, Bytes::from_static(b"?"), SOON);
            let answering = async { next(&mut b.inboxes.api).await.reply.unwrap().send(Bytes::from_static(b"!")) };
            // A crossing connection may replace the first one once; the question is then asked again.
            let (answer, _) = tokio::join!(asked, timeout(Duration::from_millis(500), answering));
            if answer.is_ok() {
                return;
            }
        }
        panic!("no answer");
    };
    timeout(SOON, answers).await.unwrap();
    assert_eq!((a.mesh.peers().len(), b.mesh.peers().len()), (1, 1));
}

/// The child's half of the next test: a node in a process of its own, until it is killed or its input ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn child_that_waits_to_be_killed() {
    let Ok(peer) = std::env::var("DUNLIN_TEST_PEER") else { return };
    let data = tempfile::tempdir().unwrap();
    let node = start_node(config(data.path(), "child", vec![peer])).await;
    node.mesh.enter(OURS);
    let until_end = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(until_end).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_is_gone_at_once() {
    let mut a = Loopback::default().start("ann").await;
    a.mesh.enter(OURS);
    let child = ["--exact", "mesh::wire::tests::child_that_waits_to_be_killed", "--ignored"];
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(child)
        .env("DUNLIN_TEST_PEER", only_address(&a).to_string())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let up = |event: &PeerEvent| match event {
        PeerEvent::Up(peer) if peer.swarm == Some(OURS) => Some(peer.node),
        _ => None,
    };
    let node = a.until(up).await;
    child.kill().unwrap();
    let killed = Instant::now();
    child.wait().unwrap();
    assert!(a.until_down(node).await);
    println!("gone {:?} after the kill", killed.elapsed());
}

/// Starts five nodes that know addresses by `peers_of`, and waits until each is linked with all the others.
async fn five_find_each_other(peers_of: impl Fn(usize, &[SocketAddr]) -> Vec<String>) {
    let folders: Vec<TempDir> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut nodes = Vec::new();
    for folder in &folders {
        nodes.push(start_node(config(folder.path(), "one of five", vec![])).await);
    }
    let addresses: Vec<SocketAddr> = nodes.iter().map(only_address).collect();
    for (n, node) in nodes.iter().enumerate() {
        node.mesh.enter(OURS);
        node.mesh.dial(peers_of(n, &addresses));
    }
    let ids: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    for node in &mut nodes {
        let all = async {
            while node.mesh.peers().iter().filter(|peer| peer.swarm == Some(OURS)).count() < 4 {
                node.inboxes.peers.recv().await.unwrap();
            }
        };
        timeout(SOON, all).await.expect("all four others");
        let mut found: Vec<NodeId> = node.mesh.peers().iter().map(|peer| peer.node).collect();
        found.push(node.mesh.local());
        found.sort();
        let mut expected = ids.clone();
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_that_all_dial_all_find_each_other() {
    five_find_each_other(|_, all| all.iter().map(ToString::to_string).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knowing_one_node_is_enough_to_find_all() {
    five_find_each_other(|n, all| if n == 0 { vec![] } else { vec![format!("localhost:{}", all[0].port())] }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_also_travels_over_others() {
    let mut ground = Loopback::default();
    let (mut a, mut b) = pair(&mut ground).await;
    // Somebody who speaks gossip with bob alone, and has no link with anybody.
    let mut relayed = Raw::connect(only_address(&b)).await;
    relayed.swarm.behaviour_mut().gossip.subscribe(&gossip::topic()).unwrap();
    let hello = hello_frame(&relayed.hello());
    relayed.stream.write_all(&hello).await.unwrap();
    relayed.stream.flush().await.unwrap();
    b.until_up(relayed.node, Some(OURS)).await;
    let mut again = tokio::time::interval(Duration::from_millis(100));
    let heard = async {
        loop {
            tokio::select! {
                // The overlay needs a moment to form, so it is told until it is heard.
                _ = again.tick() => a.mesh.broadcast(Service::Roster, Bytes::from_static(b"over bob")),
                event = relayed.swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. })) = event {
                        return message;
                    }
                }
            }
        }
    };
    let message = timeout(SOON, heard).await.unwrap();
    assert_eq!(message.source.map(|source| keys::node_id(&source)), Some(a.id()), "signed by its author");
    let told = gossip::Gossip::decode(message.data).unwrap();
    assert_eq!((told.swarm, told.service, &told.payload[..]), (OURS, Service::Roster, &b"over bob"[..]));
    // And bob has each of them once, though two copies came.
    let first = next(&mut b.inboxes.roster).await;
    assert_eq!((first.from, &first.bytes[..]), (a.id(), &b"over bob"[..]));
    assert!(a.inboxes.roster.try_recv().is_err());
}

/// A peer that has the secret and a key, but behaves as the test likes.
struct Raw {
    swarm: libp2p::Swarm<Behaviour>,
    stream: libp2p::Stream,
    node: NodeId,
    _data: TempDir,
}

impl Raw {
    /// Connects, and opens the stream without saying hello.
    async fn connect(address: SocketAddr) -> Raw {
        let data = tempfile::tempdir().unwrap();
        let key = keys::load_or_create(data.path()).unwrap();
        let peer = key.public().to_peer_id();
        let refusals = refusals::Refusals::new(Events::channel().0);
        let transport = transport::transport(&key, keys::network_key("test secret"), refusals).unwrap();
        let settings = libp2p::swarm::Config::with_tokio_executor();
        let mut swarm = libp2p::Swarm::new(transport, Behaviour::new(&key, 8, false).unwrap(), peer, settings);
        swarm.dial(multiaddress(address)).unwrap();
        let opened = async {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                        swarm.behaviour_mut().streams.open(peer_id, connection_id);
                    }
                    SwarmEvent::Behaviour(BehaviourEvent::Streams(StreamEvent::Opened { stream, .. })) => return stream,
                    _ => {}
                }
            }
        };
        let stream = timeout(SOON, opened).await.unwrap();
        Raw { swarm, stream, node: keys::node_id(&peer), _data: data }
    }

    fn hello(&self) -> Hello {
        let (node, name, version) = (self.node, "raw".to_owned(), "0".to_owned());
        Hello { protocol: PROTOCOL, node, boot: 1, name, swarm: Some(OURS), version, port: None, announce: None }
    }

    /// Writes while libp2p is driven, then reads until the other side closes.
    async fn write_until_closed(&mut self, frames: &[u8]) {
        let stream = &mut self.stream;
        let talk = async {
            let _ = stream.write_all(frames).await;
            let _ = stream.flush().await;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        };
        let swarm = &mut self.swarm;
        let drive = async {
            loop {
                swarm.select_next_some().await;
            }
        };
        tokio::select! {
            () = async { timeout(SOON, talk).await.expect("the other side closes the stream") } => {}
            () = drive => {}
        }
    }
}

fn hello_frame(hello: &Hello) -> BytesMut {
    let mut bytes = BytesMut::new();
    Frame { service: Service::Founding, kind: Kind::Hello, id: 0, payload: hello.encode() }.put(&mut bytes);
    bytes
}

#[tokio::test]
async fn malformed_frames_end_the_link_with_a_reason() {
    for (bad, reason) in [
        (&[0xff; 14][..], "unknown service 255"),
        (&[0x7f, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], "more than the limit"),
        (&[0, 0, 0, 0, 4, 77, 0, 0, 0, 0, 0, 0, 0, 0][..], "unknown kind 77"),
    ] {
        let mut a = Loopback::default().start("ann").await;
        a.mesh.enter(OURS);
        let mut raw = Raw::connect(only_address(&a)).await;
        let mut bytes = hello_frame(&raw.hello());
        bytes.extend_from_slice(bad);
        raw.write_until_closed(&bytes).await;
        let why = a.until_refused().await;
        assert!(why.contains(reason), "{why}");
        assert!(a.mesh.peers().is_empty());
    }
}

#[tokio::test]
async fn a_first_frame_that_is_no_honest_hello_makes_no_link() {
    for lie in ["first frame was not a hello", "its key makes it node", "version 9 of the protocol", "can't be read"] {
        let mut a = Loopback::default().start("ann").await;
        let mut raw = Raw::connect(only_address(&a)).await;
        let honest = raw.hello();
        let bytes = match lie {
            "its key makes it node" => hello_frame(&Hello { node: NodeId(1), ..honest }),
            "version 9 of the protocol" => hello_frame(&Hello { protocol: 9, ..honest }),
            "can't be read" => BytesMut::from(&[0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..]),
            _ => BytesMut::from(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]),
        };
        raw.write_until_closed(&bytes).await;
        let why = a.until_refused().await;
        assert!(why.contains(lie), "{why}");
        assert!(a.mesh.peers().is_empty());
    }
}

#[tokio::test]
async fn a_flood_of_hellos_ends_the_link() {
    let mut a = Loopback::default().start("ann").await;
    let mut raw = Raw::connect(only_address(&a)).await;
    let once = hello_frame(&raw.hello());
    let mut bytes = BytesMut::new();
    (0..100).for_each(|_| bytes.extend_from_slice(&once));
    raw.write_until_closed(&bytes).await;
    assert!(a.until_refused().await.contains("hello more than"));
}

#[tokio::test]
async fn each_connection_gets_one_stream_opened_by_its_dialler() {
    let mut dialler = libp2p::Swarm::new_ephemeral_tokio(|_| Streams::default());
    let mut other = libp2p::Swarm::new_ephemeral_tokio(|_| Streams::default());
    other.listen().with_memory_addr_external().await;
    let dial = other.external_addresses().next().unwrap().clone();
    dialler.dial(dial).unwrap();
    let (mut here, mut there) = (None, None);
    let both = async {
        while here.is_none() || there.is_none() {
            tokio::select! {
                event = dialler.next_swarm_event() => match event {
                    SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                        dialler.behaviour_mut().open(peer_id, connection_id);
                        // A second one is dropped by the other side.
                        dialler.behaviour_mut().open(peer_id, connection_id);
                    }
                    SwarmEvent::Behaviour(StreamEvent::Opened { stream, .. }) => here = here.or(Some(stream)),
                    _ => {}
                },
                event = other.next_swarm_event() => match event {
                    // Opening from the dialled side is dropped too.
                    SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                        other.behaviour_mut().open(peer_id, connection_id);
                    }
                    SwarmEvent::Behaviour(StreamEvent::Opened { stream, .. }) => there = there.or(Some(stream)),
                    _ => {}
                },
            }
        }
    };
    timeout(SOON, both).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network that carries multicast"]
async fn nodes_of_one_network_find_each_other_by_multicast() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let looking = |data: &Path, name| {
        let listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
        MeshConfig { listen, mdns: true, ..config(data, name, vec![]) }
    };
    let mut a = start_node(looking(here.path(), "ann")).await;
    let b = start_node(looking(there.path(), "bob")).await;
    a.until_up(b.id(), None).await;
}

/// Figures, not claims: `cargo test -p dunlin-node mesh::wire -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn round_trips_and_messages_a_second() {
    const ROUNDS: u32 = 20_000;
    const MESSAGES: u32 = 200_000;
    let mut ground = Loopback::default();
    let (a, mut b) = pair(&mut ground).await;
    let payload = Bytes::from(vec![1; 64]);
    let to = b.id();
    let mut raft = b.inboxes.raft;
    tokio::spawn(async move {
        while let Some(asked) = raft.recv().await {
            asked.reply.unwrap().send(asked.bytes);
        }
    });
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let asked = Instant::now();
        a.mesh.request(to, Service::Raft, payload.clone(), SOON).await.unwrap();
        times.push(asked.elapsed());
    }
    times.sort();
    println!("round trip, 64 bytes: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
    let start = Instant::now();
    let asking =
        futures::stream::iter(0..ROUNDS).map(|_| a.mesh.request(to, Service::Raft, payload.clone(), SOON)).buffer_unordered(64);
    asking.for_each(async |answer| assert!(answer.is_ok())).await;
    println!("round trips, 64 at a time: {:.0}/s", f64::from(ROUNDS) / start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mesh = a.mesh.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            while mesh.send(to, Service::Work, payload.clone()).is_err() {
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..MESSAGES {
        next(&mut b.inboxes.work).await;
    }
    sending.await.unwrap();
    println!("one way, 64 bytes: {:.0} messages/s", f64::from(MESSAGES) / start.elapsed().as_secs_f64());
    let large = Bytes::from(vec![1; 1 << 20]);
    let start = Instant::now();
    let (mesh, large) = (a.mesh.clone(), large);
    tokio::spawn(async move {
        for _ in 0..256 {
            while mesh.send(to, Service::Work, large.clone()).is_err() {
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..256 {
        next(&mut b.inboxes.work).await;
    }
    println!("one way, 1 MiB: {:.0} MiB/s", 256.0 / start.elapsed().as_secs_f64());
}
