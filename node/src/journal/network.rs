//! openraft's requests on their way to other nodes, and the gate that keeps this node silent (E9).
//!
//! Every request is encoded here, goes out as one mesh message and has its own time-out. While the gate is shut no
//! AppendEntries and no snapshot leaves; votes do. What can't be sent now is `Unreachable`, so that the engine waits
//! a little before it tries again. No commit is told that this node's own disk does not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, EmptyNode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::codec;
use super::durable::Durable;
use super::engine::{SnapshotMeta, Types, Vote};
use crate::mesh::{RequestError, Service, SharedMesh};
use crate::task::NodeId;

/// How long the engine waits before it tries an unreachable node again.
const BACKOFF: Duration = Duration::from_millis(100);
/// How long a vote is not asked for again after it failed at once.
const VOTE_PAUSE: Duration = Duration::from_millis(20);

/// What one node asks of another, as it is sent.
#[derive(Serialize)]
pub(super) enum AskRef<'a> {
    Append(&'a AppendEntriesRequest<Types>),
    Vote(&'a VoteRequest<u64>),
    Snapshot(&'a Chunk),
}

/// What one node asks of another, as it is received.
#[derive(Deserialize)]
pub(super) enum Ask {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    Snapshot(Chunk),
}

/// The answers, by the same names.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    Snapshot(Result<InstallSnapshotResponse<u64>, InstallSnapshotError>),
}

/// A part of a snapshot.
#[derive(Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) vote: Vote,
    pub(super) meta: SnapshotMeta,
    pub(super) offset: u64,
    #[serde(with = "serde_bytes")]
    pub(super) data: Vec<u8>,
    pub(super) done: bool,
}

/// The two gates that leadership holds shut after a restart.
#[derive(Debug)]
pub(super) struct Gates {
    /// E9: no AppendEntries, no snapshot leaves.
    pub(super) silent: AtomicBool,
    /// E1: no Vote request is answered.
    pub(super) votes_held: AtomicBool,
}

impl Gates {
    pub(super) fn new(shut: bool) -> Self {
        Gates { silent: AtomicBool::new(shut), votes_held: AtomicBool::new(shut) }
    }
}

/// Makes a way to each node.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) mesh: SharedMesh,
    pub(super) gates: Arc<Gates>,
    pub(super) durable: Durable,
    /// How long a vote is asked for, again and again.
    pub(super) vote_window: Duration,
    /// How long each time.
    pub(super) vote_try: Duration,
}

/// The way to one node.
pub(super) struct Link {
    network: Network,
    target: NodeId,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Link {
        Link { network: self.clone(), target: NodeId(target) }
    }
}

/// Why there is no answer.
enum Failure {
    /// Not worth another try at once.
    Unreachable(AnyError),
    /// It may work at once.
    Lost(AnyError),
}

impl<E: std::error::Error> From<Failure> for RPCError<u64, EmptyNode, E> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(error) => RPCError::Unreachable(Unreachable::new(&error)),
            Failure::Lost(error) => RPCError::Network(NetworkError::new(&error)),
        }
    }
}

impl Link {
    fn speak(&self) -> Result<(), Failure> {
        if self.network.gates.silent.load(Ordering::Acquire) {
            return Err(Failure::Unreachable(AnyError::error("this node keeps silent")));
        }
        Ok(())
    }

    async fn ask(&self, ask: &AskRef<'_>, patience: Duration) -> Result<Answer, Failure> {
        let bytes = codec::encode(ask).map_err(|error| Failure::Unreachable(AnyError::new(&error)))?;
        let asked = self.network.mesh.request(self.target, Service::Raft, Bytes::from(bytes), patience);
        let answer = asked.await.map_err(|error| match error {
            RequestError::TimedOut(_) => Failure::Lost(AnyError::new(&error)),
            _ => Failure::Unreachable(AnyError::new(&error)),
        })?;
        codec::decode(&answer).map_err(|error| Failure::Unreachable(AnyError::new(&error)))
    }
}

fn wrong_answer() -> Failure {
    Failure::Unreachable(AnyError::error("the answer is not to what was asked"))
}

/// Whether a refusal can only be the follower's lease: its vote is older than ours and its log is not longer.
fn is_leased(asked: &VoteRequest<u64>, answer: &VoteResponse<u64>) -> bool {
    !answer.vote_granted && answer.vote < asked.vote && answer.last_log_id <= asked.last_log_id
}

type Failed<E> = RPCError<u64, EmptyNode, RaftError<u64, E>>;

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        mut rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, EmptyNode, RaftError<u64>>> {
        // News of a commit and nothing else: it waits for this node's disk, but not for so long that it is sent in vain.
        if let (true, Some(committed)) = (rpc.entries.is_empty(), rpc.leader_commit) {
            let _ = tokio::time::timeout(option.hard_ttl() / 2, self.network.durable.reached(committed.index)).await;
        }
        rpc.leader_commit = self.network.durable.part_of(rpc.leader_commit);
        self.speak()?;
        match self.ask(&AskRef::Append(&rpc), option.hard_ttl()).await? {
            Answer::Append(answer) => Ok(answer),
            _ => Err(wrong_answer().into()),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failed<InstallSnapshotError>> {
        self.speak()?;
        let chunk = Chunk { vote: rpc.vote, meta: rpc.meta, offset: rpc.offset, data: rpc.data, done: rpc.done };
        match self.ask(&AskRef::Snapshot(&chunk), option.hard_ttl()).await? {
            Answer::Snapshot(Ok(answer)) => Ok(answer),
            Answer::Snapshot(Err(error)) => {
                Err(RPCError::RemoteError(RemoteError::new(self.target.0, RaftError::APIError(error))))
            }
            _ => Err(wrong_answer().into()),
        }
    }

    /// Asks again inside the window: neither one lost reply nor a follower's lease on a leader that is known to be gone
    /// must cost an election. (The election has made sure that a majority hears no leader before anybody asks.)
    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, EmptyNode, RaftError<u64>>> {
        let end = Instant::now() + self.network.vote_window;
        loop {
            let failure = match self.ask(&AskRef::Vote(&rpc), self.network.vote_try).await {
                Ok(Answer::Vote(answer)) if !is_leased(&rpc, &answer) || Instant::now() + VOTE_PAUSE >= end => return Ok(answer),
                Ok(Answer::Vote(_)) => Failure::Lost(AnyError::error("the lease of the last leader has not run out")),
                Ok(_) => wrong_answer(),
                Err(failure) => failure,
            };
            if Instant::now() + VOTE_PAUSE >= end {
                return Err(failure.into());
            }
            tokio::time::sleep(VOTE_PAUSE).await;
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}
