//! Opens a node: the folder, its files, the mesh, the journal, the worker; then every loop is started.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dunlin_election::{self as election, History, Machine, Settings, Start};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::core::{Core, Names};
use super::desk::{self, DeskInput, DeskState};
use super::runner::SandboxRunner;
use super::surroundings::{Surroundings, system_entropy};
use super::{Belonging, ConfigError, Election, Loops, Node, NodeConfig, member, requests};
use crate::admission;
use crate::clock::{Clock, SystemClock};
use crate::journal::{Executor, JournalConfig, JournalError, RaftJournal};
use crate::leadership::{Belongs, Driver, Failing, Gate, Keep, KeepError, Naming, NarrationKind, Narrator, Sources, Standing};
use crate::mesh::wire::{self, MeshConfig, MeshError};
use crate::mesh::{Incoming, PeerEvent};
use crate::process::of_this_process;
use crate::sandbox::{Sandbox, SandboxConfig, SandboxError};
use crate::task::{Findings, Level, Need, NodeId};
use crate::worker::{DEFAULT_PATH, Handlers, Worker, WorkerConfig};

/// Peer events that may wait for the election's thread.
const PEER_QUEUE: usize = 1_024;

/// Connections to other nodes at a time.
const MAX_CONNECTIONS: u32 = 128;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A rule of the configuration is broken.
    #[error("the configuration is not valid")]
    Config(#[from] ConfigError),
    /// The data folder can't be used.
    #[error("the data folder {} can't be used", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the data folder {} is in use by another process; stop that one, or give this node another --data", .0.display())]
    InUse(PathBuf),
    /// A file of the election can't be used.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The mesh did not open.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The journal did not open.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The sandbox did not start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The operating system gave no random bytes or no thread.
    #[error("the operating system refused {what}: {detail}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its words.
        detail: String,
    },
}

/// A node that has not been started.
pub struct NodeBuilder {
    config: NodeConfig,
    handlers: Handlers,
}

impl NodeBuilder {
    pub(super) fn new(config: NodeConfig) -> Self {
        NodeBuilder { config, handlers: Handlers::default() }
    }

    /// The handlers that tasks may name.
    #[must_use]
    pub fn handlers(mut self, handlers: Handlers) -> Self {
        self.handlers = handlers;
        self
    }

    /// Starts the node on this tokio runtime. It is ready for requests when this returns; they wait for a leader.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(self) -> Result<Node, StartError> {
        self.config.validate()?;
        let lock = open_folder(&self.config.data)?;
        let keep = Keep::new(&self.config.data);
        let (boot, belongs) = (keep.count_boot()?, keep.belongs()?);
        let (mesh, inboxes) = wire::start(mesh_config(&self.config, boot)).await?;
        let sandbox = Sandbox::start(sandbox_config(&self.config))?;
        let surroundings = Surroundings {
            clock: Arc::new(SystemClock),
            entropy: system_entropy(),
            mesh,
            inboxes,
            journal: JournalConfig::new(&self.config.data, || SystemClock.wall()),
            findings: sandbox.findings().clone(),
            runner: Arc::new(SandboxRunner::new(sandbox)),
            keep,
            boot,
            belongs,
            lock: Some(lock),
        };
        self.start_in(surroundings).await
    }

    /// Starts the node in these surroundings.
    pub(crate) async fn start_in(self, surroundings: Surroundings) -> Result<Node, StartError> {
        let NodeBuilder { config, handlers } = self;
        let Surroundings { clock, entropy, mesh, inboxes, journal, runner, findings, keep, boot, belongs, lock } = surroundings;
        let (failure, _) = watch::channel(None::<String>);
        if let Some(belongs) = &belongs {
            mesh.enter(belongs.swarm);
        }
        let executor = journal.executor;
        let journal = Arc::new(RaftJournal::open(journal, mesh.clone(), inboxes.raft).await?);
        let ledger = journal.ledger();

        let node = mesh.local();
        let worker = Worker::start(worker_config(&config, node, &findings), runner, handlers);
        let gate = Gate::new(clock.clone());
        let narrator = Narrator::new(clock.clone());
        let first_standing =
            Standing { role: "founding", swarm: belongs.as_ref().map(|known| known.swarm), ..Standing::default() };
        let (standing, standing_seen) = watch::channel(first_standing);
        let (desk_inputs, desk_queue) = mpsc::channel(desk::QUEUE);
        let core = Arc::new(Core {
            node,
            boot,
            clock: clock.clone(),
            entropy,
            executor,
            admission: admission::Limits::default(),
            mesh: mesh.clone(),
            journal: journal.clone(),
            ledger: ledger.clone(),
            worker,
            findings,
            gate: gate.clone(),
            narrator: narrator.clone(),
            standing: standing_seen,
            desk: DeskState::default(),
            desk_inputs,
            names: Names::default(),
            counted: Mutex::default(),
            failure,
            config,
            _lock: lock,
        });
        core.names.learn(node, &core.config.name);
        tell_shortfall(&core);

        let driver = Driver {
            node,
            clock,
            mesh,
            journal: journal.clone(),
            ledger,
            keep: keep.clone(),
            gate,
            narrator,
            standing,
            names: naming(&core),
            fail: failing(&core),
        };
        let (machine, first) = machine(&core, &keep, belongs, &journal)?;
        let (peers, peers_for_election) = mpsc::channel(PEER_QUEUE);
        let sources = Sources { election: inboxes.election, founding: inboxes.founding, peers: peers_for_election };
        let election = run_election(&core, driver, machine, first, sources)?;

        let queues =
            Queues { peers: inboxes.peers, roster: inboxes.roster, work: inboxes.work, api: inboxes.api, desk: desk_queue };
        let tasks = spawn_loops(&core, &journal, queues, peers);
        Ok(Node { core, loops: Mutex::new(Some(Loops { tasks, election })) })
    }
}

/// Makes the folder if it is missing, private to its owner, and takes it for this process.
fn open_folder(path: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::Folder { path: path.to_owned(), source };
    if !path.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    }
    let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
    lock.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::InUse(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

/// The node's own folder is hidden, whatever its owner says.
fn sandbox_config(config: &NodeConfig) -> SandboxConfig {
    SandboxConfig {
        require: config.sandbox.require,
        at_most: config.sandbox.at_most.unwrap_or(Level::Full),
        hidden: std::iter::once(&config.data).chain(&config.sandbox.hide).cloned().collect(),
        readable: config.sandbox.read.clone(),
        cgroups: config.sandbox.cgroups,
        ..SandboxConfig::new(config.data.join("scratch"))
    }
}

fn mesh_config(config: &NodeConfig, boot: u64) -> MeshConfig {
    MeshConfig {
        listen: config.listen.clone(),
        peers: config.peers.clone(),
        mdns: config.mdns,
        name: config.name.clone(),
        boot,
        secret: config.secret.reveal().to_owned(),
        data: config.data.clone(),
        max_connections: MAX_CONNECTIONS,
        announce: None,
    }
}

fn worker_config(config: &NodeConfig, node: NodeId, findings: &Findings) -> WorkerConfig {
    WorkerConfig {
        node,
        name: config.name.clone(),
        pods: config.pods.clone(),
        defaults: config.task_defaults.clone(),
        scratch_root: config.data.join("scratch"),
        binary: std::env::current_exe().unwrap_or_default(),
        path: DEFAULT_PATH.to_owned(),
        holds: Need { level: findings.level, memory_enforced: findings.memory_enforced },
        requires: config.sandbox.require,
    }
}

/// A node that holds less than its owner asks for says so, what is missing, and what can be done about each.
fn tell_shortfall(core: &Core) {
    let Some(short) = core.sandbox().shortfall("this node") else { return };
    core.narrator
        .tell(NarrationKind::Warning, format!("{short}; it votes and leads as any other, and takes tasks once it holds that"));
    let settings = &core.config.sandbox;
    if let Some(at_most) = settings.at_most.filter(|at_most| *at_most < settings.require) {
        core.narrator.tell(
            NarrationKind::Warning,
            format!("`sandbox.level` allows {at_most} and no more: set it to {} or higher", settings.require),
        );
    }
    for missing in &core.findings.missing {
        core.narrator.tell(NarrationKind::Warning, format!("the sandbox lacks {missing}"));
    }
}

fn naming(core: &Arc<Core>) -> Naming {
    let core = Arc::downgrade(core);
    Arc::new(move |node| core.upgrade().map_or_else(|| node.to_string(), |core| core.name_of(node)))
}

fn failing(core: &Arc<Core>) -> Failing {
    let core = Arc::downgrade(core);
    Arc::new(move |error| {
        if let Some(core) = core.upgrade() {
            let causes: Vec<String> =
                std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string).collect();
            core.fail(&format!("{error}{}{}", if causes.is_empty() { "" } else { ": " }, causes.join(": ")));
        }
    })
}

/// The election's machine with what this node finds on its disk.
fn machine(
    core: &Core,
    keep: &Keep,
    belongs: Option<Belongs>,
    journal: &RaftJournal,
) -> Result<(Machine, election::Outputs), StartError> {
    let id = |node: &NodeId| election::NodeId(node.0);
    let expect = match core.config.belonging {
        Belonging::Expect(count) => u8::try_from(count.get()).unwrap_or(u8::MAX),
        Belonging::Join => 1,
    };
    let settings = Settings { expect, ..Settings::default() };
    let config =
        settings.validate().map_err(|error| StartError::System { what: "the election's settings", detail: error.to_string() })?;
    let raft = crate::journal::Journal::status(journal).borrow().clone();
    let pledge = |members: Vec<(NodeId, u32)>| {
        election::Pledge(members.iter().map(|(node, rank)| (id(node), election::Rank(*rank))).collect())
    };
    let history = match (belongs, core.config.belonging) {
        (Some(belongs), _) => {
            let charter = belongs.founders.map(|founders| election::Charter::new(pledge(founders)));
            let known: std::collections::BTreeSet<_> = raft.voters.iter().map(id).collect();
            let voters = match &charter {
                Some(charter) if known.is_empty() => charter.voters().clone(),
                _ => known,
            };
            History::Founded {
                swarm: election::SwarmId(belongs.swarm.0),
                charter,
                voters,
                position: election::Position { term: election::Term(raft.last.term.0), index: raft.last.index },
                raft_term: election::Term(raft.term.0),
                raft_leads: raft.is_leader.then_some(election::Term(raft.term.0)),
                has_voted: raft.term.0 > 0,
            }
        }
        (None, Belonging::Join) => History::Joining,
        (None, Belonging::Expect(_)) => History::Unfounded { pledge: keep.pledge()?.map(pledge) },
    };
    let seed = (core.entropy)().map_err(|detail| StartError::System { what: "random bytes", detail })?;
    let start = Start { me: id(&core.node), rank: election::Rank(core.config.rank), boot: core.boot, seed, history };
    let now = election::Instant::from_nanos(u64::try_from(core.clock.now().as_nanos()).unwrap_or(u64::MAX));
    Ok(Machine::new(config, start, now))
}

/// Beats must not wait for anything that this process does, so the election has a thread and a runtime of its own.
fn run_election(
    core: &Arc<Core>,
    driver: Driver,
    machine: Machine,
    first: election::Outputs,
    sources: Sources,
) -> Result<Election, StartError> {
    if core.executor == Executor::Inline {
        let run = guard(core.clone(), "the election", Box::pin(driver.run(machine, first, sources)));
        return Ok(Election::Here(tokio::spawn(of_this_process(run))));
    }
    let failed = |error: std::io::Error| StartError::System { what: "a thread for the election", detail: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let core = core.clone();
    let run = move || runtime.block_on(guard(core, "the election", Box::pin(driver.run(machine, first, sources))));
    std::thread::Builder::new().name("election".to_owned()).spawn(run).map(Election::Thread).map_err(failed)
}

/// What the node's loops read.
struct Queues {
    peers: mpsc::Receiver<PeerEvent>,
    roster: mpsc::Receiver<Incoming>,
    work: mpsc::Receiver<Incoming>,
    api: mpsc::Receiver<Incoming>,
    desk: mpsc::Receiver<DeskInput>,
}

fn spawn_loops(
    core: &Arc<Core>,
    journal: &Arc<RaftJournal>,
    queues: Queues,
    to_election: mpsc::Sender<PeerEvent>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut run = |part, work: BoxFuture<'static, ()>| tasks.spawn(of_this_process(guard(core.clone(), part, work)));
    run("passing on peers", Box::pin(pass_on_peers(core.clone(), queues.peers, to_election)));
    run("the desk", Box::pin(desk::run(core.clone(), queues.desk)));
    run("reporting", Box::pin(member::report(core.clone())));
    run("taking heartbeats", Box::pin(member::take_heartbeats(core.clone(), queues.roster)));
    run("taking work", Box::pin(member::take_work(core.clone(), queues.work)));
    run("answering other nodes", Box::pin(requests::serve(core.clone(), queues.api)));
    run("watching the journal", Box::pin(watch_journal(core.clone(), journal.clone())));
    tasks
}

/// Runs one of the node's loops. A bug that ends one by a panic leaves its state in doubt: the node stops.
async fn guard(core: Arc<Core>, part: &'static str, work: BoxFuture<'static, ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        core.fail(&format!("{part} panicked; the log above says where"));
    }
}

/// Tells the election and the desk who came and went, and learns names.
async fn pass_on_peers(core: Arc<Core>, mut events: mpsc::Receiver<PeerEvent>, election: mpsc::Sender<PeerEvent>) {
    while let Some(event) = events.recv().await {
        match &event {
            PeerEvent::Up(peer) => core.names.learn(peer.node, &peer.name),
            PeerEvent::Down { node, gone } => {
                let _ = core.desk_inputs.send(DeskInput::PeerDown { node: *node, gone: *gone }).await;
            }
            PeerEvent::Refused { .. } => {}
        }
        if election.send(event).await.is_err() {
            return;
        }
    }
}

/// A journal that has stopped stops the node: it could not keep a promise any more.
async fn watch_journal(core: Arc<Core>, journal: Arc<RaftJournal>) {
    if let Ok(why) = journal.stopped().wait_for(Option::is_some).await {
        core.fail(&format!("the journal has stopped: {}", why.as_deref().unwrap_or_default()));
    }
}
