//! The zygote: this binary once more, small and single-threaded, from which every supervisor is forked.
//!
//! In come packets with one descriptor each on its standard input, a SEQPACKET socket; its end means that the node is gone.
//! Out go supervisors. It reads nothing of what is meant for them. It adopts what a killed supervisor leaves behind and kills it.

pub(in crate::sandbox) mod handlers;
pub(in crate::sandbox) mod probe;
mod remedy;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::AssertUnwindSafe;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal, WaitOptions};

use crate::sandbox::kernel::sys::{self, Forked, SingleThreaded, Wake};
use crate::sandbox::kernel::{self, Namespaces};
use crate::sandbox::shelter::Birth;
use crate::sandbox::supervisor;
use crate::sandbox::supervisor::guard;
use crate::sandbox::supervisor::surroundings::Ids;
use crate::sandbox::supervisor::tree;
use crate::sandbox::wire::{self, Ended, Received, Wanted};
use crate::task::{Outcome, Usage};

/// Exit code of a supervisor that could not report.
const NO_REPORT: i32 = 70;
/// What tasks' new files are not: writable by others.
const TASK_UMASK: rustix::fs::Mode = rustix::fs::Mode::WGRP.union(rustix::fs::Mode::WOTH);

/// The namespaces of every task; that of the network is made on request, because it costs as much as the others together.
pub(in crate::sandbox) const TASK_NAMESPACES: Namespaces =
    Namespaces::PID.and(Namespaces::MOUNT).and(Namespaces::IPC).and(Namespaces::UTS);

/// Serves the node at standard input until it is gone and every supervisor has ended.
///
/// # Errors
/// If this process is not what a zygote must be: alone in its process, with a socket at its standard input.
pub(in crate::sandbox) fn serve() -> io::Result<()> {
    let alone = SingleThreaded::check()?;
    let node = sys::take_stdin();
    let socket_type = rustix::net::sockopt::socket_type(&node)?;
    if socket_type != rustix::net::SocketType::SEQPACKET {
        return Err(io::Error::other("its standard input is not a node's socket"));
    }
    sys::adopt_signal_habits()?;
    // Ctrl-C at the node's terminal is the node's affair.
    let _ = rustix::process::setsid();
    // Tasks are to find the same, however the node was started; their own directory is closed to others anyway.
    rustix::process::umask(TASK_UMASK);
    rustix::process::chdir("/")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    sys::close_from(3)?;
    // Tasks of the same user must not look into it. It has no secret, but the socket of its node.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    wire::send_ready(node.as_fd())?;
    Zygote { alone, node: Some(node), supervisors: BTreeSet::new(), orphans: false }.run()
}

struct Zygote {
    alone: SingleThreaded,
    /// `None` once the node is gone.
    node: Option<OwnedFd>,
    /// At most as many as the node launches at once.
    supervisors: BTreeSet<i32>,
    /// Whether some supervisor ended in a way that may have left processes.
    orphans: bool,
}

impl Zygote {
    fn run(mut self) -> io::Result<()> {
        loop {
            let wake = sys::wait_readable(self.node.as_ref().map(AsFd::as_fd), None)?;
            match wake {
                Wake::Readable => self.receive()?,
                Wake::Signal | Wake::Time => {}
            }
            let nobody = (wake == Wake::Signal || self.node.is_none()) && self.reap();
            if nobody && self.node.is_none() {
                return Ok(());
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let Some(node) = &self.node else { return Ok(()) };
        match wire::recv_wanted(node.as_fd()) {
            Ok(Received::Wanted(wanted, control)) => self.launch(wanted, control),
            Ok(Received::End) => {
                self.node = None;
                Ok(())
            }
            Ok(Received::Nonsense) | Err(Errno::AGAIN | Errno::INTR | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => Ok(()),
            Err(_) => {
                self.node = None;
                Ok(())
            }
        }
    }

    /// Forks a supervisor, or reports in its place why there is none.
    fn launch(&mut self, wanted: Wanted, control: OwnedFd) -> io::Result<()> {
        let ids = Ids::own();
        match self.fork(wanted) {
            Ok(Forked::Parent(pid)) => {
                self.supervisors.insert(pid.as_raw_pid());
                Ok(())
            }
            Ok(Forked::Child) => {
                // The node must see its zygote's death, so nobody else may keep this socket open.
                self.node = None;
                let alone = &self.alone;
                let done = std::panic::catch_unwind(AssertUnwindSafe(|| match wanted {
                    Wanted::Supervisor(_) => supervisor::serve(alone, ids, control),
                    Wanted::Probe => probe::answer(alone, ids, control),
                }));
                sys::exit_now(if matches!(done, Ok(Ok(()))) { 0 } else { NO_REPORT })
            }
            Err(error) => {
                let outcome = Outcome::SetupFailed { step: "start a supervisor".to_owned(), error: error.to_string() };
                let report = wire::frame(&Ended { outcome, usage: Usage::default(), again: false })?;
                // A node that is gone needs no report.
                let _ = rustix::io::write(&control, &report);
                Ok(())
            }
        }
    }

    fn fork(&self, wanted: Wanted) -> io::Result<Forked> {
        match wanted {
            Wanted::Supervisor(Birth::Fork) | Wanted::Probe => self.alone.fork(),
            Wanted::Supervisor(Birth::Namespaces) => kernel::fork_into(&self.alone, TASK_NAMESPACES),
            Wanted::Supervisor(Birth::UserNamespace) => kernel::fork_into(&self.alone, TASK_NAMESPACES.and(Namespaces::USER)),
        }
    }

    /// Waits for every child that has ended and kills what supervisors left; true if no child is left at all.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let supervisor = self.supervisors.remove(&pid.as_raw_pid());
                    self.orphans |= !supervisor || status.exit_status() != Some(0);
                }
                Ok(None) => break,
                Err(_) => return true,
            }
        }
        // With the node gone and no supervisor left, nobody else is in charge of whatever is there.
        let last = self.node.is_none() && self.supervisors.is_empty();
        if self.orphans || last {
            let left = tree::descendants(rustix::process::getpid(), &self.supervisors);
            guard::signal_all(&left, None, Signal::KILL);
            self.orphans = !left.is_empty();
        }
        false
    }
}
