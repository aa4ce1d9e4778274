//! What must hold after every step of the small world, and which hand-outs an input ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{NODES, State, World, config, pods};
use crate::dispatch::*;
use crate::task::{AttemptNumber, Fence, NodeId, PodId, TaskId, Term};

impl World {
    /// Which hand-outs an input ends without the board's saying so.
    pub(super) fn close(&mut self, input: &Input) {
        match input {
            Input::Undelivered { node, task, fence } if self.holds(*task, *node, *fence) => drop(self.open.remove(task)),
            Input::Cancelled { task } => drop(self.open.remove(task)),
            // What a member has had time to see and doesn't list has got lost on the way.
            Input::Offer(offer) => {
                let listed: BTreeSet<Fence> = offer.held.iter().map(|held| held.fence).collect();
                let overdue = |since: u64| Duration::from_millis(self.now - since) > config().delivery;
                self.open.retain(|_, (node, fence, since)| *node != offer.node || listed.contains(fence) || !overdue(*since));
            }
            Input::Opened { .. } => {
                self.open.clear();
                self.accepted.clear();
            }
            _ => {}
        }
    }

    pub(super) fn holds(&self, task: TaskId, node: NodeId, fence: Fence) -> bool {
        self.open.get(&task).is_some_and(|(by, held, _)| (*by, *held) == (node, fence))
    }

    /// Whether this leader gave the fence, since it took up its term for the last time.
    pub(super) fn gave(&self, fence: Fence) -> bool {
        fence.term == Term(self.term) && fence.sequence > self.board.config.numbered_after
    }

    pub(super) fn check_assign(&self, node: NodeId, pod: PodId, task: TaskId, attempt: AttemptNumber, fence: Fence) {
        let row = &self.rows[&task];
        let state_allows = match row.state {
            State::Queued => true,
            State::Delayed(until) => until.0 <= self.now,
            State::Succeeded | State::Cancelled => false,
        };
        assert!(state_allows && row.attempt == attempt, "{task} attempt {attempt} handed out as {row:?}");
        assert!(pods(node)[usize::from(pod.0)].groups.contains(&row.queue.group), "the pod does not serve the group");
        let (need, holds) = (row.queue.need, self.offered[&node]);
        assert!(need.is_met_by(holds.level, holds.memory_enforced), "{task} needs {need}, {node} holds {holds}");
        assert_eq!(fence.term, Term(self.term));
        assert!(self.bound < task || !self.board.is_adopting(), "{task} was withheld");
        let earlier = self.rows.range(..task).find(|(earlier, other)| {
            other.queue == row.queue
                && other.state == State::Queued
                && self.board.lease(**earlier).is_none()
                && (**earlier > self.bound || !self.board.is_adopting())
        });
        assert!(earlier.is_none(), "{task} overtook {earlier:?} in its queue");
    }

    /// Unless too many ends wait for the journal, no task waits for which a pod stands idle.
    pub(super) fn check_nobody_is_overlooked(&self) {
        if self.board.leases.unsettled() >= config().unsettled {
            return;
        }
        for (task, queue) in self.board.groups.heads() {
            let idle = self.board.members.idle_for(&queue);
            assert!(idle.is_none(), "{task} of {queue:?} waits while {idle:?} stands idle");
        }
    }

    pub(super) fn check_slots(&self) {
        for node in self.nodes.keys() {
            let mut used: BTreeMap<PodId, u32> = BTreeMap::new();
            // One that was taken over may have given back its slot already.
            for (_, lease) in self.board.leases_of(*node).filter(|(_, lease)| !lease.ended && self.gave(lease.fence)) {
                *used.entry(lease.pod).or_default() += 1;
            }
            for (pod, used) in used {
                assert!(used <= pods(*node)[usize::from(pod.0)].slots, "{used} hand-outs in pod {pod} of {node}");
            }
        }
    }

    pub(super) fn check_memory(&self) {
        let (board, config) = (&self.board, config());
        assert!(board.settled.len() <= config.remembered, "{} settled hand-outs are remembered", board.settled.len());
        assert!(board.delayed.len() <= config.delayed, "{} delayed tasks are in memory", board.delayed.len());
        let waiting = 2 * config.total + config.window + self.revived;
        assert!(board.waiting() <= waiting, "{} waiting tasks are in memory", board.waiting());
        let own = |lease: &LeaseView| lease.ended && self.gave(lease.fence);
        let ended = (0..NODES).flat_map(|node| board.leases_of(NodeId(node))).filter(|(_, lease)| own(lease)).count();
        let slots: usize = (0..NODES).flat_map(|node| pods(NodeId(node))).map(|pod| pod.slots as usize).sum();
        assert!(ended <= config.unsettled + slots, "{ended} ends are not settled");
        assert!(board.groups.len() <= 3 && board.members.len() <= 3);
    }
}
