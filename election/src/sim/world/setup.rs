//! How a simulated swarm starts: its nodes, its rules, its clients.

use std::collections::BTreeMap;
use std::time::Duration;
use std::vec::Vec;

use crate::sim::raft::RaftRules;
use crate::{NodeId, Rank, Rules, Settings, Term};

/// How a node starts.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// Its rank.
    pub rank: Rank,
    /// Its log: the terms of its entries.
    pub log: Vec<Term>,
    /// Its clock's rate, in thousandths of the world's.
    pub rate: u64,
}

impl Default for NodeSetup {
    fn default() -> NodeSetup {
        NodeSetup { rank: Rank(100), log: Vec::new(), rate: 1_000 }
    }
}

/// How a world starts.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where all randomness starts.
    pub seed: u64,
    /// The durations of all nodes.
    pub settings: Settings,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, NodeSetup>,
    /// How many of them, from the lowest id, vote.
    pub voters: usize,
    /// Raft's term, and whether nodes start as members of a swarm (or found one).
    pub founded: Option<Term>,
    /// Whether founded nodes count as restarted (E1 holds).
    pub restarted: bool,
    /// The election's rules.
    pub rules: Rules,
    /// Raft's.
    pub raft_rules: RaftRules,
    /// Whether a pledge is synced before it is told; without it a crash forgets it.
    pub pledge_on_disk: bool,
    /// The time between two writes of the clients at whoever acts.
    pub writes: Option<Duration>,
}

impl Setup {
    /// A founded swarm of `count` equal nodes with an entry each, at term 1.
    #[must_use]
    pub fn swarm(count: u64, seed: u64) -> Setup {
        let node = NodeSetup { log: std::vec![Term(1)], ..NodeSetup::default() };
        let nodes: BTreeMap<_, _> = (0..count).map(|id| (NodeId(id), node.clone())).collect();
        Setup {
            seed,
            settings: Settings::default(),
            voters: nodes.len(),
            nodes,
            founded: Some(Term(1)),
            restarted: false,
            rules: Rules::ALL,
            raft_rules: RaftRules::ALL,
            pledge_on_disk: true,
            writes: None,
        }
    }
}
