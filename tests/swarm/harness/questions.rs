//! What tests ask a swarm about its tasks and its history.

use std::collections::BTreeMap;

use dunlin_node::api::{EventKind, EventView, TaskView};
use dunlin_node::client::Client;
use dunlin_node::task::{NodeId, Outcome, TaskId, TaskState};

use super::{LONG, eventually};

/// The whole history up to now.
pub(crate) async fn events(client: &Client) -> Vec<EventView> {
    let mut follow = client.events(0).until_now();
    let mut events = Vec::new();
    while let Some(event) = follow.next().await.unwrap() {
        events.push(event);
    }
    events
}

/// Waits until the task's attempt of this number runs somewhere; answers with the node.
pub(crate) async fn running_on(client: &Client, task: TaskId, attempt: u32) -> NodeId {
    eventually(&format!("attempt {attempt} of task {task} runs"), LONG, async || {
        let view = client.task(task).await.map_err(|error| error.to_string())?;
        let last = view.attempts.last();
        match last.filter(|last| last.attempt.0 == attempt && last.outcome.is_none()) {
            Some(last) => Ok(last.node),
            None => Err(format!("{:?} {:?}", view.state, view.attempts)),
        }
    })
    .await
}

/// Waits for the task's end, at most [`LONG`].
pub(crate) async fn end_of(client: &Client, task: TaskId) -> TaskView {
    match tokio::time::timeout(LONG, client.wait(task)).await {
        Ok(view) => view.unwrap(),
        Err(_) => panic!("task {task} has not ended within {LONG:?}: {:?}", client.task(task).await),
    }
}

/// The history's rule for tasks that were acknowledged: each has exactly one end, it is a success, and exactly one attempt
/// was accepted as such.
pub(crate) async fn assert_each_succeeded_once(client: &Client, tasks: impl IntoIterator<Item = TaskId>) {
    let mut ends: BTreeMap<TaskId, Vec<EventKind>> = BTreeMap::new();
    for event in events(client).await {
        let is_end = matches!(event.kind, EventKind::TaskSucceeded | EventKind::TaskDead | EventKind::TaskCancelled);
        if let Some(task) = event.task.filter(|_| is_end) {
            ends.entry(task).or_default().push(event.kind);
        }
    }
    for task in tasks {
        assert_eq!(ends.get(&task).map(Vec::as_slice), Some(&[EventKind::TaskSucceeded][..]), "task {task}");
        let view = client.task(task).await.unwrap();
        let accepted = view.attempts.iter().filter(|attempt| attempt.outcome == Some(Outcome::Exited(0))).count();
        assert_eq!((accepted, &view.state), (1, &TaskState::Succeeded), "{:?}", view.attempts);
        let mut fences: Vec<_> = view.attempts.iter().map(|attempt| attempt.fence).collect();
        fences.dedup();
        assert!(fences.is_sorted() && fences.len() == view.attempts.len(), "fences only grow: {:?}", view.attempts);
    }
}
