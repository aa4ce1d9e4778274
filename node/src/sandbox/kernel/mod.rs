//! The kernel calls that isolate: clone into namespaces, Landlock, seccomp, mount attributes, a loopback interface.
//!
//! In come plain values, out come plain values; nothing is decided here. Nothing outside this folder is unsafe.
#![allow(unsafe_code)] // None of these calls has a safe form in a library of ours; each block says why it is sound.

pub(in crate::sandbox) mod sys;

use std::ffi::{CStr, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::process::Pid;

use crate::sandbox::seccomp::{Instruction, Key};
use sys::{Forked, SingleThreaded};

/// Namespaces, as flags of clone and unshare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Namespaces(c_int);

impl Namespaces {
    pub(in crate::sandbox) const USER: Namespaces = Namespaces(libc::CLONE_NEWUSER);
    pub(in crate::sandbox) const PID: Namespaces = Namespaces(libc::CLONE_NEWPID);
    pub(in crate::sandbox) const MOUNT: Namespaces = Namespaces(libc::CLONE_NEWNS);
    pub(in crate::sandbox) const IPC: Namespaces = Namespaces(libc::CLONE_NEWIPC);
    pub(in crate::sandbox) const UTS: Namespaces = Namespaces(libc::CLONE_NEWUTS);
    pub(in crate::sandbox) const NETWORK: Namespaces = Namespaces(libc::CLONE_NEWNET);

    /// Both.
    pub(in crate::sandbox) const fn and(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 | other.0)
    }
}

fn checked(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks into new namespaces. In the child the C library's cached thread id is stale: it must neither abort nor use
/// threads, and a supervisor does not.
pub(in crate::sandbox) fn fork_into(_alone: &SingleThreaded, namespaces: Namespaces) -> io::Result<Forked> {
    let flags = c_long::from(namespaces.0 | libc::SIGCHLD);
    // SAFETY: there is one thread (the argument proves it), so no lock can be held by a thread that the child lacks;
    // without CLONE_VM and with no stack given it is a fork, and the flags come first on each of our architectures.
    match checked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })? {
        0 => Ok(Forked::Child),
        pid => i32::try_from(pid).ok().and_then(Pid::from_raw).map(Forked::Parent).ok_or_else(io::Error::last_os_error),
    }
}

/// Moves this process into new namespaces.
pub(in crate::sandbox) fn unshare(_alone: &SingleThreaded, namespaces: Namespaces) -> io::Result<()> {
    // SAFETY: it shares nothing with another thread (the argument proves that there is none).
    checked(unsafe { libc::unshare(namespaces.0) }.into()).map(drop)
}

/// The version of Landlock's interface; 0 if the kernel has none or it is switched off.
pub(in crate::sandbox) fn landlock_abi() -> io::Result<u32> {
    const VERSION: c_int = 1;
    // SAFETY: with this flag the kernel reads no attributes and answers with a number.
    let abi = checked(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0_usize, VERSION) })?;
    Ok(u32::try_from(abi).unwrap_or(0))
}

/// Restricts this thread by a ruleset, for ever.
pub(in crate::sandbox) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and no memory is passed.
    checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }).map(drop)
}

/// Filters this thread's system calls, for ever.
pub(in crate::sandbox) fn install_filter(program: &[Instruction]) -> io::Result<()> {
    const SET_MODE_FILTER: c_int = 1;
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: an instruction is laid out as the kernel's, and the kernel copies as many as are said to be there.
    checked(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const program) }).map(drop)
}

/// What becomes of one mount, or of it and all below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Writable {
    Yes,
    No,
}

/// Makes the mount at `path` writable or not.
pub(in crate::sandbox) fn set_writable(path: &CStr, writable: Writable, all_below: bool, key: Key) -> io::Result<()> {
    const RDONLY: u64 = 1;
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let (set, clear) = if writable == Writable::Yes { (0, RDONLY) } else { (RDONLY, 0) };
    let attributes = Attributes { set, clear, propagation: 0, user_namespace: 0 };
    let flags = if all_below { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<Attributes>();
    // SAFETY: the path ends with a zero byte and the attributes are laid out as `struct mount_attr`, whose size is given.
    let done = unsafe {
        let call = libc::SYS_mount_setattr;
        libc::syscall(call, libc::AT_FDCWD, path.as_ptr(), flags, &raw const attributes, size, key.argument())
    };
    checked(done).map(drop)
}

/// Shows what is at `source` at `target` too.
pub(in crate::sandbox) fn bind(source: &CStr, target: &CStr, key: Key) -> io::Result<()> {
    mount(source, target, libc::MS_BIND, key)
}

/// Moves the mount at `source` to `target`.
pub(in crate::sandbox) fn move_mount(source: &CStr, target: &CStr, key: Key) -> io::Result<()> {
    mount(source, target, libc::MS_MOVE, key)
}

fn mount(source: &CStr, target: &CStr, flags: libc::c_ulong, key: Key) -> io::Result<()> {
    let nothing = ptr::null::<c_void>();
    // SAFETY: both paths end with a zero byte, these mounts have neither a type nor options, and the kernel reads no sixth
    // argument.
    let done =
        unsafe { libc::syscall(libc::SYS_mount, source.as_ptr(), target.as_ptr(), nothing, flags, nothing, key.argument()) };
    checked(done).map(drop)
}

/// Takes away the mount at `target`.
pub(in crate::sandbox) fn unmount(target: &CStr, key: Key) -> io::Result<()> {
    // SAFETY: the path ends with a zero byte, and the kernel reads no argument after the second.
    let done = unsafe { libc::syscall(libc::SYS_umount2, target.as_ptr(), libc::MNT_DETACH, 0, 0, 0, key.argument()) };
    checked(done).map(drop)
}

/// How many queues, semaphores and pieces of shared memory of System V there are in this ipc namespace.
pub(in crate::sandbox) fn ipc_objects() -> io::Result<u32> {
    // Where each call's structure (`include/uapi/linux/{shm,msg,sem}.h`) has the number; all are numbers of 32 bits up to there.
    const SHM_INFO: c_int = 14;
    const SHM_COUNT: usize = 0;
    const MSG_COUNT: usize = 0;
    const SEM_COUNT: usize = 7;
    // 128 bytes are more than any of the structures has.
    let (mut shm, mut msg, mut sem) = ([0_i32; 32], [0_i32; 32], [0_i32; 32]);
    // SAFETY: each call fills its own structure, which is smaller than what it is given; semctl takes a pointer to it for
    // this request.
    unsafe {
        checked(libc::shmctl(0, SHM_INFO, shm.as_mut_ptr().cast()).into())?;
        checked(libc::msgctl(0, libc::MSG_INFO, msg.as_mut_ptr().cast()).into())?;
        checked(libc::semctl(0, 0, libc::SEM_INFO, sem.as_mut_ptr()).into())?;
    }
    Ok(shm[SHM_COUNT].unsigned_abs() + msg[MSG_COUNT].unsigned_abs() + sem[SEM_COUNT].unsigned_abs())
}

/// The directory of this ipc namespace's message queues, in no place where anybody could find it.
pub(in crate::sandbox) fn message_queues() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let filesystem = rustix::mount::fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(filesystem.as_fd())?;
    let harmless = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsmount(filesystem.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, harmless)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&mount, c".", flags, Mode::empty())?) // The mount itself can't be read.
}

/// Brings up the loopback interface of a new network namespace.
pub(in crate::sandbox) fn loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(1);
    // SAFETY: the request is initialised and lives through the call.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into()).map(drop)
}

/// What a filesystem keeps of a file beside its inode's usual fields (`struct fsxattr`: flags, sizes, project); `None` where
/// it keeps nothing.
pub(in crate::sandbox) fn project(file: &OwnedFd) -> Option<[u32; 7]> {
    const FS_IOC_FSGETXATTR: u32 = 0x801C_581F;
    let mut fields = [0_u32; 7];
    // SAFETY: the kernel fills as many bytes as the request's number says, 28, which is the size of the array.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FSGETXATTR as _, fields.as_mut_ptr()) };
    (done == 0).then_some(fields)
}

/// Does `act` with the rights of `user` where files are asked for, /proc's too.
pub(in crate::sandbox) fn with_files_of<T>(user: Option<u32>, act: impl FnOnce() -> T) -> T {
    let Some(user) = user else { return act() };
    // SAFETY: these change how this one thread asks for files and nothing else; no memory is passed. What they answer is
    // the old id, of which there is none to be kept: this process's own is its effective one.
    unsafe {
        libc::setfsgid(user);
        libc::setfsuid(user);
    }
    let done = act();
    // SAFETY: as above.
    unsafe {
        libc::setfsuid(rustix::process::geteuid().as_raw());
        libc::setfsgid(rustix::process::getegid().as_raw());
    }
    // A change of ids may open a process to others, by a setting of the machine.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    done
}

/// Signals every process of this pid namespace but this one, at once.
///
/// # Errors
/// If this is not the first process of a pid namespace: outside of one the call would reach the whole machine.
pub(in crate::sandbox) fn signal_namespace(signal: rustix::process::Signal) -> io::Result<()> {
    if rustix::process::getpid() != Pid::INIT {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    // SAFETY: only signals are sent; the check above keeps them in the namespace that this process is the first of.
    checked(unsafe { libc::kill(-1, signal.as_raw()) }.into()).map(drop)
}
