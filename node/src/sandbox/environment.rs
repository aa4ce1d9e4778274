//! Surroundings poorer than this machine's, made around a program: what a node meets in a container, as an ordinary user
//! or on a kernel that gives less. For tests, and for people who want to know what a node would find there.
//!
//! In comes the name of one, afterwards this process has less than before and can't get it back. It undoes nothing:
//! everything goes with the process.

use std::io;
use std::str::FromStr;

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::CapabilitySet;

use crate::sandbox::kernel::sys::SingleThreaded;
use crate::sandbox::kernel::{self, Namespaces};
use crate::sandbox::seccomp::{self, Architecture, Instruction};
use crate::sandbox::target;

/// The ordinary user.
const USER: u32 = 54_321;
/// A part of /proc that containers mask.
const MASKED: &str = "/proc/driver";

/// Surroundings by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Environment {
    /// As they are, with every privilege that this process has.
    Root,
    /// An ordinary user.
    User,
    /// Root with a container's capabilities, and a filter that refuses namespaces and mounts.
    Container,
    /// An ordinary user behind such a filter.
    UserInContainer,
    /// An ordinary user where `user.max_user_namespaces` is 0.
    NoUserNamespaces,
    /// An ordinary user where parts of /proc are masked.
    MaskedProc,
    /// Root with nothing but the right to take its own id along into a user namespace: it can become nobody else.
    PoorRoot,
    /// An ordinary user who may make namespaces, but mount nothing in them (AppArmor of Ubuntu).
    NoMounts,
}

impl Environment {
    /// Every one.
    pub const ALL: [Environment; 8] = [
        Environment::Root,
        Environment::User,
        Environment::Container,
        Environment::UserInContainer,
        Environment::NoUserNamespaces,
        Environment::MaskedProc,
        Environment::PoorRoot,
        Environment::NoMounts,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Environment::Root => "root",
            Environment::User => "user",
            Environment::Container => "container",
            Environment::UserInContainer => "user-in-container",
            Environment::NoUserNamespaces => "no-user-namespaces",
            Environment::MaskedProc => "masked-proc",
            Environment::PoorRoot => "poor-root",
            Environment::NoMounts => "no-mounts",
        }
    }

    /// Makes it around this process, which then should execute a program.
    ///
    /// # Errors
    /// If this process lacks the privilege to make it, or has threads.
    pub fn enter(self) -> io::Result<()> {
        let alone = SingleThreaded::check()?;
        match self {
            Environment::Root if rustix::process::geteuid().is_root() => Ok(()),
            Environment::Root => Err(io::Error::other("this process is not root")),
            Environment::User => become_ordinary(),
            Environment::Container => {
                keep_capabilities(&OF_A_CONTAINER)?;
                filter(seccomp::as_a_container)
            }
            Environment::UserInContainer => {
                become_ordinary()?;
                filter(seccomp::as_a_container)
            }
            Environment::NoUserNamespaces => {
                become_ordinary()?;
                forbid_user_namespaces(&alone)
            }
            Environment::MaskedProc => {
                mask_proc(&alone)?;
                become_ordinary()
            }
            Environment::PoorRoot => keep_capabilities(&[CapabilitySet::SETFCAP]),
            Environment::NoMounts => {
                become_ordinary()?;
                filter(seccomp::without_mounts)
            }
        }
    }
}

impl FromStr for Environment {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Environment::ALL.into_iter().find(|one| one.as_str() == name).ok_or_else(|| format!("there is no environment `{name}`"))
    }
}

fn become_ordinary() -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        target::become_user(USER)?;
        // Whoever changes its user is closed to itself as well until it executes something.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
    }
    Ok(())
}

/// Those that a container gets by default.
const OF_A_CONTAINER: [CapabilitySet; 14] = [
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::FSETID,
    CapabilitySet::FOWNER,
    CapabilitySet::MKNOD,
    CapabilitySet::NET_RAW,
    CapabilitySet::SETGID,
    CapabilitySet::SETUID,
    CapabilitySet::SETFCAP,
    CapabilitySet::SETPCAP,
    CapabilitySet::NET_BIND_SERVICE,
    CapabilitySet::SYS_CHROOT,
    CapabilitySet::KILL,
    CapabilitySet::AUDIT_WRITE,
];

/// The others can't come back by executing something.
fn keep_capabilities(kept: &[CapabilitySet]) -> io::Result<()> {
    for capability in CapabilitySet::all().iter().filter(|one| !kept.contains(one)) {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {} // An older kernel does not know it.
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn filter(compile: fn(Architecture) -> io::Result<Vec<Instruction>>) -> io::Result<()> {
    let architecture = Architecture::NATIVE.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))?;
    rustix::thread::set_no_new_privs(true)?;
    kernel::install_filter(&compile(architecture)?)
}

fn forbid_user_namespaces(alone: &SingleThreaded) -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    kernel::unshare(alone, Namespaces::USER)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/sys/user/max_user_namespaces", "0")
}

fn mask_proc(alone: &SingleThreaded) -> io::Result<()> {
    kernel::unshare(alone, Namespaces::MOUNT)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(rustix::mount::mount("tmpfs", MASKED, "tmpfs", MountFlags::RDONLY, None)?)
}
