//! The types with which openraft is instantiated, and their short names.
//!
//! An entry's data is its bytes, encoded once on the leader; openraft never looks into it. The leader keeps the decoded
//! entry beside the bytes so that its own ledger need not decode what it has just encoded.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::{AsyncRuntime, OptionalSend};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::{self, EntryError};
use super::entry::{Entry, Reply};
use super::snapshot_file::SnapshotFile;
use crate::process::of_this_process;

openraft::declare_raft_types!(
    /// openraft as this room uses it.
    pub(super) Types:
        D = Blob,
        R = Replies,
        NodeId = u64,
        Node = openraft::EmptyNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = Spawner,
);

/// Tokio, but what the engine starts belongs to this node's process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spawner;

type Tokio = openraft::TokioRuntime;

impl AsyncRuntime for Spawner {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Tokio as AsyncRuntime>::ThreadLocalRng;
    type OneshotSender<T: OptionalSend> = <Tokio as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiverError = <Tokio as AsyncRuntime>::OneshotReceiverError;
    type OneshotReceiver<T: OptionalSend> = <Tokio as AsyncRuntime>::OneshotReceiver<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Tokio::spawn(of_this_process(future))
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Tokio::thread_rng()
    }

    fn oneshot<T: OptionalSend>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>) {
        Tokio::oneshot()
    }
}

pub(super) type RaftEntry = openraft::Entry<Types>;
pub(super) type LogId = openraft::LogId<u64>;
pub(super) type Vote = openraft::Vote<u64>;
pub(super) type Membership = openraft::StoredMembership<u64, openraft::EmptyNode>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<u64, openraft::EmptyNode>;
pub(super) type Snapshot = openraft::Snapshot<Types>;
pub(super) type StorageError = openraft::StorageError<u64>;
pub(super) type Raft = openraft::Raft<Types>;

/// The identity of a log entry from its parts.
pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(term, 0), index)
}

/// An encoded [`Entry`].
#[derive(Clone)]
pub(super) struct Blob {
    bytes: Bytes,
    decoded: Option<Arc<Entry>>,
}

impl Blob {
    /// An entry of which the bytes are known already; both must say the same.
    pub(super) fn with_entry(bytes: Bytes, entry: Entry) -> Self {
        Blob { bytes, decoded: Some(Arc::new(entry)) }
    }

    /// An entry from a disk or a peer.
    pub(super) fn encoded(bytes: Bytes) -> Self {
        Blob { bytes, decoded: None }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The entry, decoded only if nobody has done so.
    pub(super) fn entry(&self) -> Result<Arc<Entry>, EntryError> {
        match &self.decoded {
            Some(entry) => Ok(Arc::clone(entry)),
            None => codec::decode_entry(&self.bytes).map(Arc::new),
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::deserialize::<Vec<u8>, D>(deserializer).map(|bytes| Blob::encoded(Bytes::from(bytes)))
    }
}

/// The fold's answers to the facts of one entry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Replies(pub(super) Arc<Vec<Reply>>);

/// Bytes that an entry takes in a message or a file, with room for its head.
pub(super) fn weight(entry: &RaftEntry) -> usize {
    const HEAD: usize = 96;
    match &entry.payload {
        openraft::EntryPayload::Blank => HEAD,
        openraft::EntryPayload::Normal(blob) => HEAD + blob.bytes().len(),
        openraft::EntryPayload::Membership(membership) => HEAD + 64 * (1 + membership.nodes().count()),
    }
}
