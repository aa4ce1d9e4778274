//! Puts the rooms together; the only place that knows all of them.
//!
//! [`NodeBuilder::start`] opens the folder, the mesh, the journal and the worker, and starts one loop for each way through the
//! house. What enters after that are requests ([`Api`]); what leaves is their answers and the narration.

mod config;
mod core;
mod desk;
mod leader_requests;
mod member;
mod requests;
mod runner;
mod start;
mod stopped;
mod surroundings;
mod views;
mod waits;

pub use config::{
    Belonging, ConfigError, MAX_FOUNDERS, MAX_RANK, NodeConfig, SandboxSettings, Secret, standard_pod, worker_threads,
};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use requests::survives;
pub use start::{NodeBuilder, StartError};
pub use stopped::{StoppedError, StoppedNode};
#[cfg(any(test, feature = "sim"))]
pub(crate) use surroundings::Surroundings;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use self::core::Core;
use crate::api::{Api, ApiError, Request, Response};
use crate::journal::Journal;
use crate::leadership::{Narration, Standing};
use crate::task::NodeId;

/// A running member of a swarm. Dropping it stops it at once; [`Node::drain`] and [`Node::stop`] are kinder.
pub struct Node {
    core: Arc<Core>,
    loops: Mutex<Option<Loops>>,
}

/// What runs until the node is stopped.
struct Loops {
    tasks: JoinSet<()>,
    election: Election,
}

/// Where the election runs.
enum Election {
    Thread(std::thread::JoinHandle<()>),
    /// On the runtime that the node was started on.
    Here(tokio::task::JoinHandle<()>),
}

impl Election {
    /// Waits for its end, which comes by itself once its sources have closed.
    async fn ended(self) {
        match self {
            Election::Thread(thread) => drop(tokio::task::spawn_blocking(move || thread.join()).await),
            Election::Here(task) => drop(task.await),
        }
    }
}

impl Node {
    /// What a node needs, to be completed with handlers and started.
    #[must_use]
    pub fn builder(config: NodeConfig) -> NodeBuilder {
        NodeBuilder::new(config)
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.core.node
    }

    /// Where other nodes reach it.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.core.mesh.addresses()
    }

    /// Answers requests on this node; cheap to clone, and valid as long as the node runs.
    #[must_use]
    pub fn api(&self) -> crate::api::SharedApi {
        Arc::new(NodeApi(Arc::clone(&self.core)))
    }

    /// What the sandbox around this node's tasks holds, found by trying when it started.
    #[must_use]
    pub fn findings(&self) -> &crate::task::Findings {
        &self.core.findings
    }

    /// Whether this node takes tasks: not if its sandbox holds less than [`SandboxSettings::require`].
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        self.core.sandbox().is_enough()
    }

    /// What happens on this node, in words, from now on.
    #[must_use]
    pub fn narration(&self) -> broadcast::Receiver<Narration> {
        self.core.narrator.listen()
    }

    /// Where this node stands in the election, whenever that changes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.core.standing.clone()
    }

    /// Waits until the node can't go on, and says why. It must then be dropped; starting it again is safe.
    pub async fn failed(&self) -> String {
        let mut failure = self.core.failure.subscribe();
        let why = failure.wait_for(Option::is_some).await.map(|why| why.clone().unwrap_or_default()).ok();
        match why {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Takes nothing new and waits until everything that runs here has ended and been reported.
    pub async fn drain(&self) {
        self.core.worker.drain();
        self.core.worker.idle().await;
    }

    /// Ends what runs here and closes the journal. What was acknowledged is on disk. A second call does nothing.
    pub async fn stop(&self) {
        let Some(mut loops) = self.loops.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.core.worker.drain();
        self.core.worker.cancel_all();
        loops.tasks.shutdown().await;
        self.core.journal.stop().await;
        self.core.mesh.close();
        // Its sources have closed with the mesh.
        loops.election.ended().await;
    }
}

/// What the simulator does to a node, and looks at.
#[cfg(any(test, feature = "sim"))]
impl Node {
    /// Ends it as the end of its process would: nothing more is sent, written or said. What is left are remains without
    /// effect; whoever calls this has seen to it that they reach no disk.
    pub(crate) fn kill(&self) {
        let Some(mut loops) = self.loops.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        loops.tasks.abort_all();
        if let Election::Here(task) = &loops.election {
            task.abort();
        }
        self.core.gate.set(None);
        self.core.mesh.close();
        let journal = Arc::clone(&self.core.journal);
        tokio::spawn(async move { journal.stop().await });
    }

    /// The term in which it may act at this moment.
    pub(crate) fn acting(&self) -> Option<crate::task::Term> {
        self.core.gate.acting()
    }

    /// Where it leads: every hand-out whose end has not come, with what its member last announced.
    pub(crate) fn handed_out(&self) -> Vec<(NodeId, crate::task::TaskId, crate::api::SandboxView)> {
        let all = self.core.desk.read(|leading| {
            let heard = leading.liveness.each().filter_map(|member| Some((member.node, member.heartbeat?.sandbox())));
            let held = heard.flat_map(|(node, sandbox)| {
                let open = leading.board.leases_of(node).filter(|(_, lease)| !lease.ended);
                open.map(move |(task, _)| (node, task, sandbox))
            });
            held.collect()
        });
        all.unwrap_or_default()
    }

    pub(crate) fn journal(&self) -> &crate::journal::RaftJournal {
        &self.core.journal
    }

    pub(crate) fn ledger(&self) -> &crate::journal::Ledger {
        &self.core.ledger
    }
}

struct NodeApi(Arc<Core>);

impl Api for NodeApi {
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Response, ApiError>> {
        let core = Arc::clone(&self.0);
        Box::pin(async move { requests::answer(&core, request).await })
    }
}
