//! All nodes are killed at once and started again: everything that was acknowledged is there.

use std::time::Instant;

use dunlin_node::api::TaskSelector;
use dunlin_node::task::{TaskSpec, TaskState};

use crate::harness::{Swarm, measured, questions};

#[tokio::test]
async fn everything_is_there_after_all_five_were_killed_at_once_and_started_again() {
    let mut swarm = Swarm::found(5).await;
    let (leader, term) = swarm.settled().await;
    let client = swarm.nodes[leader].client();
    let id = client.status().await.unwrap().swarm;

    let echo = |word: String| (TaskSpec::command(["echo", &word]), None);
    let done = client.submit_all((0..20).map(|number| echo(format!("word {number}"))).collect()).await.unwrap();
    for task in &done {
        questions::end_of(&client, task.task).await;
    }
    let mut elsewhere = TaskSpec::command(["true"]);
    elsewhere.group = "nobody".parse().unwrap();
    let waiting = client.submit(elsewhere.clone(), Some("wait-for-nobody".parse().unwrap())).await.unwrap().task;
    let cancelled = client.submit(elsewhere.clone(), None).await.unwrap().task;
    assert_eq!(client.cancel(TaskSelector::Ids(vec![cancelled])).await.unwrap(), [cancelled]);
    let interrupted = client.submit(TaskSpec::command(["sleep", "0.4"]), None).await.unwrap().task;
    questions::running_on(&client, interrupted, 1).await;
    let before = questions::events(&client).await;

    swarm.nodes.iter_mut().for_each(crate::harness::Process::kill);
    let death = Instant::now();
    (0..5).for_each(|number| swarm.start_again(number));
    let (leader, later) = swarm.settled().await;
    measured("from the death of all five to a leader that all five follow", death.elapsed());

    assert!(later >= term, "the old leader may take its term up again, but no term comes back");
    let client = swarm.nodes[(leader + 1) % 5].client();
    assert_eq!(client.status().await.unwrap().swarm, id);
    for (number, task) in done.iter().enumerate() {
        let result = client.result(task.task).await.unwrap();
        assert_eq!((result.state, &result.stdout.tail[..]), (TaskState::Succeeded, format!("word {number}\n").as_bytes()));
    }
    assert_eq!(client.task(waiting).await.unwrap().state, TaskState::Queued);
    assert_eq!(client.task(cancelled).await.unwrap().state, TaskState::Cancelled);
    let after = questions::events(&client).await;
    assert_eq!(after[..before.len()], before[..], "the history goes on where it was");
    // The key is remembered, the interrupted task is run again, new ones come in.
    let again = client.submit(elsewhere, Some("wait-for-nobody".parse().unwrap())).await.unwrap();
    assert_eq!((again.task, again.duplicate), (waiting, true));
    let new = client.submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    for task in [interrupted, new] {
        questions::end_of(&client, task).await;
    }
    questions::assert_each_succeeded_once(&client, done.iter().map(|task| task.task).chain([interrupted, new])).await;
}
