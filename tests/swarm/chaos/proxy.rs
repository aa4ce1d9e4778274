//! A TCP proxy that makes a wire slow: every byte later, now and then a stall.
//!
//! It stands in the network namespace of the bridge, and the nodes' connections are led through it there. What a proxy can
//! do to TCP: delay it, stall it, let a later connection overtake an earlier one, end it. What it can't: lose, double or
//! reorder packets within a connection; TCP would repair that before anybody sees it (packets are lost by `wires`).

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::dice::Dice;

/// Pieces on their way in one direction of one connection; a sender waits beyond that.
const ON_THE_WAY: usize = 256;

/// How slow the wire is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slowness {
    /// Every piece comes this much later,
    pub(crate) delay: Duration,
    /// and by up to this much more.
    pub(crate) jitter: Duration,
    /// One of so many pieces
    pub(crate) stall_one_in: usize,
    /// stalls its connection for this long.
    pub(crate) stall: Duration,
}

/// A running proxy; ends when it is dropped.
pub(crate) struct Proxy {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens in a namespace; what comes to one of the ports goes on to the address beside it.
    pub(crate) fn start(namespace: PathBuf, ways: Vec<(u16, SocketAddr)>, slowness: Slowness, dice: Dice) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            // Of this thread alone; it ends with it.
            let namespace = File::open(namespace).unwrap();
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut dice = dice;
                for (port, to) in ways {
                    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.unwrap();
                    tokio::spawn(accept(listener, to, slowness, dice.split()));
                }
                ready.send(()).unwrap();
                let _ = stopped.await;
            });
        });
        listening.recv().unwrap();
        Proxy { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, slowness: Slowness, mut dice: Dice) {
    while let Ok((from, _)) = listener.accept().await {
        let (first, second) = (dice.split(), dice.split());
        tokio::spawn(async move {
            let Ok(to) = TcpStream::connect(to).await else { return };
            let _ = (from.set_nodelay(true), to.set_nodelay(true));
            let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
            tokio::spawn(carry(from_read, to_write, slowness, first));
            carry(to_read, from_write, slowness, second).await;
        });
    }
}

/// One direction of one connection: what is read now is written later, in the same order.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, slowness: Slowness, mut dice: Dice) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let writer = tokio::spawn(async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let jitter = slowness.jitter.mul_f64(dice.below(1_000) as f64 / 1_000.0);
        let stall = if dice.below(slowness.stall_one_in) == 0 { slowness.stall } else { Duration::ZERO };
        let due = Instant::now() + slowness.delay + jitter + stall;
        if sender.send((due, buffer[..length].to_vec())).await.is_err() {
            break;
        }
    }
    drop(sender);
    let _ = writer.await;
}
