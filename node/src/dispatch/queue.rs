//! What waits: per group a window of the ledger's queued tasks, and which pods stand idle for it.
//!
//! A window holds every queued task of its group up to its `edge`; what lies beyond is in the ledger only. A task beyond
//! the edge may be in memory too (a retry that became due), but is not handed out before the edge has passed it: that keeps
//! the order. Of a group that nobody serves only a few tasks are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::choose::IdlePod;
use super::event::Output;
use crate::task::{AttemptNumber, GroupName, TaskId};

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
    group: Arc<GroupName>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    ids: BTreeSet<TaskId>,
    /// Present if the ledger may have queued tasks beyond it.
    edge: Option<TaskId>,
    refill: Option<Refill>,
    /// Pods that take this group's tasks.
    served: usize,
    idle: BTreeSet<IdlePod>,
    /// Under which task the group is listed as assignable.
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

/// Every group that has waiting tasks or pods.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    limits: WindowLimits,
    by_name: BTreeMap<Arc<GroupName>, Group>,
    tasks: BTreeMap<TaskId, Waiting>,
    /// The oldest eligible task of each group that has one and an idle pod.
    assignable: BTreeMap<TaskId, Arc<GroupName>>,
    /// Tasks up to this one are withheld.
    withheld: Option<TaskId>,
    /// Groups whose windows may want more.
    hungry: BTreeSet<Arc<GroupName>>,
}

impl Group {
    fn head(&self, withheld: Option<TaskId>) -> Option<TaskId> {
        let first = match withheld {
            Some(bound) => self.ids.range((Excluded(bound), Unbounded)).next(),
            None => self.ids.first(),
        };
        first.copied().filter(|task| self.edge.is_none_or(|edge| *task <= edge))
    }

    fn is_idle_and_empty(&self) -> bool {
        self.ids.is_empty() && self.edge.is_none() && self.refill.is_none() && self.served == 0
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

    /// The oldest task that may be handed out, and the pod that has stood idle the longest for it.
    pub(super) fn next(&self) -> Option<(TaskId, IdlePod)> {
        let (task, group) = self.assignable.first_key_value()?;
        let pod = self.by_name.get(group)?.idle.first()?;
        Some((*task, *pod))
    }

    /// Tasks up to this one are withheld, or none.
    pub(super) fn withhold(&mut self, bound: Option<TaskId>) {
        self.withheld = bound;
        let names: Vec<_> = self.by_name.keys().cloned().collect();
        names.iter().for_each(|name| self.refresh(name));
    }

    /// Queues a task that the ledger lists as queued; beyond the edge it is left to the ledger.
    pub(super) fn ready(&mut self, group: &GroupName, task: TaskId, attempt: AttemptNumber) {
        let name = self.name(group);
        let cap = self.cap(&name);
        let entry = self.by_name.entry(Arc::clone(&name)).or_default();
        if entry.edge.is_none() && entry.ids.len() >= cap {
            entry.edge = entry.ids.last().copied().filter(|last| *last < task);
        }
        match entry.edge {
            Some(edge) if task > edge => {
                if let Some(refill) = &mut entry.refill {
                    refill.missed = Some(refill.missed.map_or(task, |first| first.min(task)));
                }
            }
            _ => self.put(&name, task, attempt),
        }
        self.refresh(&name);
    }

    /// Queues a task that the ledger does not list as queued (its delay is over, its hand-out was not delivered).
    pub(super) fn put_back(&mut self, group: &GroupName, task: TaskId, attempt: AttemptNumber) {
        let name = self.name(group);
        self.put(&name, task, attempt);
        self.refresh(&name);
    }

    fn put(&mut self, name: &Arc<GroupName>, task: TaskId, attempt: AttemptNumber) {
        let waiting = self.tasks.entry(task).or_insert_with(|| Waiting { attempt, group: Arc::clone(name) });
        waiting.attempt = waiting.attempt.max(attempt);
        if waiting.group == *name {
            self.by_name.entry(Arc::clone(name)).or_default().ids.insert(task);
        }
    }

    /// Takes a task out, if it waits here.
    pub(super) fn take(&mut self, task: TaskId) -> Option<(Arc<GroupName>, AttemptNumber)> {
        let Waiting { attempt, group } = self.tasks.remove(&task)?;
        if let Some(entry) = self.by_name.get_mut(&group) {
            entry.ids.remove(&task);
        }
        self.refresh(&group);
        Some((group, attempt))
    }

    /// Whether an answer for this group is expected, or can be its first.
    pub(super) fn expects_window(&self, group: &GroupName) -> bool {
        self.by_name.get(group).is_none_or(|entry| entry.refill.is_some() || entry.edge.is_none())
    }

    /// Takes a page of the ledger's queued tasks; those that the board has elsewhere were left out by the caller.
    /// `last` is the last of the whole page.
    pub(super) fn window(&mut self, group: &GroupName, page: Page, settled: u64, remembered: u64) {
        let name = self.name(group);
        let entry = self.by_name.entry(Arc::clone(&name)).or_default();
        let refill = entry.refill.take();
        let outdated = refill.is_some_and(|refill| settled.saturating_sub(refill.settled) > remembered);
        if outdated {
            // Tasks may have ended meanwhile that are no longer remembered: the page can't be trusted. Ask again.
            self.refresh(&name);
            return;
        }
        let (after, missed) = refill.map_or((TaskId(0), None), |refill| (refill.after, refill.missed));
        let last = page.last.unwrap_or(after);
        let listed = page.more.then_some(last);
        // Up to just before the first missed one, if the page reaches that far.
        let known = missed.map(|missed| TaskId(missed.0.saturating_sub(1)).max(after));
        entry.edge = known.map_or(listed, |known| Some(listed.map_or(known, |listed| listed.min(known))));
        let fresh = page.tasks.into_iter().filter(|(task, _)| missed.is_none_or(|missed| *task < missed));
        fresh.for_each(|(task, attempt)| self.put(&name, task, attempt));
        self.refresh(&name);
    }

    /// A pod begins (or ceases) to take a group's tasks.
    pub(super) fn serve(&mut self, group: &Arc<GroupName>, by: isize) {
        let entry = self.by_name.entry(Arc::clone(group)).or_default();
        entry.served = entry.served.saturating_add_signed(by);
        self.refresh(group);
    }

    /// A pod's place among a group's idle ones changes.
    pub(super) fn set_idle(&mut self, group: &Arc<GroupName>, old: Option<IdlePod>, new: Option<IdlePod>) {
        let Some(entry) = self.by_name.get_mut(group) else { return };
        if let Some(old) = old {
            entry.idle.remove(&old);
        }
        if let Some(new) = new {
            entry.idle.insert(new);
        }
        self.refresh(group);
    }

    /// The questions to the ledger that the last changes made necessary.
    pub(super) fn refills(&mut self, settled: u64, out: &mut Vec<Output>) {
        while let Some(name) = self.hungry.pop_first() {
            let limit = self.cap(&name);
            let Some(entry) = self.by_name.get_mut(&name) else { continue };
            let Some(after) = entry.edge.filter(|_| entry.refill.is_none()) else { continue };
            entry.refill = Some(Refill { after, missed: None, settled });
            out.push(Output::Refill { group: (*name).clone(), after, limit });
        }
    }

    /// How many of a group's tasks are kept in memory.
    fn cap(&self, name: &Arc<GroupName>) -> usize {
        let served = self.by_name.get(name).is_some_and(|entry| entry.served > 0);
        let room = self.tasks.len() + self.limits.window <= self.limits.total;
        if served && room { self.limits.window } else { self.limits.small_window }
    }

    fn name(&self, group: &GroupName) -> Arc<GroupName> {
        self.by_name.get_key_value(group).map_or_else(|| Arc::new(group.clone()), |(name, _)| Arc::clone(name))
    }

    /// Brings the list of assignable groups and the hunger up to date with one group; forgets it if nothing is left of it.
    fn refresh(&mut self, name: &Arc<GroupName>) {
        let cap = self.cap(name);
        let Some(entry) = self.by_name.get_mut(name) else { return };
        let head = entry.head(self.withheld);
        let listed = head.filter(|_| !entry.idle.is_empty());
        if entry.listed != listed {
            if let Some(old) = entry.listed {
                self.assignable.remove(&old);
            }
            if let Some(new) = listed {
                self.assignable.insert(new, Arc::clone(name));
            }
            entry.listed = listed;
        }
        let low = entry.ids.len() < cap.div_ceil(4) || entry.ids.first().is_some_and(|first| entry.edge < Some(*first));
        if entry.edge.is_some() && entry.refill.is_none() && entry.served > 0 && low {
            self.hungry.insert(Arc::clone(name));
        }
        if entry.is_idle_and_empty() {
            self.by_name.remove(name);
        }
    }
}

/// A page of the ledger's queued tasks of one group.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) tasks: Vec<(TaskId, AttemptNumber)>,
    pub(super) last: Option<TaskId>,
    pub(super) more: bool,
}
