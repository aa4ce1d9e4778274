//! The zygote as the node sees it, and the supervisors that wait for a task: some prepared ahead, some that have served.
//!
//! In come orders, each with the ground that it needs; out comes the control line of a supervisor that has it. A supervisor
//! is kept for a minute at most: it holds a picture of the machine's mounts, which must not grow old.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::SandboxError;
use crate::sandbox::shelter::Ground;
use crate::sandbox::wire::{self, Lines, Wanted};
use crate::sandbox::zygote::handlers::ZYGOTE;

/// Set in a zygote's environment: a program that starts a sandbox there forgot to call `enter_if_child`.
pub(super) const IN_ZYGOTE: &str = "DUNLIN_SANDBOX_ZYGOTE";
/// How long a new zygote may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// Supervisors that wait for a task, at most.
const MAX_IDLE: usize = 16;
/// How old one may grow.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Between two looks for those that have grown too old.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// One zygote, from its start until nobody uses it any more.
#[derive(Debug)]
pub(super) struct Zygote {
    pub(super) pid: u32,
    socket: Option<UnixStream>,
    child: Option<Child>,
    idle: Mutex<Vec<Hand>>,
    preparing: AtomicBool,
    sweeping: AtomicBool,
}

/// One supervisor that has nothing to do.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) control: UnixStream,
    ground: Arc<Ground>,
    born: Instant,
    zygote: Weak<Zygote>,
}

/// A supervisor that has an order, and how much of its frame it has.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) hand: Hand,
    pub(super) sent: usize,
}

impl Hand {
    /// Goes to those that wait for a task, unless its zygote is gone.
    pub(super) fn rest(self) {
        if let Some(zygote) = self.zygote.upgrade() {
            zygote.keep(self);
        }
    }

    fn is_fresh(&self) -> bool {
        self.born.elapsed() < MAX_AGE
    }

    async fn send(&self, frame: &[u8], lines: &Lines) -> io::Result<usize> {
        let send = || Ok(wire::send_order(self.control.as_fd(), frame, lines)?);
        self.control.async_io(Interest::WRITABLE, send).await
    }
}

impl Zygote {
    /// Starts one and waits until it is ready; within a tokio runtime.
    pub(super) fn start(binary: &Path) -> Result<Arc<Zygote>, SandboxError> {
        let fault = |source| SandboxError::Zygote { binary: binary.to_owned(), source };
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| fault(e.into()))?;
        let mut command = Command::new(binary);
        command.arg0("dunlin").arg(ZYGOTE).env_clear().env(IN_ZYGOTE, "1");
        let child = command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn().map_err(fault)?;
        drop(command); // It holds the zygote's end of the socket, whose closing tells of its death.
        let pid = child.id();
        let (idle, preparing, sweeping) = (Mutex::default(), AtomicBool::new(false), AtomicBool::new(false));
        let mut zygote = Zygote { pid, socket: None, child: Some(child), idle, preparing, sweeping };
        if !is_ready(&ours).map_err(|e| fault(e.into()))? {
            if let Some(child) = &mut zygote.child {
                let _ = child.kill(); // Whatever it is, it does not listen to the socket's end.
            }
            return Err(SandboxError::NotAZygote { binary: binary.to_owned() });
        }
        // Packets or a stream: waiting for a socket is the same, and only that is asked of it.
        let socket = StdUnixStream::from(ours);
        socket.set_nonblocking(true).map_err(fault)?;
        zygote.socket = Some(UnixStream::from_std(socket).map_err(fault)?);
        Ok(Arc::new(zygote))
    }

    /// Whether its end of the socket is open.
    pub(super) fn is_alive(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| !wire::is_spoilt(socket.as_fd()))
    }

    /// Asks for something that gets the other end of a control line; does not wait.
    pub(super) fn ask(&self, wanted: Wanted, theirs: BorrowedFd<'_>) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(wire::send_wanted(socket.as_fd(), wanted, theirs)?)
    }

    /// Hands an order to one that waits on such a ground, or to a new one.
    ///
    /// # Errors
    /// If the zygote is gone ([`is_death`]) or no line can be made.
    pub(super) async fn order(self: &Arc<Self>, ground: &Arc<Ground>, frame: &[u8], lines: &Lines) -> io::Result<Ordered> {
        while let Some(hand) = self.take(ground) {
            // One that has died in this very moment has not begun.
            if let Ok(sent) = hand.send(frame, lines).await {
                return Ok(Ordered { hand, sent });
            }
        }
        let hand = self.hire(ground).await?;
        // If it was not born, the reason is on the line already.
        let sent = hand.send(frame, lines).await.unwrap_or(frame.len());
        Ok(Ordered { hand, sent })
    }

    /// One that waits; the next one is prepared meanwhile if it was the last.
    fn take(self: &Arc<Self>, ground: &Arc<Ground>) -> Option<Hand> {
        let mut idle = self.idle();
        let mut found = None;
        while let Some(at) = idle.iter().rposition(|hand| hand.ground == *ground) {
            let hand = idle.remove(at);
            if hand.is_fresh() && !wire::is_spoilt(hand.control.as_fd()) {
                found = Some(hand);
                break;
            }
        }
        let another = ground.keeps() && !idle.iter().any(|hand| hand.ground == *ground);
        drop(idle);
        if another {
            self.prepare(ground);
        }
        found
    }

    /// Has one prepared in the background, one at a time.
    pub(super) fn prepare(self: &Arc<Self>, ground: &Arc<Ground>) {
        if self.preparing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (zygote, ground) = (Arc::clone(self), Arc::clone(ground));
        tokio::spawn(async move {
            let hired = zygote.hire(&ground).await;
            zygote.preparing.store(false, Ordering::Release);
            if let Ok(hand) = hired {
                zygote.keep(hand); // One that could not be hired is missed by the next task, which says why.
            }
        });
    }

    async fn hire(self: &Arc<Self>, ground: &Arc<Ground>) -> io::Result<Hand> {
        let frame = wire::frame(&**ground)?;
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut control = UnixStream::from_std(ours)?;
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let wanted = Wanted::Supervisor(ground.shelter.birth);
        socket.async_io(Interest::WRITABLE, || Ok(wire::send_wanted(socket.as_fd(), wanted, theirs.as_fd())?)).await?;
        drop(theirs);
        let _ = control.write_all(&frame).await; // As above.
        Ok(Hand { control, ground: Arc::clone(ground), born: Instant::now(), zygote: Arc::downgrade(self) })
    }

    fn keep(self: &Arc<Self>, hand: Hand) {
        let mut idle = self.idle();
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(hand);
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Hand>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets those go that have grown old, until none is left.
async fn sweep(zygote: Weak<Zygote>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(zygote) = zygote.upgrade() else { return };
        let mut idle = zygote.idle();
        idle.retain(Hand::is_fresh);
        if idle.is_empty() {
            zygote.sweeping.store(false, Ordering::Release);
            return;
        }
    }
}

impl Drop for Zygote {
    /// Closes its socket, upon which it ends as soon as its supervisors have; somebody must wait for it then.
    fn drop(&mut self) {
        self.idle().clear();
        drop(self.socket.take());
        if let Some(mut child) = self.child.take()
            && !matches!(child.try_wait(), Ok(Some(_)))
        {
            let _ = std::thread::Builder::new().name("zygote-reaper".to_owned()).spawn(move || child.wait());
        }
    }
}

/// Whether this is what a socket says whose other end is gone.
pub(super) fn is_death(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

fn is_ready(zygote: &OwnedFd) -> Result<bool, Errno> {
    let limit = Timespec::try_from(READY_WITHIN).map_err(|_| Errno::INVAL)?;
    let mut poll = [PollFd::new(zygote, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, Some(&limit)))?;
    Ok(ready == 1 && wire::recv_ready(zygote.as_fd()).unwrap_or(false))
}
