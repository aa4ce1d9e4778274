//! The log as openraft reads and writes it: a redb file behind one writer, and the newest entries in memory.
//!
//! Appends, votes, truncations and purges enter as operations in one order; they leave as one transaction, one fsync for
//! all that waited, and only then are their callbacks completed, but for what this node appends as the leader: that is sent
//! on while it is written (`durable` says what must wait all the same). Readers find what is not written yet, and what
//! followers that keep up will ask for, in memory. Nothing is decided here, and nothing is written when nothing happened.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, StorageIOError};
use redb::{Database, ReadableDatabase};
use tokio::sync::{mpsc, oneshot};

use super::config::{DiskDelay, Executor, JournalConfig, JournalError};
use super::durable::{self, Durable};
use super::engine::{LogId, RaftEntry, StorageError, Types, Vote, weight};
use super::log_writer::{LOG, Operation, Writer, decode_record};
use super::store::{self, Written};
use crate::process::of_this_process;

/// The largest sum of entries handed over at once: leaves room in a message for its head, whatever the entries' sizes.
/// One entry alone may be up to `caller_bytes`, which is less.
pub(super) const READ_BYTES: usize = 3 << 20;

/// The log of one node; cheap to clone.
#[derive(Clone)]
pub(super) struct LogStore {
    shared: Arc<Shared>,
    operations: mpsc::Sender<Operation>,
    /// What writes on the runtime that first asks for it; elsewhere a thread of its own does.
    here: Arc<Mutex<Option<Here>>>,
    local: u64,
}

/// A writer that has not begun yet.
struct Here {
    writer: Writer,
    operations: mpsc::Receiver<Operation>,
    delay: Option<DiskDelay>,
    limit: usize,
}

/// What readers and the writer share.
pub(super) struct Shared {
    /// Gone once the journal has stopped, so that the file is closed whoever still holds this.
    database: Mutex<Option<Arc<Database>>>,
    recent: Mutex<Recent>,
    recent_bytes: usize,
    durable: Durable,
}

/// The end of the log, in memory.
#[derive(Default)]
pub(super) struct Recent {
    entries: BTreeMap<u64, RaftEntry>,
    bytes: usize,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// The newest committed id that is not on the disk yet; it travels with the next operation.
    committed_unsaved: Option<LogId>,
}

impl Shared {
    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn database(&self) -> Result<Arc<Database>, io::Error> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        database.clone().ok_or_else(|| io::Error::other("the journal is closed"))
    }

    pub(super) fn close(&self) {
        drop(self.database.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// What is committed but not saved, to be written with the operations that are being written anyway; of that, what the
    /// disk has: a later leader may give the number of an entry that was never written to another one.
    pub(super) fn take_committed(&self) -> Option<LogId> {
        let mut recent = self.recent();
        let saved = self.durable.part_of(recent.committed_unsaved)?;
        if Some(saved) == recent.committed_unsaved {
            recent.committed_unsaved = None;
        }
        Some(saved)
    }

    /// Everything up to an entry has been written.
    pub(super) fn flushed(&self, upto: LogId) {
        self.durable.advance(upto);
        self.recent().shrink(self.recent_bytes, self.durable.index());
    }

    /// Nothing will be written any more.
    pub(super) fn failed(&self) {
        self.durable.fail();
    }
}

impl Recent {
    fn append(&mut self, entry: RaftEntry) {
        self.bytes += weight(&entry);
        self.last = Some(entry.log_id);
        if let Some(replaced) = self.entries.insert(entry.log_id.index, entry) {
            self.bytes -= weight(&replaced);
        }
    }

    /// Forgets the oldest entries until the bound is kept; never one that is not on the disk.
    fn shrink(&mut self, bound: usize, flushed: u64) {
        while self.bytes > bound && self.entries.first_key_value().is_some_and(|(index, _)| *index <= flushed) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, entry)) = self.entries.pop_first() {
            self.bytes -= weight(&entry);
        }
    }

    fn truncate(&mut self, since: u64, before: Option<LogId>) {
        for (_, entry) in self.entries.split_off(&since) {
            self.bytes -= weight(&entry);
        }
        self.last = before;
    }

    fn purge(&mut self, upto: LogId) {
        while self.entries.first_key_value().is_some_and(|(index, _)| *index <= upto.index) {
            self.forget_first();
        }
        self.purged = Some(upto);
        self.last = self.last.max(Some(upto));
    }

    /// The entries of a range as far as all of it is in memory.
    fn range(&self, start: u64, end: u64, bound: usize) -> Option<Vec<RaftEntry>> {
        let (first, _) = self.entries.first_key_value()?;
        if start < *first || start >= end {
            return None;
        }
        let mut left = bound;
        let fits = |entry: &&RaftEntry| {
            let weight = weight(entry);
            let fits = weight <= left || left == bound;
            left = left.saturating_sub(weight);
            fits
        };
        Some(self.entries.range(start..end).map(|(_, entry)| entry).take_while(fits).cloned().collect())
    }
}

impl LogStore {
    /// Opens the log of the node `local`; `stopped` is told once if it can't be written any more.
    pub(super) fn open(
        config: &JournalConfig,
        written: &Written,
        stopped: super::stop::Stop,
        local: u64,
    ) -> Result<Self, JournalError> {
        let path = config.log_path();
        let database = store::open(config, &path, config.log_cache, written)?;
        let mut recent = super::log_writer::read_start(&database, &path)?;
        recent.vote = durable::resumed(recent.vote, local);
        let durable = Durable::new(recent.last);
        let database = Mutex::new(Some(Arc::new(database)));
        let shared = Arc::new(Shared { database, recent: Mutex::new(recent), recent_bytes: config.recent_bytes, durable });
        let guard = stopped.clone();
        let writer = Writer::new(Arc::clone(&shared), stopped, config);
        let (sender, operations) = mpsc::channel(config.log_batch);
        let limit = config.log_batch;
        let here = match config.executor {
            Executor::Inline => Some(Here { writer, operations, delay: config.disk_delay.clone(), limit }),
            Executor::Threads => {
                std::thread::Builder::new()
                    .name("journal-log".to_owned())
                    .spawn(move || guard.guarded("the log's thread", || writer.run(operations, limit)))
                    .map_err(|source| JournalError::Unreadable { path, source })?;
                None
            }
        };
        Ok(LogStore { shared, operations: sender, here: Arc::new(Mutex::new(here)), local })
    }

    /// How far this node's log is on its disk.
    pub(super) fn durable(&self) -> Durable {
        self.shared.durable.clone()
    }

    /// Waits until all of the log is on the disk; what a node says of its log must be true after a power cut.
    pub(super) async fn settled(&self) -> Result<(), io::Error> {
        let last = self.last().map_or(0, |last| last.index);
        self.shared.durable.reached(last).await
    }

    /// Whether this node appends these entries as the leader of their term.
    fn leads(&self, entries: &[RaftEntry]) -> bool {
        let vote = self.shared.recent().vote;
        let Some(vote) = vote.filter(|vote| vote.committed && vote.leader_id().voted_for() == Some(self.local)) else {
            return false;
        };
        entries.iter().all(|entry| entry.log_id.leader_id.term == vote.leader_id().term)
    }

    /// The last entry of the log, whether or not it is on the disk yet.
    pub(super) fn last(&self) -> Option<LogId> {
        self.shared.recent().last
    }

    /// Whether this node has ever voted or written.
    pub(super) fn is_fresh(&self) -> bool {
        let recent = self.shared.recent();
        recent.last.is_none() && recent.vote.is_none()
    }

    /// What is known to be committed and what is gone, for the ledger's catching up.
    pub(super) fn bounds(&self) -> (Option<LogId>, Option<LogId>) {
        let recent = self.shared.recent();
        (recent.purged, recent.committed.min(recent.last))
    }

    /// Entries from `start` on, before `end`, at least one if there is one, and no more than `bound` bytes beyond that.
    pub(super) fn read(&self, start: u64, end: u64, bound: usize) -> Result<Vec<RaftEntry>, io::Error> {
        if let Some(entries) = self.shared.recent().range(start, end, bound) {
            return Ok(entries);
        }
        let database = self.shared.database()?;
        let mut entries = read_file(&database, start, end, bound)?;
        // What is not written yet follows from memory; a bounded read may end early instead.
        let next = entries.last().map_or(start, |entry| entry.log_id.index + 1);
        if bound == usize::MAX
            && let Some(rest) = self.shared.recent().range(next, end, bound)
        {
            entries.extend(rest);
        }
        Ok(entries)
    }

    /// Closes the file; whatever is asked for later fails.
    pub(super) async fn close(&self) {
        let closed = self.perform_and_wait(|done| Operation::Close { done }).await;
        if let Err(error) = closed {
            tracing::debug!(%error, "the log was closed already");
        }
    }

    async fn perform(&self, operation: Operation) -> Result<(), io::Error> {
        if let Some(here) = self.here.lock().unwrap_or_else(PoisonError::into_inner).take() {
            tokio::spawn(of_this_process(here.writer.run_here(here.operations, here.limit, here.delay)));
        }
        self.operations.send(operation).await.map_err(|_| io::Error::other("the journal's storage thread has ended"))
    }

    async fn perform_and_wait(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<(), io::Error>>) -> Operation,
    ) -> Result<(), io::Error> {
        let (sender, receiver) = oneshot::channel();
        self.perform(make(sender)).await?;
        receiver.await.map_err(|_| io::Error::other("the journal's storage thread has ended"))?
    }
}

pub(super) fn failed(subject: ErrorSubject<u64>, verb: ErrorVerb, error: impl std::error::Error + 'static) -> StorageError {
    StorageError::IO { source: StorageIOError::new(subject, verb, openraft::AnyError::new(&error)) }
}

fn read_file(database: &Database, start: u64, end: u64, bound: usize) -> Result<Vec<RaftEntry>, io::Error> {
    let read = database.begin_read().map_err(io::Error::other)?;
    let table = read.open_table(LOG).map_err(io::Error::other)?;
    let mut entries = Vec::new();
    let mut left = bound;
    for row in table.range(start..end).map_err(io::Error::other)? {
        let (index, record) = row.map_err(io::Error::other)?;
        let entry = decode_record(index.value(), record.value())?;
        if weight(&entry) > left && !entries.is_empty() {
            break;
        }
        left = left.saturating_sub(weight(&entry));
        entries.push(entry);
    }
    Ok(entries)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX).map_err(|error| failed(ErrorSubject::Logs, ErrorVerb::Read, error))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, StorageError> {
        self.read(start, end, READ_BYTES).map_err(|error| failed(ErrorSubject::Logs, ErrorVerb::Read, error))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let recent = self.shared.recent();
        Ok(LogState { last_purged_log_id: recent.purged, last_log_id: recent.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        self.perform_and_wait(|done| Operation::Vote { vote, done })
            .await
            .map_err(|error| failed(ErrorSubject::Vote, ErrorVerb::Write, error))?;
        self.shared.recent().vote = Some(vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.shared.recent().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let mut recent = self.shared.recent();
        recent.committed = committed;
        recent.committed_unsaved = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.bounds().1)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        {
            let mut recent = self.shared.recent();
            entries.iter().cloned().for_each(|entry| recent.append(entry));
        }
        let (early, callback) = if self.leads(&entries) { (Some(callback), None) } else { (None, Some(callback)) };
        self.perform(Operation::Append { entries, callback })
            .await
            .map_err(|error| failed(ErrorSubject::Logs, ErrorVerb::Write, error))?;
        if let Some(callback) = early {
            callback.log_io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let before = match log_id.index.checked_sub(1) {
            Some(index) => {
                let one = self.read(index, log_id.index, 1);
                let one = one.map_err(|error| failed(ErrorSubject::Logs, ErrorVerb::Read, error))?;
                one.first().map(|entry| entry.log_id)
            }
            None => None,
        };
        let before = before.max(self.shared.recent().purged);
        self.perform_and_wait(|done| Operation::Truncate { since: log_id.index, done })
            .await
            .map_err(|error| failed(ErrorSubject::Log(log_id), ErrorVerb::Delete, error))?;
        self.shared.recent().truncate(log_id.index, before);
        self.shared.durable.cut(before);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.perform_and_wait(|done| Operation::Purge { upto: log_id, done })
            .await
            .map_err(|error| failed(ErrorSubject::Log(log_id), ErrorVerb::Delete, error))?;
        self.shared.durable.advance(log_id);
        self.shared.recent().purge(log_id);
        Ok(())
    }
}

impl Recent {
    /// The state of a log that was just opened.
    pub(super) fn opened(last: Option<LogId>, purged: Option<LogId>, vote: Option<Vote>, committed: Option<LogId>) -> Self {
        Recent { last, purged, vote, committed, ..Recent::default() }
    }
}
