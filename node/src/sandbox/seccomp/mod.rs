//! The filter for a task's system calls: in comes what the task is granted, out comes a program for the kernel.
//!
//! The calls of the table are split into ranges of numbers and asked for by halves, so that a call costs seven
//! comparisons however long the table is. Pure: nothing is installed here, and every architecture's filter can be made
//! and tried on any other.
//!
//! Source: `Documentation/userspace-api/seccomp_filter.rst` and `include/uapi/linux/{seccomp,filter,audit}.h` of Linux.

mod shared;
mod table;
#[cfg(test)]
mod tests;

use std::io;

use serde::{Deserialize, Serialize};
use table::{ARCHITECTURES, NONE, ROWS, Rule};

use crate::task::Network;

/// An architecture whose calls the table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    X86_64,
    Aarch64,
    Armv7,
}

impl Architecture {
    /// That of this program.
    pub(super) const NATIVE: Option<Architecture> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
        Some(Architecture::X86_64)
    } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
        Some(Architecture::Aarch64)
    } else if cfg!(all(target_arch = "arm", target_endian = "little")) {
        Some(Architecture::Armv7)
    } else {
        None
    };

    /// The kernel's name for it: `AUDIT_ARCH_…`.
    const fn audit(self) -> u32 {
        match self {
            Architecture::X86_64 => 0xC000_003E,
            Architecture::Aarch64 => 0xC000_00B7,
            Architecture::Armv7 => 0x4000_0028,
        }
    }

    const fn column(self) -> usize {
        match self {
            Architecture::X86_64 => 0,
            Architecture::Aarch64 => 1,
            Architecture::Armv7 => 2,
        }
    }
}

/// What a task is granted, as far as the filter is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    pub(super) network: Network,
    /// Unix sockets: only where none of the machine's can be reached.
    pub(super) unix_sockets: bool,
    /// Memory that belongs to no process: only where a cgroup counts it.
    pub(super) hidden_memory: bool,
    /// Other processes' limits and priorities: only where it sees its own alone.
    pub(super) sees_only_itself: bool,
    /// Queues and semaphores that outlive their maker: only in an ipc namespace.
    pub(super) own_ipc: bool,
}

/// What a call of [`Rule::Keyed`] has to carry as its sixth argument, where no such call has one of its own.
///
/// It lets a supervisor take on the filter before its first task comes, and still change its mounts between two tasks. It is
/// a second lock: the right to mount is refused to a task by the kernel as well.
#[derive(Clone, Copy)]
pub(super) struct Key(usize);

impl Key {
    /// Made of random bits, as many as an argument has.
    pub(super) fn new(random: [u8; size_of::<usize>()]) -> Key {
        Key(usize::from_ne_bytes(random))
    }

    /// As the argument of a call.
    pub(super) const fn argument(self) -> usize {
        self.0
    }
}

/// One instruction, laid out as the kernel's `sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

// Of `include/uapi/linux/bpf_common.h`.
const LOAD: u16 = 0x20; // LD | W | ABS
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// Of `include/uapi/linux/seccomp.h`.
const ALLOW: u32 = 0x7FFF_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const REFUSED: u32 = ERRNO | libc::EPERM as u32;
const ABSENT: u32 = ERRNO | libc::ENOSYS as u32;

// Offsets into `struct seccomp_data`; the halves of arguments are those of a little-endian machine.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn low_half(argument: u32) -> u32 {
    16 + 8 * argument
}
const fn high_half(argument: u32) -> u32 {
    low_half(argument) + 4
}
/// The argument that carries a key: the sixth.
const KEY: u32 = 5;

/// Calls of the x32 interface carry this bit; it shares the architecture's name with the 64-bit one.
const X32: u32 = 0x4000_0000;
/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. (NEWTIME can't be given to clone.)
const NEW_NAMESPACES: u32 = 0x7E02_0000;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541C;
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const NETLINK_ROUTE: u32 = 0;
const PRIO_PROCESS: u32 = 0;

const fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, if_true: 0, if_false: 0, operand: offset }
}

const fn give(action: u32) -> Instruction {
    Instruction { code: RETURN, if_true: 0, if_false: 0, operand: action }
}

const fn jump(code: u16, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, operand }
}

/// The filter of `policy`; without a key, what asks for one is refused to everybody.
///
/// # Errors
/// If a jump would be longer than the kernel's instructions can say: the table has outgrown this shape.
pub(super) fn compile(policy: Policy, architecture: Architecture, key: Option<Key>) -> io::Result<Vec<Instruction>> {
    let mut program = vec![
        load(ARCHITECTURE),
        jump(JUMP_IF_EQUAL, architecture.audit(), 1, 0),
        give(KILL_PROCESS), // Another interface's numbers mean other calls.
        load(NUMBER),
    ];
    if architecture == Architecture::X86_64 {
        program.extend([jump(JUMP_IF_AT_LEAST, X32, 0, 1), give(KILL_PROCESS)]);
    }
    program.extend(halves(&ranges(policy, architecture, key))?);
    Ok(shared::shared(program))
}

/// A filter like that of containers: no namespaces, no mounts, no tracing of the kernel; everything else is allowed.
pub(super) fn as_a_container(architecture: Architecture) -> io::Result<Vec<Instruction>> {
    let wide = Policy { network: Network::Host, unix_sockets: true, hidden_memory: true, sees_only_itself: true, own_ipc: true };
    compile(wide, architecture, None)
}

/// A filter that refuses mounts alone, as a profile does that lets everybody make namespaces and nobody use them.
pub(super) fn without_mounts(architecture: Architecture) -> io::Result<Vec<Instruction>> {
    let mount = ROWS.iter().find(|row| row.name == "mount").map(|row| row.numbers[architecture.column()]);
    let mount = mount.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))?;
    Ok(vec![load(NUMBER), jump(JUMP_IF_EQUAL, mount, 0, 1), give(REFUSED), give(ALLOW)])
}

/// Numbers from `first` to the next range's have the same answer.
struct Range {
    first: u32,
    answer: Vec<Instruction>,
}

fn ranges(policy: Policy, architecture: Architecture, key: Option<Key>) -> Vec<Range> {
    const TABLES: [[(u32, Rule); ROWS.len()]; ARCHITECTURES] = [table::sorted(0), table::sorted(1), table::sorted(2)];
    let mut ranges = vec![Range { first: 0, answer: vec![give(ALLOW)] }];
    let mut push = |first: u32, answer: Vec<Instruction>| match ranges.last_mut() {
        Some(last) if last.first == first => last.answer = answer,
        Some(last) if last.answer == answer => {}
        _ => ranges.push(Range { first, answer }),
    };
    for (number, rule) in TABLES[architecture.column()].into_iter().filter(|(number, _)| *number != NONE) {
        push(number, answer(rule, policy, key));
        push(number + 1, vec![give(ALLOW)]);
    }
    ranges
}

/// A tree of comparisons; what is smaller stands right behind its comparison.
fn halves(ranges: &[Range]) -> io::Result<Vec<Instruction>> {
    match ranges {
        [] => Ok(vec![give(ALLOW)]),
        [only] => Ok(only.answer.clone()),
        _ => {
            let (smaller, larger) = ranges.split_at(ranges.len() / 2);
            let first = halves(smaller)?;
            let over = u8::try_from(first.len()).map_err(|_| io::Error::other("the filter's table is too long"))?;
            let mut program = vec![jump(JUMP_IF_AT_LEAST, larger[0].first, over, 0)];
            program.extend(first);
            program.extend(halves(larger)?);
            Ok(program)
        }
    }
}

fn answer(rule: Rule, policy: Policy, key: Option<Key>) -> Vec<Instruction> {
    let allowed_if = |allowed: bool| vec![give(if allowed { ALLOW } else { REFUSED })];
    match rule {
        Rule::Refuse => vec![give(REFUSED)],
        Rule::Absent => vec![give(ABSENT)],
        Rule::Keyed => key.map_or_else(|| vec![give(REFUSED)], keyed),
        Rule::Clone => {
            vec![load(low_half(0)), jump(JUMP_IF_ANY_BIT, NEW_NAMESPACES, 0, 1), give(REFUSED), give(ALLOW)]
        }
        Rule::Socket => socket(policy),
        Rule::Ioctl => vec![
            load(low_half(1)),
            jump(JUMP_IF_EQUAL, TIOCSTI, 1, 0),
            jump(JUMP_IF_EQUAL, TIOCLINUX, 0, 1),
            give(REFUSED),
            give(ALLOW),
        ],
        Rule::OthersLimits | Rule::OthersPriority if policy.sees_only_itself => allowed_if(true),
        Rule::OthersLimits => vec![load(low_half(0)), jump(JUMP_IF_EQUAL, 0, 1, 0), give(REFUSED), give(ALLOW)],
        Rule::OthersPriority => vec![
            load(low_half(0)),
            jump(JUMP_IF_EQUAL, PRIO_PROCESS, 0, 2),
            load(low_half(1)),
            jump(JUMP_IF_EQUAL, 0, 1, 0),
            give(REFUSED),
            give(ALLOW),
        ],
        Rule::HiddenMemory => allowed_if(policy.hidden_memory),
        Rule::SharedMemory => allowed_if(policy.hidden_memory && policy.own_ipc),
        Rule::SharedIpc => allowed_if(policy.own_ipc),
    }
}

/// Only with the key. Both halves are compared: an argument has 64 bits.
fn keyed(Key(key): Key) -> Vec<Instruction> {
    let bytes = (key as u64).to_le_bytes();
    let half = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    vec![
        load(low_half(KEY)),
        jump(JUMP_IF_EQUAL, half(0), 0, 3),
        load(high_half(KEY)),
        jump(JUMP_IF_EQUAL, half(4), 0, 1),
        give(ALLOW),
        give(REFUSED),
    ]
}

/// Only the granted families; of netlink only the routes, which every resolver asks for.
fn socket(policy: Policy) -> Vec<Instruction> {
    let inet = policy.network != Network::None;
    let mut families = Vec::new();
    families.extend(policy.unix_sockets.then_some(AF_UNIX));
    families.extend(inet.then_some([AF_INET, AF_INET6]).into_iter().flatten());
    if families.is_empty() {
        return vec![give(REFUSED)];
    }
    let mut answer = vec![load(low_half(0))];
    for family in families {
        answer.extend([jump(JUMP_IF_EQUAL, family, 0, 1), give(ALLOW)]);
    }
    if inet {
        answer.extend([jump(JUMP_IF_EQUAL, AF_NETLINK, 0, 3), load(low_half(2)), jump(JUMP_IF_EQUAL, NETLINK_ROUTE, 0, 1)]);
        answer.push(give(ALLOW));
    }
    answer.push(give(REFUSED));
    answer
}
