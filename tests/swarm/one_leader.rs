//! Five nodes that are started together have one leader, and in a calm start the highest rank leads.

use std::time::Instant;

use dunlin_node::api::EventKind;

use crate::harness::{Swarm, measured, questions};

#[tokio::test]
async fn five_nodes_elect_one_leader_and_the_highest_rank_leads_in_a_calm_start() {
    let ranks = [30, 10, 50, 20, 40];
    let mut swarm = Swarm::planned(ranks.len());
    for _ in ranks {
        swarm.add_with(|number, settings| settings.rank = ranks[number]);
    }
    let ready = Instant::now();
    let (leader, term) = swarm.settled().await;
    measured("from the fifth node's start to a leader that all five follow", ready.elapsed());

    assert_eq!(leader, 2, "the leader is {}, but n3 has the highest rank", swarm.nodes[leader].name());
    let mut swarms = Vec::new();
    for node in &swarm.nodes {
        let view = node.client().status().await.unwrap();
        assert_eq!(view.voters.len(), 5, "{}", node.name());
        assert_eq!(view.role == "leader", node.name() == "n3", "{} is {}", node.name(), view.role);
        let leads = view.leader.unwrap();
        assert_eq!((leads.node, leads.name.as_str()), (swarm.nodes[leader].node, "n3"), "as {} sees it", node.name());
        swarms.push(view.swarm.unwrap());
    }
    swarms.dedup();
    assert_eq!(swarms.len(), 1, "one swarm: {swarms:?}");

    let events = questions::events(&swarm.nodes[0].client()).await;
    let elected: Vec<_> = events.iter().filter(|event| event.kind == EventKind::LeaderElected).collect();
    assert_eq!(elected.len(), 1, "{elected:?}");
    assert_eq!((elected[0].node, elected[0].term), (Some(swarm.nodes[leader].node), term));
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::Founded).count(), 1);
}
