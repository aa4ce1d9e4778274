//! The board in a small world: a ledger, a journal that answers late, members with the real [`Slots`], and every kind of
//! trouble in any order: reports that come late, twice, from the wrong node or with a fence that is over; members that are
//! lost, return, restart; leaders that are replaced or take up their own term again.
//!
//! Whatever happens, no task is handed out twice at a time, out of order, beyond a pod's slots, to a node that does not meet
//! its need, after its end, or forgotten; none waits while a node that meets its need stands idle for it;
//! no report is accepted twice; fences only grow; and what the board remembers stays within its bounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use crate::dispatch::*;
use crate::task::strategies::repeatable;
use crate::task::{
    AttemptEnd, AttemptNumber, Captured, Fence, GroupName, Level, LostWhy, Need, NodeId, Outcome, Pod, PodId, Queue, TaskId,
    Term, UnixMillis, Usage,
};
use crate::worker::Slots;
use crate::worker::protocol::ToLeader;

const NODES: u64 = 3;

#[derive(Clone, Debug, PartialEq)]
enum State {
    Queued,
    Delayed(UnixMillis),
    Succeeded,
    Cancelled,
}

#[derive(Clone, Debug)]
struct Row {
    queue: Queue,
    attempt: AttemptNumber,
    state: State,
}

struct Node {
    boot: u64,
    holds: Need,
    slots: Slots,
    inbox: VecDeque<Output>,
    cancelled: BTreeSet<Fence>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    task: TaskId,
    attempt: AttemptNumber,
    fence: Fence,
    node: NodeId,
    outcome: Option<bool>,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
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

/// Reports that may come again.
const REMEMBERED_REPORTS: usize = 16;

struct World {
    board: Board,
    term: u64,
    now: u64,
    bound: TaskId,
    rows: BTreeMap<TaskId, Row>,
    nodes: BTreeMap<NodeId, Node>,
    /// What each node has last said that it holds.
    offered: BTreeMap<NodeId, Need>,
    journal: VecDeque<End>,
    /// Answers as the ledger had them when they were asked for, so that they are late.
    answers: VecDeque<Input>,
    successes: BTreeMap<TaskId, u32>,
    /// The newest hand-out there ever was.
    newest: Fence,
    /// This leader's hand-outs that are not over.
    open: BTreeMap<TaskId, (NodeId, Fence, u64)>,
    /// What this leader has accepted.
    accepted: BTreeSet<(TaskId, Fence)>,
    reports: VecDeque<(NodeId, AttemptEnd, bool)>,
    /// Tasks that were queued again by hand: the only ones that a window may hold beyond its bound.
    revived: usize,
}

fn group(index: u8) -> GroupName {
    ["a", "b", "c"][usize::from(index % 3)].parse().unwrap()
}

fn pods(node: NodeId) -> Vec<Pod> {
    let pod = |groups: &[u8], slots| Pod { groups: groups.iter().map(|g| group(*g)).collect(), slots };
    match node.0 {
        0 => vec![pod(&[0, 1], 1)],
        1 => vec![pod(&[0], 2), pod(&[1, 2], 1)],
        _ => vec![pod(&[0, 1, 2], 3)],
    }
}

/// The last one serves every group and holds everything.
fn holds(node: NodeId) -> Need {
    match node.0 {
        0 => Need::default(),
        1 => Need { level: Level::Partial, memory_enforced: true },
        _ => Need { level: Level::Full, memory_enforced: true },
    }
}

fn queue(group_index: u8, need: u8) -> Queue {
    Queue::new(group(group_index), Need::ALL[usize::from(need % 6)])
}

fn config() -> BoardConfig {
    BoardConfig {
        window: 6,
        small_window: 2,
        total: 14,
        delayed: 3,
        unsettled: 5,
        remembered: 4,
        delivery: Duration::from_millis(400),
        ..BoardConfig::default()
    }
}

impl World {
    fn new() -> Self {
        let nodes = (0..NODES).map(NodeId).map(|id| {
            let slots = Slots::new(&pods(id));
            (id, Node { boot: 1, holds: holds(id), slots, inbox: VecDeque::new(), cancelled: BTreeSet::new() })
        });
        let mut world = World {
            board: Board::new(config()),
            term: 0,
            now: 0,
            bound: TaskId(0),
            rows: BTreeMap::new(),
            nodes: nodes.collect(),
            offered: BTreeMap::new(),
            journal: VecDeque::new(),
            answers: VecDeque::new(),
            successes: BTreeMap::new(),
            newest: Fence::default(),
            open: BTreeMap::new(),
            accepted: BTreeSet::new(),
            reports: VecDeque::new(),
            revived: 0,
        };
        world.new_leader(true);
        world
    }

    fn step(&mut self, input: Input) {
        self.close(&input);
        let outputs = self.board.step(Duration::from_millis(self.now), input);
        for output in outputs {
            self.output(output);
        }
        self.check_slots();
        self.check_memory();
        self.check_nobody_is_overlooked();
    }

    /// Which hand-outs an input ends without the board's saying so.
    fn close(&mut self, input: &Input) {
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

    fn holds(&self, task: TaskId, node: NodeId, fence: Fence) -> bool {
        self.open.get(&task).is_some_and(|(by, held, _)| (*by, *held) == (node, fence))
    }

    /// Whether this leader gave the fence, since it took up its term for the last time.
    fn gave(&self, fence: Fence) -> bool {
        fence.term == Term(self.term) && fence.sequence > self.board.config.numbered_after
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Assign { node, pod, task, attempt, fence } => {
                self.check_assign(node, pod, task, attempt, fence);
                assert!(fence > self.newest, "{fence} was given after {}", self.newest);
                self.newest = fence;
                let before = self.open.insert(task, (node, fence, self.now));
                assert!(before.is_none(), "{task} was handed out as {fence} while {before:?} holds");
                self.nodes.get_mut(&node).unwrap().inbox.push_back(output);
            }
            Output::CancelAttempt { node, .. } => self.nodes.get_mut(&node).unwrap().inbox.push_back(output),
            Output::AttemptLost { task, attempt, fence, node, .. } => {
                let settled = self.gave(fence) && self.accepted.contains(&(task, fence));
                assert!(!settled, "{task} was lost as {fence} after its report was accepted");
                self.open.remove(&task);
                self.journal.push_back(End { task, attempt, fence, node, outcome: None });
            }
            Output::Refill { queue, after, limit } => {
                let answer = self.page(&queue, after, limit);
                self.answers.push_back(answer);
            }
            Output::RefillDelayed { after, limit } => {
                let answer = self.delayed_page(after, limit);
                self.answers.push_back(answer);
            }
            Output::Verify { task, fence } => {
                let next = self.next(task);
                self.answers.push_back(Input::Verified { task, fence, next });
            }
            Output::Verdict { .. } | Output::AdoptionOver { .. } | Output::Ignored { .. } => {}
        }
    }

    fn check_assign(&self, node: NodeId, pod: PodId, task: TaskId, attempt: AttemptNumber, fence: Fence) {
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
    fn check_nobody_is_overlooked(&self) {
        if self.board.leases.unsettled() >= config().unsettled {
            return;
        }
        for (task, queue) in self.board.groups.heads() {
            let idle = self.board.members.idle_for(&queue);
            assert!(idle.is_none(), "{task} of {queue:?} waits while {idle:?} stands idle");
        }
    }

    fn check_slots(&self) {
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

    fn check_memory(&self) {
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

    fn next(&self, task: TaskId) -> Next {
        match self.rows.get(&task) {
            Some(Row { queue, attempt, state: State::Queued }) => Next::Ready { queue: queue.clone(), attempt: *attempt },
            Some(Row { queue, attempt, state: State::Delayed(until) }) => {
                Next::Delayed { until: *until, due: *until, queue: queue.clone(), attempt: *attempt }
            }
            _ => Next::Final,
        }
    }

    fn page(&self, queue: &Queue, after: TaskId, limit: usize) -> Input {
        let queued = self.rows.iter().filter(|(id, row)| **id > after && row.queue == *queue && row.state == State::Queued);
        let tasks: Vec<_> = queued.clone().take(limit).map(|(id, row)| (*id, row.attempt)).collect();
        Input::Window { queue: queue.clone(), more: queued.count() > tasks.len(), tasks }
    }

    fn delayed_page(&self, after: (UnixMillis, TaskId), limit: usize) -> Input {
        let mut all: Vec<DelayedTask> = Vec::new();
        for (task, row) in &self.rows {
            if let State::Delayed(until) = row.state
                && (until, *task) > after
            {
                all.push(DelayedTask { until, due: until, task: *task, queue: row.queue.clone(), attempt: row.attempt });
            }
        }
        all.sort_by_key(|delayed| (delayed.until, delayed.task));
        let more = all.len() > limit;
        all.truncate(limit);
        Input::DelayedWindow { tasks: all, more }
    }

    fn new_leader(&mut self, keep_journal: bool) {
        if !keep_journal {
            self.journal.clear();
        }
        // What was on its way to the journal is fenced or written before the new leader opens; here it is written.
        while !self.journal.is_empty() {
            self.fold_one();
        }
        self.term += 1;
        self.take_up(0);
    }

    /// A board that knows nothing takes up the term; its hand-outs are numbered on from there.
    fn take_up(&mut self, numbered_after: u64) {
        self.board = Board::new(BoardConfig { numbered_after, ..config() });
        self.answers.clear();
        for node in self.nodes.values_mut() {
            node.inbox.clear();
            node.slots.resend();
        }
        self.bound = self.rows.keys().next_back().copied().unwrap_or_default();
        let expected = self.nodes.keys().copied().collect();
        self.step(Input::Opened { term: Term(self.term), last_task_before: self.bound, expected });
        let queued = self.rows.values().filter(|row| row.state == State::Queued);
        let queues: BTreeSet<Queue> = queued.map(|row| row.queue.clone()).collect();
        for queue in queues {
            self.step(Input::Window { queue, tasks: vec![], more: true });
        }
        self.step(Input::DelayedWindow { tasks: vec![], more: true });
    }

    /// The fold of one attempt's end; answers where its task is now.
    fn fold_one(&mut self) -> Option<(End, Next)> {
        let end = self.journal.pop_front()?;
        let row = self.rows.get_mut(&end.task).unwrap();
        if matches!(row.state, State::Queued | State::Delayed(_)) && row.attempt == end.attempt {
            row.attempt.0 += 1;
            row.state = match end.outcome {
                Some(true) => State::Succeeded,
                Some(false) => State::Delayed(UnixMillis(self.now + 50 * (end.task.0 % 4))),
                None => State::Queued,
            };
            *self.successes.entry(end.task).or_default() += u32::from(end.outcome == Some(true));
        }
        Some((end, self.next(end.task)))
    }

    fn settle(&mut self) {
        let Some((end, next)) = self.fold_one() else { return };
        self.nodes.get_mut(&end.node).unwrap().slots.answered(end.fence);
        self.step(Input::Settled { task: end.task, fence: end.fence, next });
    }

    fn offer(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        let offer = Offer {
            node: id,
            boot: node.boot,
            pods: pods(id),
            held: node.slots.held(),
            processed: node.slots.processed(),
            accepts: !node.slots.is_draining(),
            holds: node.holds,
        };
        self.offered.insert(id, node.holds);
        self.step(Input::Offer(offer));
    }

    fn deliver(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        match node.inbox.pop_front() {
            Some(Output::Assign { task, attempt, fence, pod, .. }) => {
                let _ = node.slots.take(task, attempt, fence, pod);
            }
            Some(Output::CancelAttempt { fence, .. }) => drop(node.cancelled.insert(fence)),
            _ => {}
        }
    }

    fn finish(&mut self, id: NodeId, which: u8, success: bool) {
        let node = self.nodes.get_mut(&id).unwrap();
        let running: Vec<_> = node.slots.held().into_iter().filter(|held| !held.ended).collect();
        let Some(held) = running.get(usize::from(which) % running.len().max(1)) else { return };
        let outcome = Outcome::Exited(i32::from(!success));
        let (stdout, stderr, usage) = (Captured::default(), Captured::default(), Usage::default());
        let (task, attempt, fence) = (held.task, held.attempt, held.fence);
        node.slots.ended(AttemptEnd { task, attempt, fence, node: id, outcome, stdout, stderr, usage }, true);
    }

    fn send(&mut self, id: NodeId) {
        let messages = self.nodes.get_mut(&id).unwrap().slots.take_unsent(2, 1 << 20);
        for message in messages {
            match message {
                ToLeader::Decline { task, fence, .. } => self.step(Input::Undelivered { node: id, task, fence }),
                ToLeader::Report { end, slot_free } => self.report(id, &end, slot_free),
            }
        }
    }

    fn report(&mut self, id: NodeId, end: &AttemptEnd, slot_free: bool) {
        let (task, attempt, fence) = (end.task, end.attempt, end.fence);
        let input = Input::Reported { node: id, task, attempt, fence, slot_free };
        self.reports.push_back((id, end.clone(), slot_free));
        if self.reports.len() > REMEMBERED_REPORTS {
            self.reports.pop_front();
        }
        let outputs = self.board.step(Duration::from_millis(self.now), input);
        for output in outputs {
            if let Output::Verdict { verdict, .. } = output {
                match verdict {
                    Verdict::Accept | Verdict::Adopt => {
                        // What a former leader gave and is long settled is the ledger's to judge.
                        let first = self.accepted.insert((task, fence)) || !self.gave(fence);
                        assert!(first, "the end of {task} as {fence} was accepted twice");
                        if self.holds(task, id, fence) {
                            self.open.remove(&task);
                        }
                        let outcome = Some(end.outcome.is_success());
                        self.journal.push_back(End { task, attempt, fence, node: id, outcome });
                    }
                    Verdict::Refuse(_) | Verdict::AlreadySettled => {
                        self.nodes.get_mut(&id).unwrap().slots.answered(fence);
                    }
                    Verdict::Duplicate => {}
                }
            } else {
                self.output(output);
            }
        }
    }

    fn act(&mut self, act: &Act) {
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

    fn report_again(&mut self, which: u8, change: impl FnOnce(&mut (NodeId, AttemptEnd, bool))) {
        let Some(mut report) = self.reports.get(usize::from(which) % self.reports.len().max(1)).cloned() else { return };
        change(&mut report);
        let (node, end, slot_free) = report;
        self.report(node, &end, slot_free);
    }

    fn cancel(&mut self, which: u8) {
        let Some((task, row)) = self.rows.iter_mut().nth(usize::from(which) % 32) else { return };
        if matches!(row.state, State::Queued | State::Delayed(_)) {
            row.state = State::Cancelled;
            let task = *task;
            self.step(Input::Cancelled { task });
        }
    }

    fn revive(&mut self, which: u8) {
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
    fn calm(&mut self, alone: bool) -> Option<usize> {
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

fn act() -> impl Strategy<Value = Act> {
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

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 50_000, ..repeatable(400) })]

    #[test]
    fn nothing_is_lost_doubled_overtaken_or_beyond_the_slots(acts in prop::collection::vec(act(), 1..250), alone: bool) {
        let mut world = World::new();
        acts.iter().for_each(|act| world.act(act));
        let rounds = world.calm(alone);
        let left: Vec<_> = world.rows.iter().filter(|(_, r)| !matches!(r.state, State::Succeeded | State::Cancelled)).collect();
        prop_assert!(rounds.is_some(), "never ended: {left:?}");
        for (task, row) in &world.rows {
            let successes = world.successes.get(task).copied().unwrap_or(0);
            prop_assert_eq!(successes, u32::from(row.state == State::Succeeded), "task {}", task);
        }
    }
}
