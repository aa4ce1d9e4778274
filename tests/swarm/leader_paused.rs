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
    let mut swarm = Swarm::found_with(3, |_, settings| settings.pods = vec![format!("{}=1", settings.name), "all=1".to_owned()]).await;
    let (old, term) = swarm.settled().await;
    let others: Vec<usize> = (0..3).filter(|number| *number != old).collect();
    let folder = swarm.folder.path().to_owned();
    let client = swarm.nodes[old].client();

    // One attempt runs on the leader itself; its group is the leader's own, so nobody else takes it over.
    let script = format!("while ! [ -e {}/go-$DUNLIN_ATTEMPT ]; do sleep 0.02; done; echo $DUNLIN_ATTEMPT", folder.display());
    let mut own = TaskSpec::command(["sh", "-c", &script]);
    own.group = swarm.nodes[old].name().parse().unwrap();
    let own = client.submit(own, None).await.unwrap().task;
    let held = questions::running_on(&client, own, 1).await;
    assert_eq!(held, swarm.nodes[old].node);
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
    eventually("the successor has given up the paused node's attempt", LONG, async || {
        let view = client.task(own).await.unwrap();
        if view.attempts.iter().any(|attempt| attempt.outcome.is_some()) { Ok(()) } else { Err(view.attempts) }
    })
    .await;
    fs::write(folder.join("go-1"), "").unwrap();
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

    fs::write(folder.join("go-2"), "").unwrap();
    for task in backlog.iter().chain([&own]) {
        questions::end_of(&client, *task).await;
    }
    questions::assert_each_succeeded_once(&client, backlog.iter().copied().chain([own])).await;
    nothing_of_the_old_term_came_later(&swarm, new, next).await;
}

/// Once the new term is in the history, no event and no hand-out of an older one follows.
async fn nothing_of_the_old_term_came_later(swarm: &Swarm, asked: usize, next: Term) {
    let client = swarm.nodes[asked].client();
    let events = questions::events(&client).await;
    assert!(events.is_sorted_by_key(|event| event.term), "terms only grow in the history");
    let mut ends: Vec<(NodeId, Fence)> = Vec::new();
    for event in events.iter().skip_while(|event| event.term < next).filter(|event| event.kind == EventKind::TaskSucceeded) {
        let view = client.task(event.task.unwrap()).await.unwrap();
        ends.extend(view.attempts.last().map(|attempt| (attempt.node, attempt.fence)));
    }
    // What the old leader handed out before its pause and another node ran may be adopted; each of those had a slot then.
    let adopted = ends.iter().filter(|(_, fence)| fence.term < next).count();
    assert!(adopted <= 2, "{adopted} hand-outs of the old term were accepted in the new one");
}
