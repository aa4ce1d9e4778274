//! Carries out what the board says: hand-outs and verdicts become frames, lost attempts and reports become proposals.
//!
//! Everything waits in the [`Outbox`] until the acting gate is open; what is for one member in one turn shares a frame.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::settle::Settlement;
use super::{Desk, Input};
use crate::dispatch::{Output, Verdict};
use crate::journal::{Fact, Ledger, LedgerError, Specs};
use crate::task::{AttemptEnd, Captured, Fence, NodeId, Outcome, TaskId, Term, Usage};
use crate::worker::protocol::{Assignment, ToMember};

/// Outputs that wait for the gate, and reports that wait for their verdict.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    /// What the journal has decided: true whoever leads, so it does not wait for the gate.
    verdicts: Vec<(NodeId, ToMember)>,
    /// Reports between [`Input::Reported`] and the board's verdict on them.
    reports: BTreeMap<(TaskId, Fence), Box<AttemptEnd>>,
}

/// What one turn sends and proposes.
#[derive(Debug, Default)]
struct Turn {
    frames: BTreeMap<NodeId, Vec<ToMember>>,
    handed_out: Vec<(NodeId, TaskId, Fence)>,
    ends: Vec<Settlement>,
    refused: Vec<Fact>,
    /// Opened by the first hand-out of the turn: each opening costs as much as a dozen look-ups.
    specs: Option<Specs>,
}

impl Turn {
    fn spec(&mut self, ledger: &Ledger, task: TaskId) -> Result<Option<Bytes>, LedgerError> {
        let specs = match self.specs.take() {
            Some(specs) => specs,
            None => ledger.specs()?,
        };
        self.specs.insert(specs).bytes(task)
    }
}

impl Outbox {
    pub(super) fn extend(&mut self, outputs: Vec<Output>) {
        self.outputs.extend(outputs);
    }

    pub(super) fn tell(&mut self, verdicts: Vec<(NodeId, ToMember)>) {
        self.verdicts.extend(verdicts);
    }

    pub(super) fn keep(&mut self, end: Box<AttemptEnd>) {
        self.reports.insert((end.task, end.fence), end);
    }

    pub(super) fn clear(&mut self) {
        *self = Outbox::default();
    }
}

impl Desk {
    /// Lets out what waits, if the gate is open. What could not be sent goes back to the board.
    pub(super) fn flush(&mut self) {
        while !(self.outbox.outputs.is_empty() && self.outbox.verdicts.is_empty()) {
            let Some(term) = self.core.desk.read(|leading| leading.term) else { return self.outbox.clear() };
            let mut turn = Turn::default();
            for (node, verdict) in self.outbox.verdicts.drain(..) {
                turn.frames.entry(node).or_default().push(verdict);
            }
            let open = self.core.gate.permits(term);
            while open && let Some(output) = self.outbox.outputs.pop_front() {
                self.carry_out(term, output, &mut turn);
            }
            self.propose(term, turn.ends, turn.refused);
            for (node, messages) in turn.frames {
                if self.core.send_to_member(node, messages) {
                    continue;
                }
                let missed = turn.handed_out.iter().filter(|(to, ..)| *to == node);
                let back: Vec<Input> =
                    missed.map(|(node, task, fence)| Input::Undelivered { node: *node, task: *task, fence: *fence }).collect();
                self.feed(back);
            }
            if !open {
                return;
            }
        }
        // Every verdict has been carried out: a report that is left had none (it spoke of a later term), and its member
        // keeps it for the leader of that term.
        self.outbox.reports.clear();
    }

    fn carry_out(&mut self, term: Term, output: Output, turn: &mut Turn) {
        match output {
            Output::Assign { node, pod, task, attempt, fence } => match turn.spec(&self.core.ledger, task) {
                Ok(Some(spec)) => {
                    turn.handed_out.push((node, task, fence));
                    let assignment = Assignment { fence, task, attempt, pod, spec };
                    turn.frames.entry(node).or_default().push(ToMember::Assign(assignment));
                }
                Ok(None) => tracing::error!(%task, "a waiting task has no spec in the ledger"),
                Err(error) => self.core.fail(&format!("the ledger could not be read: {error}")),
            },
            Output::CancelAttempt { node, task, attempt, fence } => {
                turn.frames.entry(node).or_default().push(ToMember::Cancel { task, attempt, fence });
            }
            Output::AttemptLost { task, attempt, fence, node, why } => {
                let outcome = Outcome::Lost(why);
                let (stdout, stderr, usage) = (Captured::default(), Captured::default(), Usage::default());
                let end = Box::new(AttemptEnd { task, attempt, fence, node, outcome, stdout, stderr, usage });
                turn.ends.push(Settlement::of(end, false));
            }
            Output::Verdict { node, task, attempt, fence, verdict } => {
                let report = self.outbox.reports.remove(&(task, fence));
                match (verdict, report) {
                    (Verdict::Accept | Verdict::Adopt, Some(end)) => turn.ends.push(Settlement::of(end, true)),
                    (Verdict::Refuse(why), _) => {
                        turn.refused.push(Fact::ReportRefused { task, attempt, fence, node, why });
                        let refusal = ToMember::Verdict { task, attempt, fence, denied: Some(why) };
                        turn.frames.entry(node).or_default().push(refusal);
                    }
                    (Verdict::AlreadySettled, _) => {
                        turn.frames.entry(node).or_default().push(ToMember::Verdict { task, attempt, fence, denied: None });
                    }
                    (Verdict::Accept | Verdict::Adopt | Verdict::Duplicate, _) => {}
                }
            }
            Output::Refill { queue, after, limit } => self.refill(queue, after, limit),
            Output::RefillDelayed { after, limit } => self.refill_delayed(after, limit),
            Output::Verify { task, fence } => {
                let next = super::settle::place_of(&self.core, task);
                self.feed(vec![Input::Verified { task, fence, next }]);
            }
            Output::AdoptionOver { adopted, silent } => {
                tracing::info!(%term, adopted, silent = silent.len(), "the members have announced what they run");
            }
            Output::Ignored { why } => tracing::trace!(%why, "the board ignored an input"),
        }
    }
}
