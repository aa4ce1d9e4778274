//! What a task can leave behind in a supervisor and its namespaces, and whether it did.
//!
//! In comes a look before the first task, out comes whether everything is still like that after one of which nothing runs
//! any more. What is not like that can't always be taken back, so whoever finds a trace serves nobody again.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::surroundings::SHARED_MEMORY;
use crate::sandbox::kernel;
use crate::sandbox::scratch::look::{self, Look};

const LIMITS: [Resource; 16] = [
    Resource::As,
    Resource::Core,
    Resource::Cpu,
    Resource::Data,
    Resource::Fsize,
    Resource::Locks,
    Resource::Memlock,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Nofile,
    Resource::Nproc,
    Resource::Rss,
    Resource::Rtprio,
    Resource::Rttime,
    Resource::Sigpending,
    Resource::Stack,
];

/// How a supervisor in namespaces of its own was before its first task.
#[derive(Debug)]
pub(super) struct Traces {
    /// Where shared memory and message queues have their names, and how that looked.
    directories: Vec<(OwnedFd, Look)>,
    limits: [Rlimit; LIMITS.len()],
}

impl Traces {
    /// Looks; in the namespaces, and with the right to mount in them.
    ///
    /// # Errors
    /// If something can't be looked at; it could not be afterwards either.
    pub(super) fn before() -> io::Result<Traces> {
        let mut directories = Vec::new();
        match kernel::message_queues() {
            Ok(queues) => directories.push(queues),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {} // A kernel without any.
            Err(error) => return Err(error),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(SHARED_MEMORY, flags, Mode::empty()) {
            Ok(shared_memory) => directories.push(shared_memory),
            Err(Errno::NOENT) => {} // Nobody can have used it then.
            Err(error) => return Err(error.into()),
        }
        let look = |directory: OwnedFd| Look::of(&directory).map(|look| (directory, look));
        let looked: Option<Vec<_>> = directories.into_iter().map(look).collect();
        Ok(Traces { directories: looked.ok_or(Errno::NODATA)?, limits: limits() })
    }

    /// Whether nothing of a task is left: no shared memory, not even a trace of what was removed again, no queue, no
    /// semaphore, and no change of the limits that the supervisor hands down to its next target.
    pub(super) fn are_none(&self) -> bool {
        self.directories.iter().all(|(directory, before)| is_as_it_was(directory, before))
            && there_are_no_ipc_objects()
            && limits() == self.limits
    }
}

/// What a process hands down to its children, and what others of its user can change. Its priority, scheduling and
/// processors they can't: the kernel asks for every capability that it has itself.
fn limits() -> [Rlimit; LIMITS.len()] {
    LIMITS.map(rustix::process::getrlimit)
}

/// Nor could there be any in a kernel that does not know them.
fn there_are_no_ipc_objects() -> bool {
    match kernel::ipc_objects() {
        Ok(count) => count == 0,
        Err(error) => error.raw_os_error() == Some(libc::ENOSYS),
    }
}

/// Empty, and nothing about it was changed: its owner may be the task's user.
fn is_as_it_was(directory: &OwnedFd, before: &Look) -> bool {
    Look::of(directory).as_ref() == Some(before) && look::holds_only(directory, None)
}
