//! Who has another secret, speaks another language or belongs to another swarm gets nowhere.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use dunlin_node::task::TaskSpec;

use crate::harness::{LONG, Swarm, eventually, questions, write_secret};

#[tokio::test]
async fn a_node_with_a_wrong_secret_gets_nowhere() {
    let mut swarm = Swarm::found(3).await;
    let before = swarm.settled().await;
    let wrong = swarm.path("wrong-secret");
    write_secret(&wrong, "this is not the swarm's secret");
    let stranger = swarm.add_with(|_, settings| {
        settings.secret_file = wrong.clone();
        settings.log = "debug".to_owned();
    });

    // It says what might be wrong, and that it belongs to nothing.
    let told = eventually("the stranger says that it sees nobody", LONG, async || {
        let view = swarm.nodes[stranger].impatient().status().await.map_err(|error| error.to_string())?;
        let told = view.warnings.iter().find(|warning| warning.contains("secret")).cloned();
        told.filter(|_| view.swarm.is_none() && view.leader.is_none()).ok_or_else(|| format!("{view:?}"))
    })
    .await;
    assert!(told.contains("no other node is in reach"), "{told}");
    // It has knocked: the members have counted a refusal, and that is all they did.
    eventually("a member tells of the refusal", LONG, async || {
        let lines: Vec<String> = (0..3).flat_map(|number| swarm.nodes[number].story()).map(|line| line.to_string()).collect();
        if lines.iter().any(|line| line.contains("secret")) { Ok(()) } else { Err("nothing in their stories") }
    })
    .await;
    let nodes = swarm.nodes[0].client().nodes().await.unwrap();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    assert_eq!(swarm.settled_among(&[0, 1, 2]).await, before);
}

#[tokio::test]
async fn bytes_that_are_not_of_the_protocol_are_dropped_and_harm_nobody() {
    let swarm = Swarm::found(1).await;
    for noise in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 70_000], &[0; 24], b""] {
        let mut stranger = TcpStream::connect(&swarm.nodes[0].address).unwrap();
        stranger.set_read_timeout(Some(LONG)).unwrap();
        // The node may hang up in the middle of it, which is as good.
        let _ = stranger.write_all(noise);
        let _ = stranger.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // Whatever it answers is the opening of the handshake, never a word of the protocol behind it.
        let _ = stranger.read_to_end(&mut answer);
        assert!(answer.len() <= 256, "{} bytes for a stranger", answer.len());
    }
    let client = swarm.nodes[0].client();
    let task = client.submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    questions::end_of(&client, task).await;
}

#[tokio::test]
async fn two_swarms_with_the_same_secret_never_merge() {
    let mut swarm = Swarm::found(1).await;
    let here = swarm.nodes[0].client().status().await.unwrap();
    // A swarm of its own first; then it is told of the other one, with the same secret.
    let other = swarm.add_with(|_, settings| (settings.peers, settings.expect) = (Vec::new(), 1));
    let alone = swarm.settled_among(&[other]).await;
    let there = swarm.nodes[other].client().status().await.unwrap();
    assert_ne!(here.swarm, there.swarm);
    swarm.start_again(other);

    eventually("it is told that there is another swarm", LONG, async || {
        let lines: Vec<String> = swarm.nodes.iter().flat_map(|node| node.story()).map(|line| line.to_string()).collect();
        let told = lines.iter().any(|line| line.contains("it belongs to swarm") && line.contains("this node to swarm"));
        if told { Ok(()) } else { Err(lines.last().cloned()) }
    })
    .await;
    let (leader, term) = swarm.settled_among(&[other]).await;
    assert!(leader == other && term >= alone.1);
    for (number, swarm_id) in [(0, here.swarm), (other, there.swarm)] {
        let client = swarm.nodes[number].client();
        assert_eq!(client.status().await.unwrap().swarm, swarm_id);
        assert_eq!(client.nodes().await.unwrap().len(), 1);
    }
}
