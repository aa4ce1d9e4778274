//! The filters, run by an interpreter of their own: every architecture's on whatever machine the tests run.

use super::table::{NONE, ROWS, Rule};
use super::*;

const ALL: [Architecture; 3] = [Architecture::X86_64, Architecture::Aarch64, Architecture::Armv7];
const STRICT: Policy =
    Policy { network: Network::None, unix_sockets: false, hidden_memory: false, sees_only_itself: false, own_ipc: false };
const WIDE: Policy =
    Policy { network: Network::Host, unix_sockets: true, hidden_memory: true, sees_only_itself: true, own_ipc: true };

/// One system call as the kernel shows it to a filter.
#[derive(Clone, Copy)]
struct Call {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(self, offset: u32) -> u32 {
        let argument = |at: u32| self.arguments[(at / 8) as usize];
        match offset {
            NUMBER => self.number,
            ARCHITECTURE => self.architecture,
            16..64 if offset.is_multiple_of(8) => u32::try_from(argument(offset - 16) & 0xFFFF_FFFF).unwrap(),
            16..64 if offset.is_multiple_of(4) => u32::try_from(argument(offset - 20) >> 32).unwrap(),
            _ => panic!("no word stands at {offset}"),
        }
    }
}

/// What the kernel would answer, and after how many instructions. Checks what the kernel checks: jumps stay inside.
fn run(program: &[Instruction], call: Call) -> (u32, usize) {
    let (mut at, mut accumulator) = (0, 0);
    for steps in 1..=program.len() {
        let Instruction { code, if_true, if_false, operand } = program[at];
        let holds = match code {
            LOAD => {
                accumulator = call.word(operand);
                at += 1;
                continue;
            }
            RETURN => return (operand, steps),
            JUMP_IF_EQUAL => accumulator == operand,
            JUMP_IF_AT_LEAST => accumulator >= operand,
            JUMP_IF_ANY_BIT => accumulator & operand != 0,
            other => panic!("no instruction {other:#x}"),
        };
        at += 1 + usize::from(if holds { if_true } else { if_false });
    }
    panic!("it does not end");
}

fn ask(policy: Policy, architecture: Architecture, name: &str, arguments: &[u64]) -> u32 {
    let row = ROWS.iter().find(|row| row.name == name).unwrap();
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let call = Call { number: row.numbers[architecture.column()], architecture: architecture.audit(), arguments: all };
    run(&compile(policy, architecture, None).unwrap(), call).0
}

#[test]
fn every_number_gets_the_tables_answer_on_every_architecture() {
    for architecture in ALL {
        let program = compile(STRICT, architecture, None).unwrap();
        for number in 0..1_000 {
            let row = ROWS.iter().find(|row| row.numbers[architecture.column()] == number);
            let call = Call { number, architecture: architecture.audit(), arguments: [0; 6] };
            let expected = match row.map(|row| row.rule) {
                None | Some(Rule::Clone | Rule::Ioctl | Rule::OthersLimits | Rule::OthersPriority) => ALLOW,
                Some(Rule::Absent) => ABSENT,
                Some(Rule::Refuse | Rule::Keyed | Rule::Socket | Rule::HiddenMemory | Rule::SharedMemory | Rule::SharedIpc) => {
                    REFUSED
                }
            };
            assert_eq!(run(&program, call).0, expected, "{architecture:?} {number} {:?}", row.map(|row| row.name));
        }
    }
}

#[test]
fn mounts_are_changed_by_nobody_without_the_key() {
    let key = Key::new(0xFEDC_BA98_7654_3210_u64.to_ne_bytes()[..size_of::<usize>()].try_into().unwrap());
    let with = key.argument() as u64;
    for architecture in ALL {
        let filter = compile(WIDE, architecture, Some(key)).unwrap();
        for name in ["mount", "umount2", "mount_setattr"] {
            let row = ROWS.iter().find(|row| row.name == name).unwrap();
            let answer = |filter: &[Instruction], sixth: u64| {
                let arguments = [1, 2, 3, 4, 5, sixth];
                run(filter, Call { number: row.numbers[architecture.column()], architecture: architecture.audit(), arguments }).0
            };
            assert_eq!(answer(&filter, with), ALLOW);
            for wrong in [0, 1, with ^ 1, with ^ (1 << 31), with ^ (1 << 63), with & 0xFFFF_FFFF, with << 32] {
                assert_eq!(answer(&filter, wrong), if wrong == with { ALLOW } else { REFUSED }, "{name} {wrong:#x}");
            }
            for without in [0, with] {
                assert_eq!(answer(&compile(WIDE, architecture, None).unwrap(), without), REFUSED);
            }
        }
        let unshare = ROWS.iter().find(|row| row.name == "unshare").unwrap().numbers[architecture.column()];
        let call = Call { number: unshare, architecture: architecture.audit(), arguments: [0, 0, 0, 0, 0, with] };
        assert_eq!(run(&filter, call).0, REFUSED, "the key opens nothing else");
    }
}

#[test]
fn another_architecture_is_killed_and_so_is_x32() {
    for architecture in ALL {
        let program = compile(WIDE, architecture, None).unwrap();
        for other in ALL.into_iter().filter(|other| *other != architecture) {
            let call = Call { number: 1, architecture: other.audit(), arguments: [0; 6] };
            assert_eq!(run(&program, call).0, KILL_PROCESS);
        }
        // i386, whose calls a 64-bit program can make by an old interrupt.
        let call = Call { number: 1, architecture: 0x4000_0003, arguments: [0; 6] };
        assert_eq!(run(&program, call).0, KILL_PROCESS);
    }
    let x32 = Call { number: X32 | 101, architecture: Architecture::X86_64.audit(), arguments: [0; 6] };
    assert_eq!(run(&compile(WIDE, Architecture::X86_64, None).unwrap(), x32).0, KILL_PROCESS);
}

#[test]
fn runtimes_are_told_that_new_calls_are_absent_so_that_they_fall_back() {
    for architecture in ALL {
        for name in ["clone3", "io_uring_setup"] {
            assert_eq!(ask(WIDE, architecture, name, &[]), ABSENT);
        }
        assert_eq!(ask(WIDE, architecture, "ptrace", &[]), REFUSED);
    }
}

#[test]
fn threads_may_be_made_and_namespaces_not() {
    // CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | SETTLS | PARENT_SETTID | CHILD_CLEARTID, and fork.
    for architecture in ALL {
        for flags in [0x003D_0F00, libc::SIGCHLD as u64] {
            assert_eq!(ask(STRICT, architecture, "clone", &[flags]), ALLOW);
        }
        for bit in [0x0002_0000_u64, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(ask(WIDE, architecture, "clone", &[bit | 17]), REFUSED, "{bit:#x}");
        }
    }
}

#[test]
fn sockets_are_those_of_the_granted_network() {
    const PACKET: u64 = 17;
    const VSOCK: u64 = 40;
    for architecture in ALL {
        let socket = |policy: Policy, family: u64, protocol: u64| ask(policy, architecture, "socket", &[family, 1, protocol]);
        for family in [1, 2, 10, 16, PACKET, VSOCK, 3] {
            assert_eq!(socket(STRICT, family, 0), REFUSED, "none: {family}");
        }
        assert_eq!(socket(Policy { unix_sockets: true, ..STRICT }, 1, 0), ALLOW);
        assert_eq!(socket(Policy { unix_sockets: true, ..STRICT }, 2, 0), REFUSED);
        for network in [Network::Host, Network::Isolated] {
            let policy = Policy { network, ..STRICT };
            assert_eq!([2, 10, 16].map(|family| socket(policy, family, 0)), [ALLOW; 3]);
            assert_eq!(socket(policy, 1, 0), REFUSED, "the machine's unix sockets are within reach");
            assert_eq!([PACKET, VSOCK].map(|family| socket(policy, family, 0)), [REFUSED; 2]);
            assert_eq!(socket(policy, 16, 9), REFUSED, "netlink, but not for routes");
        }
        // The kernel looks at the lower half only; so does the filter.
        assert_eq!(socket(STRICT, 1 << 32 | 2, 0), REFUSED);
        assert_eq!(socket(WIDE, 1 << 32 | 2, 0), ALLOW);
    }
}

#[test]
fn others_limits_and_priorities_are_out_of_reach_where_others_are_seen() {
    for architecture in ALL {
        assert_eq!(ask(STRICT, architecture, "prlimit64", &[0, 7]), ALLOW);
        assert_eq!(ask(STRICT, architecture, "prlimit64", &[4321, 7]), REFUSED);
        assert_eq!(ask(WIDE, architecture, "prlimit64", &[4321, 7]), ALLOW);
        assert_eq!(ask(STRICT, architecture, "setpriority", &[0, 0, 19]), ALLOW);
        assert_eq!(ask(STRICT, architecture, "setpriority", &[0, 4321, 19]), REFUSED);
        assert_eq!(ask(STRICT, architecture, "setpriority", &[2, 0, 19]), REFUSED, "every process of the user");
        assert_eq!(ask(WIDE, architecture, "ioctl", &[0, 0x5412]), REFUSED);
        assert_eq!(ask(WIDE, architecture, "ioctl", &[0, 0x541C]), REFUSED);
        assert_eq!(ask(STRICT, architecture, "ioctl", &[0, 0x5413]), ALLOW);
    }
}

#[test]
fn what_nobody_counts_is_refused_unless_it_dies_with_the_task() {
    for architecture in ALL {
        assert_eq!(["memfd_create", "shmget", "semget"].map(|call| ask(STRICT, architecture, call, &[])), [REFUSED; 3]);
        assert_eq!(["memfd_create", "shmget", "semget"].map(|call| ask(WIDE, architecture, call, &[])), [ALLOW; 3]);
    }
}

#[test]
fn a_call_costs_a_dozen_steps_and_the_program_stays_short() {
    for architecture in ALL {
        for policy in [STRICT, WIDE, Policy { network: Network::Host, ..STRICT }, Policy { unix_sockets: true, ..STRICT }] {
            let length = compile(policy, architecture, None).unwrap().len();
            assert!(length < 140, "{architecture:?} {policy:?}: {length} instructions");
        }
        let program = compile(STRICT, architecture, None).unwrap();
        let steps =
            (0..500).map(|number| run(&program, Call { number, architecture: architecture.audit(), arguments: [0; 6] }).1);
        assert!(steps.max().unwrap() <= 18);
    }
}

/// The numbers of this machine are those of its C library.
#[test]
fn the_native_column_is_the_c_librarys() {
    let column = Architecture::NATIVE.expect("this architecture has a column").column();
    let known = [
        ("ptrace", libc::SYS_ptrace),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("keyctl", libc::SYS_keyctl),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("socket", libc::SYS_socket),
        ("ioctl", libc::SYS_ioctl),
        ("prlimit64", libc::SYS_prlimit64),
        ("memfd_create", libc::SYS_memfd_create),
        ("setpriority", libc::SYS_setpriority),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("semget", libc::SYS_semget),
        ("mq_open", libc::SYS_mq_open),
    ];
    for (name, number) in known {
        let row = ROWS.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row.numbers[column].to_string(), number.to_string(), "{name}");
        assert_ne!(row.numbers[column], NONE);
    }
}
