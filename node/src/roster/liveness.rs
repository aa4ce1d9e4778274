//! Who is here, in the leader's eyes. Pure; time is an input.
//!
//! Heartbeats, reset connections and the passing of time enter; what changed leaves. Members known from the ledger are
//! `Unknown` until they are heard. Deliberately not here: what follows from a change (`dispatch`, `voters`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::heartbeat::Heartbeat;
use crate::api::MemberState;
use crate::task::{LostWhy, NodeId, Pod};

/// The table's times and bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivenessConfig {
    /// A member without a heartbeat for this long is lost.
    pub lost_after: Duration,
    /// For this long after a member's process was seen to be gone, heartbeats that it had sent before are dropped.
    pub gone_for: Duration,
    /// Members.
    pub members: usize,
}

impl Default for LivenessConfig {
    fn default() -> Self {
        LivenessConfig { lost_after: Duration::from_secs(3), gone_for: Duration::from_millis(500), members: 4_096 }
    }
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A member is heard for the first time since this table began.
    Appeared(NodeId),
    /// A lost member is heard again: the same process.
    Returned {
        /// Which.
        node: NodeId,
        /// How long it was lost.
        away: Duration,
    },
    /// A member is heard again as another process.
    Restarted(NodeId),
    /// A member is lost.
    Lost {
        /// Which.
        node: NodeId,
        /// Why.
        why: LostWhy,
    },
}

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It counts: pass its offer on to the board.
    Fresh(Option<Change>),
    /// A newer one was heard before: drop it.
    Outdated,
    /// The table is full: drop it.
    TooMany,
}

/// A member as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its last heartbeat, if there was one.
    pub heartbeat: Option<Heartbeat>,
    /// Whether it is there.
    pub state: MemberState,
    /// Since its last heartbeat.
    pub last_heard: Option<Duration>,
    /// How long it has been lost.
    pub lost_for: Option<Duration>,
}

/// A member as the table has it, to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct MemberRef<'a> {
    /// Which.
    pub node: NodeId,
    /// Whether it is there.
    pub state: MemberState,
    /// Its last heartbeat, if there was one.
    pub heartbeat: Option<&'a Heartbeat>,
    /// When it was lost, if it is.
    pub lost: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Member {
    heartbeat: Option<Heartbeat>,
    /// When it was last heard; for one never heard, when it became known.
    heard: Duration,
    lost: Option<Duration>,
    /// It is lost because its process was gone.
    gone: bool,
}

/// The leader's table of members; a new leader begins a new one.
#[derive(Clone, Debug)]
pub struct Liveness {
    config: LivenessConfig,
    members: BTreeMap<NodeId, Member>,
}

impl Liveness {
    /// An empty table.
    #[must_use]
    pub fn new(config: LivenessConfig) -> Self {
        Liveness { config, members: BTreeMap::new() }
    }

    /// The ledger knows this node. It has [`LivenessConfig::lost_after`] from now to be heard.
    pub fn known(&mut self, now: Duration, node: NodeId) {
        if self.members.len() < self.config.members {
            self.members.entry(node).or_insert(Member { heartbeat: None, heard: now, lost: None, gone: false });
        }
    }

    /// A heartbeat has arrived.
    pub fn heartbeat(&mut self, now: Duration, node: NodeId, heartbeat: Heartbeat) -> Heard {
        if self.members.len() >= self.config.members && !self.members.contains_key(&node) {
            return Heard::TooMany;
        }
        let member = self.members.entry(node).or_insert(Member { heartbeat: None, heard: now, lost: None, gone: false });
        let before = member.heartbeat.as_ref().map(|before| (before.boot, before.seq));
        if before.is_some_and(|before| before >= (heartbeat.boot, heartbeat.seq)) {
            return Heard::Outdated;
        }
        let fresh_loss = member.lost.is_some_and(|since| now.saturating_sub(since) < self.config.gone_for);
        if member.gone && fresh_loss && before.is_some_and(|(boot, _)| boot == heartbeat.boot) {
            return Heard::Outdated;
        }
        member.gone = false;
        let lost = member.lost.take();
        let change = match before {
            None => Some(Change::Appeared(node)),
            Some((boot, _)) if boot != heartbeat.boot => Some(Change::Restarted(node)),
            Some(_) => lost.map(|since| Change::Returned { node, away: now.saturating_sub(since) }),
        };
        member.heartbeat = Some(heartbeat);
        member.heard = now;
        Heard::Fresh(change)
    }

    /// The connection to a member ended. Only with `gone` (its process is, not just its voice) is it lost at once.
    pub fn down(&mut self, now: Duration, node: NodeId, gone: bool) -> Option<Change> {
        let member = self.members.get_mut(&node).filter(|member| gone && member.lost.is_none())?;
        member.lost = Some(now);
        member.gone = true;
        Some(Change::Lost { node, why: LostWhy::MemberLost })
    }

    /// A member left the swarm for good, or was removed.
    pub fn left(&mut self, node: NodeId) -> Option<Change> {
        let member = self.members.remove(&node)?;
        member.lost.is_none().then_some(Change::Lost { node, why: LostWhy::MemberLeft })
    }

    /// Time has passed: finds the members that have been silent for too long.
    #[must_use]
    pub fn tick(&mut self, now: Duration) -> Vec<Change> {
        let patience = self.config.lost_after;
        let silent = |member: &Member| member.lost.is_none() && now.saturating_sub(member.heard) >= patience;
        let mut changes = Vec::new();
        for (node, member) in self.members.iter_mut().filter(|(_, member)| silent(member)) {
            member.lost = Some(now);
            changes.push(Change::Lost { node: *node, why: LostWhy::MemberLost });
        }
        changes
    }

    /// When [`Liveness::tick`] can find something next.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let heard = self.members.values().filter(|member| member.lost.is_none()).map(|member| member.heard);
        heard.min().map(|heard| heard.saturating_add(self.config.lost_after))
    }

    /// Whether heartbeats arrive.
    #[must_use]
    pub fn is_live(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.lost.is_none() && member.heartbeat.is_some())
    }

    /// One member.
    #[must_use]
    pub fn view(&self, now: Duration, node: NodeId) -> Option<MemberView> {
        self.members.get(&node).map(|member| member.view(now))
    }

    /// Every member.
    pub fn views(&self, now: Duration) -> impl Iterator<Item = (NodeId, MemberView)> + '_ {
        self.members.iter().map(move |(node, member)| (*node, member.view(now)))
    }

    /// Every member, without copies of what they said.
    pub fn each(&self) -> impl Iterator<Item = MemberRef<'_>> {
        self.members.iter().map(|(node, member)| MemberRef {
            node: *node,
            state: member.state(),
            heartbeat: member.heartbeat.as_ref(),
            lost: member.lost,
        })
    }

    /// The pods of the members that are there, for telling which groups nobody serves.
    pub fn live_pods(&self) -> impl Iterator<Item = &Pod> {
        let live = self.members.values().filter(|member| member.lost.is_none());
        live.filter_map(|member| member.heartbeat.as_ref()).flat_map(|heartbeat| &heartbeat.pods)
    }
}

impl Member {
    fn state(&self) -> MemberState {
        let draining = self.heartbeat.as_ref().map(|heartbeat| heartbeat.draining);
        match (self.lost, draining) {
            (Some(_), _) => MemberState::Lost,
            (None, None) => MemberState::Unknown,
            (None, Some(true)) => MemberState::Draining,
            (None, Some(false)) => MemberState::Live,
        }
    }

    fn view(&self, now: Duration) -> MemberView {
        MemberView {
            heartbeat: self.heartbeat.clone(),
            state: self.state(),
            last_heard: self.heartbeat.is_some().then(|| now.saturating_sub(self.heard)),
            lost_for: self.lost.map(|since| now.saturating_sub(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Fence;

    const A: NodeId = NodeId(1);

    fn beat(boot: u64, seq: u64) -> Heartbeat {
        Heartbeat {
            boot,
            seq,
            name: "a".into(),
            version: "1".into(),
            rank: 0,
            role: crate::task::MemberRole::Voter,
            pods: vec![],
            held: vec![],
            processed: Fence::default(),
            draining: false,
            busy: false,
            level: crate::task::Level::Full,
            memory_enforced: true,
            requires: crate::task::Level::Full,
        }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn table() -> Liveness {
        Liveness::new(LivenessConfig::default())
    }

    #[test]
    fn a_member_is_unknown_then_live_then_lost_then_back() {
        let mut table = table();
        let state = |table: &Liveness, now| table.view(at(now), A).unwrap().state;
        table.known(at(0), A);
        assert_eq!(state(&table, 0), MemberState::Unknown);
        assert_eq!(table.heartbeat(at(500), A, beat(1, 1)), Heard::Fresh(Some(Change::Appeared(A))));
        assert_eq!(table.heartbeat(at(600), A, beat(1, 2)), Heard::Fresh(None));
        assert_eq!(table.deadline(), Some(at(3_600)));
        assert_eq!(table.tick(at(3_599)), []);
        assert_eq!(table.tick(at(3_600)), [Change::Lost { node: A, why: LostWhy::MemberLost }]);
        assert_eq!(table.tick(at(9_000)), []);
        assert_eq!(state(&table, 9_000), MemberState::Lost);
        assert_eq!(table.view(at(9_000), A).unwrap().lost_for, Some(at(5_400)));
        let away = at(6_400);
        assert_eq!(table.heartbeat(at(10_000), A, beat(1, 3)), Heard::Fresh(Some(Change::Returned { node: A, away })));
        assert_eq!(state(&table, 10_000), MemberState::Live);
    }

    #[test]
    fn a_node_of_the_ledger_that_is_never_heard_is_lost_once() {
        let mut table = table();
        table.known(at(0), A);
        assert_eq!(table.tick(at(3_000)).len(), 1);
        assert_eq!(table.tick(at(6_000)).len(), 0);
        assert!(!table.is_live(A));
    }

    #[test]
    fn late_heartbeats_of_a_process_or_its_predecessor_are_dropped() {
        let mut table = table();
        let _ = table.heartbeat(at(0), A, beat(1, 5));
        assert_eq!(table.heartbeat(at(1), A, beat(1, 5)), Heard::Outdated);
        assert_eq!(table.heartbeat(at(2), A, beat(2, 1)), Heard::Fresh(Some(Change::Restarted(A))));
        assert_eq!(table.heartbeat(at(3), A, beat(1, 9)), Heard::Outdated);
    }

    #[test]
    fn only_a_process_that_is_gone_is_lost_with_its_connection() {
        let mut table = table();
        let _ = table.heartbeat(at(0), A, beat(1, 1));
        assert_eq!(table.down(at(1), A, false), None);
        assert!(table.is_live(A));
        assert_eq!(table.down(at(2), A, true), Some(Change::Lost { node: A, why: LostWhy::MemberLost }));
        assert_eq!(table.down(at(3), A, true), None);
        // One that was under way when the process died; then, much later, one that proves us wrong; then a new process.
        assert_eq!(table.heartbeat(at(4), A, beat(1, 2)), Heard::Outdated);
        let returned = Change::Returned { node: A, away: at(998) };
        assert_eq!(table.heartbeat(at(1_000), A, beat(1, 3)), Heard::Fresh(Some(returned)));
        assert!(table.down(at(1_001), A, true).is_some());
        assert_eq!(table.heartbeat(at(1_002), A, beat(2, 1)), Heard::Fresh(Some(Change::Restarted(A))));
        assert!(table.down(at(1_003), A, true).is_some());
        assert_eq!(table.left(A), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = Liveness::new(LivenessConfig { members: 1, ..LivenessConfig::default() });
        table.known(at(0), A);
        assert_eq!(table.heartbeat(at(0), NodeId(2), beat(1, 1)), Heard::TooMany);
        assert_eq!(table.views(at(0)).count(), 1);
    }

    #[test]
    fn heartbeats_read_back_and_oversize_ones_are_refused() {
        let mut heartbeat = beat(1, 1);
        heartbeat.pods = vec![Pod { groups: vec!["gpu".parse().unwrap()], slots: 2 }];
        assert_eq!(Heartbeat::decode(&heartbeat.encode()).unwrap(), heartbeat);
        heartbeat.name = "x".repeat(1_000);
        let refused = Heartbeat::decode(&heartbeat.encode()).unwrap_err().to_string();
        assert!(refused.contains("name in bytes is 1000; the limit is 128"), "{refused}");
        assert!(Heartbeat::decode(b"\xff\x00").is_err());
    }
}
