//! What every part of a running node holds: its rooms, and the small ways between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::config::NodeConfig;
use super::desk::{DeskInput, DeskState};
use super::surroundings::Entropy;
use crate::admission;
use crate::api::SandboxView;
use crate::clock::SharedClock;
use crate::journal::{Executor, Ledger, RaftJournal};
use crate::leadership::{Gate, Narrator, Standing};
use crate::mesh::{Service, SharedMesh};
use crate::task::{Findings, NodeId};
use crate::worker::WorkerHandle;
use crate::worker::protocol::{MAX_FRAME, ToLeader, ToMember, pack};

// A frame about work travels as one message of the mesh.
const _: () = assert!(MAX_FRAME <= crate::mesh::MAX_MESSAGE);

/// For so long the number of waiting tasks is believed. What comes in meanwhile is a small part of the limit that it is
/// compared with.
const COUNTED_FOR: Duration = Duration::from_millis(50);

/// A running node's rooms.
pub(super) struct Core {
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) config: NodeConfig,
    pub(super) clock: SharedClock,
    pub(super) entropy: Entropy,
    pub(super) executor: Executor,
    pub(super) admission: admission::Limits,
    pub(super) mesh: SharedMesh,
    pub(super) journal: Arc<RaftJournal>,
    pub(super) ledger: Ledger,
    pub(super) worker: WorkerHandle,
    /// What the sandbox around its tasks holds.
    pub(super) findings: Findings,
    pub(super) gate: Gate,
    pub(super) narrator: Narrator,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) desk: DeskState,
    pub(super) desk_inputs: mpsc::Sender<DeskInput>,
    pub(super) names: Names,
    /// When the waiting tasks were last counted, and how many there were.
    pub(super) counted: Mutex<Option<(Duration, u64)>>,
    /// Holds the data folder for this process, if it is a real one.
    pub(super) _lock: Option<std::fs::File>,
    /// Why the node had to stop, once it had to.
    pub(super) failure: watch::Sender<Option<String>>,
}

impl Core {
    /// Stops the node: going on could break a promise.
    pub(super) fn fail(&self, why: &str) {
        tracing::error!("this node stops: {why}");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| why.to_owned());
            first
        });
    }

    /// Tasks that have not ended, as this node's ledger counted them at most [`COUNTED_FOR`] ago: every submission asks.
    pub(super) fn waiting(&self) -> u64 {
        let now = self.clock.now();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        match *counted {
            Some((at, waiting)) if now.saturating_sub(at) < COUNTED_FOR => waiting,
            _ => {
                let counts = self.ledger.counts().unwrap_or_default();
                let waits = |state: &str| matches!(state, "queued" | "delayed");
                let waiting = counts.iter().filter(|(_, state, _)| waits(state)).map(|(.., count)| count).sum();
                *counted = Some((now, waiting));
                waiting
            }
        }
    }

    /// What the sandbox around its tasks holds, beside what its owner asks for.
    pub(super) fn sandbox(&self) -> SandboxView {
        let Findings { level, memory_enforced, .. } = self.findings;
        SandboxView { level, memory_enforced, required: self.config.sandbox.require }
    }

    pub(super) fn known_leader(&self) -> Option<NodeId> {
        self.standing.borrow().leader.map(|(leader, _)| leader)
    }

    pub(super) fn is_connected(&self, node: NodeId) -> bool {
        self.mesh.peers().iter().any(|peer| peer.node == node)
    }

    /// A node's name: as it was heard, else as the journal has it, else its id.
    pub(super) fn name_of(&self, node: NodeId) -> String {
        let written = || self.ledger.member(node).ok().flatten().map(|member| member.name);
        self.names.of(node).or_else(written).unwrap_or_else(|| node.to_string())
    }

    /// Waits until the standing changes, at most this long.
    pub(super) async fn leadership_changed(&self, at_most: Duration) {
        let mut standing = self.standing.clone();
        standing.mark_unchanged();
        let _ = tokio::time::timeout(at_most, standing.changed()).await;
    }

    /// Hands messages to a member, also if that is this node. False if they could not even be queued.
    pub(super) fn send_to_member(&self, node: NodeId, messages: Vec<ToMember>) -> bool {
        if node == self.node {
            self.worker.receive(messages);
            return true;
        }
        pack(&messages).into_iter().all(|frame| self.mesh.send(node, Service::Work, frame).is_ok())
    }

    /// Hands messages to the leader, also if that is this node. False if they could not even be queued.
    pub(super) fn send_to_leader(&self, leader: NodeId, messages: Vec<ToLeader>) -> bool {
        if leader == self.node {
            return self.desk_inputs.try_send(DeskInput::Reports { from: self.node, messages }).is_ok();
        }
        pack(&messages).into_iter().all(|frame| self.mesh.send(leader, Service::Work, frame).is_ok())
    }
}

/// What nodes call themselves, as far as this node has heard.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeMap<NodeId, String>>);

impl Names {
    /// More nodes than any swarm has; a stranger's name is forgotten before this many are kept.
    const MAX: usize = 8_192;

    /// Takes a name over from a peer, who may be anybody with the secret: what it says is shown on terminals.
    pub(super) fn learn(&self, node: NodeId, name: &str) {
        const MAX_CHARS: usize = 64;
        let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < Self::MAX || names.contains_key(&node) {
            names.insert(node, name);
        }
    }

    /// The node's name, if it was heard.
    pub(super) fn of(&self, node: NodeId) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_name_can_not_steer_a_terminal() {
        let names = Names::default();
        names.learn(NodeId(1), "n\u{1b}[2J\n1");
        assert_eq!(names.of(NodeId(1)).as_deref(), Some("n[2J1"));
        names.learn(NodeId(1), &"x".repeat(500));
        assert_eq!(names.of(NodeId(1)).map(|name| name.len()), Some(64));
    }
}
