//! Tasks that misbehave, and people who change their mind: each ending is told apart, and the node stays what it was.

use std::fs;
use std::path::Path;

use dunlin_node::api::TaskFilter;
use dunlin_node::task::{TaskId, TaskSpec, TaskState};
use rustix::process::{Pid, Signal, kill_process};

use crate::cancel::processes_with;
use crate::harness::{LONG, Run, Swarm, eventually, questions};

#[tokio::test]
async fn every_bad_end_of_a_command_has_its_own_code_and_words() {
    let swarm = Swarm::found(1).await;
    let node = &swarm.nodes[0];
    // Never ends, and has children that have left its session.
    let word = format!("31537{}.{}", std::process::id(), node.node.0 % 100_000);
    let daemon = format!("setsid sleep {word} & sleep {word} & sleep {word}");
    node.dunlin(&["run", "--timeout", "500ms", "--", "sh", "-c", &daemon]).with(124).says(&["killed: ran longer than 500ms"]);
    assert_eq!(processes_with(&word), [""; 0], "whoever is told of the end finds nothing left of the tree");

    node.dunlin(&["run", "--", "/no/such/program"]).with(127).says(&["not started", "/no/such/program"]);
    node.dunlin(&["run", "--", "no-such-program-anywhere"]).with(127).says(&["not started"]);
    node.dunlin(&["run", "--", "/etc/passwd"]).with(127).says(&["not started", "`/etc/passwd` is not executable"]);
    node.dunlin(&["run", "--", "sh", "-c", "kill -SEGV $$"]).with(139).says(&["killed by signal 11"]);
    node.dunlin(&["run", "--", "sh", "-c", "exit 200"]).with(200);

    // Writes without end: what is kept is the end of it, and the node does not grow with it.
    node.dunlin(&["submit", "--timeout", "1s", "--retries", "0", "--wait", "--", "yes", "word"]).with(124);
    let kept = node.dunlin(&["result", "last"]).with(0).says(&["bytes of standard output were not kept"]);
    assert!(kept.stdout.contains("word\nword\n") && kept.stdout.len() <= 1 << 20, "{} bytes", kept.stdout.len());
    let memory = node.memory_peak();
    assert!(memory < 256 << 20, "the node has grown to {} MiB", memory >> 20);

    let mut closed = node.command(&["run", "--", "sh", "-c", "exec >&- 2>&-; exit 4"]);
    closed.env("NO_COLOR", "1");
    Run::start(closed).ended().with(4);
}

/// The newest task, once it runs.
async fn newest_running(swarm: &Swarm) -> TaskId {
    let client = swarm.nodes[0].client();
    eventually("a task runs", LONG, async || {
        let running = TaskFilter { state: Some("running".to_owned()), ..TaskFilter::default() };
        client.tasks(running).await.unwrap().first().map(|task| task.task).ok_or("none")
    })
    .await
}

#[tokio::test]
async fn ctrl_c_leaves_the_task_running_and_says_how_to_get_back() {
    let swarm = Swarm::found(1).await;
    let script = format!("echo begun; while ! [ -e {} ]; do sleep 0.02; done; echo ended", swarm.path("go").display());
    let run = Run::start(swarm.nodes[0].command(&["run", "--", "sh", "-c", &script]));
    let task = newest_running(&swarm).await;
    eventually("its output comes while it runs", LONG, async || (run.stdout() == "begun\n").then_some(()).ok_or(run.stdout()))
        .await;
    kill_process(Pid::from_raw(run.id().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    let (logs, cancel) = (format!("dunlin logs -f {task}"), format!("dunlin cancel {task}"));
    run.ended().with(130).says(&[&logs, &cancel]);

    let follow = Run::start(swarm.nodes[0].command(&["logs", "-f", &task.to_string()]));
    fs::write(swarm.path("go"), "").unwrap();
    assert_eq!(follow.ended().with(0).stdout, "begun\nended\n");
    let client = swarm.nodes[0].client();
    questions::assert_each_succeeded_once(&client, [task]).await;
}

/// A task that waits for a file.
fn gated(go: &Path) -> TaskSpec {
    TaskSpec::command(["sh", "-c", &format!("while ! [ -e {} ]; do sleep 0.02; done", go.display())])
}

#[tokio::test]
async fn sigterm_finishes_what_runs_and_leaves() {
    let mut swarm = Swarm::found_with(1, |_, settings| settings.pods = vec!["default=2".to_owned()]).await;
    let client = swarm.nodes[0].client();
    let task = client.submit(gated(&swarm.path("go")), None).await.unwrap().task;
    questions::running_on(&client, task, 1).await;
    swarm.nodes[0].terminate();
    draining(&swarm).await;
    // It still takes submissions, but starts nothing.
    let later = client.submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    fs::write(swarm.path("go"), "").unwrap();
    let status = swarm.nodes[0].ended(LONG).await;
    assert_eq!(status.code(), Some(0));
    assert!(swarm.nodes[0].story().iter().any(|line| line["event"] == "stopped"));

    swarm.start_again(0);
    let client = swarm.nodes[0].client();
    let view = questions::end_of(&client, task).await;
    assert_eq!((view.state, view.attempts.len()), (TaskState::Succeeded, 1), "it was reported before the node left");
    let view = questions::end_of(&client, later).await;
    assert_eq!((view.state, view.attempts.len()), (TaskState::Succeeded, 1));
}

#[tokio::test]
async fn a_second_sigterm_stops_at_once_and_the_task_is_run_again_later() {
    let mut swarm = Swarm::found(1).await;
    let client = swarm.nodes[0].client();
    let go = swarm.path("go");
    let task = client.submit(gated(&go), None).await.unwrap().task;
    questions::running_on(&client, task, 1).await;
    swarm.nodes[0].terminate();
    draining(&swarm).await;
    swarm.nodes[0].terminate();
    let status = swarm.nodes[0].ended(LONG).await;
    assert_eq!(status.code(), Some(0));
    let name = go.display().to_string();
    eventually("nothing of the task is left", LONG, async || {
        let left = processes_with(&name);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;

    fs::write(&go, "").unwrap();
    swarm.start_again(0);
    let client = swarm.nodes[0].client();
    questions::end_of(&client, task).await;
    questions::assert_each_succeeded_once(&client, [task]).await;
}

async fn draining(swarm: &Swarm) {
    eventually("the node says that it drains", LONG, async || {
        swarm.nodes[0].story().iter().any(|line| line["event"] == "draining").then_some(()).ok_or("not yet")
    })
    .await;
}
