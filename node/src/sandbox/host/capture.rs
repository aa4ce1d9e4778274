//! Reads one output of a task until it ends: keeps the tail, counts the rest, lets others watch.
//!
//! Memory is bounded by the limit of the tail however much is written. Watching is best effort: a watcher who is slow
//! misses bytes, the task and its tail do not notice.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Notify, mpsc};

use crate::sandbox::spec::{Output, OutputStream};
use crate::task::Captured;

/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// The last bytes of a stream.
#[derive(Debug)]
struct Tail {
    kept: VecDeque<u8>,
    limit: usize,
    total: u64,
}

impl Tail {
    fn new(limit: usize) -> Self {
        Tail { kept: VecDeque::new(), limit, total: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        let over = (self.kept.len() + bytes.len()).saturating_sub(self.limit);
        self.kept.drain(..over);
        self.kept.extend(bytes);
    }

    fn finish(self) -> Captured {
        Captured { tail: Bytes::from(Vec::from(self.kept)), total: self.total }
    }
}

/// What both outputs of a task have written together.
#[derive(Debug)]
pub(super) struct Meter {
    limit: Option<u64>,
    written: AtomicU64,
    passed: Notify,
}

impl Meter {
    pub(super) fn new(limit: Option<u64>) -> Arc<Meter> {
        Arc::new(Meter { limit, written: AtomicU64::new(0), passed: Notify::new() })
    }

    fn add(&self, bytes: usize) {
        let Some(limit) = self.limit else { return };
        let before = self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        if before <= limit && before.saturating_add(bytes as u64) > limit {
            self.passed.notify_one();
        }
    }

    /// Waits until the limit is passed, for ever if there is none. For one waiter.
    pub(super) async fn passed(&self) {
        self.passed.notified().await;
    }
}

/// One output while it is read.
pub(super) struct Capture {
    pipe: Receiver,
    stream: OutputStream,
    tail: Tail,
    meter: Arc<Meter>,
    live: Option<mpsc::Sender<Output>>,
}

impl Capture {
    pub(super) fn new(
        pipe: OwnedFd,
        (stream, limit): (OutputStream, u32),
        meter: &Arc<Meter>,
        live: Option<mpsc::Sender<Output>>,
    ) -> io::Result<Self> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let pipe = Receiver::from_owned_fd_unchecked(pipe)?;
        Ok(Capture { pipe, stream, tail: Tail::new(limit), meter: Arc::clone(meter), live })
    }

    /// Reads until every writer is gone. May be dropped at any moment; what was read so far is kept.
    pub(super) async fn pump(&mut self) {
        let mut chunk = BytesMut::new();
        while self.pipe.readable().await.is_ok() {
            chunk.reserve(CHUNK);
            match self.pipe.try_read_buf(&mut chunk) {
                Ok(0) => return,
                Ok(_) => self.take(&mut chunk),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, chunk: &mut BytesMut) {
        self.tail.push(chunk);
        self.meter.add(chunk.len());
        match &self.live {
            Some(live) if !live.is_closed() => {
                let _ = live.try_send(Output { stream: self.stream, bytes: chunk.split().freeze() });
            }
            _ => chunk.clear(),
        }
    }

    pub(super) fn finish(self) -> Captured {
        self.tail.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_meter_tells_once_and_only_of_what_is_limited() {
        let meter = Meter::new(Some(10));
        meter.add(10);
        assert!(futures::FutureExt::now_or_never(meter.passed()).is_none());
        meter.add(1);
        meter.passed().await;
        meter.add(u32::MAX as usize);
        assert!(futures::FutureExt::now_or_never(meter.passed()).is_none());
        let free = Meter::new(None);
        free.add(usize::MAX);
        assert!(futures::FutureExt::now_or_never(free.passed()).is_none());
    }

    #[test]
    fn the_tail_is_the_last_bytes_however_they_came() {
        let all: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for limit in [0, 1, 7, 100, 999, 1000, 2000] {
            for piece in [1, 3, 50, 1000] {
                let mut tail = Tail::new(limit);
                all.chunks(piece).for_each(|bytes| tail.push(bytes));
                let captured = tail.finish();
                assert_eq!(captured.tail, all[1000 - limit.min(1000)..]);
                assert_eq!((captured.total, captured.dropped()), (1000, 1000 - limit.min(1000) as u64));
            }
        }
    }
}
