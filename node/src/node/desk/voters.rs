//! Keeps the journal's members and voters as they should be: what nodes say of themselves, and whose disks count.
//!
//! `roster::plan` decides (pure); this part only asks the journal for one change at a time and waits for its answer.

use std::time::Duration;

use super::settle::MEMBERSHIP_PATIENCE;
use super::{Answers, Desk};
use crate::journal::{Fact, Member, MembershipError, SharedJournal};
use crate::roster::{self, Heartbeat, VoterChange};
use crate::task::NodeId;

/// How often the set of voters is looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// The most nodes whose disks count.
pub(super) const TARGET: usize = 5;

/// When the voters were last looked at, and whether a change is under way.
#[derive(Debug, Default)]
pub(super) struct Reconciler {
    last: Option<Duration>,
    under_way: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Desk {
    /// Writes down what a node says of itself, if the journal does not have it so.
    pub(super) fn settle_membership(&mut self, node: NodeId, beat: &Heartbeat) {
        let said = Member { node, name: beat.name.clone(), rank: beat.rank, role: beat.role };
        let Ok(known) = self.core.ledger.member(node) else { return };
        if known.as_ref() == Some(&said) {
            return;
        }
        let Some(term) = self.core.gate.acting() else { return };
        let written = self.core.journal.propose(term, vec![Fact::Joined(said)]);
        self.pending.push(Box::pin(async move {
            if let Err(error) = written.await {
                tracing::debug!(%error, "a node's entry waits for its next heartbeat");
            }
            Answers::default()
        }));
    }

    /// Looks at the voters once a second and has at most one change made.
    pub(super) fn reconcile_voters(&mut self, now: Duration) {
        use std::sync::atomic::Ordering;
        if self.voters.last.is_some_and(|last| now.saturating_sub(last) < PERIOD) || self.voters.under_way.load(Ordering::Relaxed) {
            return;
        }
        self.voters.last = Some(now);
        let status = self.core.journal.status().borrow().clone();
        let planned = self.core.desk.read(|leading| {
            roster::plan(now, &leading.liveness, &status.voters, &status.learners, self.core.node, TARGET)
        });
        let Some(change) = planned.flatten() else { return };
        tracing::info!(?change, "the set of voters changes");
        let (journal, under_way) = (self.core.journal.clone(), self.voters.under_way.clone());
        under_way.store(true, Ordering::Relaxed);
        self.pending.push(Box::pin(async move {
            let made = tokio::time::timeout(MEMBERSHIP_PATIENCE, make(journal, change)).await;
            under_way.store(false, Ordering::Relaxed);
            if let Ok(Err(error)) = made {
                tracing::info!(%error, "the set of voters did not change");
            }
            Answers::default()
        }));
    }
}

async fn make(journal: SharedJournal, change: VoterChange) -> Result<(), MembershipError> {
    match change {
        VoterChange::AddLearner(node) => journal.add_learner(node).await,
        VoterChange::SetVoters(voters) => journal.change_voters(voters).await,
    }
}
