//! A pod with one slot never runs two tasks at once, over all its groups and over a change of leader.

use std::fs;

use dunlin_node::task::{TaskId, TaskSpec, TaskState};

use crate::harness::{LONG, Swarm, eventually, questions};

const TASKS: usize = 60;

#[tokio::test]
async fn a_pod_of_one_slot_never_runs_two_tasks_at_once() {
    let mut swarm = Swarm::found_with(3, |_, settings| settings.pods = vec!["left,right=1".to_owned()]).await;
    let (leader, _) = swarm.settled().await;
    let survivors: Vec<usize> = (0..3).filter(|number| *number != leader).collect();
    let folder = swarm.path("locks");
    fs::create_dir(&folder).unwrap();
    // Whoever finds its node's folder taken has seen another task in the same pod.
    let script = format!("mkdir {0}/$DUNLIN_NODE || exit 99; sleep 0.03; rmdir {0}/$DUNLIN_NODE", folder.display());
    let client = swarm.nodes[survivors[0]].client();
    let spec = |number: usize| {
        let mut spec = TaskSpec::command(["sh", "-c", &script]);
        spec.group = ["left", "right"][number % 2].parse().unwrap();
        spec.retry.on_failure = false;
        (spec, None)
    };
    let tasks: Vec<TaskId> =
        client.submit_all((0..TASKS).map(spec).collect()).await.unwrap().iter().map(|task| task.task).collect();
    eventually("a third has ended", LONG, async || {
        let view = client.task(tasks[TASKS / 3]).await.unwrap();
        if view.state.is_final() { Ok(()) } else { Err(view.state) }
    })
    .await;
    swarm.nodes[leader].kill();

    let mut nodes = Vec::new();
    for task in &tasks {
        let view = questions::end_of(&client, *task).await;
        assert_eq!(view.state, TaskState::Succeeded, "two at once? {:?}", view.attempts);
        nodes.extend(view.attempts.last().map(|attempt| attempt.node));
    }
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 3, "every pod had a part in it");
}
