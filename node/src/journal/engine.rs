//! The types with which openraft is instantiated, and their short names.
//!
//! An entry's data is its bytes, encoded once on the leader; openraft never looks into it. The leader keeps the decoded
//! entry beside the bytes so that its own ledger need not decode what it has just encoded.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::{self, EntryError};
use super::entry::{Entry, Reply};
use super::snapshot_file::SnapshotFile;

openraft::declare_raft_types!(
    /// openraft as this room uses it.
    pub(super) Types:
        D = Blob,
        R = Replies,
        NodeId = u64,
        Node = openraft::EmptyNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = openraft::TokioRuntime,
);

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
