//! What a running attempt has written so far, for those who watch: the tail of each output, by offset.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sandbox::{Output, OutputStream};

/// Bytes kept of each output of an attempt while it runs, and so the most that one read answers.
pub const MAX_TAIL: usize = 256 << 10;
/// The longest wait of one read.
pub const MAX_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Tail {
    /// The offset of the first byte kept.
    base: u64,
    bytes: VecDeque<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let over = self.bytes.len().saturating_sub(MAX_TAIL);
        self.bytes.drain(..over);
        self.base += over as u64;
    }

    fn read(&self, from: u64) -> (u64, Bytes) {
        let from = from.max(self.base);
        let skip = usize::try_from(from - self.base).unwrap_or(usize::MAX).min(self.bytes.len());
        (from, self.bytes.range(skip..).copied().collect())
    }
}

#[derive(Debug, Default)]
struct Tails {
    stdout: Tail,
    stderr: Tail,
    closed: bool,
}

/// Some of what an attempt wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveChunk {
    /// Where `bytes` begins: more than was asked for if the beginning was not kept.
    pub from: u64,
    /// The bytes, at most [`MAX_TAIL`].
    pub bytes: Bytes,
    /// Whether the attempt has ended and nothing will follow `bytes`.
    pub end: bool,
}

/// The outputs of one attempt while it runs.
#[derive(Debug, Default)]
pub struct LiveOutput {
    tails: Mutex<Tails>,
    grown: Notify,
}

impl LiveOutput {
    /// Outputs to which nothing has been written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The attempt wrote something. Never waits; only the tail is kept.
    pub fn push(&self, output: &Output) {
        let mut tails = self.lock();
        match output.stream {
            OutputStream::Stdout => tails.stdout.push(&output.bytes),
            OutputStream::Stderr => tails.stderr.push(&output.bytes),
        }
        drop(tails);
        self.grown.notify_waiters();
    }

    /// The attempt has ended.
    pub fn close(&self) {
        self.lock().closed = true;
        self.grown.notify_waiters();
    }

    /// What was written from an offset on; waits for the first byte, at most `patience` (and [`MAX_PATIENCE`]).
    pub async fn read(&self, stream: OutputStream, from: u64, patience: Duration) -> LiveChunk {
        let deadline = Instant::now() + patience.min(MAX_PATIENCE);
        loop {
            // Registered before looking, so that no growth in between is missed.
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            let chunk = self.look(stream, from);
            if chunk.end || !chunk.bytes.is_empty() || tokio::time::timeout_at(deadline, grown).await.is_err() {
                return chunk;
            }
        }
    }

    fn look(&self, stream: OutputStream, from: u64) -> LiveChunk {
        let tails = self.lock();
        let tail = match stream {
            OutputStream::Stdout => &tails.stdout,
            OutputStream::Stderr => &tails.stderr,
        };
        let (from, bytes) = tail.read(from);
        LiveChunk { from, bytes, end: tails.closed }
    }

    fn lock(&self) -> MutexGuard<'_, Tails> {
        // Nothing that can panic half-way is done under the lock.
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> Output {
        Output { stream: OutputStream::Stdout, bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    #[tokio::test]
    async fn a_reader_that_is_ahead_wakes_when_something_is_written() {
        let live = LiveOutput::new();
        live.push(&out("one"));
        let first = live.read(OutputStream::Stdout, 0, Duration::ZERO).await;
        assert_eq!((first.from, &first.bytes[..], first.end), (0, &b"one"[..], false));
        let reader = live.read(OutputStream::Stdout, 3, MAX_PATIENCE);
        let writer = async { live.push(&out("two")) };
        let (second, ()) = tokio::join!(reader, writer);
        assert_eq!((second.from, &second.bytes[..]), (3, &b"two"[..]));
        live.close();
        let last = live.read(OutputStream::Stdout, 6, MAX_PATIENCE).await;
        assert_eq!((last.bytes.len(), last.end), (0, true));
    }

    #[tokio::test]
    async fn only_the_tail_is_kept_and_the_offset_says_so() {
        let live = LiveOutput::new();
        for _ in 0..3 {
            live.push(&out(&"x".repeat(MAX_TAIL / 2)));
        }
        live.push(&out("end"));
        let chunk = live.read(OutputStream::Stdout, 0, Duration::ZERO).await;
        assert_eq!(chunk.bytes.len(), MAX_TAIL);
        assert_eq!(chunk.from, (MAX_TAIL / 2 + 3) as u64);
        assert!(chunk.bytes.ends_with(b"end"));
        assert_eq!(live.read(OutputStream::Stderr, 0, Duration::ZERO).await.bytes.len(), 0);
    }
}
