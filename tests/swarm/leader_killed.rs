//! The leader is killed while tasks are being submitted: every task that was acknowledged ends, and ends once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dunlin_node::api::TaskFilter;
use dunlin_node::client::Client;
use dunlin_node::task::{TaskId, TaskSpec};

use crate::harness::{LONG, Swarm, eventually, measured, questions};

const TASKS: usize = 1_000;
const SUBMITTERS: usize = 8;
/// The leader dies when so many have been acknowledged.
const DEATH: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_task_ends_once_though_the_leader_is_killed_under_a_thousand_submissions() {
    let mut swarm = Swarm::found(5).await;
    let (leader, term) = swarm.settled().await;
    let survivors: Vec<usize> = (0..5).filter(|number| *number != leader).collect();

    let acknowledged = Arc::new(AtomicUsize::new(0));
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|number| {
            let client = swarm.nodes[survivors[number % survivors.len()]].client();
            tokio::spawn(submit(client, TASKS / SUBMITTERS, acknowledged.clone()))
        })
        .collect();
    eventually("the stream is under way", LONG, async || {
        let count = acknowledged.load(Ordering::Relaxed);
        if count >= DEATH { Ok(()) } else { Err(count) }
    })
    .await;
    swarm.nodes[leader].kill();
    let death = Instant::now();

    let mut tasks: Vec<TaskId> = Vec::new();
    let mut pause = Duration::ZERO;
    for submitter in submitters {
        let (ids, longest) = submitter.await.unwrap();
        tasks.extend(ids);
        pause = pause.max(longest);
    }
    measured("the longest that one submission took, over the leader's death", pause);
    let (next, later) = swarm.settled_among(&survivors).await;
    assert!(later > term, "a new leader has a new term");
    tasks.sort_unstable();
    tasks.dedup();
    assert_eq!(tasks.len(), TASKS, "every submission was acknowledged with a task of its own");

    let client = swarm.nodes[next].client();
    for task in &tasks {
        questions::end_of(&client, *task).await;
    }
    measured("from the leader's death to the last end", death.elapsed());
    questions::assert_each_succeeded_once(&client, tasks.iter().copied()).await;
    // A submission that was repeated across the change of leader made no second task.
    let newest = client.tasks(TaskFilter { limit: 1, ..TaskFilter::default() }).await.unwrap();
    assert_eq!(newest[0].task, *tasks.last().unwrap());
    assert_eq!(newest[0].task.0, TASKS as u64);
}

async fn submit(client: Client, count: usize, acknowledged: Arc<AtomicUsize>) -> (Vec<TaskId>, Duration) {
    let mut tasks = Vec::new();
    let mut longest = Duration::ZERO;
    for _ in 0..count {
        let start = Instant::now();
        tasks.push(client.submit(TaskSpec::command(["/bin/true"]), None).await.unwrap().task);
        longest = longest.max(start.elapsed());
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    (tasks, longest)
}
