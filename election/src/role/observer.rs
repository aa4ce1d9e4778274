//! Observer: a node whose disk does not count. It follows beats, and that is all it does.
//!
//! It answers nothing: an acknowledgement from it would not count, and five hundred of them would cost the leader dearly.

use super::Role;
use crate::bid::NodeId;
use crate::machine::Machine;
use crate::output::{Output, StepDown, Withdrawal};
use alloc::collections::BTreeSet;

impl Machine {
    /// Raft's voters changed: this node may gain or lose its part in elections.
    pub(crate) fn on_voters(&mut self, voters: BTreeSet<NodeId>) {
        let changed = self.voters != voters;
        self.voters = voters;
        if matches!(self.role, Role::Founding(_)) {
            return;
        }
        let votes = self.voters.contains(&self.me);
        match (&self.role, votes) {
            (Role::Observer, true) => self.become_waiting_member(),
            (Role::Observer, false) | (_, true) => self.forget_non_voters(),
            (Role::Leader(_), false) => {
                self.step_down(StepDown::NotAVoter);
                self.role = Role::Observer;
            }
            (Role::Candidate(_), false) => {
                self.withdraw(Withdrawal::RoundOver);
                self.role = Role::Observer;
            }
            (_, false) => self.role = Role::Observer,
        }
        if !votes {
            self.set_silence(true);
        }
        if changed {
            self.ask_new_voters();
        }
    }

    /// Votes and acknowledgements of nodes that count no more must not count; a Voter must not wait for one either.
    fn forget_non_voters(&mut self) {
        let voters = self.voters.clone();
        match &mut self.role {
            Role::Candidate(candidate) => {
                candidate.votes.retain(|node, _| voters.contains(node));
                candidate.heard.retain(|node, _| voters.contains(node));
            }
            Role::Leader(leader) => {
                leader.acks.retain(|node, _| voters.contains(node));
                self.renew_lease();
            }
            Role::Voter(voter) if !voters.contains(&voter.to) => {
                let gone = voter.to;
                self.decide_again(gone);
            }
            _ => {}
        }
    }

    /// The lease of the leader we followed ran out, or its process is gone.
    pub(crate) fn lose_leader(&mut self) {
        let Some(lost) = self.leader.take() else { return };
        self.push(Output::Leaderless { last: lost.node, term: lost.term });
        if matches!(self.role, Role::Member(_)) {
            self.stand_after_jitter();
        }
    }
}
