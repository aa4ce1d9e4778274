//! The target's side of a launch: executes the plan's steps and becomes the program.
//!
//! It runs in a process that shares its supervisor's memory until exec, so everything is prepared beforehand, and from
//! its first step on it only makes system calls: no allocation, no lock, no panic.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Gid, Resource, Rlimit, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::sandbox::kernel;
use crate::sandbox::kernel::sys::{self, PointerList};
use crate::sandbox::plan::{Limited, Plan, Step};
use crate::sandbox::program::Program;

/// The three descriptors of the program, and one that it does not get.
pub(in crate::sandbox) struct Stdio {
    pub(in crate::sandbox) stdin: OwnedFd,
    pub(in crate::sandbox) stdout: OwnedFd,
    pub(in crate::sandbox) stderr: OwnedFd,
    /// The entrance of its cgroup.
    pub(in crate::sandbox) cgroup: Option<OwnedFd>,
}

/// Which step failed and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Failure {
    /// Index into the plan's steps.
    pub(in crate::sandbox) step: usize,
    /// The kernel's number.
    pub(in crate::sandbox) errno: i32,
}

/// Everything that the steps need, made before the target is born.
pub(in crate::sandbox) struct Target<'a> {
    steps: &'a [Step],
    stdio: &'a Stdio,
    /// Landlock's.
    ruleset: Option<&'a OwnedFd>,
    scratch: &'a CStr,
    candidates: &'a [CString],
    argv: PointerList<'a>,
    envp: PointerList<'a>,
    /// Set when a step failed; the supervisor reads it.
    pub(in crate::sandbox) failure: Option<Failure>,
}

impl<'a> Target<'a> {
    pub(in crate::sandbox) fn prepare(
        plan: &'a Plan,
        program: &'a Program,
        scratch: &'a CStr,
        (stdio, ruleset): (&'a Stdio, Option<&'a OwnedFd>),
    ) -> Self {
        Target {
            steps: &plan.steps,
            stdio,
            ruleset,
            scratch,
            candidates: &program.candidates,
            argv: PointerList::new(program.argv.iter().map(CString::as_c_str)),
            envp: PointerList::new(program.envp.iter().map(CString::as_c_str)),
            failure: None,
        }
    }

    /// Executes the steps; comes back only if one failed, and has then noted which.
    pub(in crate::sandbox) fn run(&mut self) {
        for (step, what) in self.steps.iter().enumerate() {
            if let Err(error) = self.execute(what) {
                self.failure = Some(Failure { step, errno: error.raw_os_error().unwrap_or(0) });
                return;
            }
        }
    }

    fn execute(&self, step: &Step) -> io::Result<()> {
        match step {
            Step::NewSession => rustix::process::setsid().map(drop)?,
            Step::DieWithSupervisor => rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?,
            Step::Rlimit(what, limit) => limit_resource(*what, *limit)?,
            Step::Chdir => rustix::process::chdir(self.scratch)?,
            Step::Stdio => {
                rustix::stdio::dup2_stdin(self.stdio.stdin.as_fd())?;
                rustix::stdio::dup2_stdout(self.stdio.stdout.as_fd())?;
                rustix::stdio::dup2_stderr(self.stdio.stderr.as_fd())?;
            }
            Step::EnterCgroup => match &self.stdio.cgroup {
                Some(entrance) => rustix::io::write(entrance, b"0").map(drop)?,
                None => return Err(io::Error::from_raw_os_error(libc::ENOENT)),
            },
            Step::BecomeUser(user) => become_user(*user)?,
            Step::DropCapabilities => drop_capabilities()?,
            Step::Landlock(_) => match self.ruleset {
                Some(ruleset) => kernel::landlock_restrict(ruleset.as_fd())?,
                None => return Err(io::Error::from_raw_os_error(libc::ENOSYS)),
            },
            Step::ResetSignals => sys::release_signals()?,
            Step::NoNewPrivs => rustix::thread::set_no_new_privs(true)?,
            Step::CloseFds(first) => sys::close_from(*first)?,
            Step::Exec => return Err(self.exec()),
            // The supervisor's.
            Step::MapUser
            | Step::OwnNetwork
            | Step::PrivateMounts
            | Step::Cover
            | Step::ReadOnlyMounts
            | Step::WritableScratch
            | Step::SharedMemory(_)
            | Step::Seccomp(_)
            | Step::OomScoreAdj(_)
            | Step::FreshProc => {}
        }
        Ok(())
    }

    /// Tries the candidates as shells do: a missing one is passed over, and so is a forbidden one, but then it is told.
    fn exec(&self) -> io::Error {
        let mut told = libc::ENOENT;
        for path in self.candidates {
            let error = sys::execute(path, &self.argv, &self.envp);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) if self.candidates.len() > 1 => {}
                Some(libc::EACCES) => told = libc::EACCES,
                _ => return error,
            }
        }
        io::Error::from_raw_os_error(told)
    }
}

/// Groups first: afterwards it would lack the right to change them.
pub(in crate::sandbox) fn become_user(user: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// A node that was itself started with less than was asked for gives what it has.
fn limit_resource(what: Limited, limit: u64) -> rustix::io::Result<()> {
    let resource = match what {
        Limited::Core => Resource::Core,
        Limited::OpenFiles => Resource::Nofile,
        Limited::FileSize => Resource::Fsize,
        Limited::Cpu => Resource::Cpu,
        Limited::Data => Resource::Data,
        Limited::Processes => Resource::Nproc,
    };
    let both = |limit| Rlimit { current: limit, maximum: limit };
    match rustix::process::setrlimit(resource, both(Some(limit))) {
        Err(rustix::io::Errno::PERM) => rustix::process::setrlimit(resource, both(rustix::process::getrlimit(resource).maximum)),
        done => done,
    }
}
