//! The one writer of the log's file: operations enter in order, one durable transaction leaves for all that waited.
//!
//! A failure to write is final: every later operation fails too, and the node is told to stop. What an acknowledged
//! operation wrote is on the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::storage::LogFlushed;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tokio::sync::{mpsc, oneshot};

use super::codec;
use super::config::{DiskDelay, JournalConfig, JournalError};
use super::engine::{Blob, LogId, RaftEntry, Types, Vote, log_id};
use super::log_store::{Recent, Shared};
use super::stop::Stop;

/// The format of the log's file that this version writes.
const FORMAT: u32 = 1;

pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// How one operation's end is reported.
pub(super) type Done = oneshot::Sender<Result<(), io::Error>>;

/// One operation on the log.
pub(super) enum Operation {
    /// Entries at the end; nobody waits for them if they have no callback.
    Append { entries: Vec<RaftEntry>, callback: Option<LogFlushed<Types>> },
    /// A promise to a candidate.
    Vote { vote: Vote, done: Done },
    /// Entries from here on were never committed.
    Truncate { since: u64, done: Done },
    /// Entries up to here are in a snapshot.
    Purge { upto: LogId, done: Done },
    /// Nothing will follow.
    Close { done: Done },
}

impl Operation {
    fn finish(self, result: Result<(), io::Error>) {
        match self {
            Operation::Append { callback, .. } => {
                if let Some(callback) = callback {
                    callback.log_io_completed(result);
                }
            }
            Operation::Vote { done, .. }
            | Operation::Truncate { done, .. }
            | Operation::Purge { done, .. }
            | Operation::Close { done } => {
                // The asker is gone only when the engine has stopped.
                let _ = done.send(result);
            }
        }
    }
}

/// See the head of this file.
pub(super) struct Writer {
    shared: Arc<Shared>,
    stop: Stop,
    scratch: Vec<u8>,
    path: PathBuf,
    quick_repair_from: u64,
    /// Why nothing more is written.
    failed: Option<String>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, stop: Stop, config: &JournalConfig) -> Self {
        let (path, quick_repair_from) = (config.log_path(), config.quick_repair_from);
        Writer { shared, stop, scratch: Vec::new(), path, quick_repair_from, failed: None }
    }

    /// Writes until every sender is gone.
    pub(super) fn run(mut self, mut operations: mpsc::Receiver<Operation>, limit: usize) {
        while let Some(first) = operations.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < limit {
                let Ok(next) = operations.try_recv() else { break };
                batch.push(next);
            }
            self.write(batch);
        }
    }

    /// The same on the runtime, for a simulator: each transaction takes as long as it is told.
    pub(super) async fn run_here(mut self, mut operations: mpsc::Receiver<Operation>, limit: usize, delay: Option<DiskDelay>) {
        let mut batch = Vec::new();
        while operations.recv_many(&mut batch, limit).await > 0 {
            if let Some(delay) = &delay {
                tokio::time::sleep(delay()).await;
            }
            self.write(std::mem::take(&mut batch));
        }
    }

    /// Writes operations in one transaction and reports to each.
    pub(super) fn write(&mut self, batch: Vec<Operation>) {
        let result = match &self.failed {
            Some(reason) => Err(io::Error::other(reason.clone())),
            None => self.transaction(&batch),
        };
        match &result {
            Ok(()) => appended(&batch).into_iter().for_each(|last| self.shared.flushed(last)),
            Err(error) => {
                self.shared.failed();
                let reason = format!("the log could not be written: {error}");
                self.stop.now(reason.clone());
                self.failed.get_or_insert(reason);
            }
        }
        if batch.iter().any(|operation| matches!(operation, Operation::Close { .. })) {
            self.shared.close();
        }
        for operation in batch {
            let again = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            operation.finish(again);
        }
    }

    /// A large file must reopen in milliseconds after a crash, for which each commit takes a second fsync and writes down
    /// what is free. A small one is checked whole in that time, so that its commits are spared both.
    fn is_large(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| file.len() >= self.quick_repair_from)
    }

    fn transaction(&mut self, batch: &[Operation]) -> Result<(), io::Error> {
        let committed = self.shared.take_committed();
        if committed.is_none() && batch.iter().all(|operation| matches!(operation, Operation::Close { .. })) {
            return Ok(());
        }
        let database = self.shared.database()?;
        let mut write = database.begin_write().map_err(io::Error::other)?;
        write.set_durability(Durability::Immediate).map_err(io::Error::other)?;
        write.set_quick_repair(self.is_large());
        {
            let mut log = write.open_table(LOG).map_err(io::Error::other)?;
            let mut meta = write.open_table(META).map_err(io::Error::other)?;
            for operation in batch {
                match operation {
                    Operation::Append { entries, .. } => {
                        for entry in entries {
                            encode_record(entry, &mut self.scratch)?;
                            log.insert(entry.log_id.index, &self.scratch[..]).map_err(io::Error::other)?;
                        }
                    }
                    Operation::Vote { vote, .. } => put(&mut meta, "vote", vote)?,
                    Operation::Truncate { since, .. } => {
                        log.retain_in::<u64, _>(since.., |_, _| false).map_err(io::Error::other)?;
                    }
                    Operation::Purge { upto, .. } => {
                        // The mark goes first: it is what the end of an emptied log is known by.
                        put(&mut meta, "purged", upto)?;
                        log.retain_in::<u64, _>(..=upto.index, |_, _| false).map_err(io::Error::other)?;
                    }
                    Operation::Close { .. } => {}
                }
            }
            if let Some(committed) = committed {
                put(&mut meta, "committed", &committed)?;
            }
        }
        self.scratch.shrink_to(64 << 10);
        write.commit().map_err(io::Error::other)
    }
}

/// The last entry that a batch leaves at the log's end. After a cut there is none: whoever cut knows the end.
fn appended(batch: &[Operation]) -> Option<LogId> {
    batch.iter().fold(None, |last, operation| match operation {
        Operation::Append { entries, .. } => entries.last().map(|entry| entry.log_id).or(last),
        Operation::Truncate { .. } => None,
        _ => last,
    })
}

fn put<T: serde::Serialize>(meta: &mut redb::Table<'_, &str, &[u8]>, name: &str, value: &T) -> Result<(), io::Error> {
    let bytes = codec::encode(value).map_err(io::Error::other)?;
    meta.insert(name, &bytes[..]).map_err(io::Error::other)?;
    Ok(())
}

// A record: checksum of the rest (8), kind (1), term (8), payload.
const HEAD: usize = 17;
const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Writes one record of the log's table: its checksum first.
pub(super) fn encode_record(entry: &RaftEntry, out: &mut Vec<u8>) -> Result<(), io::Error> {
    out.clear();
    out.extend_from_slice(&[0; 8]);
    let kind = match &entry.payload {
        EntryPayload::Blank => BLANK,
        EntryPayload::Normal(_) => NORMAL,
        EntryPayload::Membership(_) => MEMBERSHIP,
    };
    out.push(kind);
    out.extend_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
    match &entry.payload {
        EntryPayload::Blank => {}
        EntryPayload::Normal(blob) => out.extend_from_slice(blob.bytes()),
        EntryPayload::Membership(membership) => codec::encode_into(membership, out).map_err(io::Error::other)?,
    }
    let sum = checksum(&out[8..]).to_le_bytes();
    out[..8].copy_from_slice(&sum);
    Ok(())
}

/// Reads one record of the log's table.
pub(super) fn decode_record(index: u64, record: &[u8]) -> Result<RaftEntry, io::Error> {
    let broken = |detail: String| io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index}: {detail}"));
    let word = |from: usize| record.get(from..from + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let (Some(sum), Some(kind), Some(term)) = (word(0), record.get(8), word(9)) else {
        return Err(broken("too short".to_owned()));
    };
    if checksum(&record[8..]) != sum {
        return Err(broken("wrong checksum".to_owned()));
    }
    let rest = &record[HEAD..];
    let payload = match *kind {
        BLANK => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(Blob::encoded(bytes::Bytes::copy_from_slice(rest))),
        MEMBERSHIP => EntryPayload::Membership(codec::decode(rest).map_err(|error| broken(error.to_string()))?),
        other => return Err(broken(format!("unknown kind {other}"))),
    };
    Ok(RaftEntry { log_id: log_id(term, index), payload })
}

/// A checksum against accidents, eight bytes a step; no protection against malice is meant (FNV-1a, widened).
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(PRIME).rotate_left(29);
    let mut chunks = bytes.chunks_exact(8);
    let mut sum = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    for chunk in &mut chunks {
        sum = mix(sum, chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    chunks.remainder().iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte)))
}

/// What an opened file says of itself; an empty one is given its format.
pub(super) fn read_start(database: &Database, path: &Path) -> Result<Recent, JournalError> {
    let damaged = |detail: String| JournalError::Damaged { path: path.to_owned(), detail };
    let read = database.begin_read().map_err(|error| damaged(error.to_string()))?;
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            drop(read);
            create(database).map_err(|source| JournalError::Unreadable { path: path.to_owned(), source })?;
            return Ok(Recent::default());
        }
        Err(error) => return Err(damaged(error.to_string())),
    };
    let found: u32 = read_meta(&meta, "format").map_err(|error| damaged(error.to_string()))?.unwrap_or(0);
    if found > FORMAT {
        return Err(JournalError::NewerFormat { path: path.parent().unwrap_or(path).to_owned(), found, known: FORMAT });
    }
    read_state(&read, &meta).map_err(|error| damaged(error.to_string()))
}

fn create(database: &Database) -> Result<(), io::Error> {
    let mut write = database.begin_write().map_err(io::Error::other)?;
    write.set_quick_repair(true);
    {
        write.open_table(LOG).map_err(io::Error::other)?;
        let mut meta = write.open_table(META).map_err(io::Error::other)?;
        put(&mut meta, "format", &FORMAT)?;
    }
    write.commit().map_err(io::Error::other)
}

fn read_meta<T: serde::de::DeserializeOwned>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, io::Error> {
    let Some(bytes) = meta.get(name).map_err(io::Error::other)? else { return Ok(None) };
    codec::decode(bytes.value()).map(Some).map_err(io::Error::other)
}

fn read_state(read: &redb::ReadTransaction, meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Recent, io::Error> {
    let purged: Option<LogId> = read_meta(meta, "purged")?;
    let log = read.open_table(LOG).map_err(io::Error::other)?;
    let last = match log.last().map_err(io::Error::other)? {
        Some((index, record)) => Some(decode_record(index.value(), record.value())?.log_id),
        None => None,
    };
    Ok(Recent::opened(last.max(purged), purged, read_meta(meta, "vote")?, read_meta(meta, "committed")?))
}
