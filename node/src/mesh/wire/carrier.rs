//! Carries a link's frames over a stream: the first hello, then a reader and a writer for as long as it lasts.
//!
//! Many small frames share one write; large ones are not copied. What frames mean is the intake's business, which stream
//! is kept is the hub's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::super::frame::{Frame, FrameError, HEADER, Header, Kind};
use super::super::hello::Hello;
use super::super::inbox::PATIENCE;
use super::super::intake::{Fault, Intake};
use super::super::link::{Link, Outlet};
use super::super::table::Table;
use super::super::{SILENCE, Service};
use crate::task::{NodeId, SwarmId};

/// Frames are gathered up to this many bytes before they are written.
const BATCH: usize = 64 << 10;

/// Payloads from this size on are neither copied into the batch nor counted as small when they are read.
const LARGE: usize = 16 << 10;

/// Received large payloads of one peer that may be in memory at a time, in units of [`UNIT`] bytes: 32 MiB.
const HELD: usize = 32 << 10;
const UNIT: usize = 1 << 10;

/// A peer has this long to say hello.
const HELLO: Duration = Duration::from_secs(5);

/// How long a refused peer's stream is kept open, so that it can read why.
const LINGER: Duration = Duration::from_secs(1);

/// Why the first hello or a stream came to an end.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The other side closed or reset it.
    #[error("the connection was closed: {0}")]
    Closed(io::Error),
    /// Nothing was heard for too long.
    #[error("nothing was heard of it for {SILENCE:?}")]
    Silent,
    /// It broke the rules.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It sent something that is not a frame.
    #[error("it sent a malformed frame: {0}")]
    Malformed(#[from] FrameError),
    /// Its first frame was something else.
    #[error("its first frame was not a hello")]
    NoHello,
    /// It did not say hello in time.
    #[error("it did not say hello within {HELLO:?}")]
    Mute,
    /// This side ended the link.
    #[error("the link was ended here")]
    Ended,
}

impl End {
    /// Whether the peer did what no honest peer of this version does.
    pub(super) fn is_misbehaviour(&self) -> bool {
        matches!(self, End::Fault(_) | End::Malformed(_) | End::NoHello | End::Mute)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            io::ErrorKind::TimedOut => End::Silent,
            _ => End::Closed(error),
        }
    }
}

/// A stream on which both sides have said hello.
#[derive(Debug)]
pub(super) struct Met<S> {
    pub(super) hello: Hello,
    reader: FrameReader<ReadHalf<S>>,
    writer: WriteHalf<S>,
    /// Our swarm as it was told in our hello.
    pub(super) swarm: watch::Receiver<Option<SwarmId>>,
}

/// Says hello and hears the other's. `authenticated` is the node whose key the connection proved.
pub(super) async fn meet<S>(stream: S, table: &Table, authenticated: NodeId) -> Result<Met<S>, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut swarm = table.watch_swarm();
    let ours = *swarm.borrow_and_update();
    let payload = table.hello(ours).encode();
    let mut bytes = BytesMut::new();
    Frame { service: Service::Founding, kind: Kind::Hello, id: 0, payload }.put(&mut bytes);
    let (reader, mut writer) = stream.split();
    let mut reader = FrameReader::new(reader);
    let exchange = async {
        writer.write_all(&bytes).await?;
        writer.flush().await?;
        reader.next_hello().await
    };
    let payload = timeout(HELLO, exchange).await.map_err(|_| End::Mute)??;
    let judged = Hello::decode(&payload).and_then(|hello| hello.judge(authenticated, table.local(), ours).map(|()| hello));
    match judged {
        Ok(hello) => Ok(Met { hello, reader, writer, swarm }),
        Err(objection) => {
            linger(&mut reader, &mut writer).await;
            Err(Fault::Objection(objection).into())
        }
    }
}

/// Lets the other side read our hello, and so find its own objection, before the connection goes.
async fn linger<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(reader: &mut FrameReader<R>, writer: &mut W) {
    let until_closed = async {
        writer.close().await?;
        while reader.fill().await? > 0 {
            reader.end = reader.start;
        }
        io::Result::Ok(())
    };
    // However it ends, the connection is closed next.
    let _ = timeout(LINGER, until_closed).await;
}

/// Carries frames in both directions until the link ends; says why it did.
pub(super) async fn carry<S>(met: Met<S>, link: Arc<Link>, outlet: Outlet, intake: Intake) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Met { reader, writer, .. } = met;
    let writing = tokio::spawn(write(writer, link.clone(), outlet));
    let reason = tokio::select! {
        biased;
        () = link.until_ended() => End::Ended,
        end = read(reader, intake) => end,
    };
    link.end();
    // Ended above, so that the writer is at its end too; it closes the stream.
    let _ = writing.await;
    reason
}

async fn read<R: AsyncRead + Unpin>(mut reader: FrameReader<R>, mut intake: Intake) -> End {
    loop {
        let frame = match reader.next().await {
            Ok(frame) => frame,
            Err(end) => return end,
        };
        if let Err(fault) = intake.take(frame).await {
            return fault.into();
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(mut writer: W, link: Arc<Link>, mut outlet: Outlet) {
    let written = tokio::select! {
        biased;
        () = link.until_ended() => Ok(()),
        written = write_all(&mut writer, &mut outlet) => written,
    };
    match written {
        // The reader finds out why.
        Err(problem) => tracing::debug!(node = %link.node(), %problem, "writing to a peer failed"),
        Ok(()) => drop(timeout(LINGER, writer.close()).await),
    }
}

async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, outlet: &mut Outlet) -> io::Result<()> {
    let mut batch = BytesMut::with_capacity(BATCH + LARGE + HEADER);
    loop {
        let mut next = match timeout(SILENCE / 3, outlet.next()).await {
            Ok(Some(frame)) => Some(frame),
            Ok(None) => return Ok(()),
            Err(_) => Some(Frame::bare(Service::Founding, Kind::Ping, 0)),
        };
        while let Some(frame) = next {
            if frame.payload.len() >= LARGE {
                frame.put_header(&mut batch);
                writer.write_all(&batch).await?;
                writer.write_all(&frame.payload).await?;
                batch.clear();
            } else {
                frame.put(&mut batch);
            }
            next = if batch.len() < BATCH { outlet.try_next() } else { None };
        }
        writer.write_all(&batch).await?;
        batch.clear();
        writer.flush().await?;
    }
}

/// Takes frames out of a stream of bytes.
#[derive(Debug)]
struct FrameReader<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    room: Arc<Semaphore>,
}

/// A large payload, counted for as long as anybody holds it.
struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    fn new(inner: R) -> Self {
        FrameReader { inner, buffer: vec![0; BATCH], start: 0, end: 0, room: Arc::new(Semaphore::new(HELD)) }
    }

    /// The first frame, which must be a hello.
    async fn next_hello(&mut self) -> Result<Bytes, End> {
        let header = self.header().await?;
        if header.kind != Kind::Hello {
            return Err(End::NoHello);
        }
        Ok(self.small(header.length).await?)
    }

    /// The next frame. A large one for which there is no room is read and thrown away: an answer becomes a refusal, and
    /// whoever asked in vain is told by his own patience.
    async fn next(&mut self) -> Result<Frame, End> {
        loop {
            let Header { length, service, kind, id } = self.header().await?;
            let payload = if length < LARGE {
                self.small(length).await?
            } else if let Some(payload) = self.large(length).await? {
                payload
            } else {
                tracing::warn!(?service, bytes = length, "dropped a large message: earlier ones are still held");
                if kind == Kind::Response {
                    return Ok(Frame::bare(service, Kind::Refusal, id));
                }
                continue;
            };
            return Ok(Frame { service, kind, id, payload });
        }
    }

    async fn header(&mut self) -> Result<Header, End> {
        self.gather(HEADER).await?;
        let mut header = [0; HEADER];
        header.copy_from_slice(&self.buffer[self.start..self.start + HEADER]);
        self.start += HEADER;
        Ok(Header::parse(&header)?)
    }

    /// Copied, so that a small message never keeps a large buffer alive.
    async fn small(&mut self, length: usize) -> io::Result<Bytes> {
        self.gather(length).await?;
        let payload = Bytes::copy_from_slice(&self.buffer[self.start..self.start + length]);
        self.start += length;
        Ok(payload)
    }

    async fn large(&mut self, length: usize) -> io::Result<Option<Bytes>> {
        let units = u32::try_from(length.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = timeout(PATIENCE, self.room.clone().acquire_many_owned(units)).await;
        let Ok(Ok(room)) = room else {
            self.skip(length).await?;
            return Ok(None);
        };
        let mut bytes = vec![0; length];
        let here = (self.end - self.start).min(length);
        bytes[..here].copy_from_slice(&self.buffer[self.start..self.start + here]);
        self.start += here;
        let mut filled = here;
        while filled < length {
            match heard(self.inner.read(&mut bytes[filled..])).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => filled += more,
            }
        }
        Ok(Some(Bytes::from_owner(Held { bytes, _room: room })))
    }

    async fn skip(&mut self, mut length: usize) -> io::Result<()> {
        while length > 0 {
            if self.start == self.end {
                self.gather(1).await?;
            }
            let here = (self.end - self.start).min(length);
            self.start += here;
            length -= here;
        }
        Ok(())
    }

    /// Reads until at least `wanted` bytes are in the buffer; never more than fit, since `wanted` is below [`LARGE`].
    async fn gather(&mut self, wanted: usize) -> io::Result<()> {
        while self.end - self.start < wanted {
            if self.buffer.len() - self.start < wanted.max(HEADER) {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let read = heard(self.inner.read(&mut self.buffer[self.end..])).await?;
        self.end += read;
        Ok(read)
    }
}

/// A read that must bring something before the peer counts as silent.
async fn heard(read: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
    timeout(SILENCE, read).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests;
