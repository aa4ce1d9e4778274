//! Everything that can happen in the small world, in any order, and how it all becomes good again.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{NODES, Node, Row, State, World, holds, pods, queue};
use crate::dispatch::*;
use crate::task::{AttemptNumber, LostWhy, Need, NodeId, TaskId, UnixMillis};
use crate::worker::Slots;

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Of which group, and the code of its need.
    Submit(u8, u8),
    /// A node holds more or less from its next heartbeat on: (which, code of what it holds).
    Hold(u8, u8),
    Deliver(u8),
    Finish(u8, u8, bool),
    Send(u8),
    Heartbeat(u8),
    Settle,
    Answer,
    Cancel(u8),
    Revive(u8),
    Lose(u8),
    Restart(u8),
    Undeliver(u8),
    Drain(u8),
    Pass(u8),
    NewLeader(bool),
    /// The leader steps down and takes up its own term again, with a board that knows nothing.
    Reclaim,
    /// One of the last reports arrives once more.
    Again(u8),
    /// One of the last reports arrives once more, as another node's.
    Forged(u8, u8),
    /// One of the last reports arrives once more under another fence: (which, terms back, sequence).
    Refenced(u8, u8, u8),
}

impl World {
    pub(super) fn act(&mut self, act: &Act) {
        let id = |index: &u8| NodeId(u64::from(*index) % NODES);
        match act {
            Act::Submit(index, need) => {
                let task = TaskId(self.rows.len() as u64 + 1);
                let attempt = AttemptNumber(1);
                let queue = queue(*index, *need);
                self.rows.insert(task, Row { queue: queue.clone(), attempt, state: State::Queued });
                self.step(Input::Ready { queue, task, attempt });
            }
            Act::Hold(index, holds) => self.nodes.get_mut(&id(index)).unwrap().holds = Need::ALL[usize::from(holds % 6)],
            Act::Deliver(index) => self.deliver(id(index)),
            Act::Finish(index, which, success) => self.finish(id(index), *which, *success),
            Act::Send(index) => self.send(id(index)),
            Act::Heartbeat(index) => self.offer(id(index)),
            Act::Settle => self.settle(),
            Act::Answer => {
                if let Some(answer) = self.answers.pop_front() {
                    self.step(answer);
                }
            }
            Act::Cancel(which) => self.cancel(*which),
            Act::Revive(which) => self.revive(*which),
            Act::Lose(index) => self.step(Input::MemberLost { node: id(index), why: LostWhy::MemberLost }),
            Act::Restart(index) => {
                let node = self.nodes.get_mut(&id(index)).unwrap();
                *node = Node {
                    boot: node.boot + 1,
                    holds: node.holds,
                    slots: Slots::new(&pods(id(index))),
                    inbox: VecDeque::new(),
                    cancelled: BTreeSet::new(),
                };
            }
            Act::Undeliver(index) => {
                let last = self.nodes.get_mut(&id(index)).unwrap().inbox.pop_back();
                if let Some(Output::Assign { node, task, fence, .. }) = last {
                    self.step(Input::Undelivered { node, task, fence });
                }
            }
            Act::Drain(index) => self.step(Input::MemberDraining { node: id(index) }),
            Act::Pass(millis) => {
                self.now += u64::from(*millis);
                self.step(Input::Tick { wall: UnixMillis(self.now) });
            }
            Act::NewLeader(keep) => self.new_leader(*keep),
            Act::Reclaim => {
                while !self.journal.is_empty() {
                    self.fold_one();
                }
                self.take_up(self.newest.sequence + 5);
            }
            Act::Again(which) => self.report_again(*which, |_| {}),
            Act::Forged(which, node) => self.report_again(*which, |(sender, ..)| *sender = id(node)),
            Act::Refenced(which, back, sequence) => self.report_again(*which, |(_, end, _)| {
                end.fence.term.0 = end.fence.term.0.saturating_sub(u64::from(*back));
                end.fence.sequence = u64::from(*sequence);
            }),
        }
    }

    pub(super) fn cancel(&mut self, which: u8) {
        let Some((task, row)) = self.rows.iter_mut().nth(usize::from(which) % 32) else { return };
        if matches!(row.state, State::Queued | State::Delayed(_)) {
            row.state = State::Cancelled;
            let task = *task;
            self.step(Input::Cancelled { task });
        }
    }

    pub(super) fn revive(&mut self, which: u8) {
        let cancelled: Vec<TaskId> =
            self.rows.iter().filter(|(_, row)| row.state == State::Cancelled).map(|(id, _)| *id).collect();
        let Some(task) = cancelled.get(usize::from(which) % cancelled.len().max(1)).copied() else { return };
        let row = self.rows.get_mut(&task).unwrap();
        row.state = State::Queued;
        self.revived += 1;
        let (queue, attempt) = (row.queue.clone(), row.attempt);
        self.step(Input::Ready { queue, task, attempt });
    }

    /// Lets everything go well from here on, on all nodes or with only the last one left, which serves every group; answers
    /// how many rounds it took until every task had ended.
    pub(super) fn calm(&mut self, alone: bool) -> Option<usize> {
        let nodes = if alone { 2..3_u8 } else { 0..3_u8 };
        (0..nodes.start).for_each(|index| self.act(&Act::Lose(index)));
        self.nodes.iter_mut().for_each(|(id, node)| node.holds = holds(*id));
        nodes.clone().for_each(|index| self.act(&Act::Restart(index)));
        let rounds = 40 + 4 * self.rows.len();
        for round in 0..rounds {
            if self.rows.values().all(|row| matches!(row.state, State::Succeeded | State::Cancelled)) {
                return Some(round);
            }
            for index in nodes.clone() {
                self.act(&Act::Heartbeat(index));
                (0..8).for_each(|_| self.act(&Act::Deliver(index)));
                (0..8).for_each(|_| self.act(&Act::Finish(index, 0, true)));
                (0..8).for_each(|_| self.act(&Act::Send(index)));
            }
            (0..16).for_each(|_| self.act(&Act::Settle));
            (0..16).for_each(|_| self.act(&Act::Answer));
            self.act(&Act::Pass(200));
        }
        None
    }
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let node = 0..3_u8;
    prop_oneof![
        12 => (0..3_u8, prop_oneof![Just(0), 0..6_u8]).prop_map(|(group, need)| Act::Submit(group, need)),
        1 => (node.clone(), 0..6_u8).prop_map(|(node, holds)| Act::Hold(node, holds)),
        12 => node.clone().prop_map(Act::Deliver),
        12 => (node.clone(), any::<u8>(), prop::bool::weighted(0.6)).prop_map(|(n, w, s)| Act::Finish(n, w, s)),
        12 => node.clone().prop_map(Act::Send),
        10 => node.clone().prop_map(Act::Heartbeat),
        12 => Just(Act::Settle),
        10 => Just(Act::Answer),
        2 => any::<u8>().prop_map(Act::Cancel),
        2 => any::<u8>().prop_map(Act::Revive),
        1 => node.clone().prop_map(Act::Lose),
        1 => node.clone().prop_map(Act::Restart),
        2 => node.clone().prop_map(Act::Undeliver),
        1 => node.prop_map(Act::Drain),
        6 => (1..250_u8).prop_map(Act::Pass),
        1 => any::<bool>().prop_map(Act::NewLeader),
        1 => Just(Act::Reclaim),
        3 => any::<u8>().prop_map(Act::Again),
        1 => (any::<u8>(), 0..3_u8).prop_map(|(which, node)| Act::Forged(which, node)),
        1 => (any::<u8>(), 0..3_u8, 0..9_u8).prop_map(|(which, back, sequence)| Act::Refenced(which, back, sequence)),
    ]
}
