//! openraft's state machine: hands committed entries to the ledger, makes and takes snapshots.
//!
//! The work is done off the runtime's threads, everything that openraft hands over at once in one transaction. Listeners
//! hear of an entry after it is folded. A ledger that can't go on stops the journal; if its file is to blame, the next
//! start makes it anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::{Notify, broadcast};

use super::config::{Executor, FoldListener, JournalConfig, JournalError};
use super::durable::Durable;
use super::engine::{LogId, Membership, RaftEntry, Replies, Snapshot, SnapshotMeta, StorageError, Types, weight};
use super::ledger::{self, Change, Ledger, LedgerError};
use super::log_store::{LogStore, READ_BYTES, failed};
use super::port::Applied;
use super::snapshot_file::SnapshotFile;
use super::stop::Stop;
use crate::task::Term;

/// See the head of this file; cheap to clone.
#[derive(Clone)]
pub(super) struct Machine {
    ledger: Ledger,
    executor: Executor,
    applied: broadcast::Sender<Applied>,
    snapshots: Arc<Snapshots>,
    durable: Durable,
    listener: Option<FoldListener>,
    stop: Stop,
}

/// The snapshots' files, of which only the newest is kept, and when the next one is due.
pub(super) struct Snapshots {
    folder: PathBuf,
    current: Mutex<Option<(SnapshotMeta, PathBuf)>>,
    /// What the log has grown since the newest one.
    grown: AtomicU64,
    /// How much it may grow.
    allowance: AtomicU64,
    least: u64,
    due: Notify,
}

const SUFFIX: &str = "snapshot";
const RECEIVING: &str = "receiving.tmp";
const BUILDING: &str = "building.tmp";
/// What an entry costs beside its bytes, in a log that must be replayed.
const ENTRY_COST: u64 = 256;

impl Snapshots {
    /// Finds the newest whole snapshot of a folder; broken ones are left where they are and said.
    pub(super) fn open(config: &JournalConfig) -> Result<Self, JournalError> {
        let unreadable = |source| JournalError::Unreadable { path: config.folder.clone(), source };
        let mut newest: Option<(SnapshotMeta, PathBuf)> = None;
        for file in std::fs::read_dir(&config.folder).map_err(unreadable)? {
            let path = file.map_err(unreadable)?.path();
            if path.extension().is_none_or(|extension| extension != SUFFIX) {
                continue;
            }
            match ledger::verify_snapshot(&path) {
                Ok(meta) if newest.as_ref().is_none_or(|(known, _)| known.last_log_id < meta.last_log_id) => {
                    newest = Some((meta, path));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "a snapshot can't be used"),
            }
        }
        let snapshots = Snapshots {
            folder: config.folder.clone(),
            current: Mutex::new(None),
            grown: AtomicU64::new(0),
            allowance: AtomicU64::new(config.snapshot_bytes),
            least: config.snapshot_bytes,
            due: Notify::new(),
        };
        if let Some((meta, path)) = newest {
            snapshots.set(meta, path);
        }
        Ok(snapshots)
    }

    fn current(&self) -> Option<(SnapshotMeta, PathBuf)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn last(&self) -> Option<LogId> {
        self.current().and_then(|(meta, _)| meta.last_log_id)
    }

    /// Replaces a ledger by the newest snapshot; answers with the last entry that is in it.
    pub(super) fn import_newest_into(&self, ledger: &Ledger) -> Result<Option<u64>, LedgerError> {
        let Some((_, path)) = self.current() else { return Ok(None) };
        Ok(ledger.import(&path)?.last_log_id.map(|id| id.index))
    }

    fn set(&self, meta: SnapshotMeta, path: PathBuf) {
        let size = std::fs::metadata(&path).map_or(0, |file| file.len());
        self.allowance.store(self.least.max(size), Ordering::Relaxed);
        self.grown.store(0, Ordering::Relaxed);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((meta, path));
    }

    /// Gives a finished file its lasting name and forgets the older ones.
    fn adopt(&self, meta: &SnapshotMeta, from: &Path) -> io::Result<PathBuf> {
        let path = self.folder.join(format!("{}.{SUFFIX}", meta.snapshot_id));
        std::fs::rename(from, &path)?;
        // The name must be on the disk before the log that it replaces is purged.
        std::fs::File::open(&self.folder)?.sync_all()?;
        let older = self.current().map(|(_, older)| older);
        self.set(meta.clone(), path.clone());
        if let Some(older) = older.filter(|older| *older != path) {
            std::fs::remove_file(older)?;
        }
        Ok(path)
    }

    fn grow(&self, entries: u64, bytes: u64) {
        let more = bytes + entries * ENTRY_COST;
        let grown = self.grown.fetch_add(more, Ordering::Relaxed) + more;
        let allowance = self.allowance.load(Ordering::Relaxed);
        if grown >= allowance && grown - more < allowance {
            self.due.notify_one();
        }
    }

    /// Waits until a snapshot is due.
    pub(super) async fn due(&self) {
        self.due.notified().await;
    }
}

impl Machine {
    pub(super) fn new(
        ledger: Ledger,
        config: &JournalConfig,
        applied: broadcast::Sender<Applied>,
        snapshots: Arc<Snapshots>,
        durable: Durable,
        stop: Stop,
    ) -> Self {
        let (executor, listener) = (config.executor, config.listener.clone());
        Machine { ledger, executor, applied, snapshots, durable, listener, stop }
    }

    /// Brings the ledger to where this node's log is known to be committed; done before the engine starts, by the same
    /// fold that it uses later.
    pub(super) fn catch_up(&self, log: &LogStore) -> Result<(), JournalError> {
        let damaged = |detail: String| JournalError::Damaged { path: self.snapshots.folder.clone(), detail };
        let (purged, committed) = log.bounds();
        let snapshot = self.snapshots.current();
        let mut applied = self.ledger.progress().map_err(|error| damaged(error.to_string()))?.applied;
        if let Some((meta, path)) = &snapshot
            && meta.last_log_id > applied
            && (purged > applied || log.last() < meta.last_log_id)
        {
            self.ledger.import(path).map_err(|error| damaged(error.to_string()))?;
            applied = meta.last_log_id;
        }
        if purged > applied {
            return Err(damaged("the ledger and the log's beginning are gone, and there is no snapshot".to_owned()));
        }
        let target = committed.max(self.snapshots.last()).max(applied).map_or(0, |id| id.index + 1);
        let mut next = applied.map_or(0, |id| id.index + 1);
        while next < target {
            let entries = log.read(next, target, READ_BYTES).map_err(|error| damaged(error.to_string()))?;
            let Some(last) = entries.last().map(|entry| entry.log_id.index) else { break };
            self.fold(entries).map_err(|error| damaged(error.to_string()))?;
            next = last + 1;
        }
        Ok(())
    }

    /// Folds entries and tells the listeners. Blocks.
    fn fold(&self, entries: Vec<RaftEntry>) -> Result<Vec<Replies>, LedgerError> {
        let bytes = entries.iter().map(|entry| weight(entry) as u64).sum();
        let changes = entries.into_iter().map(change).collect::<Result<Vec<_>, _>>()?;
        let replies = self.ledger.fold(&changes, bytes)?;
        self.snapshots.grow(changes.len() as u64, bytes);
        let mut answers = Vec::with_capacity(replies.len());
        for ((id, change), replies) in changes.into_iter().zip(replies) {
            let replies = Arc::new(replies);
            answers.push(Replies(Arc::clone(&replies)));
            if let Change::Facts(entry) = change {
                let applied = Applied { index: id.index, entry, replies };
                if let Some(listener) = &self.listener {
                    listener(Term(id.leader_id.term), &applied);
                }
                // Fails only when nobody listens.
                let _ = self.applied.send(applied);
            }
        }
        Ok(answers)
    }

    /// Does disk work where the configuration wants it, and stops the journal if it fails.
    async fn work<T: Send + 'static>(
        &self,
        verb: ErrorVerb,
        work: impl FnOnce(&Machine) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let machine = self.clone();
        let error = match self.executor.run(move || work(&machine)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => {
                if error.is_damage() {
                    self.ledger.condemn();
                }
                io::Error::other(error)
            }
            // A panic in the fold: its file may be the reason, and is cheap to make again.
            Err(panic) => {
                self.ledger.condemn();
                io::Error::other(panic)
            }
        };
        self.stop.now(format!("the ledger can't go on: {error}"));
        Err(failed(ErrorSubject::StateMachine, verb, error))
    }

    fn build(&self) -> Result<Snapshot, LedgerError> {
        // First the ledger's own file, so that a restart need not go back to this snapshot.
        self.ledger.save()?;
        let building = self.snapshots.folder.join(BUILDING);
        let meta = self.ledger.export(&building)?;
        let path = self.snapshots.adopt(&meta, &building)?;
        Ok(Snapshot { meta, snapshot: Box::new(SnapshotFile::open(&path)?) })
    }

    fn install(&self, meta: &SnapshotMeta, file: &SnapshotFile) -> Result<(), LedgerError> {
        file.sync()?;
        let found = ledger::verify_snapshot(file.path())?;
        if found.last_log_id != meta.last_log_id {
            return Err(LedgerError::Snapshot("it is not the one that was announced".to_owned()));
        }
        let path = self.snapshots.adopt(&found, file.path())?;
        self.ledger.import(&path)?;
        Ok(())
    }
}

/// What an entry of the log means to the ledger.
pub(super) fn change(entry: RaftEntry) -> Result<(LogId, Change), LedgerError> {
    let change = match entry.payload {
        EntryPayload::Blank => Change::Nothing,
        EntryPayload::Normal(blob) => Change::Facts(
            blob.entry().map_err(|error| LedgerError::Entry { index: entry.log_id.index, detail: error.to_string() })?,
        ),
        EntryPayload::Membership(membership) => Change::Membership(Box::new(Membership::new(Some(entry.log_id), membership))),
    };
    Ok((entry.log_id, change))
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Machine;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let progress = self.work(ErrorVerb::Read, |machine| machine.ledger.progress()).await?;
        Ok((progress.applied, progress.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Replies>, StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        // The engine counts a leader's own copy while it is being written: it is a copy once it is on the disk.
        if let Some(last) = entries.last() {
            let reached = self.durable.reached(last.log_id.index).await;
            reached.map_err(|error| failed(ErrorSubject::StateMachine, ErrorVerb::Write, error))?;
        }
        self.work(ErrorVerb::Write, |machine| machine.fold(entries)).await
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        let path = self.snapshots.folder.join(RECEIVING);
        self.work(ErrorVerb::Write, move |_| Ok(Box::new(SnapshotFile::create(&path)?))).await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Box<SnapshotFile>) -> Result<(), StorageError> {
        let meta = meta.clone();
        self.work(ErrorVerb::Write, move |machine| machine.install(&meta, &snapshot)).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let Some((meta, path)) = self.snapshots.current() else { return Ok(None) };
        self.work(ErrorVerb::Read, move |_| Ok(Some(Snapshot { meta, snapshot: Box::new(SnapshotFile::open(&path)?) }))).await
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        self.work(ErrorVerb::Read, Machine::build).await
    }
}
