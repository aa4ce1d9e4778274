//! Which pod: members, their pods and free slots, and the order in which idle ones are chosen.
//!
//! A wholly idle member comes before one that has work, then the one idle (or not given anything) the longest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::queue::Groups;
use super::waiting::Room;
use crate::task::{Fence, GroupName, Need, NodeId, Pod, PodId};

/// A pod with a free slot; the least is chosen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IdlePod {
    pub(super) busy: bool,
    pub(super) since: u64,
    pub(super) node: NodeId,
    pub(super) pod: PodId,
    /// What its node holds.
    pub(super) holds: Need,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PodState {
    groups: Vec<Arc<GroupName>>,
    slots: u32,
    /// Slots taken by leases.
    taken: u32,
    /// Slots taken by attempts that are no lease here: stale ones that are being ended, handlers that outlived their time.
    pub(super) foreign: BTreeSet<Fence>,
    /// A hand-out came back: nothing more until the next offer.
    blocked: bool,
    listed: Option<IdlePod>,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) boot: u64,
    pub(super) draining: bool,
    accepts: bool,
    /// When (by the count of changes) a slot was last taken or freed.
    since: u64,
    offered: Vec<Pod>,
    /// What its sandbox holds.
    holds: Need,
    pub(super) pods: Vec<PodState>,
}

/// What a member says of itself.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) boot: u64,
    pub(super) pods: Vec<Pod>,
    pub(super) accepts: bool,
    pub(super) holds: Need,
}

/// Every member that has offered something.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    by_node: BTreeMap<NodeId, Member>,
    changes: u64,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&Member> {
        self.by_node.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Member> {
        self.by_node.get_mut(&node)
    }

    /// Takes a member's pods. `taken` tells how many slots of a pod its leases take (asked only if the pods are new).
    pub(super) fn offer(
        &mut self,
        node: NodeId,
        Offered { boot, pods, accepts, holds }: Offered,
        groups: &mut Groups,
        taken: impl Fn(PodId) -> u32,
    ) {
        let known = self.by_node.get(&node).map(|member| (member.boot, member.draining, member.since));
        let same = self.by_node.get(&node).is_some_and(|member| member.boot == boot && member.offered == pods);
        if !same {
            self.remove(node, groups);
            self.changes += 1;
            let draining = known.is_some_and(|(old, draining, _)| old == boot && draining);
            let since = known.filter(|(old, ..)| *old == boot).map_or(self.changes, |(_, _, since)| since);
            let states = pods.iter().take(Pod::MAX_PODS).enumerate().map(|(index, pod)| {
                let id = PodId(u16::try_from(index).unwrap_or(u16::MAX));
                PodState::new(pod, taken(id), holds, groups)
            });
            let pods_now = states.collect();
            self.by_node.insert(node, Member { boot, draining, accepts, since, offered: pods, holds, pods: pods_now });
        }
        if let Some(member) = self.by_node.get_mut(&node) {
            member.accepts = accepts;
            member.hold(holds, groups);
            member.pods.iter_mut().for_each(|pod| pod.blocked = false);
        }
    }

    /// Forgets a member.
    pub(super) fn remove(&mut self, node: NodeId, groups: &mut Groups) {
        let Some(member) = self.by_node.remove(&node) else { return };
        for pod in member.pods {
            for group in &pod.groups {
                groups.set_idle(group, pod.listed, None);
                groups.serve(group, member.holds, -1);
            }
        }
    }

    /// A pod that could take a task of this queue, found without the lists of idle ones.
    #[cfg(test)]
    pub(super) fn idle_for(&self, queue: &crate::task::Queue) -> Option<(NodeId, usize)> {
        let open = |member: &Member| member.accepts && !member.draining;
        let meets = |holds: Need| queue.need.is_met_by(holds.level, holds.memory_enforced);
        let free = |pod: &PodState| !pod.blocked && pod.used() < u64::from(pod.slots) && pod.groups.contains(&queue.group);
        self.by_node.iter().filter(|(_, member)| open(member) && meets(member.holds)).find_map(|(node, member)| {
            let pod = member.pods.iter().position(free)?;
            Some((*node, pod))
        })
    }

    /// A slot is taken.
    pub(super) fn take_slot(&mut self, node: NodeId, pod: PodId, groups: &mut Groups) {
        self.change_slot(node, pod, groups, |pod| pod.taken += 1);
    }

    /// A slot is free again.
    pub(super) fn free_slot(&mut self, node: NodeId, pod: PodId, groups: &mut Groups) {
        self.change_slot(node, pod, groups, |pod| pod.taken = pod.taken.saturating_sub(1));
    }

    /// A hand-out came back.
    pub(super) fn block(&mut self, node: NodeId, pod: PodId, groups: &mut Groups) {
        self.change_slot(node, pod, groups, |pod| pod.blocked = true);
    }

    fn change_slot(&mut self, node: NodeId, pod: PodId, groups: &mut Groups, change: impl FnOnce(&mut PodState)) {
        let Some(member) = self.by_node.get_mut(&node) else { return };
        let Some(state) = member.pods.get_mut(usize::from(pod.0)) else { return };
        change(state);
        self.changes += 1;
        member.since = self.changes;
        self.place(node, groups);
    }

    /// An attempt that is no lease has ended.
    pub(super) fn forget_foreign(&mut self, node: NodeId, fence: Fence, groups: &mut Groups) {
        let Some(member) = self.by_node.get_mut(&node) else { return };
        let mut found = false;
        member.pods.iter_mut().for_each(|pod| found |= pod.foreign.remove(&fence));
        if found {
            self.place(node, groups);
        }
    }

    /// Brings a member's pods to their places among the idle ones.
    pub(super) fn place(&mut self, node: NodeId, groups: &mut Groups) {
        let Some(member) = self.by_node.get_mut(&node) else { return };
        let open = member.accepts && !member.draining;
        let (busy, since, holds) = (member.pods.iter().any(|pod| pod.used() > 0), member.since, member.holds);
        for (index, pod) in member.pods.iter_mut().enumerate() {
            let free = open && !pod.blocked && pod.used() < u64::from(pod.slots);
            let id = PodId(u16::try_from(index).unwrap_or(u16::MAX));
            let place = free.then_some(IdlePod { busy, since, node, pod: id, holds });
            if place != pod.listed {
                pod.groups.iter().for_each(|group| groups.set_idle(group, pod.listed, place));
                pod.listed = place;
            }
        }
    }
}

impl Member {
    /// What its pods have for a group's tasks; `None` if none serves it.
    pub(super) fn room(&self, group: &GroupName) -> Option<Room> {
        let open = self.accepts && !self.draining;
        let pods = self.pods.iter().filter(|pod| pod.serves(group)).map(|pod| {
            let (slots, taken) = (u64::from(pod.slots), pod.used().min(u64::from(pod.slots)));
            Room { slots, taken, free: open && !pod.blocked && taken < slots, tasks: Vec::new() }
        });
        pods.reduce(|sum, pod| Room {
            slots: sum.slots + pod.slots,
            taken: sum.taken + pod.taken,
            free: sum.free || pod.free,
            tasks: Vec::new(),
        })
    }

    /// Whether this pod of it serves a group.
    pub(super) fn serves(&self, pod: PodId, group: &GroupName) -> bool {
        self.pods.get(usize::from(pod.0)).is_some_and(|pod| pod.serves(group))
    }

    /// Its sandbox holds more or less than before; which of its pods are idle is brought up to date by [`Members::place`].
    fn hold(&mut self, holds: Need, groups: &mut Groups) {
        let before = std::mem::replace(&mut self.holds, holds);
        if before == holds {
            return;
        }
        for group in self.pods.iter().flat_map(|pod| &pod.groups) {
            groups.serve(group, before, -1);
            groups.serve(group, holds, 1);
        }
    }
}

impl PodState {
    fn new(pod: &Pod, taken: u32, holds: Need, groups: &mut Groups) -> Self {
        let names: BTreeSet<&GroupName> = pod.groups.iter().take(Pod::MAX_GROUPS).collect();
        let names: Vec<Arc<GroupName>> = names.into_iter().cloned().map(Arc::new).collect();
        names.iter().for_each(|name| groups.serve(name, holds, 1));
        PodState { groups: names, slots: pod.slots.min(Pod::MAX_SLOTS), taken, ..PodState::default() }
    }

    fn serves(&self, group: &GroupName) -> bool {
        self.groups.iter().any(|served| **served == *group)
    }

    fn used(&self) -> u64 {
        u64::from(self.taken) + self.foreign.len() as u64
    }
}
