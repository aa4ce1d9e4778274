//! What a task writes and what the swarm does, followed live by one long request after the other.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::{Client, ClientError, LONG_POLL, unexpected};
use crate::api::{EventView, OutputChunk, Request, Response};
use crate::sandbox::OutputStream;
use crate::task::{AttemptNumber, Fence, TaskId};

/// A piece of a followed output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputPart {
    /// The next bytes.
    Bytes(Bytes),
    /// This many bytes came before the next ones and were not kept.
    Missing(u64),
    /// The attempt that wrote what came before was replaced; the output begins again.
    Restarted(AttemptNumber),
}

/// One output of one task, from an offset on.
#[derive(Debug)]
pub struct OutputFollow {
    client: Client,
    cursor: Cursor,
    task: TaskId,
    stream: OutputStream,
    patience: Duration,
}

impl OutputFollow {
    pub(super) fn new(client: Client, task: TaskId, stream: OutputStream, from: u64) -> Self {
        OutputFollow { client, cursor: Cursor { next: from, ..Cursor::default() }, task, stream, patience: LONG_POLL }
    }

    /// Stops at the end of what is there now instead of waiting for the task's end.
    #[must_use]
    pub fn until_now(mut self) -> Self {
        self.patience = Duration::ZERO;
        self
    }

    /// The next piece; `None` when the task has ended and everything was given.
    ///
    /// # Errors
    /// See [`ClientError`]; calling again goes on where it stopped.
    pub async fn next(&mut self) -> Result<Option<OutputPart>, ClientError> {
        loop {
            if let Some(part) = self.cursor.parts.pop_front() {
                return Ok(Some(part));
            }
            if self.cursor.ended {
                return Ok(None);
            }
            let (task, stream, from, patience) = (self.task, self.stream, self.cursor.next, self.patience);
            let request = Request::Output { task, stream, from, patience };
            match self.client.call_patiently(&request).await? {
                Response::Output(chunk) => {
                    let is_dry = chunk.bytes.is_empty();
                    self.cursor.take(chunk);
                    self.cursor.ended |= is_dry && self.patience.is_zero() && self.cursor.parts.is_empty();
                }
                other => return Err(unexpected("an output", &other)),
            }
        }
    }
}

/// Where a reader of an output stands: pure, so that its rules can be tested without a node.
#[derive(Debug, Default)]
struct Cursor {
    run: Option<(AttemptNumber, Option<Fence>)>,
    next: u64,
    parts: VecDeque<OutputPart>,
    ended: bool,
}

impl Cursor {
    fn take(&mut self, chunk: OutputChunk) {
        if let Some(attempt) = chunk.attempt {
            let run = (attempt, chunk.fence);
            let before = self.run.replace(run);
            if before.is_some_and(|before| before != run) {
                self.parts.push_back(OutputPart::Restarted(attempt));
                if self.next > 0 {
                    // The offset was the old attempt's; the chunk says nothing about the new one's beginning.
                    self.next = 0;
                    return;
                }
            }
        }
        let mut bytes = chunk.bytes;
        if chunk.from > self.next {
            self.parts.push_back(OutputPart::Missing(chunk.from - self.next));
            self.next = chunk.from;
        } else {
            let known = usize::try_from(self.next - chunk.from).unwrap_or(usize::MAX).min(bytes.len());
            bytes = bytes.slice(known..);
        }
        self.next += bytes.len() as u64;
        if !bytes.is_empty() {
            self.parts.push_back(OutputPart::Bytes(bytes));
        }
        self.ended = chunk.end;
    }
}

/// The history, from a sequence number on.
#[derive(Debug)]
pub struct EventFollow {
    client: Client,
    next: u64,
    ready: VecDeque<EventView>,
    patience: Duration,
}

/// Events asked for at once.
const PAGE: u32 = 500;

impl EventFollow {
    pub(super) fn new(client: Client, from: u64) -> Self {
        EventFollow { client, next: from, ready: VecDeque::new(), patience: LONG_POLL }
    }

    /// Stops at the newest event there is now instead of waiting for more.
    #[must_use]
    pub fn until_now(mut self) -> Self {
        self.patience = Duration::ZERO;
        self
    }

    /// The next event; `None` only after [`EventFollow::until_now`].
    ///
    /// # Errors
    /// See [`ClientError`]; calling again goes on where it stopped.
    pub async fn next(&mut self) -> Result<Option<EventView>, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.next = event.seq + 1;
                return Ok(Some(event));
            }
            let request = Request::Events { from: self.next, limit: PAGE, patience: self.patience };
            match self.client.call_patiently(&request).await? {
                Response::Events(events) if events.is_empty() && self.patience.is_zero() => return Ok(None),
                Response::Events(events) => {
                    // Whatever a node sends, a reader never goes back.
                    self.ready.extend(events.into_iter().filter(|event| event.seq >= self.next));
                }
                other => return Err(unexpected("events", &other)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(attempt: u32, from: u64, bytes: &'static [u8], end: bool) -> OutputChunk {
        OutputChunk { from, bytes: Bytes::from_static(bytes), attempt: Some(AttemptNumber(attempt)), fence: None, end }
    }

    fn parts(cursor: &mut Cursor) -> Vec<OutputPart> {
        cursor.parts.drain(..).collect()
    }

    #[test]
    fn overlaps_are_cut_and_gaps_are_told() {
        let mut cursor = Cursor::default();
        cursor.take(chunk(1, 0, b"hello", false));
        cursor.take(chunk(1, 3, b"lo world", false));
        cursor.take(chunk(1, 20, b"!", true));
        let expected = [
            OutputPart::Bytes(Bytes::from_static(b"hello")),
            OutputPart::Bytes(Bytes::from_static(b" world")),
            OutputPart::Missing(9),
            OutputPart::Bytes(Bytes::from_static(b"!")),
        ];
        assert_eq!(parts(&mut cursor), expected);
        assert!(cursor.ended);
    }

    #[test]
    fn a_second_run_under_the_same_number_starts_again_too() {
        let of = |term: u64, chunk: OutputChunk| OutputChunk {
            fence: Some(Fence { term: crate::task::Term(term), sequence: 1 }),
            ..chunk
        };
        let mut cursor = Cursor::default();
        cursor.take(of(1, chunk(1, 0, b"first", false)));
        parts(&mut cursor);
        cursor.take(of(2, chunk(1, 5, b" and on", false)));
        assert_eq!(parts(&mut cursor), [OutputPart::Restarted(AttemptNumber(1))]);
        assert_eq!(cursor.next, 0);
    }

    #[test]
    fn a_new_attempt_starts_the_output_again_from_its_beginning() {
        let mut cursor = Cursor::default();
        cursor.take(chunk(1, 0, b"half a li", false));
        parts(&mut cursor);
        cursor.take(chunk(2, 9, b"ne\n", true));
        assert_eq!(parts(&mut cursor), [OutputPart::Restarted(AttemptNumber(2))]);
        assert!(!cursor.ended, "its beginning has not been read yet");
        assert_eq!(cursor.next, 0);
        cursor.take(chunk(2, 0, b"half a line\n", true));
        assert_eq!(parts(&mut cursor), [OutputPart::Bytes(Bytes::from_static(b"half a line\n"))]);
        assert!(cursor.ended);
    }
}
