//! The cases, one a promise of the sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dunlin_node::sandbox::{Handlers, OutputStream, Sandbox, SandboxConfig, SandboxError, handler_argv};
use dunlin_node::task::{HandlerName, LostWhy, Outcome};
use tokio::sync::{mpsc, watch};

use super::harness::Case;
use super::house::{
    House, IMMORTAL, SOON, WAITING, alive, at_rest, folder, gone, kill, open_descriptors, out, outer, parent, soon,
};

/// A list of cases that run in every environment.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$(crate::harness::Case { name: stringify!($name), run: $name }),*]
    };
}
pub(crate) use cases;

pub(crate) const ALL: &[Case] = cases![
    exit_codes_and_outputs_come_back,
    signals_are_told_apart_from_exit_codes,
    empty_commands_missing_programs_and_forbidden_ones_are_told_apart,
    the_environment_is_exactly_what_was_given,
    nothing_of_the_node_is_inherited,
    large_inputs_arrive_whole,
    programs_may_ignore_their_input_and_close_their_outputs,
    a_timeout_kills_the_whole_tree,
    a_timeout_gives_grace,
    cancelling_ends_the_task_and_says_so,
    dropping_the_run_ends_the_task,
    a_program_that_leaves_a_daemon_does_not_leave_it_running,
    endless_output_is_capped_and_the_tail_is_kept,
    live_output_is_best_effort,
    limits_of_the_tree_are_told_apart,
    a_killed_zygote_does_not_hurt_the_running_task,
    a_killed_supervisor_loses_the_task_and_leaves_nothing,
    a_dead_node_takes_its_tasks_with_it,
    many_runs_at_once_leak_nothing,
    a_large_tree_in_many_sessions_is_killed_whole,
    orphans_of_a_living_task_are_waited_for,
    a_node_without_descriptors_says_so,
    hostile_scratch_directories_are_removed,
    handlers_run_by_name_in_a_process_of_their_own,
    a_binary_that_is_no_zygote_is_refused,
];

pub(crate) fn handlers() -> Handlers {
    let name = |name: &str| name.parse::<HandlerName>().unwrap();
    Handlers::new()
        .with(name("reverse"), |input| Ok(input.bytes.iter().rev().copied().collect()))
        .with(name("refuse"), |_| Err("not today".to_owned()))
        .with(name("panic"), |_| panic!("a handler's panic"))
}

/// Stands for a whole node: runs a task that never ends, until it is killed itself.
const NODE: &str = "--run-node";

pub(crate) fn enter_if_node() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, folder] = &arguments[..]
        && verb == NODE
    {
        let house = House::within(&PathBuf::from(folder));
        house.run(&["sh", "-c", &format!("echo $$ > pid.new && mv pid.new pid; {IMMORTAL}")], |launch| {
            launch.limits.wall = None;
        });
    }
}

fn exit_codes_and_outputs_come_back() {
    let house = House::new();
    let report = house.run(&["sh", "-c", "echo out; echo err >&2; exit 7"], |_| {});
    assert_eq!(report.outcome, Outcome::Exited(7));
    assert_eq!((out(&report).as_str(), &report.stderr.tail[..]), ("out\n", &b"err\n"[..]));
    assert_eq!((report.stdout.total, report.stderr.total), (4, 4));
    assert!(report.usage.wall > Duration::ZERO && report.usage.memory_peak > 0, "{:?}", report.usage);
    assert_eq!(house.run(&["true"], |_| {}).outcome, Outcome::Exited(0));
    house.no_scratch_is_left();
}

fn signals_are_told_apart_from_exit_codes() {
    let house = House::new();
    assert_eq!(house.run(&["sh", "-c", "kill -SEGV $$"], |_| {}).outcome, Outcome::Signaled(11));
    assert_eq!(house.run(&["sh", "-c", "exit 139"], |_| {}).outcome, Outcome::Exited(139));
    // Nothing is ignored or held back that the node or its zygote ignore or hold back.
    for signal in ["PIPE", "TERM", "HUP", "INT", "USR1"] {
        let report = house.run(&["sh", "-c", &format!("kill -{signal} $$")], |_| {});
        assert!(matches!(report.outcome, Outcome::Signaled(_)), "{signal}: {:?}", report.outcome);
    }
    let masks = out(&house.run(&["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], |_| {}));
    assert_eq!(masks, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

fn empty_commands_missing_programs_and_forbidden_ones_are_told_apart() {
    let folder = folder();
    let house = House::with(|config| config.readable = vec![folder.path().to_owned()]);
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let read = |launch: &mut dunlin_node::sandbox::Launch| launch.isolation.read = vec![folder.path().to_owned()];
    let why = |argv: &[&str]| match house.run(argv, read).outcome {
        Outcome::NotFound(why) => why,
        other => panic!("{argv:?}: {other:?}"),
    };
    assert_eq!(why(&[]), "the command is empty");
    assert_eq!(why(&["no-such-thing"]), "`no-such-thing` was not found in PATH=/usr/local/bin:/usr/bin:/bin");
    assert_eq!(why(&["./x"]), "`./x` does not exist");
    assert!(why(&[&file("plain", "#!/bin/sh\n", 0o644)]).ends_with("is not executable"));
    assert!(why(&[&file("odd", "#!/no/such/interpreter\n", 0o755)]).contains("interpreter"));
    assert!(why(&[&file("noise", "\u{1}\u{2}", 0o755)]).contains("not a program of this machine"));
    assert!(why(&["/"]).ends_with("is a directory"));
    assert!(why(&["echo", &"x".repeat(200_000)]).contains("larger than the kernel takes"));
    let report = house.run(&["true"], |launch| launch.scratch = "/somewhere/else".into());
    assert!(matches!(&report.outcome, Outcome::SetupFailed { step, .. } if step == "make the scratch directory"));
    house.no_scratch_is_left();
}

fn the_environment_is_exactly_what_was_given() {
    let house = House::new();
    let report = house.run(&["/usr/bin/env"], |launch| {
        launch.env = BTreeMap::from([("A".to_owned(), "1 = one".to_owned()), ("EMPTY".to_owned(), String::new())]);
    });
    assert_eq!(out(&report), "A=1 = one\nEMPTY=\n");
    let report = house.run(&["sh", "-c", "pwd; ls -a; stat -c %a . tmp"], |_| {});
    let place = fs::canonicalize(&house.root).unwrap().join("2-1");
    assert_eq!(out(&report), format!("{}\n.\n..\ntmp\n700\n700\n", place.display()));
}

fn nothing_of_the_node_is_inherited() {
    // A descriptor that anybody could inherit, as a careless library would open it.
    let careless = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();
    let house = House::new();
    let look = "for fd in $(seq 0 99); do if [ -e /proc/self/fd/$fd ]; then echo $fd; fi; done";
    assert_eq!(out(&house.run(&["sh", "-c", look], |_| {})), "0\n1\n2\n");
    let status = out(&house.run(&["cat", "/proc/self/status"], |_| {}));
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert_eq!(out(&house.run(&["cat", "/proc/self/oom_score_adj"], |_| {})), "1000\n");
    let files = out(&house.run(&["sh", "-c", "ulimit -n; ulimit -c"], |launch| launch.limits.open_files = 77));
    assert_eq!(files, "77\n0\n");
    let ids: Vec<i32> = out(&house.run(&["sh", "-c", "read -r line </proc/self/stat; echo $line | cut -d' ' -f1,5,6"], |_| {}))
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "it leads its own group and session: {ids:?}");
}

fn large_inputs_arrive_whole() {
    let house = House::new();
    let input: Bytes = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
    let report = house.run_with(&["cat"], input.clone(), |launch| launch.limits.stdout = 2 << 20);
    assert_eq!(report.outcome, Outcome::Exited(0));
    assert!(report.stdout.tail == input, "{} bytes came back", report.stdout.total);
    assert_eq!(out(&house.run_with(&["wc", "-c"], input, |_| {})).trim(), "1048576");
    assert_eq!(out(&house.run_with(&["cat"], "a few", |_| {})), "a few");
    assert_eq!(out(&house.run(&["wc", "-c"], |_| {})).trim(), "0");
}

fn programs_may_ignore_their_input_and_close_their_outputs() {
    let house = House::new();
    let input = Bytes::from(vec![b'x'; 4 << 20]);
    assert_eq!(house.run_with(&["true"], input.clone(), |_| {}).outcome, Outcome::Exited(0));
    assert_eq!(house.run_with(&["sh", "-c", "exec <&- >&- 2>&-; exit 4"], input.clone(), |_| {}).outcome, Outcome::Exited(4));
    assert_eq!(house.run_with(&["head", "-c", "3"], input, |_| {}).stdout.tail, "xxx");
}

fn a_timeout_kills_the_whole_tree() {
    let house = House::new();
    // A grandchild in a session of its own, orphaned, that ignores what it may and holds the pipes.
    let daemon = format!("(setsid sh -c \"{IMMORTAL}\" & echo $!) ; {IMMORTAL}");
    let limit = Duration::from_millis(300);
    let mut running = house.start(&daemon, |launch| launch.limits.wall = Some(limit));
    let daemon = running.process(&house);
    let report = house.end(running);
    assert_eq!(report.outcome, Outcome::TimedOut { limit });
    assert!(gone(daemon));
    assert!(report.usage.wall >= limit + Duration::from_millis(200), "without grace: {:?}", report.usage);
    assert!(report.usage.wall < Duration::from_secs(5), "the daemon held out: {:?}", report.usage);
}

fn a_timeout_gives_grace() {
    let house = House::new();
    let script = "trap 'echo tidied; exit 3' TERM; echo 1; while :; do sleep 0.01; done";
    let limit = Duration::from_millis(200);
    let report = house.run(&["sh", "-c", script], |launch| {
        launch.limits.wall = Some(limit);
        launch.limits.grace = SOON;
    });
    assert_eq!(report.outcome, Outcome::TimedOut { limit });
    assert_eq!(out(&report), "1\ntidied\n");
}

fn cancelling_ends_the_task_and_says_so() {
    let house = House::new();
    let mut running = house.start(&format!("echo $$; {IMMORTAL}"), |_| {});
    let pid = running.process(&house);
    running.cancel.send(true).unwrap();
    let report = house.end(running);
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert!(gone(pid));
    // Cancelled before it began: nothing is started at all.
    let (_cancel, cancelled) = watch::channel(true);
    let launch = house.launch(&["true"], |_| {});
    let report = house.runtime.block_on(house.sandbox.run(launch, Bytes::new(), cancelled, None));
    assert_eq!(report.outcome, Outcome::Cancelled);
}

fn dropping_the_run_ends_the_task() {
    let house = House::new();
    let mut running = house.start(&format!("echo $$; {IMMORTAL}"), |_| {});
    let pid = running.process(&house);
    running.run.abort();
    soon("the task is gone", || gone(pid));
    soon("its scratch is gone", || fs::read_dir(&house.root).unwrap().next().is_none());
}

fn a_program_that_leaves_a_daemon_does_not_leave_it_running() {
    let house = House::new();
    let started = Instant::now();
    // The program ends only when the daemon has a session of its own.
    let daemon = format!("echo born >born; : {}; {}", house.root.display(), IMMORTAL.replace('\'', "\""));
    let script = format!("mkfifo born; setsid sh -c '{daemon}' & cat born; exit 5");
    let report = house.run(&["sh", "-c", &script], |_| {});
    assert_eq!(report.outcome, Outcome::Exited(5));
    assert_eq!(out(&report), "born\n");
    assert_eq!(alive(house.root.to_str().unwrap()), 0);
    assert!(started.elapsed() < Duration::from_secs(5), "the daemon got no grace: {:?}", started.elapsed());
}

fn endless_output_is_capped_and_the_tail_is_kept() {
    let house = House::new();
    let peak_before = peak_memory();
    let report = house.run(&["yes", "0123456"], |launch| {
        launch.limits.wall = Some(Duration::from_millis(700));
        launch.limits.stdout = 1 << 16;
    });
    assert!(matches!(report.outcome, Outcome::TimedOut { .. }), "{:?}", report.outcome);
    assert_eq!(report.stdout.tail.len(), 1 << 16);
    assert!(report.stdout.total > 1 << 20, "{}", report.stdout.total);
    assert_eq!(report.stdout.dropped(), report.stdout.total - (1 << 16));
    let grown = peak_memory() - peak_before;
    // Other cases run beside this one, some with megabytes of input of their own.
    assert!(grown < 64 << 20, "{grown} bytes more for {} bytes of output", report.stdout.total);
    let report = house.run(&["seq", "1", "100000"], |launch| launch.limits.stdout = 13);
    assert_eq!(out(&report), "99999\n100000\n");
}

fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

fn live_output_is_best_effort() {
    let house = House::new();
    let (_cancel, never) = watch::channel(false);
    // Room for one piece, and nobody who takes it out: the task and its tail do not notice.
    let (live, mut outputs) = mpsc::channel(1);
    let launch = house.launch(&["sh", "-c", "seq 1 200000; echo e >&2"], |_| {});
    let report = house.runtime.block_on(house.sandbox.run(launch, Bytes::new(), never, Some(live)));
    assert_eq!(report.outcome, Outcome::Exited(0));
    assert!(report.stdout.tail.ends_with(b"200000\n"));
    let first = outputs.try_recv().unwrap();
    assert_eq!(first.stream, OutputStream::Stdout);
    assert!(first.bytes.starts_with(b"1\n2\n"));
}

fn limits_of_the_tree_are_told_apart() {
    let house = House::new();
    let limit = Duration::from_millis(300);
    let report = house.run(&["sh", "-c", "while :; do :; done"], |launch| launch.limits.cpu = Some(limit));
    assert_eq!(report.outcome, Outcome::CpuLimit { limit });
    assert!(report.usage.cpu >= limit, "{:?}", report.usage);
    // Two processes share what one of them alone would not have used up.
    let two = "(while :; do :; done) & while :; do :; done";
    assert_eq!(house.run(&["sh", "-c", two], |launch| launch.limits.cpu = Some(limit)).outcome, Outcome::CpuLimit { limit });

    // What dead orphans used counts as well: here nobody alone, living or waited for by its parent, uses much.
    let burn = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    let orphans = format!("while :; do (sh -c '{burn}' &); sleep 0.02; done");
    let report = house.run(&["sh", "-c", &orphans], |launch| {
        launch.limits.cpu = Some(limit);
        launch.limits.wall = Some(Duration::from_secs(5));
    });
    assert_eq!(report.outcome, Outcome::CpuLimit { limit });

    let limit = 64 << 20;
    let hog = "(head -c 200000000 /dev/zero; exec sleep 1000) | tail -c 150000000";
    let report = house.run(&["sh", "-c", hog], |launch| launch.limits.memory = Some(limit));
    assert!(matches!(report.outcome, Outcome::OutOfMemory { peak, .. } if peak > limit), "{:?}", report.outcome);

    let many = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait";
    let report = house.run(&["sh", "-c", many], |launch| launch.limits.processes = Some(5));
    assert_eq!(report.outcome, Outcome::TooManyProcesses { limit: 5 });

    let limit = 100_000;
    let report = house.run(&["dd", "if=/dev/zero", "of=big", "bs=4096", "count=100"], |launch| {
        launch.limits.file_size = Some(limit);
    });
    assert_eq!(report.outcome, Outcome::FileTooLarge { limit });
}

fn a_killed_zygote_does_not_hurt_the_running_task() {
    let house = House::new();
    let gate = house.next_scratch().join("gate");
    let mut running = house.start("echo $$; while ! [ -e gate ]; do sleep 0.01; done; exit 9", |_| {});
    let pid = running.process(&house);
    let zygote = i32::try_from(house.sandbox.zygote_pid()).unwrap();
    assert_eq!(parent(parent(pid)), zygote);
    kill(zygote);
    soon("the zygote is dead", || gone(zygote));
    assert_eq!(out(&house.run(&["echo", "next"], |_| {})), "next\n");
    assert_ne!(i32::try_from(house.sandbox.zygote_pid()).unwrap(), zygote);
    fs::write(gate, "").unwrap();
    assert_eq!(house.end(running).outcome, Outcome::Exited(9));
}

fn a_killed_supervisor_loses_the_task_and_leaves_nothing() {
    let house = House::new();
    let script = format!("setsid sh -c \"{IMMORTAL}\" & echo $!; echo $$; {IMMORTAL}");
    let mut running = house.start(&script, |_| {});
    let (daemon, leader) = (running.process(&house), running.process(&house));
    kill(parent(leader));
    assert_eq!(house.end(running).outcome, Outcome::Lost(LostWhy::SupervisorDied));
    soon("the task is gone", || gone(leader) && gone(daemon));
    assert_eq!(house.run(&["true"], |_| {}).outcome, Outcome::Exited(0));
    house.no_scratch_is_left();
}

/// Starts a node in a process of its own; answers with it and with its task's process.
pub(crate) fn start_node(folder: &std::path::Path) -> (std::process::Child, i32) {
    let child = std::process::Command::new(std::env::current_exe().unwrap()).arg(NODE).arg(folder).spawn().unwrap();
    let mut inner = None;
    soon("the task has started", || {
        let said = fs::read_to_string(folder.join("scratch/1-1/pid")).ok();
        inner = said.and_then(|text| text.trim().parse::<i32>().ok());
        inner.is_some()
    });
    let pid = outer(i32::try_from(child.id()).unwrap(), inner.unwrap());
    (child, pid)
}

fn a_dead_node_takes_its_tasks_with_it() {
    let folder = folder();
    let (mut child, pid) = start_node(folder.path());
    let (supervisor, zygote) = (parent(pid), parent(parent(pid)));
    child.kill().unwrap();
    child.wait().unwrap();
    soon("nothing of it is left", || gone(pid) && gone(supervisor) && gone(zygote));
    // The next node finds the left-overs in its scratch directory and removes them.
    assert_eq!(fs::read_dir(folder.path().join("scratch")).unwrap().count(), 1);
    House::within(folder.path()).no_scratch_is_left();
}

fn many_runs_at_once_leak_nothing() {
    let house = House::new();
    let round = |runs: u32| {
        let runs: Vec<_> = (0..runs).map(|n| (n, house.start_with(&["cat"], Bytes::from(n.to_string())))).collect();
        for (n, run) in runs {
            let report = house.runtime.block_on(run).unwrap();
            assert_eq!((report.outcome.clone(), out(&report)), (Outcome::Exited(0), n.to_string()));
        }
    };
    round(4);
    let before = open_descriptors();
    round(200);
    let after = open_descriptors();
    assert!(after <= before + WAITING, "{before} descriptors before, {after} after");
    let zygote = house.sandbox.zygote_pid();
    soon("no supervisor has anything to do", || at_rest(zygote));
    // An ordinary user's node can't look into its zygote, which is closed to others of its user.
    if let Ok(held) = fs::read_dir(format!("/proc/{zygote}/fd")) {
        assert_eq!(held.count(), 3, "descriptors of the zygote");
    }
    house.no_scratch_is_left();
}

fn a_large_tree_in_many_sessions_is_killed_whole() {
    let house = House::new();
    // A bomb with a fuse: two children each, to a depth of eight, every other one in a session of its own.
    let script = "if [ $1 -gt 0 ]; then n=$(($1-1)); setsid sh $0 $n & sh $0 $n & fi; trap '' TERM; sleep 1000";
    let bomb = house.next_scratch().join("bomb");
    let start = "cat >bomb; exec sh $PWD/bomb 8";
    let report = house.run_with(&["sh", "-c", start], script, |launch| launch.limits.processes = Some(100));
    assert_eq!(report.outcome, Outcome::TooManyProcesses { limit: 100 });
    assert_eq!(alive(bomb.to_str().unwrap()), 0);
}

fn orphans_of_a_living_task_are_waited_for() {
    let house = House::new();
    let gate = house.next_scratch().join("gate");
    let orphans = "i=0; while [ $i -lt 300 ]; do (true &); i=$((i+1)); done; echo $$";
    let script = format!("{orphans}; while ! [ -e gate ]; do sleep 0.01; done");
    let mut running = house.start(&script, |_| {});
    let supervisor = parent(running.process(&house));
    // Only the shell: no orphan is left as a zombie while the task runs on.
    let children = || fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    soon("the orphans were waited for", || children().split_whitespace().count() == 1);
    fs::write(gate, "").unwrap();
    assert_eq!(house.end(running).outcome, Outcome::Exited(0));
}

fn a_node_without_descriptors_says_so() {
    let house = House::new();
    let few = rustix::process::Rlimit { current: Some(100), maximum: Some(100) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.truncate(hoard.len() - 3);
    let refused = house.run(&["true"], |_| {}).outcome;
    drop(hoard);
    assert!(matches!(&refused, Outcome::SetupFailed { step, .. } if step == "open its pipes"), "{refused:?}");
    assert_eq!(house.run(&["true"], |launch| launch.limits.open_files = 100).outcome, Outcome::Exited(0));
}

fn hostile_scratch_directories_are_removed() {
    let house = House::new();
    let outside = house.root.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    let script = "ln -s $OUTSIDE link; mkdir -p a/b/c; ln -s $OUTSIDE a/b/c/link; touch a/b/f; chmod 0 a/b a; rmdir tmp;
        ln -s $OUTSIDE tmp; mkdir deep; cd deep; i=0; while [ $i -lt 300 ]; do mkdir 0123456789012345678901234567890; \
        cd -P 0123456789012345678901234567890; i=$((i+1)); done";
    let report = house.run(&["sh", "-c", script], |launch| {
        launch.env.insert("OUTSIDE".to_owned(), outside.to_str().unwrap().to_owned());
    });
    assert_eq!(report.outcome, Outcome::Exited(0), "{}", String::from_utf8_lossy(&report.stderr.tail));
    house.no_scratch_is_left();
    assert!(outside.join("precious").exists());
}

fn handlers_run_by_name_in_a_process_of_their_own() {
    let house = House::new();
    let run = |name: &str, input: &str| {
        let argv = handler_argv(&name.parse().unwrap());
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        house.run_with(&argv, input.to_owned(), |_| {}).of_handler()
    };
    let reversed = run("reverse", "abc");
    assert_eq!((reversed.outcome.clone(), out(&reversed)), (Outcome::Exited(0), "cba".to_owned()));
    assert_eq!(run("refuse", "").outcome, Outcome::HandlerFailed("not today".to_owned()));
    assert!(matches!(run("panic", "").outcome, Outcome::HandlerFailed(why) if why.contains("a handler's panic")));
    assert!(matches!(run("stranger", "").outcome, Outcome::NotFound(why) if why.contains("`stranger`")));
}

fn a_binary_that_is_no_zygote_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = |binary: &str| {
        let config = SandboxConfig { binary: binary.into(), ..SandboxConfig::new(folder.path().join("scratch")) };
        runtime.block_on(async { Sandbox::start(config) }).unwrap_err()
    };
    assert!(matches!(start("/bin/true"), SandboxError::NotAZygote { .. }));
    assert!(matches!(start("/no/such/binary"), SandboxError::Zygote { .. }));
}
