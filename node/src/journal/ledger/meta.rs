//! The ledger's single values: what swarm this is, who opened which term, how far it has folded.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::journal::codec;
use crate::journal::engine::{LogId, Membership};
use crate::task::{NodeId, SwarmId, Term};

/// The format of the ledger's tables. Another one is not read but built anew from snapshot and log.
pub(super) const FORMAT: u32 = 2;

/// The fold's own memory between entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Standing {
    pub(super) swarm: Option<SwarmId>,
    pub(super) opened_term: Term,
    pub(super) opened_by: Option<NodeId>,
    pub(super) last_task: u64,
    /// Where the next finished task goes.
    pub(super) finished_next: u64,
    pub(super) finished_count: u64,
}

/// How far the ledger has folded, and Raft's membership there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::journal) struct Progress {
    pub(in crate::journal) applied: Option<LogId>,
    pub(in crate::journal) membership: Membership,
}

pub(super) const STANDING: &str = "standing";
pub(super) const PROGRESS: &str = "progress";
pub(super) const FORMAT_NAME: &str = "format";

pub(super) fn get<T: serde::de::DeserializeOwned + Default>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<T, LedgerError> {
    match table.get(name)? {
        Some(bytes) => Ok(codec::decode(bytes.value())?),
        None => Ok(T::default()),
    }
}

pub(super) fn put<T: Serialize>(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    name: &str,
    value: &T,
) -> Result<(), LedgerError> {
    table.insert(name, &codec::encode(value)?[..])?;
    Ok(())
}
