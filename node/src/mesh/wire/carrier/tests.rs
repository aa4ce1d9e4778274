//! Links under time, small frames, garbage and silence.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::super::events::Events;
use super::super::super::hello::PROTOCOL;
use super::super::super::inbox::inboxes;
use super::super::super::table::Card;
use super::super::super::{Inboxes, MAX_MESSAGE, Peer};
use super::*;

/// A stream that brings what it was given, in pieces of at most `piece` bytes, then nothing; and keeps what is written.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    brings: Vec<u8>,
    piece: usize,
    closes: bool,
    written: Vec<u8>,
    writes: usize,
}

impl Pipe {
    fn bringing(brings: &[u8], piece: usize, closes: bool) -> Pipe {
        Pipe(Arc::new(Mutex::new(Ends { brings: brings.to_vec(), piece, closes, ..Ends::default() })))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.lock().unwrap();
        let size = ends.brings.len().min(into.len()).min(ends.piece);
        if size == 0 && !ends.closes {
            return Poll::Pending;
        }
        into[..size].copy_from_slice(&ends.brings[..size]);
        ends.brings.drain(..size);
        Poll::Ready(Ok(size))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.lock().unwrap();
        ends.written.extend_from_slice(bytes);
        ends.writes += 1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn table(node: u64) -> Arc<Table> {
    Table::new(Card { node: NodeId(node), name: "ann".to_owned(), boot: 1, port: None, announce: None })
}

fn hello(node: u64, protocol: u16) -> BytesMut {
    let payload = Hello { protocol, ..table(node).hello(None) }.encode();
    let mut bytes = BytesMut::new();
    Frame { service: Service::Founding, kind: Kind::Hello, id: 0, payload }.put(&mut bytes);
    bytes
}

/// Meets node 2 over a pipe and gives the link and the task that carries it.
async fn linked(pipe: Pipe) -> (Arc<Link>, tokio::task::JoinHandle<End>, Inboxes) {
    let table = table(1);
    let met = meet(pipe, &table, NodeId(2)).await.unwrap();
    let peer = Peer { node: NodeId(2), name: met.hello.name.clone(), swarm: None, address: String::new(), boot: 1 };
    let (link, outlet) = Link::new(peer, table.clone(), met.swarm.clone());
    let (events, peers) = Events::channel();
    let (inlets, inboxes) = inboxes(peers);
    let intake = Intake::new(link.clone(), table, &inlets, events);
    (link.clone(), tokio::spawn(carry(met, link, outlet, intake)), inboxes)
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_which_nothing_is_heard_is_lost_and_a_quiet_one_is_pinged() {
    let pipe = Pipe::bringing(&hello(2, PROTOCOL), 7, false);
    let start = Instant::now();
    let (_link, carrying, _inboxes) = linked(pipe.clone()).await;
    let before = pipe.0.lock().unwrap().written.len();
    assert!(matches!(carrying.await.unwrap(), End::Silent));
    assert_eq!(start.elapsed(), SILENCE);
    let pinged = pipe.0.lock().unwrap().written.len() - before;
    assert!((2 * HEADER..=3 * HEADER).contains(&pinged), "{pinged} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_no_hello_is_mute() {
    let silent = meet(Pipe::bringing(&[], 1, false), &table(1), NodeId(2)).await;
    assert!(matches!(silent.err().unwrap(), End::Mute));
}

#[tokio::test(start_paused = true)]
async fn many_small_frames_share_one_write() {
    let pipe = Pipe::bringing(&hello(2, PROTOCOL), 64, false);
    let (link, carrying, _inboxes) = linked(pipe.clone()).await;
    let before = pipe.0.lock().unwrap().writes;
    for _ in 0..1000 {
        let payload = Bytes::from_static(b"small");
        link.push(Frame { service: Service::Founding, kind: Kind::Message, id: 0, payload }).unwrap();
    }
    let all = 1000 * (HEADER + 5);
    while pipe.0.lock().unwrap().written.len() < all {
        tokio::task::yield_now().await;
    }
    assert_eq!(pipe.0.lock().unwrap().writes - before, 1);
    link.end();
    assert!(matches!(carrying.await.unwrap(), End::Ended));
}

#[tokio::test(start_paused = true)]
async fn urgent_frames_overtake_the_others() {
    let pipe = Pipe::bringing(&hello(2, PROTOCOL), 64, false);
    let (link, _carrying, _inboxes) = linked(pipe.clone()).await;
    let before = pipe.0.lock().unwrap().written.len();
    for (service, payload) in [(Service::Work, "later"), (Service::Election, "first")] {
        link.push(Frame { service, kind: Kind::Message, id: 0, payload: Bytes::from_static(payload.as_bytes()) }).unwrap();
    }
    while pipe.0.lock().unwrap().written.len() < before + 2 * (HEADER + 5) {
        tokio::task::yield_now().await;
    }
    let written = pipe.0.lock().unwrap().written[before..].to_vec();
    assert!(written[..HEADER + 5].ends_with(b"first"), "{written:?}");
}

/// What a reader makes of these bytes, until they end.
fn read_all(bytes: &[u8], piece: usize) -> (Vec<Frame>, End) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut reader = FrameReader::new(Pipe::bringing(bytes, piece, true));
        let mut frames = Vec::new();
        loop {
            match reader.next().await {
                Ok(frame) => frames.push(frame),
                Err(end) => return (frames, end),
            }
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_are_read_whole_however_they_are_cut(sizes in proptest::collection::vec(0usize..40_000, 1..12), piece in 1usize..70_000) {
        let frame = |size: &usize| {
            let payload: Bytes = (0..*size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            Frame { service: Service::Work, kind: Kind::Message, id: 3, payload }
        };
        let frames: Vec<Frame> = sizes.iter().map(frame).collect();
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.put(&mut bytes));
        let (read, end) = read_all(&bytes, piece);
        prop_assert!(read == frames);
        prop_assert!(matches!(end, End::Closed(_)));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
        read_all(&bytes, piece);
    }
}

#[test]
fn a_large_message_for_which_there_is_no_room_is_skipped_and_memory_stays_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let fits = HELD * UNIT / MAX_MESSAGE;
    let mut bytes = BytesMut::new();
    for id in 0..=u64::try_from(fits).unwrap() {
        let payload = Bytes::from(vec![0; MAX_MESSAGE]);
        Frame { service: Service::Work, kind: Kind::Message, id, payload }.put(&mut bytes);
    }
    Frame { service: Service::Work, kind: Kind::Message, id: 99, payload: Bytes::new() }.put(&mut bytes);
    runtime.block_on(async {
        let mut reader = FrameReader::new(Pipe::bringing(&bytes, usize::MAX, true));
        let mut held = Vec::new();
        for _ in 0..fits {
            held.push(reader.next().await.unwrap());
        }
        assert_eq!(reader.next().await.unwrap().id, 99, "the one that did not fit is left out");
    });
}
