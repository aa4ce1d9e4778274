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

#[tokio::test]
async fn a_lost_or_damaged_ledger_is_made_again_from_the_log() {
    let hub = Arc::new(Hub::default());
    let mut node = one_with_tasks(&hub, plain, 20).await;
    for damage in ["gone", "garbage", "cut", "emptied"] {
        let rows = node.journal.ledger().tasks(&ledger::TaskQuery { limit: 100, ..Default::default() }).unwrap();
        node.journal.stop().await;
        let Node { id, folder, journal } = node;
        drop(journal);
        let path = folder.path().join("ledger.redb");
        let length = std::fs::metadata(&path).unwrap().len();
        match damage {
            "gone" => std::fs::remove_file(&path).unwrap(),
            "garbage" => std::fs::write(&path, vec![0x5a; 10_000]).unwrap(),
            "cut" => std::fs::File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap(),
            _ => std::fs::write(&path, []).unwrap(),
        }
        node = open_in(&hub, id.0, folder, plain).await.unwrap();
        node.leads().await;
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
    node.leads().await;
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
    let node = one_with_tasks(&hub, |config| config.free_space = |_| Some(33 << 20), 1).await;
    let node = node.restart(&hub, |config| config.free_space = |_| Some(31 << 20)).await;
    let term = node.leads().await;
    assert_eq!(node.journal.propose(term, vec![submitted()]).await, Err(ProposeError::DiskFull));
    node.folds(node.last()).await;
    let cancelled = node.journal.propose(term, vec![Fact::Cancelled { task: TaskId(1) }]).await.unwrap();
    assert_eq!(cancelled, [Reply::Done]);
}
