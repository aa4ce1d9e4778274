//! What the journal adds up to, in a redb file: tasks, members, counts, history.
//!
//! Committed entries enter through one fold; answers to queries leave through redb's own snapshots of the file, never
//! through a copy in memory. The file is derived: its commits are mostly not durable, and whenever it is missing, old or
//! damaged it is made again from the last snapshot and the log. Deliberately not here: who runs what (a lease is in the
//! leader's memory), and any clock.

mod fold;
mod layout;
mod lazy;
mod meta;
mod queries;
mod row;
mod snapshot;
mod tables;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase};

pub use queries::{Output, ReadyTask, Specs, TaskQuery, WaitingTask};

pub(super) use fold::{RETENTION, Retention};
pub(super) use meta::Progress;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use row::survives as row_survives;
#[cfg(test)]
pub(super) use row::tests::samples as row_samples;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use snapshot::read_bytes as read_snapshot;
pub(super) use snapshot::verify as verify_snapshot;
#[cfg(test)]
pub(super) use tests::snapshot_of;

use super::codec::CodecError;
use super::config::{JournalConfig, JournalError};
use super::engine::{LogId, Membership};
use super::entry::{Entry, Reply};
use super::store::{self, Written};
use fold::Fold;

/// Why the ledger could not answer or fold.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file can't be read or written.
    #[error("the ledger: {0}")]
    Storage(#[source] Box<redb::Error>),
    /// A row makes no sense.
    #[error(transparent)]
    Row(#[from] row::BadRow),
    /// A value makes no sense.
    #[error("the ledger: {0}")]
    Value(#[from] CodecError),
    /// An entry of the log can't be read: by a newer version, or broken.
    #[error("entry {index} of the log: {detail}")]
    Entry {
        /// Its index.
        index: u64,
        /// What was found.
        detail: String,
    },
    /// A snapshot makes no sense.
    #[error("the snapshot is damaged: {0}")]
    Snapshot(String),
    /// A snapshot's file can't be read or written.
    #[error("the snapshot's file: {0}")]
    File(#[from] std::io::Error),
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for LedgerError {
            fn from(error: $error) -> Self {
                LedgerError::Storage(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::SetDurabilityError);

impl LedgerError {
    /// Whether the file itself is at fault, so that building it again will help.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            LedgerError::Row(_) | LedgerError::Value(_) => true,
            LedgerError::Storage(error) => {
                !matches!(**error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed)
            }
            LedgerError::Entry { .. } | LedgerError::Snapshot(_) | LedgerError::File(_) => false,
        }
    }
}

/// What one committed entry of the log means to the ledger.
pub(super) enum Change {
    /// Facts.
    Facts(Arc<Entry>),
    /// Raft's voters and learners.
    Membership(Box<Membership>),
    /// A leader's first sign of life.
    Nothing,
}

/// The ledger of one node; cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    config: JournalConfig,
    retention: Retention,
    written: Written,
    /// Gone once the journal has stopped, so that the file is closed whoever still holds this.
    database: RwLock<Option<Arc<Database>>>,
    unsaved: Mutex<Unsaved>,
}

/// What was folded since the last durable commit.
#[derive(Default)]
struct Unsaved {
    facts: u64,
    bytes: u64,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("folder", &self.0.config.folder).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the file. One that can't be read is removed and begun anew: the caller catches up from snapshot and log.
    pub(super) fn open(config: &JournalConfig, retention: Retention, written: &Written) -> Result<Self, JournalError> {
        let path = config.ledger_path();
        let database = match open_checked(config, &path, written) {
            Ok(database) => database,
            Err(JournalError::Damaged { detail, .. }) => {
                tracing::warn!(path = %path.display(), %detail, "the ledger is made anew from snapshot and log");
                let unreadable = |source| JournalError::Unreadable { path: path.clone(), source };
                std::fs::remove_file(&path).map_err(unreadable)?;
                open_checked(config, &path, written)?
            }
            Err(other) => return Err(other),
        };
        Ok(Ledger(Arc::new(Inner {
            config: config.clone(),
            retention,
            written: written.clone(),
            database: RwLock::new(Some(Arc::new(database))),
            unsaved: Mutex::default(),
        })))
    }

    fn database(&self) -> Result<Arc<Database>, LedgerError> {
        let current = self.0.database.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| redb::StorageError::DatabaseClosed.into())
    }

    fn begin(&self) -> Result<ReadTransaction, LedgerError> {
        Ok(self.database()?.begin_read()?)
    }

    /// Closes the file; whatever is asked later fails.
    pub(super) fn close(&self) {
        drop(self.0.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn unsaved(&self) -> MutexGuard<'_, Unsaved> {
        self.0.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far this file has folded.
    pub(super) fn progress(&self) -> Result<Progress, LedgerError> {
        meta::get(&self.begin()?.open_table(tables::META)?, meta::PROGRESS)
    }

    /// Folds committed entries in one transaction; the replies of each in order. `bytes` is their size in the log.
    pub(super) fn fold(&self, entries: &[(LogId, Change)], bytes: u64) -> Result<Vec<Vec<Reply>>, LedgerError> {
        let mut unsaved = self.unsaved();
        let facts = entries.iter().map(|(_, change)| change.facts()).sum::<u64>();
        let limits = &self.0.config;
        let durable = unsaved.facts + facts >= limits.durable_facts || unsaved.bytes + bytes >= limits.durable_bytes;
        let database = self.database()?;
        let mut write = database.begin_write()?;
        write.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        write.set_quick_repair(durable);
        let mut replies = Vec::with_capacity(entries.len());
        {
            let mut progress = meta::get::<Progress>(&write.open_table(tables::META)?, meta::PROGRESS)?;
            let mut fold = Fold::open(&write, self.0.retention)?;
            for (id, change) in entries {
                replies.push(match change {
                    Change::Facts(entry) => fold.entry(id.index, entry)?,
                    Change::Membership(membership) => {
                        progress.membership = (**membership).clone();
                        Vec::new()
                    }
                    Change::Nothing => Vec::new(),
                });
                progress.applied = Some(*id);
            }
            fold.finish(&progress)?;
        }
        write.commit()?;
        if durable {
            *unsaved = Unsaved::default();
        } else {
            unsaved.facts += facts;
            unsaved.bytes += bytes;
        }
        Ok(replies)
    }

    /// Makes everything folded so far durable, if there is anything.
    pub(super) fn save(&self) -> Result<(), LedgerError> {
        let mut unsaved = self.unsaved();
        if unsaved.facts == 0 && unsaved.bytes == 0 {
            return Ok(());
        }
        let database = self.database()?;
        let mut write = database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        write.set_quick_repair(true);
        write.commit()?;
        *unsaved = Unsaved::default();
        Ok(())
    }

    /// Marks the file as not to be trusted: the next start makes it anew.
    pub(super) fn condemn(&self) {
        let path = self.0.config.ledger_path();
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::error!(path = %path.display(), %error, "a damaged ledger could not be removed");
        }
    }

    fn replacement_path(&self) -> PathBuf {
        self.0.config.folder.join("ledger.new.redb")
    }
}

impl Change {
    fn facts(&self) -> u64 {
        match self {
            Change::Facts(entry) => entry.facts.len() as u64,
            Change::Membership(_) | Change::Nothing => 0,
        }
    }
}

/// Opens the file and makes sure that it is one of ours and of this format.
fn open_checked(config: &JournalConfig, path: &std::path::Path, written: &Written) -> Result<Database, JournalError> {
    let damaged = |detail: String| JournalError::Damaged { path: path.to_owned(), detail };
    let mut database = store::open(config, path, config.ledger_cache, written)?;
    let size = std::fs::metadata(path).map_or(0, |file| file.len());
    if size <= config.verify_upto && !verify(&mut database).map_err(damaged)? {
        return Err(damaged("a page is not what was written".to_owned()));
    }
    check(&database).map_err(|error| damaged(error.to_string()))?;
    Ok(database)
}

/// Reads every page and compares its checksum: what a disk has quietly changed must not become an answer.
fn verify(database: &mut Database) -> Result<bool, String> {
    database.check_integrity().map_err(|error| error.to_string())
}

fn check(database: &Database) -> Result<(), LedgerError> {
    let read = database.begin_read()?;
    match read.open_table(tables::META) {
        Ok(table) => {
            let found: u32 = meta::get(&table, meta::FORMAT_NAME)?;
            if found != meta::FORMAT {
                return Err(LedgerError::Snapshot(format!("format {found}; this version makes {}", meta::FORMAT)));
            }
            meta::get::<Progress>(&table, meta::PROGRESS)?;
            meta::get::<meta::Standing>(&table, meta::STANDING)?;
            Ok(())
        }
        Err(redb::TableError::TableDoesNotExist(_)) => create(database),
        Err(error) => Err(error.into()),
    }
}

/// Makes every table, so that queries never miss one.
fn create(database: &Database) -> Result<(), LedgerError> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    macro_rules! make {
        ($number:literal, $table:expr) => {
            write.open_table($table)?;
        };
    }
    tables::every_table!(make);
    meta::put(&mut write.open_table(tables::META)?, meta::FORMAT_NAME, &meta::FORMAT)?;
    write.commit()?;
    Ok(())
}
