//! Without a majority nothing is accepted and the nodes say so; with one the swarm goes on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dunlin_node::api::{ApiError, Request, Response};
use dunlin_node::client::ClientError;
use dunlin_node::task::{IdempotencyKey, TaskSpec};

use crate::harness::{LONG, Network, Process, Run, Swarm, eventually, measured, questions};

/// One submission, tried once.
async fn submit_once(node: &Process, key: &str) -> Result<Response, ClientError> {
    let key: IdempotencyKey = key.parse().unwrap();
    node.impatient().call(&Request::Submit { tasks: vec![(TaskSpec::command(["true"]), Some(key))] }).await
}

/// Waits until this node, alone or in a minority, says what it lacks.
async fn says_that_it_has_no_majority(node: &Process, here: usize) {
    let wanted = format!("{here} of 5 voters are in reach, a majority is 3");
    eventually(&format!("{} says: {wanted}", node.name()), LONG, async || {
        let view = node.impatient().status().await.map_err(|error| error.to_string())?;
        if view.leader.is_none() && view.warnings.iter().any(|warning| warning.contains(&wanted)) {
            Ok(())
        } else {
            Err(format!("{view:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn of_five_with_two_cut_off_the_majority_goes_on_and_the_minority_says_that_it_has_none() {
    let network = match Network::new(5) {
        Ok(network) => network,
        Err(why) => return println!("SKIPPED: no network namespaces can be made here: {why}"),
    };
    let mut swarm = Swarm::planned(5);
    swarm.network = Some(network);
    (0..5).for_each(|_| _ = swarm.add_with(|_, _| {}));
    let (leader, term) = swarm.settled().await;
    // The leader is among the two.
    let minority = [leader, (leader + 1) % 5];
    let majority: Vec<usize> = (0..5).filter(|number| !minority.contains(number)).collect();
    let before = swarm.nodes[leader].client().submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    questions::end_of(&swarm.nodes[leader].client(), before).await;

    swarm.network.as_ref().unwrap().cut(&minority);
    let cut = Instant::now();
    let (new, later) = swarm.settled_among(&majority).await;
    measured("from the cut to the majority's leader", cut.elapsed());
    assert!(later > term);
    let during = swarm.nodes[new].client().submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    let view = questions::end_of(&swarm.nodes[new].client(), during).await;
    assert!(majority.contains(&swarm.number_of(view.attempts[0].node)));
    for number in minority {
        let refused = submit_once(&swarm.nodes[number], "from-the-minority").await;
        assert!(matches!(refused, Err(ClientError::Api(ApiError::NoLeader { .. }))), "{refused:?}");
        says_that_it_has_no_majority(&swarm.nodes[number], 2).await;
    }

    swarm.network.as_ref().unwrap().heal(&minority);
    let healed = Instant::now();
    let (end, _) = swarm.settled().await;
    measured("from the healing to one leader that all five follow", healed.elapsed());
    let client = swarm.nodes[minority[0]].client();
    let mut whole = vec![before, during];
    // What the minority refused may be submitted again, now with success, and it is there once.
    for number in minority {
        whole.push(
            swarm.nodes[number]
                .client()
                .submit(TaskSpec::command(["true"]), Some("from-the-minority".parse().unwrap()))
                .await
                .unwrap()
                .task,
        );
    }
    whole.dedup();
    assert_eq!(whole.len(), 3);
    for task in &whole {
        questions::end_of(&client, *task).await;
    }
    questions::assert_each_succeeded_once(&swarm.nodes[end].client(), whole).await;
}

#[tokio::test]
async fn with_three_of_five_silent_the_two_left_say_so_and_accept_nothing_until_one_is_back() {
    let mut swarm = Swarm::found_with(5, |_, settings| settings.pods = vec!["default=1".to_owned()]).await;
    let (leader, term) = swarm.settled().await;
    let left = [leader, (leader + 1) % 5];
    // An attempt on each node, which outlives the leader's absence.
    let client = swarm.nodes[leader].client();
    let (go, starts) = (swarm.path("go"), swarm.path("starts"));
    let script = "echo task $DUNLIN_TASK_ID >> $STARTS; while ! [ -e $GO ]; do sleep 0.02; done";
    let mut spec = TaskSpec::command(["sh", "-c", script]);
    let shown = |path: &Path| path.display().to_string();
    spec.env = [("GO".to_owned(), shown(&go)), ("STARTS".to_owned(), shown(&starts))].into();
    let long = client.submit_all(vec![(spec, None); 5]).await.unwrap();
    let mut kept = Vec::new();
    for task in &long {
        let node = questions::running_on(&client, task.task, 1).await;
        kept.extend(left.contains(&swarm.number_of(node)).then_some((task.task, node)));
    }
    assert_eq!(kept.len(), 2);
    let silent: Vec<usize> = (0..5).filter(|number| !left.contains(number)).collect();
    silent.iter().for_each(|number| swarm.nodes[*number].pause());
    let silence = Instant::now();
    let stopped = eventually("the leader stops acting", LONG, async || {
        let view = swarm.nodes[leader].impatient().status().await.map_err(|error| error.to_string())?;
        if view.leader.is_none() { Ok(silence.elapsed()) } else { Err(format!("{view:?}")) }
    })
    .await;
    measured("from the majority's silence to the leader's own word that it leads no more", stopped);

    // A person who submits now is told after a while; what to do is in the message.
    let waiting = Run::start(swarm.nodes[left[1]].command(&["submit", "--idempotency-key", "later", "--", "true"]));
    says_that_it_has_no_majority(&swarm.nodes[left[0]], 2).await;
    says_that_it_has_no_majority(&swarm.nodes[left[1]], 2).await;
    swarm.nodes[left[1]].dunlin(&["status"]).with(69);
    waiting.ended_within(Duration::from_secs(90)).with(69).says(&[
        "no leader with a majority answered within",
        "of 5 voters are in reach, a majority is 3",
        "dunlin nodes",
    ]);

    swarm.nodes[silent[0]].resume();
    let back = Instant::now();
    let (leader, later) = swarm.settled_among(&[left[0], left[1], silent[0]]).await;
    measured("from the third node's return to a leader", back.elapsed());
    println!("term {term}, then {later}");
    let client = swarm.nodes[leader].client();
    fs::write(&go, "").unwrap();
    for task in &long {
        questions::end_of(&client, task.task).await;
    }
    questions::assert_each_succeeded_once(&client, long.iter().map(|task| task.task)).await;
    // Whoever leads now, in a new term or in the old one again, has adopted what went on: nothing was run twice for it.
    for (task, node) in kept {
        let attempts: Vec<_> =
            client.task(task).await.unwrap().attempts.iter().map(|a| (a.attempt.0, a.node, a.fence.term)).collect();
        assert_eq!(attempts, [(1, node, term)], "task {task}");
        let starts = fs::read_to_string(&starts).unwrap();
        let own = starts.lines().filter(|line| *line == format!("task {task}")).count();
        assert_eq!(own, 1, "task {task} was begun once: {starts}");
    }
    let again = client.submit(TaskSpec::command(["true"]), Some("later".parse().unwrap())).await.unwrap();
    questions::end_of(&client, again.task).await;
    questions::assert_each_succeeded_once(&client, [again.task]).await;
}
