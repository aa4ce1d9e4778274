//! What a node does not do: believe who speaks for another, take what it has no room for, keep what was taken back, speak
//! while it must be silent, or acknowledge what the disk does not have.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{EntryPayload, raft::VoteRequest};

use super::harness::*;
use crate::journal::config::Executor;
use crate::journal::engine::{RaftEntry, Vote, log_id};
use crate::journal::log_store::LogStore;
use crate::journal::network::{Answer, AskRef};
use crate::journal::stop::Stop;
use crate::journal::store::Written;
use crate::journal::{Journal, JournalConfig, codec};
use crate::mesh::{Mesh, RequestError, Service};
use crate::task::*;

/// Asks node 1 for its vote for a candidate.
async fn ask_for_vote(mesh: &dyn Mesh, candidate: u64, term: u64) -> Result<Answer, RequestError> {
    let request = VoteRequest::new(Vote::new(term, candidate), Some(log_id(term, 1_000)));
    let bytes = Bytes::from(codec::encode(&AskRef::Vote(&request)).unwrap());
    let answer = mesh.request(NodeId(1), Service::Raft, bytes, Duration::from_secs(10)).await?;
    Ok(codec::decode(&answer).unwrap())
}

#[tokio::test]
async fn a_request_in_anothers_name_is_not_answered() {
    let hub = Arc::new(Hub::default());
    let node = open(&hub, 1, plain).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.leads().await.0;
    let (stranger, _inbox) = hub.join(NodeId(9));
    let refused = ask_for_vote(&*stranger, 2, term + 50).await.err();
    assert!(matches!(refused, Some(RequestError::Refused(_))), "{refused:?}");
    assert_eq!(node.journal.status().borrow().term, Term(term), "nothing has changed");
    assert!(matches!(ask_for_vote(&*stranger, 9, 1).await, Ok(Answer::Vote(_))), "in its own name it is answered");
}

static FULL: AtomicBool = AtomicBool::new(true);

#[tokio::test]
async fn a_voter_without_room_takes_no_entries_until_it_has() {
    let hub = Arc::new(Hub::default());
    let mut nodes = vec![open(&hub, 1, plain).await, open(&hub, 2, plain).await];
    nodes.push(open(&hub, 3, |config| config.free_space = Arc::new(|_| FULL.load(Ordering::SeqCst).then_some(7 << 20))).await);
    nodes[0].journal.initialize(vec![NodeId(1), NodeId(2), NodeId(3)]).await.unwrap();
    let term = nodes[0].opens().await;
    nodes[0].submit(term, 3).await;
    let last = nodes[0].last();
    nodes[1].folds(last).await;
    assert_eq!(nodes[2].last(), 0, "a full disk took entries");
    FULL.store(false, Ordering::SeqCst);
    nodes[2].folds(last).await;
}

#[tokio::test]
async fn what_was_taken_back_is_not_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, |config| config.executor = Executor::Inline);
    let entry = |term, index| RaftEntry { log_id: log_id(term, index), payload: EntryPayload::Blank };
    let terms = |log: &LogStore| -> Vec<(u64, u64)> {
        let entries = log.read(0, u64::MAX, usize::MAX).unwrap();
        entries.iter().map(|entry| (entry.log_id.leader_id.term, entry.log_id.index)).collect()
    };
    let mut log = LogStore::open(&config, &Written::default(), Stop::new(), 1).unwrap();
    log.blocking_append((1..=5).map(|index| entry(1, index))).await.unwrap();
    log.truncate(log_id(1, 3)).await.unwrap();
    log.blocking_append([entry(2, 3)]).await.unwrap();
    assert_eq!(terms(&log), [(1, 1), (1, 2), (2, 3)]);
    log.close().await;
    let log = LogStore::open(&config, &Written::default(), Stop::new(), 1).unwrap();
    assert_eq!(log.last(), Some(log_id(2, 3)));
    assert_eq!(terms(&log), [(1, 1), (1, 2), (2, 3)]);
}

#[tokio::test]
async fn a_commit_is_written_down_only_as_far_as_the_disk_goes() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, |config| config.executor = Executor::Inline);
    let entry = |term, index| RaftEntry { log_id: log_id(term, index), payload: EntryPayload::Blank };
    let open = || LogStore::open(&config, &Written::default(), Stop::new(), 1).unwrap();
    let mut log = open();
    log.blocking_append((1..=4).map(|index| entry(1, index))).await.unwrap();
    // A leader's fifth entry, which two others have, is still on its way to the disk when the power goes.
    log.save_committed(Some(log_id(1, 5))).await.unwrap();
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    drop(log);
    tokio::task::yield_now().await;
    // The next leader has never seen it and puts another one there, which may never be committed.
    let mut log = open();
    log.blocking_append([entry(2, 5)]).await.unwrap();
    drop(log);
    tokio::task::yield_now().await;
    assert_eq!(open().bounds().1, Some(log_id(1, 4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_leader_writes_nothing_on_other_disks() {
    let hub = Arc::new(Hub::default());
    let (nodes, term) = three(&hub, plain).await;
    nodes[0].submit(term, 1).await;
    let last = nodes[0].last();
    nodes[1].folds(last).await;
    nodes[2].folds(last).await;
    nodes[0].journal.silence(true);
    let mut proposed = nodes[0].journal.propose(term, vec![submitted()]);
    // That nothing happens can only be seen by waiting a little.
    let answered = tokio::time::timeout(Duration::from_millis(500), &mut proposed).await;
    assert!(answered.is_err(), "a majority has answered a silent leader: {answered:?}");
    assert_eq!((nodes[1].last(), nodes[2].last()), (last, last), "a silent leader was heard");
    nodes[0].journal.silence(false);
    nodes[1].folds(last + 1).await;
}

/// A file whose syncs say that they have begun, and wait until they may end.
#[derive(Debug)]
struct Slow {
    file: redb::backends::FileBackend,
    begun: std::sync::mpsc::SyncSender<()>,
    may_end: &'static (Mutex<bool>, Condvar),
}

impl redb::StorageBackend for Slow {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut may_end = self.may_end.0.lock().unwrap();
        if !*may_end {
            self.begun.try_send(()).ok();
        }
        while !*may_end {
            may_end = self.may_end.1.wait(may_end).unwrap();
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}

#[tokio::test]
async fn an_append_is_acknowledged_when_the_disk_has_it_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    static MAY_END: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());
    let may_end = &MAY_END;
    let mut config = config(&folder, plain);
    config.backend = Arc::new(move |path| {
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = redb::backends::FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Box::new(Slow { file, begun: begun.clone(), may_end }))
    });
    let mut log = LogStore::open(&config, &Written::default(), Stop::new(), 1).unwrap();
    *may_end.0.lock().unwrap() = false;
    let mut appended = Box::pin(log.blocking_append([RaftEntry { log_id: log_id(1, 1), payload: EntryPayload::Blank }]));
    assert!(futures::poll!(&mut appended).is_pending());
    has_begun.recv_timeout(PATIENCE).expect("the log is synced");
    assert!(futures::poll!(&mut appended).is_pending(), "acknowledged before the disk had it");
    *may_end.0.lock().unwrap() = true;
    may_end.1.notify_all();
    tokio::time::timeout(PATIENCE, appended).await.unwrap().unwrap();
}

/// The disk of the leader in the test below: whether its syncs may end.
static LEADERS_DISK: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());

fn with_a_disk_that_waits(config: &mut JournalConfig) {
    config.backend = Arc::new(|path| {
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = redb::backends::FileBackend::new(file).map_err(io::Error::other)?;
        let (begun, _) = std::sync::mpsc::sync_channel(1);
        Ok(Box::new(Slow { file, begun, may_end: &LEADERS_DISK }))
    });
}

/// Holds up the leader's disk for as long as it lives; a test that fails must end too.
struct HeldUp;

impl HeldUp {
    fn now() -> Self {
        *LEADERS_DISK.0.lock().unwrap() = false;
        HeldUp
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        *LEADERS_DISK.0.lock().unwrap() = true;
        LEADERS_DISK.1.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_followers_disks_have_is_neither_acknowledged_nor_told_to_be_committed() {
    let hub = Arc::new(Hub::default());
    let (nodes, term) = three_with(&hub, with_a_disk_that_waits, plain).await;
    nodes[0].submit(term, 1).await;
    let last = nodes[0].last();
    nodes[1].folds(last).await;
    nodes[2].folds(last).await;
    let held_up = HeldUp::now();
    let mut proposed = nodes[0].journal.propose(term, vec![submitted()]);
    // It is sent while the leader's own disk still writes it, ...
    let there = |node: &Node| node.last() == last + 1;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !(there(&nodes[1]) && there(&nodes[2])) {
        assert!(futures::poll!(&mut proposed).is_pending(), "acknowledged before the leader's disk had it");
        assert!(tokio::time::Instant::now() < deadline, "the followers wait for the leader's disk");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // ... but that is all: a power cut of the leader could still undo it. That nothing follows can only be seen by waiting.
    let answered = tokio::time::timeout(Duration::from_millis(700), &mut proposed).await;
    assert!(answered.is_err(), "acknowledged before the leader's disk had it: {answered:?}");
    assert!(nodes.iter().all(|node| node.applied() == last), "folded before the leader's disk had it");
    drop(held_up);
    tokio::time::timeout(PATIENCE, proposed).await.unwrap().unwrap();
    nodes[1].folds(last + 1).await;
    nodes[2].folds(last + 1).await;
}

#[tokio::test]
async fn a_vote_is_known_after_a_restart_and_given_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, |config| config.executor = Executor::Inline);
    let mut log = LogStore::open(&config, &Written::default(), Stop::new(), 1).unwrap();
    log.save_vote(&Vote::new(7, 2)).await.unwrap();
    // Without a close: what is promised is on the disk when the promise returns.
    drop(log);
    // The writer notices that nobody is left.
    tokio::task::yield_now().await;
    let mut log = LogStore::open(&config, &Written::default(), Stop::new(), 1).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(7, 2)));
}
