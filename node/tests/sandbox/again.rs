//! Supervisors and scratch directories that serve one task after the other: when they do, and that nothing passes from
//! one task to the next.

use std::fs;

use dunlin_node::sandbox::Report;
use dunlin_node::task::{Layer, Level, Outcome};

use super::cases::cases;
use super::harness::Case;
use super::house::{House, WAITING, at_rest, kill, out, soon};

pub(crate) const ALL: &[Case] = cases![
    a_supervisor_serves_again_only_where_no_task_could_change_it,
    nothing_of_a_task_is_left_for_the_next,
    a_waiting_supervisor_that_is_killed_costs_no_task,
    waiting_supervisors_are_few,
    tasks_that_ask_for_something_of_their_own_get_it_after_others,
];

fn succeeded(report: &Report) -> String {
    assert_eq!(report.outcome, Outcome::Exited(0), "{}", String::from_utf8_lossy(&report.stderr.tail));
    out(report)
}

fn a_supervisor_serves_again_only_where_no_task_could_change_it() {
    let house = House::new();
    let who = || succeeded(&house.run(&["sh", "-c", "echo $PPID $$; readlink /proc/self/ns/pid"], |_| {}));
    let zygote = house.sandbox.zygote_pid();
    let (mut seen, mut firsts) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..10 {
        let told = who();
        let (parent, number) = told.lines().next().and_then(|line| line.split_once(' ')).unwrap();
        seen.insert((parent.to_owned(), told.lines().last().unwrap().to_owned()));
        firsts += usize::from(number == "2");
        soon("its supervisor waits again or is gone", || at_rest(zygote));
    }
    if house.full() && !house.sandbox.findings().holds(Layer::UidPerSlot) {
        // The task is the supervisor's own user and sees it: each one has a namespace of its own, in which it is the second.
        assert_eq!(firsts, 10, "{seen:?}");
    } else {
        assert!(seen.len() <= 3, "of ten tasks in a row most find the same one: {seen:?}");
    }
}

fn nothing_of_a_task_is_left_for_the_next() {
    let house = House::new();
    house.needs(Level::Partial);
    let leave = "echo x >left; echo x >tmp/left; mkdir .hidden; chmod 755 . tmp; touch -d 2001-01-01 . 2>/dev/null;
                 echo x >/tmp/left; echo x >/dev/shm/left; ipcmk -Q; ipcmk -S 1; ulimit -n 20; nice -n 19 true; : ";
    let look = "ls -A . tmp; stat -c %a . tmp; ls -A /tmp | wc -l; ls -A /dev/shm | wc -l;
                cat /proc/sysvipc/msg /proc/sysvipc/sem | grep -vc key; ulimit -n; nice";
    let look = |house: &House| succeeded(&house.run(&["sh", "-c", look], |launch| launch.limits.open_files = 123));
    let fresh = look(&House::new());
    for _ in 0..3 {
        succeeded(&house.run(&["sh", "-c", leave], |_| {}));
        assert_eq!(look(&house), fresh);
    }
    if house.full() {
        // Nothing in /tmp or in the shared memory, no queue, no semaphore.
        assert!(fresh.contains("\n700\n700\n0\n0\n0\n123\n0\n"), "{fresh}");
    }
    house.no_scratch_is_left();
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
