//! Whose disks should count: the next change of the set of voters, if one is due. Pure.
//!
//! Voters are 1, 3 or 5 of the nodes that may vote. Two (or four) stay only if the swarm was founded so. The set grows
//! straight to the next odd size (joint consensus makes that one safe change); a voter dead for long is replaced by a live
//! node that has caught up. A change is never planned that would leave the old or the new set without a live majority.
//! Not here: making the change, and making sure that only one is under way.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::task::NodeId;

/// When and how far the set changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VotersPolicy {
    /// The most voters that are aimed at: 1, 3 or 5.
    pub target: usize,
    /// How long a voter must be dead before it is replaced.
    pub dead_after: Duration,
    /// How many entries a learner may be behind and still count as caught up.
    pub lag: u64,
}

impl Default for VotersPolicy {
    fn default() -> Self {
        VotersPolicy { target: 5, dead_after: Duration::from_secs(30), lag: 100 }
    }
}

/// A node as the plan needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub node: NodeId,
    /// Its rank.
    pub rank: u32,
    /// Whether it may vote (role `Voter`, not draining).
    pub eligible: bool,
    /// How long it has been lost; `None` if it is live.
    pub dead_for: Option<Duration>,
    /// How many entries it is behind the leader; `None` if it does not receive the log.
    pub behind: Option<u64>,
}

/// The next change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VotersChange {
    /// Have this node receive the log, so that it can become a voter.
    AddLearner(NodeId),
    /// Make these the voters.
    SetVoters(BTreeSet<NodeId>),
}

/// The next change that is due, if any. `leader` is never taken out. A voter that is not among the nodes counts as dead
/// for as long as it takes.
#[must_use]
pub fn plan(voters: &BTreeSet<NodeId>, nodes: &[Candidate], leader: NodeId, policy: &VotersPolicy) -> Option<VotersChange> {
    let view = View { voters, nodes, leader, policy };
    if !view.has_live_majority(voters) {
        return None;
    }
    let change = view.grow().or_else(|| view.replace()).or_else(|| view.shrink())?;
    match &change {
        VotersChange::SetVoters(new) if !view.has_live_majority(new) => None,
        _ => Some(change),
    }
}

struct View<'a> {
    voters: &'a BTreeSet<NodeId>,
    nodes: &'a [Candidate],
    leader: NodeId,
    policy: &'a VotersPolicy,
}

impl View<'_> {
    fn is_live(&self, node: NodeId) -> bool {
        node == self.leader || self.nodes.iter().any(|candidate| candidate.node == node && candidate.dead_for.is_none())
    }

    fn has_live_majority(&self, set: &BTreeSet<NodeId>) -> bool {
        set.iter().filter(|node| self.is_live(**node)).count() > set.len() / 2
    }

    /// Live nodes that could become voters, the best first.
    fn recruits(&self) -> Vec<&Candidate> {
        let fit = |c: &&Candidate| c.eligible && c.dead_for.is_none() && !self.voters.contains(&c.node);
        let mut recruits: Vec<&Candidate> = self.nodes.iter().filter(fit).collect();
        recruits.sort_by_key(|c| (std::cmp::Reverse(c.rank), c.node));
        recruits.dedup_by_key(|c| c.node);
        recruits
    }

    /// As many of the recruits as are needed: all caught up, or the first that must begin to receive the log, or nothing
    /// while those that receive it are behind.
    fn recruit(&self, needed: usize) -> Result<BTreeSet<NodeId>, Option<VotersChange>> {
        let recruits = self.recruits();
        let ready = recruits.iter().filter(|c| c.behind.is_some_and(|behind| behind <= self.policy.lag));
        let ready: BTreeSet<NodeId> = ready.take(needed).map(|c| c.node).collect();
        if ready.len() == needed {
            return Ok(ready);
        }
        let learning = recruits.iter().filter(|c| c.behind.is_some()).count();
        let next = recruits.iter().find(|c| c.behind.is_none()).filter(|_| learning < needed);
        Err(next.map(|c| VotersChange::AddLearner(c.node)))
    }

    fn grow(&self) -> Option<VotersChange> {
        let live_voters = self.voters.iter().filter(|node| self.is_live(**node)).count();
        let possible = live_voters + self.recruits().len();
        let size = [5, 3, 1].into_iter().find(|size| *size <= self.policy.target.min(possible))?;
        // From the size of now to the next odd one; not in leaps, so that each step has proven itself.
        let next = (self.voters.len() + 1) | 1;
        if next > size {
            return None;
        }
        match self.recruit(next - self.voters.len()) {
            Ok(new) => Some(VotersChange::SetVoters(self.voters.union(&new).copied().collect())),
            Err(change) => change,
        }
    }

    /// The voter that has been dead the longest, if that is long enough.
    fn dead(&self) -> Option<NodeId> {
        let dead_for = |node: NodeId| match self.nodes.iter().find(|c| c.node == node) {
            Some(candidate) => candidate.dead_for,
            None => Some(Duration::MAX),
        };
        let others = self.voters.iter().filter(|node| **node != self.leader);
        let dead = others.filter_map(|node| dead_for(*node).map(|since| (since, *node)));
        dead.filter(|(since, _)| *since >= self.policy.dead_after).max().map(|(_, node)| node)
    }

    fn replace(&self) -> Option<VotersChange> {
        if self.voters.len() > self.policy.target {
            return None;
        }
        let dead = self.dead()?;
        match self.recruit(1) {
            Ok(new) => {
                let kept = self.voters.iter().copied().filter(|node| *node != dead);
                Some(VotersChange::SetVoters(kept.chain(new).collect()))
            }
            Err(change) => change,
        }
    }

    /// More voters than aimed at: one fewer, a dead one before the live one of the lowest rank.
    fn shrink(&self) -> Option<VotersChange> {
        if self.voters.len() <= self.policy.target {
            return None;
        }
        let rank = |node: NodeId| self.nodes.iter().find(|c| c.node == node).map_or(0, |c| c.rank);
        let live = self.voters.iter().copied().filter(|node| *node != self.leader);
        let out = self.dead().or_else(|| live.min_by_key(|node| (self.is_live(*node), rank(*node), *node)))?;
        Some(VotersChange::SetVoters(self.voters.iter().copied().filter(|node| *node != out).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEADER: NodeId = NodeId(1);

    fn live(node: u64, behind: Option<u64>) -> Candidate {
        Candidate { node: NodeId(node), rank: 100, eligible: true, dead_for: None, behind }
    }

    fn dead(node: u64, seconds: u64) -> Candidate {
        Candidate { dead_for: Some(Duration::from_secs(seconds)), ..live(node, None) }
    }

    fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn planned(voters: &[u64], nodes: &[Candidate]) -> Option<VotersChange> {
        plan(&set(voters), nodes, LEADER, &VotersPolicy::default())
    }

    fn voters(nodes: &[u64]) -> Option<VotersChange> {
        Some(VotersChange::SetVoters(set(nodes)))
    }

    #[test]
    fn one_voter_stays_one_beside_a_second_node_and_becomes_three_with_a_third() {
        assert_eq!(planned(&[1], &[live(1, Some(0)), live(2, Some(0))]), None);
        let three = [live(1, Some(0)), live(2, Some(0)), live(3, None)];
        assert_eq!(planned(&[1], &three), Some(VotersChange::AddLearner(NodeId(3))));
        let three = [live(1, Some(0)), live(2, Some(0)), live(3, Some(5_000))];
        assert_eq!(planned(&[1], &three), None);
        let three = [live(1, Some(0)), live(2, Some(0)), live(3, Some(7))];
        assert_eq!(planned(&[1], &three), voters(&[1, 2, 3]));
        assert_eq!(planned(&[1, 2], &three), voters(&[1, 2, 3]));
    }

    #[test]
    fn two_founders_stay_two_and_five_is_the_end() {
        assert_eq!(planned(&[1, 2], &[live(1, Some(0)), live(2, Some(0))]), None);
        let seven: Vec<Candidate> = (1..=7).map(|node| live(node, Some(0))).collect();
        assert_eq!(planned(&[1, 2, 3], &seven), voters(&[1, 2, 3, 4, 5]));
        assert_eq!(planned(&[1, 2, 3, 4, 5], &seven), None);
    }

    #[test]
    fn a_dead_voter_is_replaced_after_its_time_by_the_highest_rank_that_has_caught_up() {
        let mut nodes = vec![live(1, Some(0)), live(2, Some(0)), dead(3, 29), live(4, Some(0))];
        nodes.push(Candidate { rank: 200, ..live(5, Some(0)) });
        // Three of five alive could be five voters only if five were alive: four are.
        assert_eq!(planned(&[1, 2, 3], &nodes), None);
        nodes[2] = dead(3, 30);
        assert_eq!(planned(&[1, 2, 3], &nodes), voters(&[1, 2, 5]));
        assert_eq!(planned(&[1, 2, 3], &nodes[..3]), None);
    }

    #[test]
    fn workers_and_draining_nodes_are_never_recruited() {
        let worker = |node| Candidate { eligible: false, ..live(node, Some(0)) };
        assert_eq!(planned(&[1], &[live(1, Some(0)), worker(2), worker(3)]), None);
    }

    #[test]
    fn a_set_without_a_live_majority_is_left_alone() {
        let nodes = [live(1, Some(0)), dead(2, 99), dead(3, 99), live(4, Some(0)), live(5, Some(0))];
        assert_eq!(planned(&[1, 2, 3], &nodes), None);
    }

    prop_compose! {
        fn some_node()(node in 1..10_u64, rank in 0..3_u32, eligible: bool, dead in prop::option::of(0..60_u64),
                       behind in prop::option::of(0..200_u64)) -> Candidate {
            Candidate { node: NodeId(node), rank, eligible, dead_for: dead.map(Duration::from_secs), behind }
        }
    }

    proptest! {
        #[test]
        fn no_plan_leaves_either_set_without_a_live_majority(
            old in prop::collection::btree_set(1..10_u64, 1..8), nodes in prop::collection::vec(some_node(), 0..12),
        ) {
            let old: BTreeSet<NodeId> = old.into_iter().map(NodeId).collect();
            let mut nodes = nodes;
            nodes.sort_by_key(|c| c.node);
            nodes.dedup_by_key(|c| c.node);
            let leader = *old.first().unwrap();
            let alive = |set: &BTreeSet<NodeId>| {
                let is_live = |id: &&NodeId| **id == leader || nodes.iter().any(|c| c.node == **id && c.dead_for.is_none());
                set.iter().filter(is_live).count() * 2 > set.len()
            };
            let policy = VotersPolicy::default();
            match plan(&old, &nodes, leader, &policy) {
                Some(VotersChange::SetVoters(new)) => {
                    prop_assert!(alive(&old) && alive(&new), "{old:?} -> {new:?}");
                    prop_assert!(new.contains(&leader));
                    prop_assert!(new.len() % 2 == 1 || new.len() == old.len() || new.len() + 1 == old.len());
                    prop_assert!(new.difference(&old).count() <= 2 && old.difference(&new).count() <= 1);
                    for added in new.difference(&old) {
                        let added = nodes.iter().find(|c| c.node == *added).unwrap();
                        prop_assert!(added.eligible && added.dead_for.is_none() && added.behind.unwrap() <= policy.lag);
                    }
                }
                Some(VotersChange::AddLearner(node)) => {
                    let added = nodes.iter().find(|c| c.node == node).unwrap();
                    prop_assert!(added.eligible && added.dead_for.is_none() && added.behind.is_none());
                    prop_assert!(!old.contains(&node));
                }
                None => {}
            }
        }
    }
}
