//! What waits: per queue a window of the ledger's queued tasks, and which pods stand idle for it.
//!
//! A queue is a group and a need: tasks that need something of their node wait beside those of their group that need
//! nothing, so that neither holds up the other. Pods are kept per group, apart by what their nodes hold: a queue looks at
//! those that meet its need. A queue with a need exists only while something is in it.
//!
//! A window holds every task of its queue up to its `edge`; what lies beyond is in the ledger only. A task beyond the edge
//! may be in memory too (a retry that became due), but is not handed out before the edge has passed it: that keeps the
//! order. Of a queue that nobody serves only a few tasks are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::choose::IdlePod;
use super::event::Output;
use crate::task::{AttemptNumber, GroupName, Need, Queue, TaskId};

/// The bounds of the windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowLimits {
    pub(super) window: usize,
    pub(super) small_window: usize,
    pub(super) total: usize,
}

#[derive(Clone, Debug)]
struct Waiting {
    attempt: AttemptNumber,
    queue: Queue,
}

/// What is in memory of one queue.
#[derive(Clone, Debug, Default)]
struct Window {
    ids: BTreeSet<TaskId>,
    /// Present if the ledger may have queued tasks beyond it.
    edge: Option<TaskId>,
    refill: Option<Refill>,
    /// Under which task the queue is listed as assignable.
    listed: Option<TaskId>,
}

#[derive(Clone, Copy, Debug)]
struct Refill {
    after: TaskId,
    /// The first task beyond the edge that became ready since the question was asked: what the answer says of it and of
    /// those after it is too old.
    missed: Option<TaskId>,
    /// The count of settled tasks when it was asked.
    settled: u64,
}

/// The pods that take a group's tasks, of nodes that hold the same.
#[derive(Clone, Debug, Default)]
struct Pods {
    served: usize,
    idle: BTreeSet<IdlePod>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    /// By what their nodes hold.
    pods: BTreeMap<Need, Pods>,
    /// The tasks that need nothing.
    base: Window,
    /// Those that need something.
    needing: BTreeMap<Need, Window>,
}

/// Every group that has waiting tasks or pods.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    limits: WindowLimits,
    by_name: BTreeMap<Arc<GroupName>, Group>,
    tasks: BTreeMap<TaskId, Waiting>,
    /// The oldest eligible task of each queue that has one and an idle pod.
    assignable: BTreeMap<TaskId, Queue>,
    /// Tasks up to this one are withheld.
    withheld: Option<TaskId>,
    /// Queues whose windows may want more.
    hungry: BTreeSet<Queue>,
}

impl Window {
    fn head(&self, withheld: Option<TaskId>) -> Option<TaskId> {
        let first = match withheld {
            Some(bound) => self.ids.range((Excluded(bound), Unbounded)).next(),
            None => self.ids.first(),
        };
        first.copied().filter(|task| self.edge.is_none_or(|edge| *task <= edge))
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.edge.is_none() && self.refill.is_none()
    }

    /// Whether it may soon hand out more than it has.
    fn is_low(&self, cap: usize) -> bool {
        self.ids.len() < cap.div_ceil(4) || self.ids.first().is_some_and(|first| self.edge < Some(*first))
    }
}

impl Group {
    fn window(&self, need: Need) -> Option<&Window> {
        if need == Need::default() { Some(&self.base) } else { self.needing.get(&need) }
    }

    fn window_mut(&mut self, need: Need) -> Option<&mut Window> {
        if need == Need::default() { Some(&mut self.base) } else { self.needing.get_mut(&need) }
    }

    fn window_or_new(&mut self, need: Need) -> &mut Window {
        if need == Need::default() { &mut self.base } else { self.needing.entry(need).or_default() }
    }

    /// The pods of nodes that meet a need.
    fn meeting(&self, need: Need) -> impl Iterator<Item = &Pods> {
        self.pods.iter().filter(move |(holds, _)| need.is_met_by(holds.level, holds.memory_enforced)).map(|(_, pods)| pods)
    }

    fn is_served(&self, need: Need) -> bool {
        self.meeting(need).any(|pods| pods.served > 0)
    }

    /// The first of the pods that stand idle for a need.
    fn idle(&self, need: Need) -> Option<IdlePod> {
        self.meeting(need).filter_map(|pods| pods.idle.first()).min().copied()
    }

    /// Its queues that have anything in memory.
    fn needs(&self) -> Vec<Need> {
        self.needing.keys().copied().collect()
    }

    fn forget_pods(&mut self, holds: Need) {
        if self.pods.get(&holds).is_some_and(|pods| pods.served == 0 && pods.idle.is_empty()) {
            self.pods.remove(&holds);
        }
    }

    fn is_idle_and_empty(&self) -> bool {
        self.base.is_empty() && self.needing.is_empty() && self.pods.is_empty()
    }
}

impl Groups {
    pub(super) fn new(limits: WindowLimits) -> Self {
        Groups {
            limits,
            by_name: BTreeMap::new(),
            tasks: BTreeMap::new(),
            assignable: BTreeMap::new(),
            withheld: None,
            hungry: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn contains(&self, group: &GroupName) -> bool {
        self.by_name.contains_key(group)
    }

    pub(super) fn waiting(&self) -> usize {
        self.tasks.len()
    }

    /// The number of the waiting task's next attempt.
    pub(super) fn attempt_of(&self, task: TaskId) -> Option<AttemptNumber> {
        self.tasks.get(&task).map(|waiting| waiting.attempt)
    }

    /// How many tasks of its queue come before one, counted up to a limit, and whether there may be more: what lies beyond
    /// the window is not counted.
    pub(super) fn before(&self, queue: &Queue, task: TaskId, limit: usize) -> (usize, bool) {
        let window = self.by_name.get(&queue.group).and_then(|group| group.window(queue.need));
        let Some(window) = window else { return (0, false) };
        let count = window.ids.range(..task).take(limit).count();
        (count, count == limit || window.edge.is_some_and(|edge| edge < task))
    }

    /// Whether the task is one of those that wait for the members' announcements.
    pub(super) fn is_withheld(&self, task: TaskId) -> bool {
        self.withheld.is_some_and(|bound| task <= bound)
    }

    /// The oldest task that may be handed out, and the pod that has stood idle the longest for it.
    pub(super) fn next(&self) -> Option<(TaskId, IdlePod)> {
        let (task, queue) = self.assignable.first_key_value()?;
        let pod = self.by_name.get(&queue.group)?.idle(queue.need)?;
        Some((*task, pod))
    }

    /// The oldest eligible task of each queue, whether or not a pod stands idle for it.
    #[cfg(test)]
    pub(super) fn heads(&self) -> Vec<(TaskId, Queue)> {
        let head = |group: &Arc<GroupName>, entry: &Group, need| {
            let task = entry.window(need).and_then(|window| window.head(self.withheld))?;
            Some((task, Queue::new(Arc::clone(group), need)))
        };
        self.by_name.iter().flat_map(|(name, entry)| Need::ALL.into_iter().filter_map(|need| head(name, entry, need))).collect()
    }

    /// Tasks up to this one are withheld, or none.
    pub(super) fn withhold(&mut self, bound: Option<TaskId>) {
        self.withheld = bound;
        let names: Vec<_> = self.by_name.keys().cloned().collect();
        names.iter().for_each(|name| self.refresh_all(name));
    }

    /// Queues a task that the ledger lists as queued; beyond the edge it is left to the ledger.
    pub(super) fn ready(&mut self, queue: &Queue, task: TaskId, attempt: AttemptNumber) {
        let queue = self.known(queue);
        let cap = self.cap(&queue);
        let window = self.by_name.entry(Arc::clone(&queue.group)).or_default().window_or_new(queue.need);
        if window.edge.is_none() && window.ids.len() >= cap {
            window.edge = window.ids.last().copied().filter(|last| *last < task);
        }
        match window.edge {
            Some(edge) if task > edge => {
                if let Some(refill) = &mut window.refill {
                    refill.missed = Some(refill.missed.map_or(task, |first| first.min(task)));
                }
            }
            _ => self.put(&queue, task, attempt),
        }
        self.refresh(&queue);
    }

    /// Queues a task that the ledger does not list as queued (its delay is over, its hand-out was not delivered).
    pub(super) fn put_back(&mut self, queue: &Queue, task: TaskId, attempt: AttemptNumber) {
        let queue = self.known(queue);
        self.put(&queue, task, attempt);
        self.refresh(&queue);
    }

    fn put(&mut self, queue: &Queue, task: TaskId, attempt: AttemptNumber) {
        let waiting = self.tasks.entry(task).or_insert_with(|| Waiting { attempt, queue: queue.clone() });
        waiting.attempt = waiting.attempt.max(attempt);
        if waiting.queue == *queue {
            let group = self.by_name.entry(Arc::clone(&queue.group)).or_default();
            group.window_or_new(queue.need).ids.insert(task);
        }
    }

    /// Takes a task out, if it waits here.
    pub(super) fn take(&mut self, task: TaskId) -> Option<(Queue, AttemptNumber)> {
        let Waiting { attempt, queue } = self.tasks.remove(&task)?;
        if let Some(window) = self.by_name.get_mut(&queue.group).and_then(|group| group.window_mut(queue.need)) {
            window.ids.remove(&task);
        }
        self.refresh(&queue);
        Some((queue, attempt))
    }

    /// Whether an answer for this queue is expected, or can be its first.
    pub(super) fn expects_window(&self, queue: &Queue) -> bool {
        let window = self.by_name.get(&queue.group).and_then(|group| group.window(queue.need));
        window.is_none_or(|window| window.refill.is_some() || window.edge.is_none())
    }

    /// Takes a page of the ledger's queued tasks; those that the board has elsewhere were left out by the caller.
    /// `last` is the last of the whole page.
    pub(super) fn window(&mut self, queue: &Queue, page: Page, settled: u64, remembered: u64) {
        let queue = self.known(queue);
        let window = self.by_name.entry(Arc::clone(&queue.group)).or_default().window_or_new(queue.need);
        let refill = window.refill.take();
        let outdated = refill.is_some_and(|refill| settled.saturating_sub(refill.settled) > remembered);
        if outdated {
            // Tasks may have ended meanwhile that are no longer remembered: the page can't be trusted. Ask again.
            self.refresh(&queue);
            return;
        }
        let (after, missed) = refill.map_or((TaskId(0), None), |refill| (refill.after, refill.missed));
        let last = page.last.unwrap_or(after);
        let listed = page.more.then_some(last);
        // Up to just before the first missed one, if the page reaches that far.
        let known = missed.map(|missed| TaskId(missed.0.saturating_sub(1)).max(after));
        window.edge = known.map_or(listed, |known| Some(listed.map_or(known, |listed| listed.min(known))));
        let fresh = page.tasks.into_iter().filter(|(task, _)| missed.is_none_or(|missed| *task < missed));
        fresh.for_each(|(task, attempt)| self.put(&queue, task, attempt));
        self.refresh(&queue);
    }

    /// A pod of a node that holds this begins (or ceases) to take a group's tasks.
    pub(super) fn serve(&mut self, group: &Arc<GroupName>, holds: Need, by: isize) {
        let entry = self.by_name.entry(Arc::clone(group)).or_default();
        let pods = entry.pods.entry(holds).or_default();
        pods.served = pods.served.saturating_add_signed(by);
        entry.forget_pods(holds);
        self.refresh_all(group);
    }

    /// A pod's place among a group's idle ones changes.
    pub(super) fn set_idle(&mut self, group: &Arc<GroupName>, old: Option<IdlePod>, new: Option<IdlePod>) {
        let Some(entry) = self.by_name.get_mut(group) else { return };
        if let Some(new) = new {
            entry.pods.entry(new.holds).or_default().idle.insert(new);
        }
        if let Some(old) = old {
            entry.pods.entry(old.holds).or_default().idle.remove(&old);
            entry.forget_pods(old.holds);
        }
        self.refresh_all(group);
    }

    /// The questions to the ledger that the last changes made necessary.
    pub(super) fn refills(&mut self, settled: u64, out: &mut Vec<Output>) {
        while let Some(queue) = self.hungry.pop_first() {
            let limit = self.cap(&queue);
            let window = self.by_name.get_mut(&queue.group).and_then(|group| group.window_mut(queue.need));
            let Some(window) = window.filter(|window| window.refill.is_none()) else { continue };
            let Some(after) = window.edge else { continue };
            window.refill = Some(Refill { after, missed: None, settled });
            out.push(Output::Refill { queue, after, limit });
        }
    }

    /// How many of a queue's tasks are kept in memory.
    fn cap(&self, queue: &Queue) -> usize {
        let served = self.by_name.get(&queue.group).is_some_and(|group| group.is_served(queue.need));
        let room = self.tasks.len() + self.limits.window <= self.limits.total;
        if served && room { self.limits.window } else { self.limits.small_window }
    }

    /// The same queue under the name that is kept already, so that a name is in memory once.
    fn known(&self, queue: &Queue) -> Queue {
        let name = self.by_name.get_key_value(&queue.group).map_or(&queue.group, |(name, _)| name);
        Queue { group: Arc::clone(name), need: queue.need }
    }

    /// [`Groups::refresh`] for every queue of a group.
    fn refresh_all(&mut self, name: &Arc<GroupName>) {
        let needs = self.by_name.get(name).map(Group::needs).unwrap_or_default();
        for need in needs {
            self.refresh(&Queue { group: Arc::clone(name), need });
        }
        self.refresh(&Queue { group: Arc::clone(name), need: Need::default() });
    }

    /// Brings the list of assignable queues and the hunger up to date with one queue; forgets what nothing is left of.
    fn refresh(&mut self, queue: &Queue) {
        let cap = self.cap(queue);
        let Some(group) = self.by_name.get_mut(&queue.group) else { return };
        let (served, idle) = (group.is_served(queue.need), group.idle(queue.need).is_some());
        let Some(window) = group.window_mut(queue.need) else { return };
        let listed = window.head(self.withheld).filter(|_| idle);
        if window.listed != listed {
            if let Some(old) = window.listed {
                self.assignable.remove(&old);
            }
            if let Some(new) = listed {
                self.assignable.insert(new, queue.clone());
            }
            window.listed = listed;
        }
        if window.edge.is_some() && window.refill.is_none() && served && window.is_low(cap) {
            self.hungry.insert(queue.clone());
        }
        if window.is_empty() {
            group.needing.remove(&queue.need);
        }
        if group.is_idle_and_empty() {
            self.by_name.remove(&queue.group);
        }
    }
}

/// A page of the ledger's queued tasks of one queue.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) tasks: Vec<(TaskId, AttemptNumber)>,
    pub(super) last: Option<TaskId>,
    pub(super) more: bool,
}
