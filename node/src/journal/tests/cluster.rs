//! Three nodes and more.

use std::sync::Arc;
use std::time::Duration;

use super::harness::*;
use crate::journal::*;
use crate::task::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_fold_the_same_rows() {
    let hub = Arc::new(Hub::default());
    let (nodes, term) = three(&hub, plain).await;
    let callers = (0..50).map(|_| nodes[0].submit(term, 3));
    futures::future::join_all(callers).await;
    let last = nodes[0].until("all is folded", |status| status.applied == status.last.index).await.last.index;
    for node in &nodes {
        node.folds(last).await;
        assert_eq!(node.journal.ledger().last_task().unwrap(), Some(TaskId(150)));
        assert_eq!(node.journal.ledger().opened().unwrap(), Some((term, NodeId(1))));
    }
    let rows = nodes[0].rows();
    assert_eq!(rows, nodes[1].rows());
    assert_eq!(rows, nodes[2].rows());
    assert!(nodes[1].journal.last_append().is_some());
    assert!(nodes[0].journal.last_append().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_leader_writes_and_says_which_term() {
    let hub = Arc::new(Hub::default());
    let (nodes, term) = three(&hub, plain).await;
    assert_eq!(nodes[1].journal.propose(term, vec![submitted()]).await, Err(ProposeError::NotLeader(term)));
    assert_eq!(nodes[1].journal.add_learner(NodeId(9)).await, Err(MembershipError::NotLeader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_leader_is_followed_by_another_and_its_entries_are_fenced() {
    let hub = Arc::new(Hub::default());
    let (nodes, term) = three(&hub, plain).await;
    nodes[0].submit(term, 1).await;
    nodes[0].journal.silence(true);
    // Under a living leader's lease nobody else is elected; when it has run out, one countdown is enough.
    let mut elected = nodes[1].journal.elect().await;
    let mut tries = 0;
    while elected == Err(ElectError::Refused) && tries < 10 {
        tries += 1;
        elected = nodes[1].journal.elect().await;
    }
    let next = elected.unwrap();
    assert!(next > term);
    nodes[0].until("it follows", |status| status.leader == Some(NodeId(2)) && !status.is_leader).await;
    assert_eq!(nodes[0].journal.propose(term, vec![submitted()]).await, Err(ProposeError::NotLeader(term)));
    // Before the opening entry of the new term the new leader's other facts do not count.
    let replies = nodes[1].journal.propose(next, vec![submitted()]).await.unwrap();
    assert_eq!(replies, [Reply::Denied(Denial::Fenced)]);
    nodes[1].opens().await;
    assert_eq!(nodes[1].submit(next, 1).await, [TaskId(2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_votes_elect_nobody_and_released_ones_do_within_the_window() {
    let hub = Arc::new(Hub::default());
    let (nodes, term) = three(&hub, plain).await;
    nodes[0].journal.stop().await;
    hub.isolate(NodeId(1), true);
    let mut unanswered = hub.unanswered.subscribe();
    nodes[2].journal.hold_votes(true);
    assert_eq!(nodes[1].journal.elect().await, Err(ElectError::Refused));
    assert!(unanswered.has_changed().unwrap(), "a vote was asked for, and held");
    // As long as the dead leader's lease lasts, a released vote is refused as well; after that one window is enough, and a
    // busy machine may let one pass.
    let released = async {
        loop {
            nodes[2].journal.hold_votes(true);
            unanswered.mark_unchanged();
            let release = async {
                unanswered.changed().await.unwrap();
                nodes[2].journal.hold_votes(false);
            };
            if let (Ok(term), ()) = tokio::join!(nodes[1].journal.elect(), release) {
                return term;
            }
        }
    };
    let elected = tokio::time::timeout(PATIENCE, released).await.expect("released votes elect within the window");
    assert!(elected > term);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_without_a_majority_times_out() {
    let hub = Arc::new(Hub::default());
    let tune: Tune = |config| config.propose_patience = Duration::from_millis(300);
    let (nodes, term) = three(&hub, tune).await;
    hub.isolate(NodeId(1), true);
    assert_eq!(nodes[0].journal.propose(term, vec![submitted()]).await, Err(ProposeError::TimedOut));
    hub.isolate(NodeId(1), false);
    // It may be written later, and here it is: what comes next has the second id.
    let mut next = nodes[0].journal.propose(term, vec![submitted()]).await;
    while next == Err(ProposeError::TimedOut) {
        next = nodes[0].journal.propose(term, vec![submitted()]).await;
    }
    assert!(ids(&next.unwrap())[0] >= TaskId(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_joiner_is_brought_up_by_a_snapshot() {
    let hub = Arc::new(Hub::default());
    let tune: Tune = |config| {
        config.snapshot_bytes = 20_000;
        config.keep_entries = 2;
        config.snapshot_chunk = 1_000;
    };
    let (nodes, term) = three(&hub, tune).await;
    let made = |node: &Node| {
        std::fs::read_dir(node.folder.path())
            .unwrap()
            .any(|file| file.unwrap().path().extension().is_some_and(|e| e == "snapshot"))
    };
    let mut count = 0;
    while !made(&nodes[0]) {
        assert!(count < 5_000, "no snapshot was made");
        count += nodes[0].submit(term, 20).await.len();
    }
    // Enough entries for further snapshots, and for a purge to be worth its while.
    for _ in 0..200 {
        count += nodes[0].submit(term, 1).await.len();
    }
    let late = open(&hub, 4, tune).await;
    nodes[0].journal.add_learner(NodeId(4)).await.unwrap();
    nodes[0].submit(term, 1).await;
    count += 1;
    let last = nodes[0].last();
    late.folds(last).await;
    assert_eq!(late.journal.ledger().last_task().unwrap(), Some(TaskId(count as u64)));
    assert!(made(&late), "it came by the log, not by a snapshot");
    assert_eq!(nodes[0].journal.status().borrow().learners, [NodeId(4)]);

    nodes[0].journal.change_voters(vec![NodeId(1), NodeId(2), NodeId(3), NodeId(4)]).await.unwrap();
    late.until("it votes", |status| status.voters.len() == 4 && status.learners.is_empty()).await;
    nodes[0].journal.change_voters(vec![NodeId(1), NodeId(2), NodeId(4)]).await.unwrap();
    late.until("the third is gone", |status| status.voters == [NodeId(1), NodeId(2), NodeId(4)]).await;
    let rows = nodes[0].rows();
    late.folds(nodes[0].last()).await;
    assert_eq!(rows, late.rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_stopped_at_once_come_back_with_everything() {
    let hub = Arc::new(Hub::default());
    let (nodes, term) = three(&hub, plain).await;
    nodes[0].submit(term, 25).await;
    let mut again = Vec::new();
    for node in nodes {
        again.push(node.restart(&hub, plain).await);
    }
    // Whose log is behind can't be elected, and a window may pass in vain while the others' leases run.
    let elected = async {
        loop {
            for node in &again {
                if node.journal.elect().await.is_ok() {
                    return node;
                }
            }
        }
    };
    let leader = tokio::time::timeout(PATIENCE, elected).await.expect("nobody was elected");
    let term = leader.opens().await;
    assert_eq!(leader.submit(term, 1).await, [TaskId(26)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_near_the_limit_reach_a_follower_that_was_away() {
    let hub = Arc::new(Hub::default());
    let (nodes, term) = three(&hub, plain).await;
    hub.isolate(NodeId(3), true);
    for _ in 0..4 {
        let mut spec = TaskSpec::command(["cat"]);
        spec.stdin = vec![7; 3_000_000].into();
        nodes[0].journal.propose(term, vec![Fact::Submitted { spec: Box::new(spec), key: None }]).await.unwrap();
    }
    hub.isolate(NodeId(3), false);
    nodes[2].folds(nodes[0].last()).await;
    assert_eq!(nodes[2].journal.ledger().spec(TaskId(4)).unwrap().unwrap().stdin.len(), 3_000_000);
}
