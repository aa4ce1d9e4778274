//! Damage, full disks and folders that must not be opened.

use std::sync::Arc;

use super::harness::*;
use crate::journal::*;
use crate::task::*;

async fn one_with_tasks(hub: &Arc<Hub>, tune: Tune, count: usize) -> Node {
    let node = open(hub, 1, tune).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.opens().await;
    node.submit(term, count).await;
    node
}

fn replaced(mut bytes: Vec<u8>, what: &[u8], by: &[u8]) -> Vec<u8> {
    for place in 0..bytes.len().saturating_sub(what.len()) {
        if bytes[place..].starts_with(what) {
            bytes[place..place + by.len()].copy_from_slice(by);
        }
    }
    bytes
}

#[tokio::test]
async fn a_lost_or_damaged_ledger_is_made_again_from_the_log() {
    let hub = Arc::new(Hub::default());
    let mut node = one_with_tasks(&hub, plain, 20).await;
    for damage in ["gone", "garbage", "cut", "emptied", "quietly changed"] {
        let rows = node.journal.ledger().tasks(&ledger::TaskQuery { limit: 100, ..Default::default() }).unwrap();
        node.journal.stop().await;
        let Node { id, folder, journal } = node;
        drop(journal);
        let path = folder.path().join("ledger.redb");
        let length = std::fs::metadata(&path).unwrap().len();
        match damage {
            "gone" => std::fs::remove_file(&path).unwrap(),
            "garbage" => std::fs::write(&path, vec![0x5a; 10_000]).unwrap(),
            // Valid rows, of another group: only the pages' checksums know.
            "quietly changed" => std::fs::write(&path, replaced(std::fs::read(&path).unwrap(), b"default", b"eefault")).unwrap(),
            "cut" => std::fs::File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap(),
            _ => std::fs::write(&path, []).unwrap(),
        }
        node = open_in(&hub, id.0, folder, plain).await.unwrap();
        node.wins().await;
        node.until("all is folded", |status| status.applied == status.last.index).await;
        let again = node.journal.ledger().tasks(&ledger::TaskQuery { limit: 100, ..Default::default() }).unwrap();
        assert_eq!(rows, again, "after the ledger was {damage}");
    }
}

#[tokio::test]
async fn a_ledger_lost_after_a_purge_is_made_again_from_the_snapshot() {
    let hub = Arc::new(Hub::default());
    let tune: Tune = |config| {
        config.snapshot_bytes = 10_000;
        config.keep_entries = 1;
    };
    let node = one_with_tasks(&hub, tune, 200).await;
    let term = node.leads().await;
    for _ in 0..60 {
        node.submit(term, 1).await;
    }
    let node = node.restart(&hub, tune).await;
    node.wins().await;
    node.until("all is folded", |status| status.applied == status.last.index).await;
    let tasks = node.journal.ledger().last_task().unwrap();
    node.journal.stop().await;
    std::fs::remove_file(node.folder.path().join("ledger.redb")).unwrap();
    let Node { folder, journal, .. } = node;
    drop(journal);
    let node = open_in(&hub, 1, folder, tune).await.unwrap();
    node.until("all is folded", |status| status.applied == status.last.index).await;
    assert_eq!(node.journal.ledger().last_task().unwrap(), tasks);
    assert_eq!(tasks, Some(TaskId(260)));
}

#[tokio::test]
async fn a_damaged_log_is_refused() {
    let hub = Arc::new(Hub::default());
    let node = one_with_tasks(&hub, plain, 5).await;
    node.journal.stop().await;
    let Node { folder, journal, .. } = node;
    drop(journal);
    std::fs::write(folder.path().join("log.redb"), vec![0x5a; 20_000]).unwrap();
    let refused = open_in(&hub, 1, folder, plain).await.err();
    assert!(matches!(refused, Some(JournalError::Damaged { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let hub = Arc::new(Hub::default());
    let node = one_with_tasks(&hub, plain, 1).await;
    let refused = open_in(&hub, 2, Arc::clone(&node.folder), plain).await.err();
    assert!(matches!(refused, Some(JournalError::InUse(_))), "{refused:?}");
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_unreadable() {
    let hub = Arc::new(Hub::default());
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("log.redb")).unwrap();
    let refused = open_in(&hub, 1, folder, plain).await.err();
    assert!(matches!(refused, Some(JournalError::Unreadable { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_folder_of_a_newer_format_is_refused() {
    let hub = Arc::new(Hub::default());
    let node = one_with_tasks(&hub, plain, 1).await;
    node.journal.stop().await;
    let Node { folder, journal, .. } = node;
    drop(journal);
    {
        let database = redb::Database::open(folder.path().join("log.redb")).unwrap();
        let write = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
        write.open_table(meta).unwrap().insert("format", &[7_u8][..]).unwrap();
        write.commit().unwrap();
    }
    let refused = open_in(&hub, 1, folder, plain).await.err();
    assert!(matches!(refused, Some(JournalError::NewerFormat { found: 7, known: 1, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_full_disk_takes_no_new_tasks_but_lets_the_others_end() {
    let hub = Arc::new(Hub::default());
    let node = one_with_tasks(&hub, |config| config.free_space = Arc::new(|_| Some(33 << 20)), 1).await;
    let node = node.restart(&hub, |config| config.free_space = Arc::new(|_| Some(31 << 20))).await;
    let term = node.wins().await;
    assert_eq!(node.journal.propose(term, vec![submitted()]).await, Err(ProposeError::DiskFull));
    node.folds(node.last()).await;
    let cancelled = node.journal.propose(term, vec![Fact::Cancelled { task: TaskId(1) }]).await.unwrap();
    assert_eq!(cancelled, [Reply::Done]);
}

/// A file whose writes fail from some moment on.
#[derive(Debug)]
struct Failing(redb::backends::FileBackend);

static FAIL: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

impl redb::StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        if FAIL.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
}

#[tokio::test]
async fn a_failed_fsync_stops_the_journal_and_nothing_is_acknowledged_after_it() {
    let hub = Arc::new(Hub::default());
    let failing: Tune = |config| {
        config.backend = Arc::new(|path| {
            let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
            Ok(Box::new(Failing(redb::backends::FileBackend::new(file).map_err(std::io::Error::other)?)))
        });
    };
    let node = one_with_tasks(&hub, failing, 3).await;
    let term = node.leads().await;
    let mut stopped = node.journal.stopped();
    FAIL.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = node.journal.propose(term, vec![submitted()]).await;
    assert!(matches!(&refused, Err(ProposeError::Stopped(why)) if why.contains("could not be written")), "{refused:?}");
    assert!(stopped.wait_for(Option::is_some).await.is_ok());
    FAIL.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(node.journal.propose(term, vec![submitted()]).await, Err(ProposeError::Stopped(_))));
    node.journal.stop().await;
    let Node { folder, journal, .. } = node;
    drop(journal);
    let node = open_in(&hub, 1, folder, plain).await.unwrap();
    node.wins().await;
    node.until("all is folded", |status| status.applied == status.last.index).await;
    // The refused one may or may not be there; the acknowledged ones must be.
    assert!(node.journal.ledger().last_task().unwrap() >= Some(TaskId(3)));
}

#[tokio::test]
async fn a_changed_bit_in_an_entry_is_found_when_it_is_read() {
    let hub = Arc::new(Hub::default());
    let node = one_with_tasks(&hub, plain, 5).await;
    node.journal.stop().await;
    let Node { folder, journal, .. } = node;
    drop(journal);
    {
        let database = redb::Database::open(folder.path().join("log.redb")).unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut log = write.open_table(redb::TableDefinition::<u64, &[u8]>::new("log")).unwrap();
            let mut record = log.pop_last().unwrap().map(|(index, record)| (index.value(), record.value().to_vec())).unwrap();
            let middle = record.1.len() / 2;
            record.1[middle] ^= 1;
            log.insert(record.0, &record.1[..]).unwrap();
        }
        write.commit().unwrap();
    }
    let refused = open_in(&hub, 1, folder, plain).await.err();
    assert!(matches!(&refused, Some(JournalError::Damaged { detail, .. }) if detail.contains("checksum")), "{refused:?}");
}
