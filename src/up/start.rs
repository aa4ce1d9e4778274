//! The one place where the binary starts a node.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use dunlin_node::api::SharedApi;
use dunlin_node::leadership::NarrationKind;
use dunlin_node::node::{self, Belonging, ConfigError, Node, NodeConfig};
use dunlin_node::task::{Level, NodeId, Pod, SwarmId, UnixMillis};
use futures::future::BoxFuture;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::config::{Config, Secret};

/// Something that happened to the swarm as this node saw it: founding, candidacies, votes, countdown, ratification …
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Narration {
    /// When, by this node's wall clock.
    pub(crate) at: UnixMillis,
    /// Whom it is about (this node, or the one it heard).
    pub(crate) node: NodeId,
    /// A stable word for programs: `founding`, `candidacy`, `vote`, `countdown`, `ratified`, `leading`, `stepped_down` …
    pub(crate) kind: String,
    /// In words.
    pub(crate) text: String,
}

/// A running node as `up` holds it.
pub(crate) trait Running: Send + Sync {
    /// Finishes what runs, takes nothing new, leaves; ends when that is done.
    fn drain(&self) -> BoxFuture<'static, ()>;
    /// Stops at once; what was acknowledged is on disk.
    fn stop(&self) -> BoxFuture<'static, ()>;
    /// Ends, with the reason in words, only if the node stops by itself (a failed disk, a defect).
    fn failed(&self) -> BoxFuture<'static, String>;
}

/// What a started node is for `up`.
pub(crate) struct Started {
    pub(crate) api: SharedApi,
    pub(crate) node: NodeId,
    /// `None` while it is being founded or joined.
    pub(crate) swarm: Option<SwarmId>,
    /// Where it really listens: ports filled in.
    pub(crate) listen: Vec<SocketAddr>,
    /// What its sandbox holds.
    pub(crate) sandbox: Level,
    /// Whether that is what its owner asks for.
    pub(crate) takes_tasks: bool,
    /// Bounded; the node leaves out what nobody reads in time.
    pub(crate) narration: mpsc::Receiver<Narration>,
    pub(crate) node_handle: Arc<dyn Running>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the data folder {} is in use by another process", .0.display())]
    DataInUse(PathBuf),
    #[error("the data folder {} can't be used: {why}", path.display())]
    DataUnusable { path: PathBuf, why: String },
    #[error("the data folder {} was written by a newer version of dunlin", .0.display())]
    NewerFormat(PathBuf),
    #[error("{address} can't be listened on: {why}")]
    PortTaken { address: SocketAddr, why: String },
    #[error("these settings do not go together: {0}")]
    Refused(String),
    #[error("the node could not be started: {0}")]
    Failed(String),
}

/// Starts a node.
pub(crate) async fn start_node(config: &Config, secret: &Secret) -> Result<Started, StartError> {
    let node = Node::builder(node_config(config, secret)?).start().await.map_err(explain)?;
    let (told, narration) = mpsc::channel(NARRATION);
    let id = node.id();
    let mut lines = node.narration();
    tokio::spawn(async move {
        loop {
            match lines.recv().await {
                Ok(line) => {
                    let kind = word(line.kind).to_owned();
                    if told.send(Narration { at: line.at, node: id, kind, text: line.text }).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    let swarm = node.standing().borrow().swarm;
    Ok(Started {
        api: node.api(),
        node: id,
        swarm,
        listen: node.addresses(),
        sandbox: node.findings().level,
        takes_tasks: node.takes_tasks(),
        narration,
        node_handle: Arc::new(Held { node: RwLock::new(Some(Arc::new(node))) }),
    })
}

/// Narrations that wait to be printed.
const NARRATION: usize = 256;

fn node_config(config: &Config, secret: &Secret) -> Result<NodeConfig, StartError> {
    let refused = |error: ConfigError| StartError::Refused(error.to_string());
    let secret = dunlin_node::node::Secret::new(secret.reveal()).map_err(refused)?;
    // One node that is told of others is meant to join them, not to found a swarm beside theirs; 0 always only joins.
    let belonging = match NonZeroU32::new(config.expect) {
        Some(expect) if expect.get() > 1 || config.peers.is_empty() => Belonging::Expect(expect),
        _ => Belonging::Join,
    };
    let pods = config.pods.iter().map(|pod| Pod { groups: pod.groups.clone(), slots: pod.slots });
    let config = NodeConfig {
        name: config.name.clone(),
        rank: config.rank,
        listen: vec![config.listen],
        peers: config.peers.clone(),
        belonging,
        mdns: config.mdns,
        pods: pods.collect(),
        task_defaults: config.limits.clone(),
        sandbox: config.sandbox.clone(),
        ..NodeConfig::new(config.data.clone(), secret)
    };
    config.validate().map_err(refused)?;
    Ok(config)
}

fn explain(error: node::StartError) -> StartError {
    use dunlin_node::journal::JournalError;
    use dunlin_node::mesh::wire::MeshError;
    match error {
        node::StartError::Config(error) => StartError::Refused(error.to_string()),
        node::StartError::InUse(path) | node::StartError::Journal(JournalError::InUse(path)) => StartError::DataInUse(path),
        node::StartError::Folder { path, source } => StartError::DataUnusable { path, why: source.to_string() },
        node::StartError::Journal(JournalError::NewerFormat { path, .. }) => StartError::NewerFormat(path),
        node::StartError::Mesh(MeshError::PortTaken { address }) => {
            StartError::PortTaken { address, why: "another program, or another node, listens there".to_owned() }
        }
        node::StartError::Mesh(MeshError::Listen { address, source }) => {
            StartError::PortTaken { address, why: source.to_string() }
        }
        other => {
            let causes = std::iter::successors(std::error::Error::source(&other), |cause| cause.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            let words = std::iter::once(other.to_string()).chain(causes).collect::<Vec<_>>().join(": ");
            StartError::Failed(words)
        }
    }
}

/// The stable word of a narration's kind.
fn word(kind: NarrationKind) -> &'static str {
    match kind {
        NarrationKind::Founding => "founding",
        NarrationKind::Election => "election",
        NarrationKind::Leading => "leading",
        NarrationKind::Following => "following",
        NarrationKind::Leaderless => "leaderless",
        NarrationKind::PeerUp => "peer_up",
        NarrationKind::PeerDown => "peer_down",
        NarrationKind::Member => "member",
        NarrationKind::Warning => "warning",
    }
}

/// A running node until it is stopped.
struct Held {
    node: RwLock<Option<Arc<Node>>>,
}

impl Held {
    fn node(&self) -> Option<Arc<Node>> {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Running for Held {
    fn drain(&self) -> BoxFuture<'static, ()> {
        let node = self.node();
        Box::pin(async move {
            if let Some(node) = node {
                node.drain().await;
            }
        })
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        let node = self.node.write().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            if let Some(node) = node {
                node.stop().await;
            }
        })
    }

    fn failed(&self) -> BoxFuture<'static, String> {
        let node = self.node();
        Box::pin(async move {
            match node {
                Some(node) => node.failed().await,
                None => std::future::pending().await,
            }
        })
    }
}
