//! Reads one output of a task until it ends: keeps the tail, counts the rest, lets others watch.
//!
//! Memory is bounded by the limit of the tail however much is written. Watching is best effort: a watcher who is slow
//! misses bytes, the task and its tail do not notice.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;

use super::spec::{Output, OutputStream};
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

/// One output while it is read.
pub(super) struct Capture {
    pipe: Receiver,
    stream: OutputStream,
    tail: Tail,
    live: Option<mpsc::Sender<Output>>,
}

impl Capture {
    pub(super) fn new(pipe: OwnedFd, stream: OutputStream, limit: u32, live: Option<mpsc::Sender<Output>>) -> io::Result<Self> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Capture { pipe: Receiver::from_owned_fd_unchecked(pipe)?, stream, tail: Tail::new(limit), live })
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
