//! The node's side of the sandbox: starts the zygote and, if it dies, another one; runs launches through it.
//!
//! In come launches, out come reports, always: a fault of ours is an outcome like any other. The node never forks.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::attempt::Attempt;
use super::handlers::{THIS_PROGRAM, ZYGOTE};
use super::plan::Level;
use super::scratch::ScratchRoot;
use super::spec::{Launch, Output, Report};
use super::wire::{self, Lines};
use crate::task::{LostWhy, Outcome};

/// Set in a zygote's environment: a program that starts a sandbox there forgot to call `enter_if_child`.
const IN_ZYGOTE: &str = "DUNLIN_SANDBOX_ZYGOTE";
/// How long a new zygote may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// Zygotes tried for one launch.
const MAX_ZYGOTES: usize = 3;

/// What a sandbox needs to know.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// The binary that becomes the zygote; it must call [`enter_if_child`](super::enter_if_child) first in `main`.
    pub binary: PathBuf,
    /// The directory of all scratch directories. It belongs to this sandbox alone: whatever is in it is removed.
    pub scratch_root: PathBuf,
}

impl SandboxConfig {
    /// The running binary as its own zygote.
    #[must_use]
    pub fn new(scratch_root: impl Into<PathBuf>) -> Self {
        SandboxConfig { binary: THIS_PROGRAM.into(), scratch_root: scratch_root.into() }
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
pub(super) struct Shared {
    config: SandboxConfig,
    zygote: Mutex<Arc<Zygote>>,
    pub(super) scratch: ScratchRoot,
    /// The standard input of tasks that get none.
    pub(super) nothing: File,
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
        let zygote = Mutex::new(Arc::new(Zygote::start(&config)?));
        Ok(Sandbox { shared: Arc::new(Shared { config, zygote, scratch, nothing }) })
    }

    /// What this sandbox can hold on this machine.
    #[must_use]
    pub fn level(&self) -> Level {
        Level::ProcessOnly
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
        let attempt = Attempt { shared: Arc::clone(&self.shared), launch, stdin, cancel, dropped, live };
        let report = tokio::spawn(attempt.run()).await;
        report.unwrap_or_else(|_| Report::without_outputs(Outcome::Lost(LostWhy::SupervisorDied)))
    }
}

impl Shared {
    fn zygote(&self) -> Arc<Zygote> {
        Arc::clone(&self.zygote.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has a supervisor started that holds `lines`.
    pub(super) async fn launch(&self, lines: &Lines) -> io::Result<()> {
        let mut last = io::Error::from(io::ErrorKind::BrokenPipe);
        for _ in 0..MAX_ZYGOTES {
            let zygote = self.zygote();
            match zygote.send(lines).await {
                Ok(()) => return Ok(()),
                Err(error) if is_death(&error) => last = error,
                Err(error) => return Err(error),
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
            *current = Arc::new(Zygote::start(&self.config)?);
        }
        Ok(())
    }
}

/// One zygote, from its start until nobody uses it any more.
#[derive(Debug)]
struct Zygote {
    pid: u32,
    socket: Option<UnixStream>,
    child: Option<Child>,
}

impl Zygote {
    fn start(config: &SandboxConfig) -> Result<Zygote, SandboxError> {
        let fault = |source| SandboxError::Zygote { binary: config.binary.clone(), source };
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| fault(e.into()))?;
        let mut command = Command::new(&config.binary);
        command.arg0("dunlin").arg(ZYGOTE).env_clear().env(IN_ZYGOTE, "1");
        let child = command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn().map_err(fault)?;
        drop(command); // It holds the zygote's end of the socket, whose closing tells of its death.
        let pid = child.id();
        let mut zygote = Zygote { pid, socket: None, child: Some(child) };
        if !is_ready(&ours).map_err(|e| fault(e.into()))? {
            if let Some(child) = &mut zygote.child {
                let _ = child.kill(); // Whatever it is, it does not listen to the socket's end.
            }
            return Err(SandboxError::NotAZygote { binary: config.binary.clone() });
        }
        // Packets or a stream: waiting for a socket is the same, and only that is asked of it.
        let socket = StdUnixStream::from(ours);
        socket.set_nonblocking(true).map_err(fault)?;
        zygote.socket = Some(UnixStream::from_std(socket).map_err(fault)?);
        Ok(zygote)
    }

    async fn send(&self, lines: &Lines) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        socket.async_io(Interest::WRITABLE, || Ok(wire::send_lines(socket.as_fd(), lines)?)).await
    }
}

impl Drop for Zygote {
    /// Closes its socket, upon which it ends as soon as its supervisors have; somebody must wait for it then.
    fn drop(&mut self) {
        drop(self.socket.take());
        if let Some(mut child) = self.child.take()
            && !matches!(child.try_wait(), Ok(Some(_)))
        {
            let _ = std::thread::Builder::new().name("zygote-reaper".to_owned()).spawn(move || child.wait());
        }
    }
}

/// Whether this is what a socket says whose other end is gone.
fn is_death(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

fn is_ready(zygote: &OwnedFd) -> Result<bool, Errno> {
    let limit = Timespec::try_from(READY_WITHIN).map_err(|_| Errno::INVAL)?;
    let mut poll = [PollFd::new(zygote, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, Some(&limit)))?;
    Ok(ready == 1 && wire::recv_ready(zygote.as_fd()).unwrap_or(false))
}
