//! A worker dies or falls silent: what it held runs elsewhere under the next number, and a report that comes too late is
//! refused and recorded.

use std::fs;
use std::path::Path;
use std::time::Instant;

use dunlin_node::api::EventKind;
use dunlin_node::task::{LostWhy, NodeId, Outcome, TaskId, TaskSpec, TaskState};

use crate::harness::{LONG, Swarm, eventually, measured, questions};

/// Three nodes of which the two that do not lead serve group `work`.
async fn swarm() -> (Swarm, usize) {
    let mut swarm = Swarm::found_with(3, |number, settings| {
        let group = if number == 2 { "other=1" } else { "work=1" };
        settings.pods = vec![group.to_owned()];
    })
    .await;
    let (leader, _) = swarm.settled().await;
    (swarm, leader)
}

/// A task whose every attempt waits for a file of its own.
async fn submit(swarm: &Swarm, leader: usize, folder: &Path) -> TaskId {
    let script =
        format!("while ! [ -e {}/go-$DUNLIN_ATTEMPT ]; do sleep 0.02; done; echo attempt $DUNLIN_ATTEMPT", folder.display());
    let mut spec = TaskSpec::command(["sh", "-c", &script]);
    spec.group = "work".parse().unwrap();
    swarm.nodes[leader].client().submit(spec, None).await.unwrap().task
}

#[tokio::test]
async fn the_task_of_a_killed_worker_runs_elsewhere_with_the_next_attempt_number() {
    let (mut swarm, leader) = swarm().await;
    let folder = swarm.folder.path().to_owned();
    let task = submit(&swarm, leader, &folder).await;
    let client = swarm.nodes[leader].client();
    let first = questions::running_on(&client, task, 1).await;
    let worker = swarm.number_of(first);

    swarm.nodes[worker].kill();
    let death = Instant::now();
    let second = questions::running_on(&client, task, 2).await;
    measured("from a worker's death to its task's next attempt", death.elapsed());
    assert_ne!(first, second);
    fs::write(folder.join("go-2"), "").unwrap();

    let view = questions::end_of(&client, task).await;
    assert_eq!(view.state, TaskState::Succeeded);
    let told: Vec<_> = view.attempts.iter().map(|a| (a.attempt.0, a.node, a.outcome.clone().unwrap())).collect();
    assert_eq!(told, [(1, first, Outcome::Lost(LostWhy::MemberLost)), (2, second, Outcome::Exited(0))]);
    assert_eq!(&client.result(task).await.unwrap().stdout.tail[..], b"attempt 2\n");
}

#[tokio::test]
async fn the_late_report_of_a_silent_worker_is_refused_and_recorded() {
    let (mut swarm, leader) = swarm().await;
    let folder = swarm.folder.path().to_owned();
    let task = submit(&swarm, leader, &folder).await;
    let client = swarm.nodes[leader].client();
    let first = questions::running_on(&client, task, 1).await;
    let worker = swarm.number_of(first);

    swarm.nodes[worker].pause();
    let silence = Instant::now();
    let second = questions::running_on(&client, task, 2).await;
    measured("from a worker's silence to its task's next attempt", silence.elapsed());
    assert_ne!(first, second);
    // The paused node's attempt ends now, and it reports as soon as it can.
    fs::write(folder.join("go-1"), "").unwrap();
    swarm.nodes[worker].resume();
    refused(&swarm, leader, task, first).await;
    fs::write(folder.join("go-2"), "").unwrap();

    let view = questions::end_of(&client, task).await;
    assert_eq!(view.attempts.last().map(|last| last.node), Some(second));
    assert_eq!(&client.result(task).await.unwrap().stdout.tail[..], b"attempt 2\n");
    questions::assert_each_succeeded_once(&client, [task]).await;
}

/// Waits until the history has the refusal of this node's first attempt.
async fn refused(swarm: &Swarm, asked: usize, task: TaskId, node: NodeId) {
    let client = swarm.nodes[asked].client();
    eventually("the late report is refused", LONG, async || {
        let events = questions::events(&client).await;
        let refused = events.iter().find(|event| event.kind == EventKind::ReportRefused && event.task == Some(task));
        refused.map(|event| assert_eq!((event.node, event.attempt.map(|a| a.0)), (Some(node), Some(1)))).ok_or(events)
    })
    .await;
}
