//! What a stopped node's folder holds, told entry by entry: for people who want to know, and for checkers of histories.
//!
//! A folder enters, nothing in it is changed; entries in the log's order with the fold's answers leave, then where the ledger
//! has every task. The files are copied first, because opening them mends what a crash left behind. The entries are folded
//! anew from the beginning, while the tasks are those of the node's own ledger as its next start would have it: the two
//! must agree, and whoever reads both can see whether they do. Deliberately not here: any format of text, and the lock that
//! keeps the node from being started meanwhile (its caller holds it).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};
use tokio::sync::broadcast;

use super::config::{Executor, JournalConfig, JournalError};
use super::engine::RaftEntry;
use super::entry::{Entry, Reply};
use super::ledger::{Change, Ledger, LedgerError, RETENTION, TaskQuery};
use super::log_store::{LogStore, READ_BYTES};
use super::log_writer::encode_record;
use super::machine::{Machine, Snapshots, change};
use super::stop::Stop;
use super::store::Written;
use crate::task::{TaskId, TaskState, Term, UnixMillis};

/// Tasks read from the ledger at once.
const PAGE: usize = 1_000;

/// One thing that a stopped node's folder holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Exported {
    /// The log begins behind this entry; a snapshot holds what was before.
    Snapshot {
        /// The last entry in it.
        index: u64,
    },
    /// One entry of the log.
    Entry(ExportedEntry),
    /// Where the ledger has a task.
    Task {
        /// Which.
        task: TaskId,
        /// Where it stands.
        state: TaskState,
    },
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportedEntry {
    /// Its place.
    pub index: u64,
    /// The leadership that appended it.
    pub term: Term,
    /// The first eight bytes of the SHA-256 of its kind, term and bytes: the same on every node.
    pub digest: u64,
    /// Whether this node knows it to be committed; the newest entries may be so without the node having written that down.
    pub committed: bool,
    /// Its facts; nothing for what the replication engine wrote for itself.
    pub entry: Option<Arc<Entry>>,
    /// The fold's answers to the facts, in their order; none if it is not known to be committed.
    pub replies: Vec<Reply>,
}

/// Why a folder could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nothing was ever written down there.
    #[error("there is no journal in {}", .0.display())]
    Missing(PathBuf),
    /// Its files could not be copied.
    #[error("{} can't be copied", .path.display())]
    Copy {
        /// Which.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        source: io::Error,
    },
    /// The journal does not open.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The ledger can't be read or made anew.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log can't be read.
    #[error("the log can't be read")]
    Log(#[source] io::Error),
    /// Whoever is told does not listen any more.
    #[error("what the journal holds could not be passed on")]
    Told(#[source] io::Error),
}

/// Tells everything; see the head of this file.
///
/// # Errors
/// See [`ExportError`]; what was told before stays told.
pub fn export(folder: &Path, tell: &mut dyn FnMut(Exported) -> io::Result<()>) -> Result<(), ExportError> {
    let scratch = Scratch::copy_of(folder)?;
    let config = |folder: PathBuf| {
        // No entry is proposed here, so that no time is read.
        let config = JournalConfig::new(folder, || UnixMillis(0));
        JournalConfig { executor: Executor::Inline, ..config }
    };
    let own = config(scratch.0.clone());
    // Nothing is appended here, so that it does not matter whose log it is.
    let log = LogStore::open(&own, &Written::default(), Stop::new(), 0)?;
    let ledger = Ledger::open(&own, RETENTION, &Written::default())?;
    let snapshots = Arc::new(Snapshots::open(&own)?);
    let (applied, _) = broadcast::channel(1);
    Machine::new(ledger.clone(), &own, applied, Arc::clone(&snapshots), log.durable(), Stop::new()).catch_up(&log)?;

    let replay = Ledger::open(&config(scratch.replay()?), RETENTION, &Written::default())?;
    let mut next = 0;
    if log.bounds().0.is_some() {
        // What was purged is in the snapshot, or the catching up would have failed.
        next = snapshots.import_newest_into(&replay)?.map_or(0, |index| index + 1);
        tell(Exported::Snapshot { index: next.saturating_sub(1) }).map_err(ExportError::Told)?;
    }
    let committed = ledger.progress()?.applied.map(|id| id.index);
    entries(&log, next, |entry| told(entry, committed, &replay), tell)?;
    tasks(&ledger, tell)
}

/// Reads the log in pieces, so that its length does not matter.
fn entries(
    log: &LogStore,
    mut next: u64,
    told: impl Fn(RaftEntry) -> Result<ExportedEntry, LedgerError>,
    tell: &mut dyn FnMut(Exported) -> io::Result<()>,
) -> Result<(), ExportError> {
    let end = log.last().map_or(0, |last| last.index + 1);
    while next < end {
        let piece = log.read(next, end, READ_BYTES).map_err(ExportError::Log)?;
        let Some(last) = piece.last().map(|entry| entry.log_id.index) else { break };
        for entry in piece {
            tell(Exported::Entry(told(entry)?)).map_err(ExportError::Told)?;
        }
        next = last + 1;
    }
    Ok(())
}

fn told(raw: RaftEntry, committed: Option<u64>, replay: &Ledger) -> Result<ExportedEntry, LedgerError> {
    let mut record = Vec::new();
    encode_record(&raw, &mut record)?;
    // The record begins with its own checksum.
    let hash = Sha256::digest(&record[8..]);
    let mut digest = [0; 8];
    digest.copy_from_slice(&hash[..8]);
    let (index, term) = (raw.log_id.index, Term(raw.log_id.leader_id.term));
    let committed = committed.is_some_and(|last| index <= last);
    let (id, change) = change(raw)?;
    let entry = if let Change::Facts(entry) = &change { Some(Arc::clone(entry)) } else { None };
    let replies = if committed { replay.fold(&[(id, change)], 0)?.pop().unwrap_or_default() } else { Vec::new() };
    Ok(ExportedEntry { index, term, digest: u64::from_be_bytes(digest), committed, entry, replies })
}

fn tasks(ledger: &Ledger, tell: &mut dyn FnMut(Exported) -> io::Result<()>) -> Result<(), ExportError> {
    let mut query = TaskQuery { limit: PAGE, ..TaskQuery::default() };
    loop {
        let page = ledger.tasks(&query)?;
        let Some((oldest, _)) = page.last() else { return Ok(()) };
        query.before = Some(oldest.task);
        for (record, _) in page {
            tell(Exported::Task { task: record.task, state: record.state }).map_err(ExportError::Told)?;
        }
    }
}

/// A folder of our own with copies of a journal's files; removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn copy_of(folder: &Path) -> Result<Self, ExportError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !folder.join("log.redb").is_file() {
            return Err(ExportError::Missing(folder.to_owned()));
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ExportError::Copy { path, source }
        };
        let name = format!("dunlin-export-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let own = std::env::temp_dir().join(name);
        // Fails if somebody has it already; nobody else may look inside, tasks may carry secrets.
        DirBuilder::new().mode(0o700).create(&own).map_err(failed(&own))?;
        let scratch = Scratch(own);
        for file in fs::read_dir(folder).map_err(failed(folder))? {
            let path = file.map_err(failed(folder))?.path();
            let name = path.file_name().unwrap_or_default();
            let wanted = name == "log.redb" || name == "ledger.redb" || path.extension().is_some_and(|end| end == "snapshot");
            if wanted {
                fs::copy(&path, scratch.0.join(name)).map_err(failed(&path))?;
            }
        }
        Ok(scratch)
    }

    fn replay(&self) -> Result<PathBuf, ExportError> {
        let path = self.0.join("replay");
        fs::create_dir(&path).map_err(|source| ExportError::Copy { path: path.clone(), source })?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the copy of a journal could not be removed");
        }
    }
}
