//! The node's side of the sandbox: starts the zygote and, if it dies, another one; runs launches through it.
//!
//! In come launches, out come reports, always: a fault of ours is an outcome like any other. The node never forks.

mod attempt;
mod capture;
mod cgroup;
mod crew;
mod slots;
mod survey;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::sandbox::plan::Plan;
use crate::sandbox::program::THIS_PROGRAM;
use crate::sandbox::scratch::ScratchRoot;
use crate::sandbox::shelter::{Ground, Settled, Shelter};
use crate::sandbox::spec::{Isolation, Launch, Output, Report, ResolvedLimits};
use crate::sandbox::wire::Lines;
use crate::sandbox::zygote::probe::Probed;
use crate::task::{Findings, Level, LostWhy, Missing, Outcome};
use attempt::Attempt;
use cgroup::Account;
use crew::{IN_ZYGOTE, Ordered, Zygote};
use slots::Slots;

/// Zygotes tried for one launch.
const MAX_ZYGOTES: usize = 3;

/// What a sandbox needs to know.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// The binary that becomes the zygote; it must call [`enter_if_child`](super::enter_if_child) first in `main`.
    pub binary: PathBuf,
    /// The directory of all scratch directories. It belongs to this sandbox alone: whatever is in it is removed.
    pub scratch_root: PathBuf,
    /// The least that the machine must hold: launches are refused below it (`sandbox.require`).
    pub require: Level,
    /// The most that is used of what the machine holds.
    pub at_most: Level,
    /// Absolute paths that no task may see: the node's data folder, its key and its socket wherever they are. The
    /// scratch directory may lie inside.
    pub hidden: Vec<PathBuf>,
    /// Absolute paths that a task may ask to read ([`Isolation::read`](super::Isolation::read)), and what lies below.
    pub readable: Vec<PathBuf>,
    /// Whether the kernel is to count what tasks use, where this process's cgroup is its own to take over.
    pub cgroups: bool,
    /// Whether this process is closed to debuggers and other processes of its user.
    pub protect_node: bool,
}

impl SandboxConfig {
    /// The running binary as its own zygote, everything that the machine holds, nothing hidden, nothing granted.
    #[must_use]
    pub fn new(scratch_root: impl Into<PathBuf>) -> Self {
        SandboxConfig {
            binary: THIS_PROGRAM.into(),
            scratch_root: scratch_root.into(),
            require: Level::ProcessOnly,
            at_most: Level::Full,
            hidden: Vec::new(),
            readable: Vec::new(),
            cgroups: true,
            protect_node: true,
        }
    }
}

/// Why a sandbox can't be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The directory for scratch directories can't be made or emptied.
    #[error("the scratch directory {} can't be prepared", path.display())]
    Scratch {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The zygote can't be started.
    #[error("the sandbox's zygote {} can't be started", binary.display())]
    Zygote {
        /// The binary.
        binary: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The binary started, but as something else.
    #[error("{} started, but not as a zygote: does it call `enter_if_child` first in `main`?", binary.display())]
    NotAZygote {
        /// The binary.
        binary: PathBuf,
    },
    /// This process could not be closed to debuggers and others of its user.
    #[error("this process can't be closed to other processes of its user")]
    Unprotected {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This process is itself what a sandbox started as its zygote.
    #[error("this process was started as a zygote: call `enter_if_child` first in `main`")]
    Nested,
}

/// The running sandbox of a node; clones are the same one.
#[derive(Clone, Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

/// What every attempt needs of its sandbox.
#[derive(Debug)]
struct Shared {
    config: SandboxConfig,
    zygote: Mutex<Arc<Zygote>>,
    probed: Probed,
    /// Where the kernel counts what each task uses.
    account: Option<Account>,
    slots: Slots,
    scratch: ScratchRoot,
    /// The standard input of tasks that get none.
    nothing: File,
}

impl Sandbox {
    /// Prepares the scratch directory and starts the zygote, which takes some milliseconds.
    ///
    /// Best called before the node has loaded anything; within a tokio runtime.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub fn start(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        if std::env::var_os(IN_ZYGOTE).is_some() {
            return Err(SandboxError::Nested);
        }
        let scratch_fault = |source| SandboxError::Scratch { path: config.scratch_root.clone(), source };
        let scratch = ScratchRoot::open(&config.scratch_root).map_err(scratch_fault)?;
        let nothing = fs::File::open("/dev/null").map_err(scratch_fault)?;
        let config = config.with_real_paths();
        let zygote = Zygote::start(&config.binary)?;
        let (probed, account) = survey::of(&zygote, &config, &scratch);
        if config.protect_node {
            let closed = rustix::process::DumpableBehavior::NotDumpable;
            rustix::process::set_dumpable_behavior(closed).map_err(|e| SandboxError::Unprotected { source: e.into() })?;
        }
        let (slots, zygote) = (Slots::new(probed.first_user), Mutex::new(zygote));
        let shared = Shared { config, zygote, probed, account, slots, scratch, nothing };
        shared.prepare_for_the_first();
        Ok(Sandbox { shared: Arc::new(shared) })
    }

    /// What this sandbox holds on this machine, and what it does not and why.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.shared.probed.findings
    }

    /// What follows from the findings.
    #[must_use]
    pub fn level(&self) -> Level {
        self.findings().level
    }

    /// The steps that `launch` would be started by, for people.
    ///
    /// # Errors
    /// The outcome of a launch that would be refused.
    pub fn plan(&self, launch: &Launch) -> Result<Plan, Outcome> {
        Ok(Plan::for_launch(launch, &self.shared.shelter(&launch.isolation)?))
    }

    /// Process id of the zygote, for people and tests.
    #[must_use]
    pub fn zygote_pid(&self) -> u32 {
        self.shared.zygote().pid
    }

    /// Runs one launch to its end. Never fails: a fault of ours is `SetupFailed` or `Lost`.
    ///
    /// `true` in `cancel` ends the task as cancelled; so does dropping this future, whose task is then taken away in the
    /// background. `live` gets what the task writes as long as it keeps up. At the end nothing of the task is left:
    /// no process, no directory, no descriptor.
    pub async fn run(
        &self,
        launch: Launch,
        stdin: Bytes,
        cancel: watch::Receiver<bool>,
        live: Option<mpsc::Sender<Output>>,
    ) -> Report {
        let (_waiting, dropped) = oneshot::channel();
        let attempt = Attempt { shared: Arc::clone(&self.shared), launch, stdin, cancel, dropped, live, told: false };
        let report = tokio::spawn(attempt.run()).await;
        report.unwrap_or_else(|_| Report::without_outputs(Outcome::Lost(LostWhy::SupervisorDied)))
    }
}

impl Shared {
    /// What stands around a launch of this isolation; the outcome of one that is refused.
    fn shelter(&self, isolation: &Isolation) -> Result<Shelter, Outcome> {
        let (required, findings) = (isolation.require.max(self.config.require), &self.probed.findings);
        if findings.level < required {
            let why = findings.missing.first().map(Missing::to_string).unwrap_or_default();
            return Err(Outcome::LevelRefused { required, found: findings.level, why });
        }
        let settled = Settled { hidden: &self.config.hidden, readable: &self.config.readable };
        // A link in what a task names must not lead around what its owner allows.
        let read = isolation.read.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        let isolation = Isolation { read, ..isolation.clone() };
        let refused = |error: &str| Outcome::SetupFailed {
            step: format!("give it network {}", isolation.network),
            error: error.to_owned(),
        };
        Shelter::of(findings, self.probed.birth, settled, &isolation).map_err(refused)
    }

    /// Has a supervisor prepared for a task that asks for nothing special, as most do.
    fn prepare_for_the_first(&self) {
        if let Ok(shelter) = self.shelter(&Isolation::default()) {
            self.zygote().prepare(&self.ground(&shelter, &ResolvedLimits::default()));
        }
    }

    /// What a launch in `shelter` stands on.
    fn ground(&self, shelter: &Shelter, limits: &ResolvedLimits) -> Arc<Ground> {
        Arc::new(Ground::of(shelter, self.scratch.path(), limits))
    }

    fn zygote(&self) -> Arc<Zygote> {
        Arc::clone(&self.zygote.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands an order to a supervisor on `ground`: to one that waits for it, or to a new one.
    async fn order(&self, ground: &Arc<Ground>, frame: &[u8], lines: &Lines) -> io::Result<Ordered> {
        let mut last = io::Error::from(io::ErrorKind::BrokenPipe);
        for _ in 0..MAX_ZYGOTES {
            let zygote = self.zygote();
            if zygote.is_alive() {
                match zygote.order(ground, frame, lines).await {
                    Ok(ordered) => return Ok(ordered),
                    Err(error) if crew::is_death(&error) => last = error,
                    Err(error) => return Err(error),
                }
            }
            self.replace(&zygote).map_err(io::Error::other)?;
        }
        Err(last)
    }

    /// Starts another zygote unless somebody else already has.
    fn replace(&self, dead: &Arc<Zygote>) -> Result<(), SandboxError> {
        let mut current = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, dead) {
            tracing::warn!(pid = dead.pid, "the sandbox's zygote died; starting another");
            *current = Zygote::start(&self.config.binary)?;
        }
        Ok(())
    }
}

impl SandboxConfig {
    /// Links in the paths are followed now: a mount covers what a link leads to.
    fn with_real_paths(mut self) -> Self {
        let real = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        self.hidden = self.hidden.iter().map(real).collect();
        self.readable = self.readable.iter().map(real).collect();
        self
    }
}
