//! Keeps the journal's members and voters as they should be: what nodes say of themselves, and whose disks count.
//!
//! `roster::plan` decides (pure); this part only asks the journal for one change at a time and waits for its answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::settle::MEMBERSHIP_PATIENCE;
use super::{Answers, Desk};
use crate::journal::{Fact, Journal, Member, MembershipError, RaftJournal};
use crate::roster::{self, Candidate, Heartbeat, MemberView, VotersChange, VotersPolicy};
use crate::task::{MemberRole, NodeId};

/// How often the set of voters is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// When the voters were last looked at, and whether a change is under way.
#[derive(Debug, Default)]
pub(super) struct Reconciler {
    last: Option<Duration>,
    under_way: Arc<AtomicBool>,
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

    /// Every member as the plan wants to know it.
    fn candidates(&self, now: Duration) -> Vec<Candidate> {
        let views: Vec<_> = self.core.desk.read(|leading| leading.liveness.views(now).collect()).unwrap_or_default();
        let candidate = |(node, view): (NodeId, MemberView)| {
            let beat = view.heartbeat.as_ref();
            Candidate {
                node,
                rank: beat.map_or(0, |beat| beat.rank),
                eligible: beat.is_some_and(|beat| beat.role == MemberRole::Voter && !beat.draining),
                dead_for: view.lost_for,
                behind: self.core.journal.behind(node),
            }
        };
        views.into_iter().map(candidate).collect()
    }

    /// Looks at the voters once a second and has at most one change made.
    pub(super) fn reconcile_voters(&mut self, now: Duration) {
        if self.voters.last.is_some_and(|last| now.saturating_sub(last) < PERIOD) || self.voters.under_way.load(Ordering::Relaxed)
        {
            return;
        }
        self.voters.last = Some(now);
        let status = self.core.journal.status().borrow().clone();
        let voters: BTreeSet<NodeId> = status.voters.iter().copied().collect();
        let nodes = self.candidates(now);
        let Some(change) = roster::plan(&voters, &nodes, self.core.node, &VotersPolicy::default()) else { return };
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

async fn make(journal: Arc<RaftJournal>, change: VotersChange) -> Result<(), MembershipError> {
    match change {
        VotersChange::AddLearner(node) => journal.add_learner(node).await,
        VotersChange::SetVoters(voters) => journal.change_voters(voters.into_iter().collect()).await,
    }
}
