//! Nodes that come later: they get work at once, and tasks wait for a group until somebody serves it.

use std::time::{Duration, Instant};

use dunlin_node::api::TaskFilter;
use dunlin_node::task::{TaskSpec, TaskState};

use crate::harness::{LONG, Swarm, eventually, measured, questions};

/// The promise is two seconds; a busy test machine gets this much.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn tasks_of_a_group_without_members_wait_and_run_when_one_joins() {
    let mut swarm = Swarm::found(1).await;
    let client = swarm.nodes[0].client();
    let mut spec = TaskSpec::command(["sh", "-c", "echo $DUNLIN_GROUP $DUNLIN_NODE"]);
    spec.group = "gpu".parse().unwrap();
    let task = client.submit(spec, None).await.unwrap().task;
    // Work of another group goes by meanwhile, so the task has had its chance.
    let other = client.submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    questions::end_of(&client, other).await;
    assert_eq!(client.task(task).await.unwrap().state, TaskState::Queued);
    let status = swarm.nodes[0].dunlin(&["status"]).with(0);
    assert!(status.stdout.contains("group gpu, which no live node serves"), "{}", status.stdout);

    let joined = swarm.add_with(|_, settings| (settings.pods, settings.expect) = (vec!["gpu=1".to_owned()], 1));
    questions::end_of(&client, task).await;
    let node = swarm.nodes[joined].node;
    assert_eq!(client.result(task).await.unwrap().node, Some(node));
    let status = swarm.nodes[0].dunlin(&["status"]).with(0);
    assert!(!status.stdout.contains("no live node serves"), "{}", status.stdout);
}

#[tokio::test]
async fn a_node_added_to_a_running_swarm_gets_work_within_two_seconds() {
    let mut swarm = Swarm::found_with(3, |_, settings| settings.pods = vec!["default=1".to_owned()]).await;
    let (leader, _) = swarm.settled().await;
    let client = swarm.nodes[leader].client();
    let busy = client.submit_all(vec![(TaskSpec::command(["sleep", "0.2"]), None); 400]).await.unwrap();
    questions::running_on(&client, busy[0].task, 1).await;

    let joined = swarm.add_with(|_, settings| settings.pods = vec!["default=1".to_owned()]);
    let ready = Instant::now();
    let node = swarm.nodes[joined].node;
    eventually("the new node runs or has run a task", SOON, async || {
        let tasks = client.tasks(TaskFilter { limit: 1_000, ..TaskFilter::default() }).await.unwrap();
        tasks.iter().any(|task| task.node == Some(node)).then_some(()).ok_or(tasks.len())
    })
    .await;
    measured("from a new node's start to its first task", ready.elapsed());
    // It knows the swarm as well as the others do, and answers for it; its own entry may still be on its way to the journal.
    eventually("the new node answers with all four", LONG, async || {
        let nodes = swarm.nodes[joined].client().nodes().await.map_err(|error| error.to_string())?;
        if nodes.len() == 4 { Ok(()) } else { Err(format!("{nodes:?}")) }
    })
    .await;
    client.cancel(dunlin_node::api::TaskSelector::All).await.unwrap();
}
