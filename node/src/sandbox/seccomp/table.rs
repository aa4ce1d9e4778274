//! Which system calls a task is refused, with their numbers on each architecture.
//!
//! A call that is not here is allowed: a program of tomorrow is to work, and what protects is Landlock, the namespaces
//! and another user; this list closes the doors that these leave open. The table is checked while it is compiled.
//!
//! Numbers: `arch/x86/entry/syscalls/syscall_64.tbl`, `scripts/syscall.tbl` and `arch/arm/tools/syscall.tbl` of Linux.

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It may not.
    Refuse,
    /// There is no such call, so that runtimes fall back to an older one that can be judged.
    Absent,
    /// What a supervisor needs for its next task: it may not, but to whoever knows the filter's key.
    Keyed,
    /// Processes and threads, but no namespaces.
    Clone,
    /// Only sockets of the granted families.
    Socket,
    /// Anything but typing into somebody's terminal.
    Ioctl,
    /// Only its own resource limits, unless it sees no other processes.
    OthersLimits,
    /// Only its own priority, unless it sees no other processes.
    OthersPriority,
    /// Memory that belongs to no process: refused while memory is added up process by process.
    HiddenMemory,
    /// The same, and outliving its maker as well.
    SharedMemory,
    /// Queues and semaphores that outlive their maker: refused without an ipc namespace.
    SharedIpc,
}

/// The architectures, in the order of a row's numbers.
pub(super) const ARCHITECTURES: usize = 3;
/// The call does not exist there.
pub(super) const NONE: u32 = u32::MAX;

/// One call.
pub(super) struct Row {
    /// Its name.
    pub(super) name: &'static str,
    pub(super) rule: Rule,
    /// `x86_64`, aarch64, armv7.
    pub(super) numbers: [u32; ARCHITECTURES],
}

const fn row(name: &'static str, rule: Rule, x86_64: u32, aarch64: u32, armv7: u32) -> Row {
    Row { name, rule, numbers: [x86_64, aarch64, armv7] }
}

/// Every call that is not simply allowed.
pub(super) const ROWS: &[Row] = &[
    // Other processes' memory, descriptors and secrets.
    row("ptrace", Rule::Refuse, 101, 117, 26),
    row("process_vm_readv", Rule::Refuse, 310, 270, 376),
    row("process_vm_writev", Rule::Refuse, 311, 271, 377),
    row("process_madvise", Rule::Refuse, 440, 440, 440),
    row("process_mrelease", Rule::Refuse, 448, 448, 448),
    row("kcmp", Rule::Refuse, 312, 272, 378),
    row("pidfd_getfd", Rule::Refuse, 438, 438, 438),
    row("move_pages", Rule::Refuse, 279, 239, 344),
    row("migrate_pages", Rule::Refuse, 256, 238, 400),
    row("keyctl", Rule::Refuse, 250, 219, 311),
    row("add_key", Rule::Refuse, 248, 217, 309),
    row("request_key", Rule::Refuse, 249, 218, 310),
    // Mounts and namespaces: with them it could undo what covers the node's folders.
    row("mount", Rule::Keyed, 165, 40, 21),
    row("umount2", Rule::Keyed, 166, 39, 52),
    row("pivot_root", Rule::Refuse, 155, 41, 218),
    row("chroot", Rule::Refuse, 161, 51, 61),
    row("open_tree", Rule::Refuse, 428, 428, 428),
    row("move_mount", Rule::Refuse, 429, 429, 429),
    row("fsopen", Rule::Refuse, 430, 430, 430),
    row("fsconfig", Rule::Refuse, 431, 431, 431),
    row("fsmount", Rule::Refuse, 432, 432, 432),
    row("fspick", Rule::Refuse, 433, 433, 433),
    row("mount_setattr", Rule::Keyed, 442, 442, 442),
    row("open_tree_attr", Rule::Refuse, 467, 467, 467),
    row("unshare", Rule::Refuse, 272, 97, 337),
    row("setns", Rule::Refuse, 308, 268, 375),
    row("open_by_handle_at", Rule::Refuse, 304, 265, 371),
    row("fanotify_init", Rule::Refuse, 300, 262, 367),
    // The kernel's own insides, where most of its holes have been.
    row("bpf", Rule::Refuse, 321, 280, 386),
    row("perf_event_open", Rule::Refuse, 298, 241, 364),
    row("userfaultfd", Rule::Refuse, 323, 282, 388),
    row("modify_ldt", Rule::Refuse, 154, NONE, NONE),
    row("iopl", Rule::Refuse, 172, NONE, NONE),
    row("ioperm", Rule::Refuse, 173, NONE, NONE),
    row("io_uring_setup", Rule::Absent, 425, 425, 425),
    row("io_uring_enter", Rule::Absent, 426, 426, 426),
    row("io_uring_register", Rule::Absent, 427, 427, 427),
    // The machine, for a node that was started with privileges.
    row("kexec_load", Rule::Refuse, 246, 104, 347),
    row("kexec_file_load", Rule::Refuse, 320, 294, 401),
    row("init_module", Rule::Refuse, 175, 105, 128),
    row("finit_module", Rule::Refuse, 313, 273, 379),
    row("delete_module", Rule::Refuse, 176, 106, 129),
    row("reboot", Rule::Refuse, 169, 142, 88),
    row("swapon", Rule::Refuse, 167, 224, 87),
    row("swapoff", Rule::Refuse, 168, 225, 115),
    row("sethostname", Rule::Refuse, 170, 161, 74),
    row("setdomainname", Rule::Refuse, 171, 162, 121),
    row("acct", Rule::Refuse, 163, 89, 51),
    row("quotactl", Rule::Refuse, 179, 60, 131),
    row("quotactl_fd", Rule::Refuse, 443, 443, 443),
    row("settimeofday", Rule::Refuse, 164, 170, 79),
    row("clock_settime", Rule::Refuse, 227, 112, 262),
    row("clock_settime64", Rule::Refuse, NONE, NONE, 404),
    row("syslog", Rule::Refuse, 103, 116, 103),
    row("vhangup", Rule::Refuse, 153, 58, 111),
    // Judged by their arguments.
    row("clone3", Rule::Absent, 435, 435, 435),
    row("clone", Rule::Clone, 56, 220, 120),
    row("socket", Rule::Socket, 41, 198, 281),
    row("ioctl", Rule::Ioctl, 16, 29, 54),
    row("prlimit64", Rule::OthersLimits, 302, 261, 369),
    row("setpriority", Rule::OthersPriority, 141, 140, 97),
    row("memfd_create", Rule::HiddenMemory, 319, 279, 385),
    row("memfd_secret", Rule::HiddenMemory, 447, 447, 447),
    row("shmget", Rule::SharedMemory, 29, 194, 307),
    row("msgget", Rule::SharedIpc, 68, 186, 303),
    row("mq_open", Rule::SharedIpc, 240, 180, 274),
    row("semget", Rule::SharedIpc, 64, 190, 299),
];

/// The rows of one architecture by number.
pub(super) const fn sorted(column: usize) -> [(u32, Rule); ROWS.len()] {
    let mut found = [(NONE, Rule::Refuse); ROWS.len()];
    let mut at = 0;
    while at < ROWS.len() {
        let new = (ROWS[at].numbers[column], ROWS[at].rule);
        let mut place = at;
        while place > 0 && found[place - 1].0 > new.0 {
            found[place] = found[place - 1];
            place -= 1;
        }
        found[place] = new;
        at += 1;
    }
    found
}

/// No number stands twice, or the second rule would be dead.
const fn distinct(column: usize) -> bool {
    let table = sorted(column);
    let mut at = 1;
    while at < table.len() {
        if table[at - 1].0 >= table[at].0 && table[at].0 != NONE {
            return false;
        }
        at += 1;
    }
    true
}

const _: () = assert!(distinct(0) && distinct(1) && distinct(2), "a system call's number stands twice");
