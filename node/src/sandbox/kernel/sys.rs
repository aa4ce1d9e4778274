//! The few kernel calls that no safe interface offers: fork, clone, exec, signal masks, what children used.
//!
//! In come plain values, out come plain values; nothing is decided here. Everything unsafe in this house is in this
//! folder, so that it can be read in one sitting.
#![allow(unsafe_code)] // fork, clone and exec have no safe form; each block says why it is sound.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use rustix::process::Pid;

/// Signals that end a process by default and that people or service managers send to whole groups. The zygote and its
/// supervisors outlive them: they end when their sockets do.
const OUTLIVED: [c_int; 8] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];

/// Stack of the target between clone and exec; it only makes system calls.
const TARGET_STACK: usize = 256 * 1024;

/// Proof that the calling process has one thread, without which forking and going on in ordinary code is unsound.
pub(in crate::sandbox) struct SingleThreaded {
    stack: Stack,
}

/// Which side of a fork this is.
pub(in crate::sandbox) enum Forked {
    /// The old process; the new one has this id.
    Parent(Pid),
    /// The new process.
    Child,
}

impl SingleThreaded {
    /// Looks, and prepares the stack on which targets start.
    pub(in crate::sandbox) fn check() -> io::Result<Self> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads != 1 {
            return Err(io::Error::other(format!("it has {threads} threads and may have only one")));
        }
        Ok(SingleThreaded { stack: Stack::map()? })
    }

    /// Forks; the child has one thread as well.
    pub(in crate::sandbox) fn fork(&self) -> io::Result<Forked> {
        // SAFETY: there is one thread (`self` proves it), so no lock can be held by a thread that the child lacks.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(Forked::Child),
            pid => Pid::from_raw(pid).map(Forked::Parent).ok_or_else(io::Error::last_os_error),
        }
    }

    /// Runs `body` in a new process that shares this one's memory, and waits until it has executed a program or ended.
    ///
    /// It costs no copy of page tables, and what `body` writes through `argument` can be read here afterwards, so that
    /// no pipe is needed to learn why an exec failed. `body` must not allocate, lock or panic.
    pub(in crate::sandbox) fn spawn_sharing<T>(&self, body: fn(&mut T), argument: &mut T) -> io::Result<Pid> {
        let mut call = Call { body, argument };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack is ours, mapped for the whole life of `self` and used by one child at a time because
        // CLONE_VFORK suspends this thread until the child has left this memory; `call` outlives that moment.
        let pid = unsafe { libc::clone(enter::<T>, self.stack.top(), flags, ptr::from_mut(&mut call).cast()) };
        Pid::from_raw(pid.max(0)).ok_or_else(io::Error::last_os_error)
    }
}

struct Call<'a, T> {
    body: fn(&mut T),
    argument: &'a mut T,
}

extern "C" fn enter<T>(call: *mut c_void) -> c_int {
    // SAFETY: `spawn_sharing` passes a pointer to a live `Call<T>` and doesn't touch it until this process is gone.
    let call = unsafe { &mut *call.cast::<Call<'_, T>>() };
    (call.body)(call.argument);
    127
}

struct Stack {
    base: *mut c_void,
}

impl Stack {
    fn map() -> io::Result<Self> {
        let guard = usize::try_from(page_size()).unwrap_or(1 << 16);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), TARGET_STACK, protection, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the lowest page belongs to the mapping made above; an overflow faults there instead of spilling.
        if unsafe { libc::mprotect(base, guard, libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Stack { base })
    }

    fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the mapping; page-aligned, so aligned for every architecture's stack.
        unsafe { self.base.cast::<u8>().add(TARGET_STACK).cast() }
    }
}

extern "C" fn ignore_by_handler(_signal: c_int) {}

/// Gives the zygote, and all that is forked from it, its signal habits: SIGCHLD is held back and only interrupts
/// [`wait_readable`]; what would end it is outlived by a handler, not by ignoring, because exec clears handlers but
/// keeps ignored signals ignored.
pub(in crate::sandbox) fn adopt_signal_habits() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        let outlived = OUTLIVED.contains(&signal) || signal == libc::SIGCHLD;
        // SAFETY: an all-zero sigaction is a valid one (default action, empty mask, no flags).
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction =
            if outlived { ignore_by_handler as extern "C" fn(c_int) as libc::sighandler_t } else { libc::SIG_DFL };
        // SAFETY: the action is initialised and its handler only returns.
        if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
            reset_private_signal(signal);
        }
    }
    set_mask(Some(libc::SIGCHLD))
}

/// The C library keeps its own signals to itself, but whoever started the node may have left them ignored. (SIGKILL and
/// SIGSTOP refuse here as well, and can't be ignored either.)
fn reset_private_signal(signal: c_int) {
    const BYTES_OF_A_SIGNAL_SET: usize = 8;
    // In every architecture's layout an action of zeros is the default one, and this is longer than any of them.
    let default = [0_u64; 16];
    // SAFETY: the kernel reads a valid action from a buffer that is long enough and writes nothing back.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<c_void>(), BYTES_OF_A_SIGNAL_SET) };
}

/// Holds back no signal, so that the program starts with an empty mask.
pub(in crate::sandbox) fn release_signals() -> io::Result<()> {
    set_mask(None)
}

fn set_mask(held: Option<c_int>) -> io::Result<()> {
    let set = signal_set(held);
    // SAFETY: the set is initialised; the old mask is not asked for.
    match unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn signal_set(member: Option<c_int>) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set before anything reads it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        if let Some(signal) = member {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Wake {
    /// The descriptor has something to read, or its other end is closed.
    Readable,
    /// A signal came; some child may have ended.
    Signal,
    /// The time is over.
    Time,
}

/// Waits until `fd`, if any, is readable, a child ends or `limit` is over. SIGCHLD can only come inside of it, so none is missed.
pub(in crate::sandbox) fn wait_readable(fd: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> io::Result<Wake> {
    let mut poll = libc::pollfd { fd: fd.map_or(-1, |fd| fd.as_raw_fd()), events: libc::POLLIN, revents: 0 };
    let mask = signal_set(None);
    // SAFETY: an all-zero timespec is a valid one.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    let time = limit.map_or(ptr::null(), |limit| {
        time.tv_sec = limit.as_secs().min(86_400).try_into().unwrap_or(86_400);
        time.tv_nsec = limit.subsec_nanos() as libc::c_long; // Below 10^9, which every width of it holds.
        &raw const time
    });
    // SAFETY: every pointer is to a local that lives through the call, or null where the kernel allows it.
    match unsafe { libc::ppoll(&raw mut poll, 1, time, &raw const mask) } {
        0 => Ok(Wake::Time),
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Wake::Signal),
            error => Err(error),
        },
        _ => Ok(Wake::Readable),
    }
}

/// Replaces this process by a program. Comes back only with the reason why it could not.
///
/// `argv` and `envp` are lists of pointers to C strings that end with a null pointer.
pub(in crate::sandbox) fn execute(path: &CStr, argv: &PointerList<'_>, envp: &PointerList<'_>) -> io::Error {
    // SAFETY: both lists end with null and their strings are borrowed for as long as the lists live.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// A list of C strings as exec takes it.
pub(in crate::sandbox) struct PointerList<'a> {
    pointers: Vec<*const c_char>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> PointerList<'a> {
    pub(in crate::sandbox) fn new(strings: impl Iterator<Item = &'a CStr>) -> Self {
        let pointers = strings.map(CStr::as_ptr).chain(std::iter::once(ptr::null())).collect();
        PointerList { pointers, strings: std::marker::PhantomData }
    }
}

/// Closes every descriptor from `first` on. A kernel without the call (before 5.9) is not an error: all of ours are
/// close-on-exec anyway.
pub(in crate::sandbox) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: the callers own everything above their standard descriptors and use none of it afterwards.
    match unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            error => Err(error),
        },
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum End {
    Exited(i32),
    Signaled(i32),
}

/// What processes have used that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Spent {
    pub(in crate::sandbox) cpu: Duration,
    /// The largest resident set among them, in bytes.
    pub(in crate::sandbox) memory_peak: u64,
}

impl Spent {
    /// Adds what others used.
    pub(in crate::sandbox) fn add(&mut self, other: Spent) {
        self.cpu = self.cpu.saturating_add(other.cpu);
        self.memory_peak = self.memory_peak.max(other.memory_peak);
    }
}

/// Takes away one child that has ended, with what it and those used that it had waited for; `None` if none has ended.
///
/// # Errors
/// `ECHILD` if there is no child at all.
pub(in crate::sandbox) fn wait_any() -> io::Result<Option<(Pid, End, Spent)>> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one, and the kernel fills it.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    let memory_peak = u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024);
    let spent = Spent { cpu: time(usage.ru_utime) + time(usage.ru_stime), memory_peak };
    let end =
        if libc::WIFSIGNALED(status) { End::Signaled(libc::WTERMSIG(status)) } else { End::Exited(libc::WEXITSTATUS(status)) };
    Ok(Pid::from_raw(pid).map(|pid| (pid, end, spent)))
}

/// Bytes of a page of memory.
pub(in crate::sandbox) fn page_size() -> u64 {
    // SAFETY: sysconf only reads.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Clock ticks of /proc in a second.
pub(in crate::sandbox) fn ticks_per_second() -> u64 {
    // SAFETY: sysconf only reads.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
}

/// Ends this process at once, without running anything that the fork copied (destructors, buffered output).
pub(in crate::sandbox) fn exit_now(code: c_int) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Takes the process's standard input as a descriptor of our own.
pub(in crate::sandbox) fn take_stdin() -> std::os::fd::OwnedFd {
    // SAFETY: called once, by a process that is ours from its first line on and that reads no standard input.
    unsafe { rustix::stdio::take_stdin() }
}
