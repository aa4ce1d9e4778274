//! What a member holds: slots taken, and reports that the leader has not answered. Pure.
//!
//! Hand-outs, ends and verdicts enter; messages for the leader and the announcement leave. A hand-out beyond the slots, of
//! an older term, or while too many reports wait is declined.

use std::collections::BTreeMap;

use super::protocol::{DeclineWhy, ToLeader};
use crate::task::{AttemptEnd, AttemptNumber, Fence, HeldAttempt, Pod, PodId, TaskId, Term};

/// Reports that may wait for an answer, beside four for each slot.
pub const MAX_REPORTS: usize = 1_024;
/// Bytes of outputs in reports that may wait for an answer, beside those of the attempts that are running.
pub const MAX_REPORT_BYTES: usize = 64 << 20;
/// Declines that may wait to be sent; older ones are dropped (the next heartbeat's `processed` tells the leader).
const MAX_DECLINES: usize = 4_096;

/// What to do with a hand-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Start it: a slot is taken.
    Start,
    /// It is known: nothing to do.
    Known,
    /// It is not taken, and the leader will be told.
    Declined(DeclineWhy),
}

#[derive(Clone, Debug)]
struct Held {
    task: TaskId,
    attempt: AttemptNumber,
    pod: PodId,
    takes_slot: bool,
    report: Option<Box<AttemptEnd>>,
    /// The report has been answered; only the slot is still taken.
    answered: bool,
    unsent: bool,
}

/// The member's side of every hand-out it has taken.
#[derive(Clone, Debug)]
pub struct Slots {
    pods: Vec<(u32, u32)>,
    held: BTreeMap<Fence, Held>,
    term: Term,
    processed: Fence,
    draining: bool,
    reports: usize,
    report_bytes: usize,
    unsent: usize,
    declines: Vec<ToLeader>,
}

fn size(end: &AttemptEnd) -> usize {
    end.stdout.tail.len() + end.stderr.tail.len()
}

impl Slots {
    /// Empty slots of these pods.
    #[must_use]
    pub fn new(pods: &[Pod]) -> Self {
        Slots {
            pods: pods.iter().map(|pod| (pod.slots.min(Pod::MAX_SLOTS), 0)).collect(),
            held: BTreeMap::new(),
            term: Term::default(),
            processed: Fence::default(),
            draining: false,
            reports: 0,
            report_bytes: 0,
            unsent: 0,
            declines: Vec::new(),
        }
    }

    /// Takes a hand-out, or declines it.
    pub fn take(&mut self, task: TaskId, attempt: AttemptNumber, fence: Fence, pod: PodId) -> Taken {
        self.take_unless(None, (task, attempt, fence, pod))
    }

    /// As [`Slots::take`]; with a reason it is declined even if there is a slot for it.
    pub fn take_unless(
        &mut self,
        declined: Option<DeclineWhy>,
        (task, attempt, fence, pod): (TaskId, AttemptNumber, Fence, PodId),
    ) -> Taken {
        if self.held.contains_key(&fence) {
            return Taken::Known;
        }
        let verdict = self.accepts(fence, pod).and(declined.map_or(Ok(()), Err));
        self.processed = self.processed.max(fence);
        self.term = self.term.max(fence.term);
        match verdict {
            Ok(()) => {
                if let Some((_, taken)) = self.pods.get_mut(usize::from(pod.0)) {
                    *taken += 1;
                }
                let held = Held { task, attempt, pod, takes_slot: true, report: None, answered: false, unsent: false };
                self.held.insert(fence, held);
                Taken::Start
            }
            Err(why) => {
                if self.declines.len() < MAX_DECLINES {
                    self.declines.push(ToLeader::Decline { task, attempt, fence, why });
                }
                Taken::Declined(why)
            }
        }
    }

    fn accepts(&self, fence: Fence, pod: PodId) -> Result<(), DeclineWhy> {
        let (slots, taken) = *self.pods.get(usize::from(pod.0)).ok_or(DeclineWhy::NoSuchPod)?;
        if fence.term < self.term {
            Err(DeclineWhy::Fenced)
        } else if self.draining {
            Err(DeclineWhy::Draining)
        } else if self.is_busy() {
            Err(DeclineWhy::TooManyReports)
        } else if taken >= slots {
            Err(DeclineWhy::NoFreeSlot)
        } else {
            Ok(())
        }
    }

    /// An attempt has ended. With `slot_free` false its slot stays taken until [`Slots::slot_freed`]. False if the attempt
    /// is not held or has been reported on: the end is dropped.
    pub fn ended(&mut self, end: AttemptEnd, slot_free: bool) -> bool {
        let fence = end.fence;
        let Some(held) = self.held.get_mut(&fence).filter(|held| held.report.is_none() && !held.answered) else {
            return false;
        };
        self.reports += 1;
        self.report_bytes += size(&end);
        held.report = Some(Box::new(end));
        held.unsent = true;
        self.unsent += 1;
        if slot_free {
            self.slot_freed(fence);
        }
        true
    }

    /// The slot of an attempt is free again.
    pub fn slot_freed(&mut self, fence: Fence) {
        let Some(held) = self.held.get_mut(&fence) else { return };
        if std::mem::take(&mut held.takes_slot)
            && let Some((_, taken)) = self.pods.get_mut(usize::from(held.pod.0))
        {
            *taken = taken.saturating_sub(1);
        }
        if held.answered {
            self.held.remove(&fence);
        }
    }

    /// The leader has answered a report, whatever the answer: it is forgotten. False if there was none.
    pub fn answered(&mut self, fence: Fence) -> bool {
        let Some(held) = self.held.get_mut(&fence) else { return false };
        let Some(report) = held.report.take() else { return false };
        self.reports -= 1;
        self.report_bytes -= size(&report);
        self.unsent -= usize::from(std::mem::take(&mut held.unsent));
        held.answered = true;
        if !held.takes_slot {
            self.held.remove(&fence);
        }
        true
    }

    /// Whether the attempt runs here (and has not been reported on).
    #[must_use]
    pub fn is_running(&self, fence: Fence) -> bool {
        self.held.get(&fence).is_some_and(|held| held.report.is_none() && !held.answered)
    }

    /// Every unanswered report is to be sent again: there is another leader, or another connection to it.
    pub fn resend(&mut self) {
        for held in self.held.values_mut().filter(|held| held.report.is_some()) {
            self.unsent += usize::from(!std::mem::replace(&mut held.unsent, true));
        }
    }

    /// Whether [`Slots::take_unsent`] has something.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.unsent > 0 || !self.declines.is_empty()
    }

    /// What is to be sent to the leader now: at most this many messages and about this many bytes.
    pub fn take_unsent(&mut self, messages: usize, bytes: usize) -> Vec<ToLeader> {
        let declines = self.declines.len().min(messages);
        let mut out: Vec<ToLeader> = self.declines.drain(..declines).collect();
        if self.unsent == 0 {
            return out;
        }
        let mut sum = 0;
        for held in self.held.values_mut().filter(|held| held.unsent) {
            if out.len() >= messages || sum >= bytes {
                break;
            }
            let Some(report) = &held.report else { continue };
            held.unsent = false;
            self.unsent -= 1;
            sum += size(report);
            out.push(ToLeader::Report { end: report.clone(), slot_free: !held.takes_slot });
        }
        out
    }

    /// Every attempt that is announced to a leader.
    #[must_use]
    pub fn held(&self) -> Vec<HeldAttempt> {
        let announce = |(fence, held): (&Fence, &Held)| HeldAttempt {
            task: held.task,
            attempt: held.attempt,
            fence: *fence,
            pod: held.pod,
            takes_slot: held.takes_slot,
            ended: held.report.is_some() || held.answered,
        };
        self.held.iter().map(announce).collect()
    }

    /// Nothing new is taken from here on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether [`Slots::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether too many reports wait for an answer to take anything new.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let slots: usize = self.pods.iter().map(|(slots, _)| usize::try_from(*slots).unwrap_or(usize::MAX)).sum();
        self.reports >= MAX_REPORTS + slots.saturating_mul(4) || self.report_bytes >= MAX_REPORT_BYTES
    }

    /// The highest fence among the hand-outs taken or declined.
    #[must_use]
    pub fn processed(&self) -> Fence {
        self.processed
    }
}
