//! The small world's members: heartbeats, hand-outs taken, attempts that end, reports that arrive once or more.

use std::time::Duration;

use super::{End, World, pods};
use crate::dispatch::*;
use crate::task::{AttemptEnd, Captured, NodeId, Outcome, Usage};
use crate::worker::protocol::ToLeader;

/// Reports that may come again.
const REMEMBERED_REPORTS: usize = 16;

impl World {
    pub(super) fn offer(&mut self, id: NodeId) {
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

    pub(super) fn deliver(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        match node.inbox.pop_front() {
            Some(Output::Assign { task, attempt, fence, pod, .. }) => {
                let _ = node.slots.take(task, attempt, fence, pod);
            }
            Some(Output::CancelAttempt { fence, .. }) => drop(node.cancelled.insert(fence)),
            _ => {}
        }
    }

    pub(super) fn finish(&mut self, id: NodeId, which: u8, success: bool) {
        let node = self.nodes.get_mut(&id).unwrap();
        let running: Vec<_> = node.slots.held().into_iter().filter(|held| !held.ended).collect();
        let Some(held) = running.get(usize::from(which) % running.len().max(1)) else { return };
        let outcome = Outcome::Exited(i32::from(!success));
        let (stdout, stderr, usage) = (Captured::default(), Captured::default(), Usage::default());
        let (task, attempt, fence) = (held.task, held.attempt, held.fence);
        node.slots.ended(AttemptEnd { task, attempt, fence, node: id, outcome, stdout, stderr, usage }, true);
    }

    pub(super) fn send(&mut self, id: NodeId) {
        let messages = self.nodes.get_mut(&id).unwrap().slots.take_unsent(2, 1 << 20);
        for message in messages {
            match message {
                ToLeader::Decline { task, fence, .. } => self.step(Input::Undelivered { node: id, task, fence }),
                ToLeader::Report { end, slot_free } => self.report(id, &end, slot_free),
            }
        }
    }

    pub(super) fn report(&mut self, id: NodeId, end: &AttemptEnd, slot_free: bool) {
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

    pub(super) fn report_again(&mut self, which: u8, change: impl FnOnce(&mut (NodeId, AttemptEnd, bool))) {
        let Some(mut report) = self.reports.get(usize::from(which) % self.reports.len().max(1)).cloned() else { return };
        change(&mut report);
        let (node, end, slot_free) = report;
        self.report(node, &end, slot_free);
    }
}
