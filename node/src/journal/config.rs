//! What the journal is told when it is opened: where its files are and every bound it keeps. And why it may refuse to open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::StorageBackend;

use super::port::Applied;
use crate::task::{Term, UnixMillis};

/// Opens the file at a path as redb's storage, creating it if it is missing.
pub type OpenBackend = Arc<dyn Fn(&Path) -> Result<Box<dyn StorageBackend>, io::Error> + Send + Sync>;

/// Free bytes of the file system that holds a path; `None` if that is not known (then it is taken as enough).
pub type FreeSpace = Arc<dyn Fn(&Path) -> Option<u64> + Send + Sync>;

/// What time it is, for people.
pub type WallClock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// How long the next write to the log takes; for a simulator, whose disks are memory.
pub type DiskDelay = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Hears of every entry that is folded, with its term in the log: live and while the ledger catches up.
pub type FoldListener = Arc<dyn Fn(Term, &Applied) + Send + Sync>;

/// Where the disk's work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// On threads of its own, so that no runtime thread ever waits for a disk.
    #[default]
    Threads,
    /// Where it is asked for: for a simulator, in which one thread must do everything in one order.
    Inline,
}

impl Executor {
    /// Does work that waits for a disk.
    ///
    /// # Errors
    /// With what it said, if the work panicked.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
        match self {
            Executor::Inline => std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|_| Panicked),
            Executor::Threads => tokio::task::spawn_blocking(work).await.map_err(|_| Panicked),
        }
    }
}

/// A piece of disk work ended in a panic; the node's log says where.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it panicked; the log says where")]
pub struct Panicked;

/// How a journal is opened. [`JournalConfig::new`] gives the values for a LAN and an ordinary disk.
#[derive(Clone)]
pub struct JournalConfig {
    /// The folder of its files; created if it is missing.
    pub folder: PathBuf,
    /// The wall clock that stamps entries.
    pub wall_clock: WallClock,
    /// How files are opened; replaced for fault injection.
    pub backend: OpenBackend,
    /// How free space is known; replaced for fault injection.
    pub free_space: FreeSpace,
    /// Where the disk's work is done.
    pub executor: Executor,
    /// How long writes to the log take beside what the backend takes; only where work is done inline.
    pub disk_delay: Option<DiskDelay>,
    /// Told of every fold where it is done; for a simulator.
    pub listener: Option<FoldListener>,
    /// How long a proposal may wait for a majority.
    pub propose_patience: Duration,
    /// How long one election may take (the election's ratify window).
    pub ratify_window: Duration,
    /// How long one try of a Vote request may take inside that window.
    pub vote_try: Duration,
    /// How long one AppendEntries may take, the follower's fsync included, and the interval of raft's own heartbeats.
    /// Must be less than `vote_patience`.
    pub heartbeat_interval: Duration,
    /// How long openraft itself waits for a Vote; between `heartbeat_interval` and `raft_lease`.
    pub vote_patience: Duration,
    /// For how long a follower that heard its leader refuses to vote (openraft's `election_timeout_max`). Short: that nobody
    /// stands against a living leader is the election's work, this would only delay the successor of a dead one.
    pub raft_lease: Duration,
    /// Whether raft sends heartbeats of its own. Liveness rests on the election's beats, but an idle follower learns
    /// of the last commit only by one of these.
    pub raft_heartbeats: bool,
    /// Facts of an entry, at most.
    pub entry_facts: usize,
    /// Bytes of an entry above which nothing more is added to it.
    pub entry_bytes: usize,
    /// Bytes of one caller's facts, at most; one caller's facts stay together, so that this is also an entry's limit.
    pub caller_bytes: usize,
    /// Callers that may wait.
    pub queue_callers: usize,
    /// Bytes that may wait.
    pub queue_bytes: usize,
    /// Entries being written at the same time.
    pub in_flight: usize,
    /// If the entry answered last held as many facts, the next one waits for its callers to come back.
    pub gather_from: usize,
    /// It never waits for more facts than these.
    pub gather_upto: usize,
    /// And not for longer than this.
    pub gather: Duration,
    /// Operations of the log that are written in one transaction, at most.
    pub log_batch: usize,
    /// From this size on the log's file is committed so that it reopens at once after a crash, at twice the price.
    pub quick_repair_from: u64,
    /// Up to this size the ledger's file is read whole when it is opened, to find what a disk has quietly changed. A larger
    /// one would hold up the start.
    pub verify_upto: u64,
    /// redb's cache for the log.
    pub log_cache: usize,
    /// Bytes of recent entries kept in memory for followers that keep up.
    pub recent_bytes: usize,
    /// redb's cache for the ledger.
    pub ledger_cache: usize,
    /// Facts after which the ledger is made durable.
    pub durable_facts: u64,
    /// Bytes of entries after which the ledger is made durable.
    pub durable_bytes: u64,
    /// Bytes of log (with 256 for each entry) after which a snapshot is made; the last snapshot's size if that is more,
    /// so that snapshots never write more than the log did.
    pub snapshot_bytes: u64,
    /// Entries that stay in the log although a snapshot holds them, for followers that were away for a moment.
    pub keep_entries: u64,
    /// Bytes of a chunk of a snapshot on its way to another node.
    pub snapshot_chunk: usize,
    /// How long one chunk, and the installation after the last one, may take.
    pub snapshot_patience: Duration,
    /// Below this many free bytes no new tasks are taken.
    pub submit_floor: u64,
    /// Below this many free bytes a follower takes no entries at all.
    pub append_floor: u64,
    /// Requests of other nodes answered at the same time.
    pub serving: usize,
    /// Entries kept for listeners that are slow.
    pub applied_backlog: usize,
}

impl std::fmt::Debug for JournalConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalConfig").field("folder", &self.folder).finish_non_exhaustive()
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl JournalConfig {
    /// The values for a LAN and an ordinary disk.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, wall_clock: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        JournalConfig {
            folder: folder.into(),
            wall_clock: Arc::new(wall_clock),
            backend: Arc::new(open_file),
            free_space: Arc::new(free_space),
            executor: Executor::Threads,
            disk_delay: None,
            listener: None,
            propose_patience: Duration::from_secs(5),
            ratify_window: Duration::from_millis(400),
            vote_try: Duration::from_millis(130),
            heartbeat_interval: Duration::from_millis(300),
            vote_patience: Duration::from_millis(400),
            raft_lease: Duration::from_millis(420),
            raft_heartbeats: true,
            entry_facts: 1_000,
            entry_bytes: MIB,
            caller_bytes: 3 * MIB,
            queue_callers: 4_096,
            queue_bytes: 16 * MIB,
            in_flight: 1,
            gather_from: 16,
            gather_upto: 128,
            gather: Duration::from_millis(1),
            log_batch: 1_024,
            quick_repair_from: 64 * MIB as u64,
            verify_upto: 64 * MIB as u64,
            log_cache: 4 * MIB,
            recent_bytes: 4 * MIB,
            ledger_cache: 12 * MIB,
            durable_facts: 20_000,
            durable_bytes: 16 * MIB as u64,
            snapshot_bytes: 64 * MIB as u64,
            keep_entries: 2_000,
            snapshot_chunk: 512 * KIB,
            snapshot_patience: Duration::from_secs(30),
            submit_floor: 32 * MIB as u64,
            append_floor: 8 * MIB as u64,
            serving: 64,
            applied_backlog: 64,
        }
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.join("log.redb")
    }

    pub(super) fn ledger_path(&self) -> PathBuf {
        self.folder.join("ledger.redb")
    }
}

fn open_file(path: &Path) -> Result<Box<dyn StorageBackend>, io::Error> {
    let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    Ok(Box::new(redb::backends::FileBackend::new(file).map_err(io::Error::other)?))
}

fn free_space(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Why a journal did not open, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has the files open.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Written by a newer version of dunlin.
    #[error("the data folder {} has format {found}; this version knows up to {known}: use a newer version of dunlin", .path.display())]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// The files can't be read or written.
    #[error("{} can't be read or written", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        source: io::Error,
    },
    /// The log's bytes make no sense. This node must sync again from the others, with an empty folder.
    #[error("the log {} is damaged: {detail}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A number in the configuration contradicts another.
    #[error("the journal's configuration: {0}")]
    Config(String),
    /// The engine did not start.
    #[error("the replication engine did not start: {0}")]
    Engine(String),
}
