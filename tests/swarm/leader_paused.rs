//! The leader is paused for five seconds: when it wakes up, what it reports and what it would hand out is fenced off.

use std::fs;
use std::time::{Duration, Instant};

use dunlin_node::api::{EventKind, Request};
use dunlin_node::task::{Fence, NodeId, TaskId, TaskSpec, Term};

use crate::harness::{LONG, Swarm, eventually, measured, questions};

/// How long the leader is away; this is the fault itself, not a wait for something.
const PAUSE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_leader_that_was_paused_for_five_seconds_wakes_up_fenced() {
    let mut swarm = Swarm::found_with(3, |_, settings| settings.pods = vec!["own=1".to_owned(), "all=1".to_owned()]).await;
    let (old, term) = swarm.settled().await;
    let others: Vec<usize> = (0..3).filter(|number| *number != old).collect();
    let folder = swarm.folder.path().to_owned();
    let client = swarm.nodes[old].client();

    // One attempt on each node; the one on the leader itself is what this is about.
    let script = format!("while ! [ -e {}/go-$DUNLIN_NODE ]; do sleep 0.02; done", folder.display());
    let mut own = TaskSpec::command(["sh", "-c", &script]);
    own.group = "own".parse().unwrap();
    let three = client.submit_all(vec![(own, None); 3]).await.unwrap();
    let held = swarm.nodes[old].node;
    let mut own = TaskId(0);
    for task in &three {
        if questions::running_on(&client, task.task, 1).await == held {
            own = task.task;
        }
    }
    let go_old = folder.join(format!("go-{}", swarm.nodes[old].name()));
    // A backlog, so that the old leader has something to hand out the moment it wakes up.
    let mut short = TaskSpec::command(["sleep", "0.1"]);
    short.group = "all".parse().unwrap();
    let backlog = client.submit_all(vec![(short, None); 100]).await.unwrap();
    let backlog: Vec<TaskId> = backlog.iter().map(|task| task.task).collect();

    swarm.nodes[old].pause();
    let pause = Instant::now();
    let (new, next) = swarm.settled_among(&others).await;
    measured("from the leader's silence to its successor", pause.elapsed());
    assert!(next > term);
    let client = swarm.nodes[new].client();
    // The others come free, so that the successor has somebody to give the silent node's task to.
    for number in &others {
        fs::write(folder.join(format!("go-{}", swarm.nodes[*number].name())), "").unwrap();
    }
    let view = questions::end_of(&client, own).await;
    assert_ne!(view.attempts.last().map(|attempt| attempt.node), Some(held));
    fs::write(&go_old, "").unwrap();
    tokio::time::sleep(PAUSE.saturating_sub(pause.elapsed())).await;
    swarm.nodes[old].resume();
    // The very first thing it is asked, when it may still believe that it leads.
    let first_words = swarm.nodes[old].impatient().call(&Request::Status).await;

    eventually("its late report is refused and recorded", LONG, async || {
        let events = questions::events(&client).await;
        let refused = events.iter().find(|event| event.kind == EventKind::ReportRefused && event.task == Some(own));
        refused.map(|event| assert_eq!(event.node, Some(held))).ok_or(events.len())
    })
    .await;
    let (leader, now) = swarm.settled().await;
    assert_eq!((leader, now), (new, next), "its return changes nothing; its first words were {first_words:?}");

    let all: Vec<TaskId> = backlog.into_iter().chain(three.iter().map(|task| task.task)).collect();
    for task in &all {
        questions::end_of(&client, *task).await;
    }
    questions::assert_each_succeeded_once(&client, all).await;
    nothing_of_the_old_term_came_later(&swarm, new, next, held).await;
}

/// Once the new term is in the history, no event and no hand-out of an older one follows.
async fn nothing_of_the_old_term_came_later(swarm: &Swarm, asked: usize, next: Term, held: NodeId) {
    let client = swarm.nodes[asked].client();
    let events = questions::events(&client).await;
    assert!(events.is_sorted_by_key(|event| event.term), "terms only grow in the history");
    let mut ends: Vec<(NodeId, Fence)> = Vec::new();
    for event in events.iter().skip_while(|event| event.term < next).filter(|event| event.kind == EventKind::TaskSucceeded) {
        let view = client.task(event.task.unwrap()).await.unwrap();
        ends.extend(view.attempts.last().map(|attempt| (attempt.node, attempt.fence)));
    }
    // What the old leader handed out before its pause, the other two may have ended meanwhile: one attempt in each pod.
    let adopted = ends.iter().filter(|(_, fence)| fence.term < next).count();
    assert!(adopted <= 4, "{adopted} hand-outs of the old term were accepted in the new one");
    assert!(ends.iter().all(|(node, fence)| fence.term == next || *node != held), "the paused node's own: {ends:?}");
}
