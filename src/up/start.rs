//! The one place where the binary starts a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use dunlin_node::api::SharedApi;
use dunlin_node::task::{NodeId, SwarmId, UnixMillis};
use futures::future::BoxFuture;
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
    /// Bounded; the node leaves out what nobody reads in time.
    pub(crate) narration: mpsc::Receiver<Narration>,
    pub(crate) node_handle: Arc<dyn Running>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[expect(dead_code, reason = "WIRING: most are made by the code that goes into start_node")]
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

/// Starts a node. WIRING: the library's builder goes in here and nowhere else.
pub(crate) async fn start_node(config: &Config, secret: &Secret) -> Result<Started, StartError> {
    let _ = (config, secret.reveal());
    Err(StartError::Failed("this build has no node in it yet".to_owned()))
}
