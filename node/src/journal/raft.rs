//! The journal on openraft: opens the files, starts the engine, and is the narrow [`Journal`] to the rest of the house.
//!
//! Facts enter through the batcher, other nodes' requests through the mesh's inbox. openraft never starts an election by
//! itself here: who should lead is decided by `dunlin-election`, and [`Journal::elect`] only asks Raft to ratify it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::error::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use openraft::{Config, RaftMetrics, SnapshotPolicy};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use super::batch::{self, Entrance};
use super::config::{JournalConfig, JournalError};
use super::engine::Raft;
use super::entry::{Fact, Reply};
use super::ledger::{Ledger, RETENTION, Retention};
use super::log_store::{LogStore, READ_BYTES};
use super::machine::{Machine, Snapshots};
use super::network::{Gates, Network};
use super::port::{Applied, ElectError, Journal, LogPosition, MembershipError, ProposeError, RaftStatus};
use super::serve::Server;
use super::stop::Stop;
use super::store::Written;
use crate::mesh::{Incoming, MAX_MESSAGE, SharedMesh};
use crate::task::{NodeId, Term};

/// The replicated log of one node; cheap to clone.
#[derive(Clone)]
pub struct RaftJournal(Arc<Inner>);

struct Inner {
    local: NodeId,
    raft: Raft,
    entrance: Entrance,
    ledger: Ledger,
    log: LogStore,
    server: Arc<Server>,
    gates: Arc<Gates>,
    status: watch::Sender<RaftStatus>,
    turns: watch::Sender<RaftStatus>,
    applied: broadcast::Sender<Applied>,
    stop: Stop,
    written: Written,
    config: JournalConfig,
}

impl std::fmt::Debug for RaftJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftJournal")
            .field("local", &self.0.local)
            .field("status", &*self.0.status.borrow())
            .finish_non_exhaustive()
    }
}

impl RaftJournal {
    /// Opens the files, brings the ledger up to date and starts the engine, silent and holding votes if this node has
    /// ever voted. `raft_inbox` is the mesh's inbox for [`crate::mesh::Service::Raft`].
    ///
    /// # Errors
    /// See [`JournalError`]; nothing is left running.
    pub async fn open(
        config: JournalConfig,
        mesh: SharedMesh,
        raft_inbox: mpsc::Receiver<Incoming>,
    ) -> Result<Self, JournalError> {
        Self::open_with(config, mesh, raft_inbox, RETENTION).await
    }

    pub(super) async fn open_with(
        config: JournalConfig,
        mesh: SharedMesh,
        raft_inbox: mpsc::Receiver<Incoming>,
        retention: Retention,
    ) -> Result<Self, JournalError> {
        let engine = engine_config(&config)?;
        make_folder(&config.folder)?;
        let local = mesh.local();
        let (stop, written) = (Stop::new(), Written::default());
        let (applied, _) = broadcast::channel(config.applied_backlog);
        let log = LogStore::open(&config, &written, stop.clone(), local.0)?;
        let ledger = Ledger::open(&config, retention, &written)?;
        let snapshots = Arc::new(Snapshots::open(&config)?);
        let machine = Machine::new(ledger.clone(), &config, applied.clone(), Arc::clone(&snapshots), log.durable(), stop.clone());
        machine.catch_up(&log)?;
        let gates = Arc::new(Gates::new(!log.is_fresh()));
        let (vote_window, vote_try) = (config.ratify_window, config.vote_try);
        let network = Network { mesh, gates: Arc::clone(&gates), durable: log.durable(), vote_window, vote_try };
        let raft = Raft::new(local.0, engine, network, log.clone(), machine)
            .await
            .map_err(|fatal| JournalError::Engine(fatal.to_string()))?;
        // The engine answers this behind its first report of its own state. Without it the status of a restarted node may
        // read as if it had never voted, and its election would not wait for the lease that it may have granted.
        raft.with_raft_state(|_| ()).await.map_err(|fatal| JournalError::Engine(fatal.to_string()))?;
        let server = Arc::new(Server::new(raft.clone(), log.clone(), Arc::clone(&gates), &config));
        stop.guard("answering other nodes", Arc::clone(&server).run(raft_inbox, config.serving));
        let (entrance, batcher) = batch::channel(&config, raft.clone(), stop.clone());
        stop.guard("the batcher", batcher.run());
        let status = watch::Sender::new(RaftStatus::default());
        let turns = watch::Sender::new(RaftStatus::default());
        stop.guard("following the engine", follow(raft.clone(), log.clone(), status.clone(), turns.clone(), stop.clone()));
        stop.guard("making snapshots", make_snapshots(raft.clone(), snapshots, stop.clone()));
        let inner = Inner { local, raft, entrance, ledger, log, server, gates, status, turns, applied, stop, written, config };
        let first = derive(&inner.raft.metrics().borrow(), inner.log.last());
        inner.turns.send_replace(first.clone());
        inner.status.send_replace(first);
        Ok(RaftJournal(Arc::new(inner)))
    }

    /// What the log adds up to on this node.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.0.ledger.clone()
    }

    /// Bytes written to the journal's files since they were opened.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.0.written.total()
    }

    /// When this node last accepted an AppendEntries from a leader: raft's own sign of its life.
    #[must_use]
    pub fn last_append(&self) -> Option<Instant> {
        self.0.server.last_append()
    }

    /// How many entries a node's copy of the log is behind this one's; known to Raft's leader only, for nodes that
    /// receive the log.
    #[must_use]
    pub fn behind(&self, node: NodeId) -> Option<u64> {
        let metrics = self.0.raft.metrics().borrow().clone();
        let matched = metrics.replication?.get(&node.0)?.map_or(0, |id| id.index);
        Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matched))
    }

    /// Becomes the reason when the journal can't go on; the node must then end.
    #[must_use]
    pub fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.0.stop.watch()
    }
}

fn make_folder(folder: &Path) -> Result<(), JournalError> {
    std::fs::create_dir_all(folder).map_err(|source| JournalError::Unreadable { path: folder.to_owned(), source })
}

/// openraft's configuration, with the contradictions that it does not look for itself refused.
fn engine_config(config: &JournalConfig) -> Result<Arc<Config>, JournalError> {
    let wrong = |why: &str| Err(JournalError::Config(why.to_owned()));
    // Room for the head of a request around the entries.
    if READ_BYTES.max(config.caller_bytes + 256) + (64 << 10) > MAX_MESSAGE {
        return wrong("caller_bytes must leave room in a message");
    }
    if config.entry_bytes > config.caller_bytes || config.entry_facts > 1 << 10 {
        return wrong("entry_bytes must not be more than caller_bytes, entry_facts not more than 1,024");
    }
    if config.snapshot_chunk == 0 || config.snapshot_chunk > MAX_MESSAGE / 2 {
        return wrong("snapshot_chunk must be between 1 byte and half a message");
    }
    if config.vote_patience < config.ratify_window {
        return wrong("vote_patience must not be less than ratify_window");
    }
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: "dunlin".to_owned(),
        election_timeout_min: millis(config.vote_patience),
        election_timeout_max: millis(config.raft_lease),
        heartbeat_interval: millis(config.heartbeat_interval),
        install_snapshot_timeout: millis(config.snapshot_patience),
        max_payload_entries: 64,
        snapshot_policy: SnapshotPolicy::Never,
        snapshot_max_chunk_size: config.snapshot_chunk as u64,
        max_in_snapshot_log_to_keep: config.keep_entries,
        purge_batch_size: 16,
        enable_tick: true,
        enable_heartbeat: config.raft_heartbeats,
        enable_elect: false,
        ..Config::default()
    }
    .validate()
    .map(Arc::new)
    .map_err(|error| JournalError::Config(error.to_string()))
}

type Metrics = RaftMetrics<u64, openraft::EmptyNode>;

/// Raft's state in the house's words.
fn derive(metrics: &Metrics, last: Option<super::engine::LogId>) -> RaftStatus {
    let membership = metrics.membership_config.membership();
    RaftStatus {
        term: Term(metrics.current_term),
        leader: metrics.current_leader.map(NodeId),
        is_leader: metrics.state.is_leader(),
        last: last.map_or_else(LogPosition::default, |id| LogPosition { term: Term(id.leader_id.term), index: id.index }),
        applied: metrics.last_applied.map_or(0, |id| id.index),
        voters: membership.voter_ids().map(NodeId).collect::<BTreeSet<_>>().into_iter().collect(),
        learners: membership.learner_ids().map(NodeId).collect(),
    }
}

/// Keeps the status fresh; notices when the engine has ended.
async fn follow(raft: Raft, log: LogStore, status: watch::Sender<RaftStatus>, turns: watch::Sender<RaftStatus>, stop: Stop) {
    let mut metrics = raft.metrics();
    loop {
        let fresh = {
            let now = metrics.borrow_and_update();
            if let Err(fatal) = &now.running_state {
                stop.now(format!("the replication engine has ended: {fatal}"));
            }
            derive(&now, log.last())
        };
        turns.send_if_modified(|known| {
            let turned = known.turned_from(&fresh);
            if turned {
                known.clone_from(&fresh);
            }
            turned
        });
        // The engine's own guard is gone by now: a reader that holds on to the status must never hold up the engine.
        status.send_if_modified(|known| {
            let changed = *known != fresh;
            if changed {
                *known = fresh;
            }
            changed
        });
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Makes a snapshot whenever one is due.
async fn make_snapshots(raft: Raft, snapshots: Arc<Snapshots>, stop: Stop) {
    let mut stopped = stop.watch();
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(Option::is_some) => return,
            () = snapshots.due() => {}
        }
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

impl Inner {
    fn status(&self) -> RaftStatus {
        derive(&self.raft.metrics().borrow(), self.log.last())
    }

    async fn propose(&self, term: Term, facts: Vec<Fact>) -> Result<Vec<Reply>, ProposeError> {
        if let Some(reason) = self.stop.reason() {
            return Err(ProposeError::Stopped(reason));
        }
        if facts.is_empty() {
            return Ok(Vec::new());
        }
        if !batch::leads(&self.raft, term) {
            return Err(ProposeError::NotLeader(term));
        }
        if facts.iter().any(|fact| matches!(fact, Fact::Submitted { .. })) && !has_room(&self.config) {
            return Err(ProposeError::DiskFull);
        }
        let answer = self.entrance.propose(term, facts).await;
        match (answer, self.stop.reason()) {
            (Err(ProposeError::Stopped(_)), Some(reason)) => Err(ProposeError::Stopped(reason)),
            (answer, _) => answer,
        }
    }

    async fn elect(&self) -> Result<Term, ElectError> {
        let mut metrics = self.raft.metrics();
        let before = {
            let now = metrics.borrow_and_update();
            if now.state.is_leader() {
                return Ok(Term(now.current_term));
            }
            now.current_term
        };
        let stopped = |error: String| ElectError::Stopped(self.stop.reason().unwrap_or(error));
        self.raft.trigger().elect().await.map_err(|fatal| stopped(fatal.to_string()))?;
        let local = self.local.0;
        let decided = metrics.wait_for(|now| {
            let own = now.vote.leader_id().voted_for() == Some(local);
            now.running_state.is_err() || (now.current_term > before && (now.state.is_leader() || !own))
        });
        match tokio::time::timeout(self.config.ratify_window, decided).await {
            Ok(Ok(now)) if now.state.is_leader() => Ok(Term(now.current_term)),
            Ok(Ok(now)) => match &now.running_state {
                Err(fatal) => Err(stopped(fatal.to_string())),
                Ok(()) => Err(ElectError::Refused),
            },
            Ok(Err(closed)) => Err(stopped(closed.to_string())),
            Err(_) => Err(ElectError::Refused),
        }
    }

    /// Looked at first: the engine of a follower may call a change under way what is only not its business.
    fn must_lead(&self) -> Result<(), MembershipError> {
        if self.raft.server_metrics().borrow().state.is_leader() { Ok(()) } else { Err(MembershipError::NotLeader) }
    }

    async fn initialize(&self, voters: Vec<NodeId>) -> Result<(), MembershipError> {
        let set: BTreeSet<u64> = voters.iter().map(|voter| voter.0).collect();
        match self.raft.initialize(set.clone()).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(refused))) => {
                let known: BTreeSet<u64> = self.status().voters.iter().map(|voter| voter.0).collect();
                if known == set { Ok(()) } else { Err(MembershipError::Failed(refused.to_string())) }
            }
            Err(error) => Err(MembershipError::Failed(error.to_string())),
        }
    }

    async fn stop(&self) {
        self.stop.closing();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the replication engine did not end well");
        }
        let ledger = self.ledger.clone();
        let save = move || {
            if let Err(error) = ledger.save() {
                tracing::warn!(%error, "the ledger was not saved; it will be replayed");
            }
            ledger.close();
        };
        if let Err(error) = self.config.executor.run(save).await {
            tracing::warn!(%error, "the ledger did not close");
        }
        self.log.close().await;
        self.stop.now("it was closed".to_owned());
    }
}

fn has_room(config: &JournalConfig) -> bool {
    (config.free_space)(&config.folder).is_none_or(|free| free >= config.submit_floor)
}

fn explain(error: RaftError<u64, ClientWriteError<u64, openraft::EmptyNode>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MembershipError::NotLeader,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
            MembershipError::Busy
        }
        other => MembershipError::Failed(other.to_string()),
    }
}

impl Journal for RaftJournal {
    fn propose(&self, term: Term, facts: Vec<Fact>) -> BoxFuture<'static, Result<Vec<Reply>, ProposeError>> {
        let inner = Arc::clone(&self.0);
        async move { inner.propose(term, facts).await }.boxed()
    }

    fn elect(&self) -> BoxFuture<'static, Result<Term, ElectError>> {
        let inner = Arc::clone(&self.0);
        async move { inner.elect().await }.boxed()
    }

    fn initialize(&self, voters: Vec<NodeId>) -> BoxFuture<'static, Result<(), MembershipError>> {
        let inner = Arc::clone(&self.0);
        async move { inner.initialize(voters).await }.boxed()
    }

    fn add_learner(&self, node: NodeId) -> BoxFuture<'static, Result<(), MembershipError>> {
        let inner = Arc::clone(&self.0);
        async move {
            inner.must_lead()?;
            inner.raft.add_learner(node.0, openraft::EmptyNode {}, false).await.map(drop).map_err(explain)
        }
        .boxed()
    }

    fn change_voters(&self, voters: Vec<NodeId>) -> BoxFuture<'static, Result<(), MembershipError>> {
        let inner = Arc::clone(&self.0);
        let set: BTreeSet<u64> = voters.into_iter().map(|voter| voter.0).collect();
        async move {
            inner.must_lead()?;
            inner.raft.change_membership(set, false).await.map(drop).map_err(explain)
        }
        .boxed()
    }

    fn status(&self) -> watch::Receiver<RaftStatus> {
        self.0.status.subscribe()
    }

    fn turns(&self) -> watch::Receiver<RaftStatus> {
        self.0.turns.subscribe()
    }

    fn applied(&self) -> broadcast::Receiver<Applied> {
        self.0.applied.subscribe()
    }

    fn silence(&self, on: bool) {
        self.0.gates.silent.store(on, Ordering::Release);
    }

    fn hold_votes(&self, on: bool) {
        self.0.gates.votes_held.store(on, Ordering::Release);
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.0);
        async move { inner.stop().await }.boxed()
    }
}
