//! Supervisors and scratch directories that serve one task after the other: when they do, and that nothing passes from
//! one task to the next.

use std::fs;

use dunlin_node::sandbox::Report;
use dunlin_node::task::{Layer, Level, Outcome};

use super::cases::cases;
use super::harness::Case;
use super::house::{House, WAITING, at_rest, kill, out, soon};

pub(crate) const ALL: &[Case] = cases![
    a_supervisor_serves_again,
    a_supervisor_that_a_task_changed_serves_nobody_again,
    nothing_of_a_task_is_left_for_the_next,
    message_queues_are_not_left_for_the_next,
    a_task_works_in_the_folder_that_its_node_gave_it,
    a_waiting_supervisor_that_is_killed_costs_no_task,
    waiting_supervisors_are_few,
    tasks_that_ask_for_something_of_their_own_get_it_after_others,
];

fn succeeded(report: &Report) -> String {
    assert_eq!(report.outcome, Outcome::Exited(0), "{}", String::from_utf8_lossy(&report.stderr.tail));
    out(report)
}

/// Its number, and its pid namespace where it has one of its own.
const WHO: &str = "echo $PPID; readlink /proc/self/ns/pid";

fn a_supervisor_serves_again() {
    let house = House::new();
    let zygote = house.sandbox.zygote_pid();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        seen.insert(succeeded(&house.run(&["sh", "-c", WHO], |_| {})));
        soon("its supervisor waits again or is gone", || at_rest(zygote));
    }
    assert!(seen.len() <= 3, "of ten tasks in a row most find the same one: {seen:?}");
}

/// A task of the same user can reach it where it sees it; where it can't, nothing of this has an effect.
fn a_supervisor_that_a_task_changed_serves_nobody_again() {
    let house = House::new();
    house.needs(Level::Full);
    let look = "ulimit -Hn; ulimit -Ht; nice; taskset -p $$ | sed 's/.*: //'; chrt -p $$ | sed 's/.*: //'; ionice";
    let look = || succeeded(&house.run(&["sh", "-c", look], |launch| launch.limits.open_files = 123));
    let fresh = look();
    let zygote = house.sandbox.zygote_pid();
    let own = !house.sandbox.findings().holds(Layer::UidPerSlot);
    // The kernel asks for the supervisor's own capabilities for all but the limits.
    let means = [
        ("prlimit --pid 1 --nofile=100:100", own),
        ("prlimit --pid 1 --cpu=1000:1000", own),
        ("renice -n 5 -p 1", false),
        ("taskset -p 1 1", false),
        ("chrt -b -p 0 1", false),
        ("ionice -c 3 -p 1", false),
    ];
    for (change, can) in means {
        soon("its supervisor waits again or is gone", || at_rest(zygote));
        let report = house.run(&["sh", "-c", &format!("{WHO}; {change} >&2 && echo done; :")], |_| {});
        let told = succeeded(&report);
        let changed = told.ends_with("done\n");
        assert_eq!(changed, can, "{change}: {told}{}", String::from_utf8_lossy(&report.stderr.tail));
        soon("its supervisor waits again or is gone", || at_rest(zygote));
        let next = succeeded(&house.run(&["sh", "-c", WHO], |_| {}));
        assert!(!changed || !told.starts_with(&next), "{change}: {told} served {next}");
        assert_eq!(look(), fresh, "{change}");
    }
}

fn nothing_of_a_task_is_left_for_the_next() {
    let house = House::new();
    house.needs(Level::Partial);
    let leave = "echo x >left; echo x >tmp/left; mkdir .hidden; chmod 755 . tmp; touch -d 2001-01-01 . 2>/dev/null;
                 echo x >/tmp/left; echo x >/dev/shm/left; ipcmk -Q; ipcmk -S 1; ipcmk -M 4096; ulimit -n 20; nice -n 19 true; : ";
    // A mode alone: an ordinary user's task owns this folder.
    let close = "[ -O /dev/shm ] && chmod 700 /dev/shm; :";
    let look = "ls -A . tmp; stat -c %a . tmp; ls -A /tmp | wc -l; ls -A /dev/shm | wc -l; stat -c %a /dev/shm;
                cat /proc/sysvipc/msg /proc/sysvipc/sem /proc/sysvipc/shm | grep -vc key; ulimit -n; nice";
    let look = |house: &House| succeeded(&house.run(&["sh", "-c", look], |launch| launch.limits.open_files = 123));
    let fresh = look(&House::new());
    for _ in 0..3 {
        for task in [leave, close, "ipcmk -Q; :", "ipcmk -S 1; :", "ipcmk -M 4096; :"] {
            succeeded(&house.run(&["sh", "-c", task], |_| {}));
            assert_eq!(look(&house), fresh, "{task}");
        }
    }
    if house.full() {
        // Nothing in /tmp or in the shared memory, no queue, no semaphore.
        assert!(fresh.contains("\n700\n700\n0\n0\n1777\n0\n123\n0\n"), "{fresh}");
    }
    house.no_scratch_is_left();
}

/// Supervisors keep folders that were not touched, and the node gives them to whom it likes.
fn a_task_works_in_the_folder_that_its_node_gave_it() {
    let house = House::new();
    for _ in 0..10 {
        let runs: Vec<_> = (0..3).map(|_| house.start_with(&["true"], bytes::Bytes::new())).collect();
        for run in runs {
            succeeded(&house.runtime.block_on(run).unwrap());
        }
        assert_eq!(succeeded(&house.run(&["sh", "-c", "ls -A; echo x >left"], |_| {})), "tmp\n");
    }
    house.no_scratch_is_left();
}

fn message_queues_are_not_left_for_the_next() {
    let house = House::new();
    house.needs(Level::Full);
    // Without O_CREAT the name has to be there: error 2 is ENOENT.
    let open = |flags: u32| {
        let program = format!(
            "import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.mq_open(b'/left', {flags}, 0o666, None) >= 0, ctypes.get_errno())"
        );
        succeeded(&house.run(&["python3", "-c", &program], |_| {}))
    };
    for _ in 0..3 {
        // Landlock refuses to open it (error 13), but not to make it.
        let made = open(libc::O_CREAT.unsigned_abs());
        assert!(made == "False 13\n" || made == "True 0\n", "{made}");
        assert_eq!(open(0), "False 2\n");
    }
}

fn a_waiting_supervisor_that_is_killed_costs_no_task() {
    let house = House::new();
    succeeded(&house.run(&["true"], |_| {}));
    let zygote = house.sandbox.zygote_pid();
    soon("nothing is going on", || at_rest(zygote));
    let waiting = fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).unwrap();
    waiting.split_whitespace().for_each(|pid| kill(pid.parse().unwrap()));
    soon("they are gone", || {
        let now = fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).unwrap();
        waiting.split_whitespace().all(|pid| !now.split_whitespace().any(|other| other == pid))
    });
    assert_eq!(succeeded(&house.run(&["echo", "next"], |_| {})), "next\n");
    house.no_scratch_is_left();
}

fn waiting_supervisors_are_few() {
    let house = House::new();
    let runs: Vec<_> = (0..3 * WAITING).map(|_| house.start_with(&["true"], bytes::Bytes::new())).collect();
    for run in runs {
        succeeded(&house.runtime.block_on(run).unwrap());
    }
    let zygote = house.sandbox.zygote_pid();
    soon("no more wait than may", || at_rest(zygote));
    drop(house);
    soon("none outlives its node", || fs::metadata(format!("/proc/{zygote}")).is_err());
}

fn tasks_that_ask_for_something_of_their_own_get_it_after_others() {
    let folder = super::house::folder();
    fs::write(folder.path().join("given"), "given").unwrap();
    let house = House::with(|config| config.readable = vec![folder.path().to_owned()]);
    let path = folder.path().join("given");
    let read = |allowed: bool| {
        house.run(&["cat", path.to_str().unwrap()], |launch| {
            launch.isolation.read = if allowed { vec![folder.path().to_owned()] } else { Vec::new() };
        })
    };
    for _ in 0..3 {
        assert_eq!(succeeded(&read(true)), "given");
        if house.sandbox.level() >= Level::Partial {
            assert_ne!(read(false).outcome, Outcome::Exited(0), "what one task was granted is not the next one's");
        }
    }
}
