//! Nodes in one process over a mesh in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use crate::journal::ledger::{RETENTION, Retention};
use crate::journal::*;
use crate::mesh::{Incoming, Mesh, Peer, Reply as MeshReply, RequestError, SendError, Service, SharedMesh};
use crate::task::*;

/// The longest that any condition is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Every node's inbox, and the links that are cut (from, to).
#[derive(Default)]
pub(super) struct Hub {
    inboxes: Mutex<BTreeMap<NodeId, mpsc::Sender<Incoming>>>,
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    /// Counts the requests that reached a node and were left without an answer.
    pub(super) unanswered: watch::Sender<u64>,
}

impl Hub {
    pub(super) fn join(self: &Arc<Self>, node: NodeId) -> (SharedMesh, mpsc::Receiver<Incoming>) {
        let (sender, receiver) = mpsc::channel(256);
        self.inboxes.lock().unwrap().insert(node, sender);
        (Arc::new(FakeMesh { local: node, hub: Arc::clone(self) }), receiver)
    }

    /// Cuts or mends both directions between a node and all the others.
    pub(super) fn isolate(&self, node: NodeId, on: bool) {
        let others: Vec<NodeId> = self.inboxes.lock().unwrap().keys().copied().filter(|other| *other != node).collect();
        let mut cut = self.cut.lock().unwrap();
        for other in others {
            for pair in [(node, other), (other, node)] {
                if on {
                    cut.insert(pair)
                } else {
                    cut.remove(&pair)
                };
            }
        }
    }

    fn way(&self, from: NodeId, to: NodeId) -> Option<mpsc::Sender<Incoming>> {
        if self.cut.lock().unwrap().contains(&(from, to)) {
            return None;
        }
        self.inboxes.lock().unwrap().get(&to).cloned()
    }
}

struct FakeMesh {
    local: NodeId,
    hub: Arc<Hub>,
}

impl Mesh for FakeMesh {
    fn close(&self) {}

    fn local(&self) -> NodeId {
        self.local
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    fn send(&self, to: NodeId, _: Service, _: Bytes) -> Result<(), SendError> {
        Err(SendError::NotConnected(to))
    }

    fn broadcast(&self, _: Service, _: Bytes) {}

    fn request(
        &self,
        to: NodeId,
        _: Service,
        bytes: Bytes,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let (hub, from) = (Arc::clone(&self.hub), self.local);
        async move {
            if bytes.len() > crate::mesh::MAX_MESSAGE {
                return Err(SendError::TooLarge(bytes.len()).into());
            }
            let Some(way) = hub.way(from, to) else { return Err(SendError::NotConnected(to).into()) };
            let (reply, answer) = MeshReply::channel();
            let incoming = Incoming { from, bytes, reply: Some(reply) };
            way.send(incoming).await.map_err(|_| SendError::NotConnected(to))?;
            let answer = tokio::time::timeout(patience, answer).await.map_err(|_| RequestError::TimedOut(to))?;
            let Ok(answer) = answer else {
                hub.unanswered.send_modify(|count| *count += 1);
                return Err(RequestError::Refused(to));
            };
            hub.way(to, from).map(|_| answer).ok_or(RequestError::Disconnected(to))
        }
        .boxed()
    }

    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn enter(&self, _: SwarmId) {}

    fn dial(&self, _: Vec<String>) {}
}

/// A wall clock that only ever moves on.
pub(super) fn clock() -> UnixMillis {
    static NOW: AtomicU64 = AtomicU64::new(1_000_000);
    UnixMillis(NOW.fetch_add(1, Ordering::Relaxed))
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) folder: Arc<TempDir>,
    pub(super) journal: RaftJournal,
}

/// Changes a configuration before a node is opened with it.
pub(super) type Tune = fn(&mut JournalConfig);

pub(super) fn plain(_: &mut JournalConfig) {}

/// No thread of its own, so that a test can have time stand still and pass by itself when nothing is left to do.
pub(super) fn inline(config: &mut JournalConfig) {
    config.executor = Executor::Inline;
}

pub(super) fn config(folder: &TempDir, tune: Tune) -> JournalConfig {
    let mut config = JournalConfig::new(folder.path(), clock);
    tune(&mut config);
    config
}

pub(super) async fn open_in(hub: &Arc<Hub>, id: u64, folder: Arc<TempDir>, tune: Tune) -> Result<Node, JournalError> {
    open_keeping(hub, id, folder, tune, RETENTION).await
}

pub(super) async fn open_keeping(
    hub: &Arc<Hub>,
    id: u64,
    folder: Arc<TempDir>,
    tune: Tune,
    retention: Retention,
) -> Result<Node, JournalError> {
    let id = NodeId(id);
    let (mesh, inbox) = hub.join(id);
    let journal = RaftJournal::open_with(config(&folder, tune), mesh, inbox, retention).await?;
    Ok(Node { id, folder, journal })
}

pub(super) async fn open(hub: &Arc<Hub>, id: u64, tune: Tune) -> Node {
    open_in(hub, id, Arc::new(tempfile::tempdir().unwrap()), tune).await.unwrap()
}

impl Node {
    /// Waits until the status is as wanted.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&RaftStatus) -> bool) -> RaftStatus {
        let mut status = self.journal.status();
        let waited = tokio::time::timeout(PATIENCE, status.wait_for(|now| wanted(now))).await;
        match waited {
            Ok(status) => status.unwrap().clone(),
            Err(_) => panic!("{:?} waited in vain until {what}: {:?}", self.id, self.journal),
        }
    }

    /// The index of its last entry. The status is not held on to: that would hold up whoever writes it.
    pub(super) fn last(&self) -> u64 {
        self.journal.status().borrow().last.index
    }

    pub(super) fn applied(&self) -> u64 {
        self.journal.status().borrow().applied
    }

    pub(super) async fn leads(&self) -> Term {
        self.until("it leads", |status| status.is_leader).await.term
    }

    /// Opens the term it leads.
    pub(super) async fn opens(&self) -> Term {
        let term = self.leads().await;
        let replies = self.journal.propose(term, vec![Fact::Opened { leader: self.id }]).await.unwrap();
        assert_eq!(replies, [Reply::Done]);
        term
    }

    /// Is elected and opens its term, as a node must after every restart.
    pub(super) async fn wins(&self) -> Term {
        self.journal.elect().await.unwrap();
        self.opens().await
    }

    pub(super) async fn submit(&self, term: Term, count: usize) -> Vec<TaskId> {
        let facts = (0..count).map(|_| submitted()).collect();
        ids(&self.journal.propose(term, facts).await.unwrap())
    }

    pub(super) async fn folds(&self, index: u64) {
        self.until("it has folded", |status| status.applied >= index).await;
    }

    /// Stops and opens again in the same folder, with what a node does after E1.
    pub(super) async fn restart(self, hub: &Arc<Hub>, tune: Tune) -> Node {
        self.journal.stop().await;
        let Node { id, folder, journal } = self;
        drop(journal);
        let node = open_in(hub, id.0, folder, tune).await.unwrap();
        node.journal.silence(false);
        node.journal.hold_votes(false);
        node
    }

    /// All rows, with how far they are folded.
    pub(super) fn rows(&self) -> Vec<u8> {
        let path = self.folder.path().join("rows.test");
        self.journal.ledger().export(&path).unwrap();
        std::fs::read(path).unwrap()
    }
}

pub(super) fn submitted() -> Fact {
    Fact::Submitted { spec: Box::new(TaskSpec::command(["true"])), key: None }
}

pub(super) fn ids(replies: &[Reply]) -> Vec<TaskId> {
    replies
        .iter()
        .map(|reply| match reply {
            Reply::Submitted { task, .. } => *task,
            other => panic!("not a submission's reply: {other:?}"),
        })
        .collect()
}

/// Three voters; the first leads and has opened its term.
pub(super) async fn three(hub: &Arc<Hub>, tune: Tune) -> (Vec<Node>, Term) {
    three_with(hub, tune, tune).await
}

/// Three of which the first, the leader, is configured in another way.
pub(super) async fn three_with(hub: &Arc<Hub>, leader: Tune, others: Tune) -> (Vec<Node>, Term) {
    let mut nodes = Vec::new();
    for (id, tune) in [(1, leader), (2, others), (3, others)] {
        nodes.push(open(hub, id, tune).await);
    }
    nodes[0].journal.initialize(vec![NodeId(1), NodeId(2), NodeId(3)]).await.unwrap();
    let term = nodes[0].opens().await;
    (nodes, term)
}
