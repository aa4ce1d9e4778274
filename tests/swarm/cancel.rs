//! Cancelling a task ends everything that it started.

use std::fs;

use dunlin_node::api::TaskSelector;
use dunlin_node::task::{TaskSpec, TaskState};

use crate::harness::{LONG, Swarm, eventually, questions};

/// Processes of this machine whose command line holds this word.
pub(crate) fn processes_with(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = lines.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    texts.filter(|text| text.contains(word)).collect()
}

#[tokio::test]
async fn cancelling_a_task_kills_its_whole_tree() {
    let swarm = Swarm::found(1).await;
    let client = swarm.nodes[0].client();
    // A length of sleep that nobody else on this machine has: it names the processes.
    let word = format!("31536{}.{}", std::process::id(), swarm.nodes[0].node.0 % 100_000);
    // A child, a grandchild that ignores SIGTERM, and a daemon with a session of its own.
    let script = format!(
        "sleep {word} & sh -c 'trap \"\" TERM; sleep {word} & wait; sleep {word}' & setsid sh -c 'trap \"\" TERM HUP; sleep {word} & sleep {word}' & wait"
    );
    let task = client.submit(TaskSpec::command(["sh", "-c", &script]), None).await.unwrap().task;
    eventually("the whole tree is there", LONG, async || {
        let sleeps = processes_with(&word).into_iter().filter(|line| line.starts_with("sleep")).count();
        if sleeps == 4 { Ok(()) } else { Err(sleeps) }
    })
    .await;

    assert_eq!(client.cancel(TaskSelector::Ids(vec![task])).await.unwrap(), [task]);
    eventually("nothing of the tree is left", LONG, async || {
        let left = processes_with(&word);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    let view = questions::end_of(&client, task).await;
    assert_eq!(view.state, TaskState::Cancelled);
    // Its slot is free again.
    let next = client.submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    questions::end_of(&client, next).await;
}
