//! One node alone.

use std::sync::Arc;

use super::harness::*;
use crate::journal::*;
use crate::task::*;

#[tokio::test]
async fn a_single_node_remembers_everything_after_a_restart() {
    let hub = Arc::new(Hub::default());
    let node = open(&hub, 1, plain).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.opens().await;
    let tasks = node.submit(term, 3).await;
    assert_eq!(tasks, [TaskId(1), TaskId(2), TaskId(3)]);
    let last = node.journal.status().borrow().last;

    let node = node.restart(&hub, plain).await;
    let known = node.journal.status().borrow().clone();
    assert_eq!(known.term, term, "who starts from the journal's term must not see the engine's before it has read its vote");
    assert_eq!(known.voters, [NodeId(1)]);
    assert!(!known.is_leader, "a restarted leader went on in the term in which it may have lost what it had sent");
    let again = node.wins().await;
    assert!(again > term);
    node.folds(last.index).await;
    assert_eq!(node.journal.ledger().task(TaskId(3)).unwrap().unwrap().state, TaskState::Queued);
    assert_eq!(node.submit(again, 1).await, [TaskId(4)]);
}

#[tokio::test]
async fn a_second_initialization_with_the_same_set_is_harmless() {
    let hub = Arc::new(Hub::default());
    let node = open(&hub, 1, plain).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    node.leads().await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let other = node.journal.initialize(vec![NodeId(1), NodeId(2)]).await;
    assert!(matches!(other, Err(MembershipError::Failed(_))), "{other:?}");
}

#[tokio::test]
async fn what_waits_is_written_together() {
    let hub = Arc::new(Hub::default());
    let node = open(&hub, 1, plain).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.opens().await;
    let before = node.last();
    let callers = (0..500).map(|_| node.journal.propose(term, vec![submitted(), submitted()]));
    let answers = futures::future::join_all(callers).await;
    let mut all = Vec::new();
    for answer in answers {
        let tasks = ids(&answer.unwrap());
        assert_eq!(tasks[1].0, tasks[0].0 + 1, "a caller's facts stay together");
        all.extend(tasks);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1_000);
    let entries = node.until("the last is known", |status| status.last.index > before).await.last.index - before;
    assert!(entries <= 20, "{entries} entries for 500 callers");
}

/// In time that stands still: an hour passes as soon as nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn an_idle_journal_writes_nothing() {
    let hub = Arc::new(Hub::default());
    let node = open(&hub, 1, inline).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.opens().await;
    node.submit(term, 10).await;
    let written = node.journal.bytes_written();
    assert!(written > 0);
    tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
    assert_eq!(node.journal.bytes_written(), written);
}

#[tokio::test]
async fn proposals_over_the_limits_are_refused_before_they_are_queued() {
    let hub = Arc::new(Hub::default());
    let node = open(&hub, 1, plain).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.opens().await;
    let many = (0..1_001).map(|_| submitted()).collect();
    let refused = node.journal.propose(term, many).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { what: "facts", size: 1_001, limit: 1_000 })), "{refused:?}");
    let large = |bytes: usize| {
        let mut spec = TaskSpec::command(["cat"]);
        spec.stdin = vec![7; bytes].into();
        vec![Fact::Submitted { spec: Box::new(spec), key: None }]
    };
    let refused = node.journal.propose(term, large(3 << 20)).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { what: "bytes", .. })), "{refused:?}");
    node.journal.propose(term, large((3 << 20) - 1_000)).await.unwrap();
    assert_eq!(node.journal.propose(Term(term.0 + 1), vec![submitted()]).await, Err(ProposeError::NotLeader(Term(term.0 + 1))));
    assert_eq!(node.journal.propose(term, Vec::new()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn old_log_gives_way_to_snapshots() {
    let hub = Arc::new(Hub::default());
    let tune: Tune = |config| {
        config.snapshot_bytes = 20_000;
        config.keep_entries = 5;
    };
    let node = open(&hub, 1, tune).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.opens().await;
    let snapshots = || {
        let names = std::fs::read_dir(node.folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".snapshot")).collect::<Vec<_>>()
    };
    let mut submitted = 0;
    while snapshots().is_empty() {
        assert!(submitted < 5_000, "no snapshot was made");
        submitted += node.submit(term, 10).await.len();
    }
    submitted += node.submit(term, 100).await.len();
    let rows = node.rows();
    let node = node.restart(&hub, tune).await;
    node.wins().await;
    assert_eq!(node.journal.ledger().last_task().unwrap(), Some(TaskId(submitted as u64)));
    assert!(rows.len() > 1_000);
}
