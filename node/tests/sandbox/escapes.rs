//! What a hostile task tries, one attempt a case, in each environment: every attempt must fail at the level that
//! promises it, and what a level does not promise is skipped by name.
//!
//! Attempts are made by perl, which can make any system call; without it they are skipped.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use dunlin_node::sandbox::Report;
use dunlin_node::task::{Layer, Level, Network, Outcome};

use super::cases::cases;
use super::harness::{Case, skip};
use super::house::{House, gone, out, soon};

pub(crate) const ALL: &[Case] = cases![
    nothing_is_written_outside_of_the_scratch_directory,
    modes_and_times_outside_can_not_be_changed,
    the_nodes_key_and_state_can_not_be_read,
    hidden_folders_among_readable_ones_stay_hidden,
    only_paths_that_the_owner_allows_are_granted,
    without_network_nothing_is_reached_on_loopback,
    an_isolated_network_has_only_its_own_loopback,
    unix_sockets_of_the_machine_are_not_reached,
    the_node_can_not_be_signalled_also_by_thread,
    the_node_can_not_be_traced_read_or_limited,
    mounts_and_namespaces_are_refused,
    no_privilege_is_left,
    the_kernels_insides_are_refused,
    memory_that_nobody_counts_is_refused,
    memory_hogs_of_one_and_of_four_are_killed,
    a_fork_bomb_is_contained,
    zombies_by_the_thousand_are_reaped,
    nothing_is_left_when_node_zygote_and_supervisor_are_killed,
    neighbours_can_not_be_seen_or_read,
];

/// Runs perl, whose last word is "held" or what it achieved.
fn attempt(house: &House, script: &str, network: Network) -> Report {
    if !Path::new("/usr/bin/perl").exists() {
        skip("it needs perl, which is not installed here");
    }
    let report = house.run(&["perl", "-e", script], |launch| launch.isolation.network = network);
    assert!(matches!(report.outcome, Outcome::Exited(_)), "{:?} {}", report.outcome, errors(&report));
    report
}

fn errors(report: &Report) -> String {
    String::from_utf8_lossy(&report.stderr.tail).into_owned()
}

fn holds(house: &House, script: &str) {
    let report = attempt(house, script, Network::Host);
    assert_eq!(out(&report), "held", "{}", errors(&report));
}

fn nothing_is_written_outside_of_the_scratch_directory() {
    let house = House::new();
    house.needs(Level::Partial);
    let outside = house.root.parent().unwrap().join("precious");
    fs::write(&outside, "precious").unwrap();
    let _ = fs::set_permissions(&outside, std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let script = format!(
        "for my $path ('{0}', '{0}.new', '/var/tmp/dunlin-escape', '/dev/shm/../dunlin-escape', '/etc/dunlin-escape') {{
            if (open(my $f, '>', $path)) {{ print \"wrote $path\"; exit }} }}
         truncate('{0}', 0) and print 'truncated'; unlink('{0}') and print 'unlinked';
         rename('{0}', '{0}.moved') and print 'renamed'; link('{0}', 'link') and print 'linked'; print 'held'",
        outside.display()
    );
    holds(&house, &script);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
    assert!(!Path::new("/var/tmp/dunlin-escape").exists());
    // What it may: its scratch directory, and in it everything.
    let report = house.run(&["sh", "-c", "echo x >a && mkdir b && mv a b/c && ln b/c d && rm d && cat b/c >tmp/e"], |_| {});
    assert_eq!(report.outcome, Outcome::Exited(0), "{}", errors(&report));
}

fn modes_and_times_outside_can_not_be_changed() {
    // In a folder that the task is granted to read: what it can't even name it can't change either.
    let folder = super::house::folder();
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::write(open.join("precious"), "precious").unwrap();
    let house = House::with(|config| config.readable = vec![open.clone()]);
    let findings = house.sandbox.findings();
    if !findings.holds(Layer::ReadOnlyMounts) && !findings.holds(Layer::UidPerSlot) {
        skip("Landlock does not control modes: it needs read-only mounts or a user for each slot");
    }
    let script = format!(
        "-e '{0}' or print 'it is not there '; chmod(0777, '{0}') and print 'chmod '; utime(1, 1, '{0}') and print 'utime ';
         chmod(0777, '/etc/hostname') and print 'chmod of etc '; print 'held'",
        open.join("precious").display()
    );
    let report = house.run(&["perl", "-e", &script], |launch| launch.isolation.read = vec![open.clone()]);
    assert_eq!(out(&report), "held", "{}", errors(&report));
}

fn the_nodes_key_and_state_can_not_be_read() {
    let house = House::new();
    house.needs(Level::Partial);
    let folder = house.root.parent().unwrap();
    fs::write(folder.join("key"), "secret").unwrap();
    let me = std::process::id();
    let script = format!(
        "my ($g, $h); open(my $f, '<', '{0}/key') and print 'key '; my $d; opendir($d, '{0}') and grep {{ /key/ }} readdir($d) and print 'folder ';
         for my $file ('environ', 'mem', 'maps', 'fd/0', 'root/etc/passwd', 'cwd/key') {{
            open($g, '<', \"/proc/{me}/$file\") and sysread($g, my $x, 1) and print \"$file \" }}
         symlink('{0}/key', 'link'); open($h, '<', 'link') and print 'through a link '; print 'held'",
        folder.display()
    );
    holds(&house, &script);
}

fn hidden_folders_among_readable_ones_stay_hidden() {
    let folder = super::house::folder();
    for place in ["data/open", "data/keys"] {
        fs::create_dir_all(folder.path().join(place)).unwrap();
        fs::write(folder.path().join(place).join("file"), "x").unwrap();
    }
    let data = folder.path().join("data");
    let house = House::with(|config| {
        config.readable = vec![data.clone()];
        config.hidden.push(data.join("keys"));
    });
    house.needs(Level::Partial);
    let script = format!("cat {0}/open/file; cat {0}/keys/file && echo escaped", data.display());
    let report = house.run(&["sh", "-c", &script], |launch| launch.isolation.read = vec![data.clone()]);
    assert_eq!(out(&report), "x", "{}", errors(&report));
}

fn only_paths_that_the_owner_allows_are_granted() {
    let folder = super::house::folder();
    for place in ["allowed", "private"] {
        fs::create_dir_all(folder.path().join(place)).unwrap();
        fs::write(folder.path().join(place).join("file"), place).unwrap();
    }
    let (allowed, private) = (folder.path().join("allowed"), folder.path().join("private"));
    std::os::unix::fs::symlink(&private, allowed.join("link")).unwrap();
    let house = House::with(|config| config.readable = vec![allowed.clone()]);
    house.needs(Level::Partial);
    let cat = |path: &Path, read: &Path| {
        out(&house.run(&["cat", path.to_str().unwrap()], |launch| launch.isolation.read = vec![read.to_owned()]))
    };
    assert_eq!(cat(&allowed.join("file"), &allowed), "allowed");
    assert_eq!(cat(&private.join("file"), &private), "");
    assert_eq!(cat(&allowed.join("link/file"), &allowed.join("link")), "");
    let unasked = house.run(&["cat", allowed.join("file").to_str().unwrap()], |_| {});
    assert_eq!(out(&unasked), "", "it was allowed, but not asked for");
}

const CONNECT: &str = "use Socket; my ($t, $u); my $in = pack_sockaddr_in($port, inet_aton('127.0.0.1'));
    socket($t, PF_INET, SOCK_STREAM, 0) and connect($t, $in) and print 'tcp ';
    socket($u, PF_INET, SOCK_DGRAM, 0) and send($u, 'x', 0, $in) and print 'udp ';";

fn without_network_nothing_is_reached_on_loopback() {
    let house = House::new();
    house.needs_layer(Layer::Seccomp);
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let script = format!("my $port = {}; {CONNECT} print 'held'", tcp.local_addr().unwrap().port());
    let report = attempt(&house, &script, Network::None);
    assert_eq!(out(&report), "held", "{}", errors(&report));
    let script = format!("my $port = {}; {CONNECT} print 'held'", udp.local_addr().unwrap().port());
    assert_eq!(out(&attempt(&house, &script, Network::None)), "held");
    // With the host's network the same attempt succeeds, or it would prove nothing.
    let script = format!("my $port = {}; {CONNECT} print 'held'", tcp.local_addr().unwrap().port());
    assert_eq!(out(&attempt(&house, &script, Network::Host)), "tcp udp held");
    let odd =
        "use Socket; for my $family (16, 17, 40, 38) { socket(my $s, $family, SOCK_RAW, 0) and print \"$family \" } print 'held'";
    assert_eq!(out(&attempt(&house, odd, Network::None)), "held");
}

fn an_isolated_network_has_only_its_own_loopback() {
    let house = House::new();
    house.needs_layer(Layer::NetworkNamespace);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = format!(
        "my $port = {}; use Socket; my ($t, $l, $c); my $to = pack_sockaddr_in($port, inet_aton('127.0.0.1'));
         socket($t, PF_INET, SOCK_STREAM, 0) and connect($t, $to) and print 'the machine ';
         socket($l, PF_INET, SOCK_STREAM, 0); bind($l, pack_sockaddr_in(0, INADDR_LOOPBACK)); listen($l, 1);
         socket($c, PF_INET, SOCK_STREAM, 0); connect($c, getsockname($l)) and print 'itself ';
         open(my $f, '<', '/proc/self/net/dev'); print join(',', map {{ /^ *(\\w+):/ ? $1 : () }} <$f>)",
        tcp.local_addr().unwrap().port()
    );
    let report = attempt(&house, &script, Network::Isolated);
    assert!(out(&report).starts_with("itself lo"), "{} {}", out(&report), errors(&report));
}

fn unix_sockets_of_the_machine_are_not_reached() {
    let house = House::new();
    house.needs(Level::Partial);
    let path = house.root.parent().unwrap().join("api.sock");
    let _pathname = UnixListener::bind(&path).unwrap();
    let _ = fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let name = format!("dunlin-test-{}", std::process::id());
    let address = <std::os::unix::net::SocketAddr as SocketAddrExt>::from_abstract_name(name.as_bytes()).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let script = format!(
        "use Socket; my $s; for my $name ('{}', \"\\0{name}\", '/run/docker.sock', '/run/dbus/system_bus_socket') {{
            socket($s, PF_UNIX, SOCK_STREAM, 0) and connect($s, pack_sockaddr_un($name)) and print \"$name \" }}
         socketpair(my $a, my $b, PF_UNIX, SOCK_STREAM, 0) or print 'no pair '; print 'held'",
        path.display()
    );
    for network in [Network::None, Network::Host] {
        let report = attempt(&house, &script, network);
        assert_eq!(out(&report), "held", "{network}: {}", errors(&report));
    }
}

fn the_node_can_not_be_signalled_also_by_thread() {
    let house = House::new();
    let findings = house.sandbox.findings();
    if !findings.holds(Layer::PidNamespace) && !findings.holds(Layer::UidPerSlot) && findings.landlock() < 6 {
        skip("it needs a pid namespace, a user for each slot or Landlock 6");
    }
    let me = std::process::id();
    let threads: Vec<String> =
        fs::read_dir("/proc/self/task").unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
    let zygote = house.sandbox.zygote_pid();
    // kill, tkill, tgkill, and a signal through a descriptor of the process. Signal 0 only asks whether one may.
    let (tkill, tgkill) = numbers(&[("tkill", [200, 130, 238]), ("tgkill", [234, 131, 268])]);
    let script = format!(
        "for my $pid ({me}, {zygote}) {{ kill(0, $pid) and print \"kill $pid \"; kill('KILL', $pid) and print 'KILL ' }}
         for my $thread ({}) {{ syscall({tkill}, $thread, 0) == 0 and print 'tkill ';
            syscall({tgkill}, {me}, $thread, 0) == 0 and print 'tgkill ';
            my $fd = syscall(434, {me}, 0); $fd >= 0 and syscall(424, $fd, 0, 0, 0) == 0 and print 'pidfd ' }}
         print 'held'",
        threads.join(", ")
    );
    holds(&house, &script);
    assert!(!gone(i32::try_from(zygote).unwrap()));
}

/// Numbers of calls on this architecture.
fn numbers(calls: &[(&str, [u32; 3]); 2]) -> (u32, u32) {
    let column = match std::env::consts::ARCH {
        "x86_64" => 0,
        "aarch64" => 1,
        "arm" => 2,
        other => skip(&format!("it needs the call numbers of {other}")),
    };
    (calls[0].1[column], calls[1].1[column])
}

fn the_node_can_not_be_traced_read_or_limited() {
    let house = House::new();
    house.needs(Level::Partial);
    let (me, parent) = (std::process::id(), "getppid()");
    let (ptrace, prlimit) = numbers(&[("ptrace", [101, 117, 26]), ("prlimit64", [302, 261, 369])]);
    let (read, priority) = numbers(&[("process_vm_readv", [310, 270, 376]), ("setpriority", [141, 140, 97])]);
    let script = format!(
        "my ($buffer, $old) = ('x' x 64, 'x' x 16);
         for my $pid ({me}, {parent}) {{
            syscall({ptrace}, 16, $pid, 0, 0) == 0 and print \"ptrace $pid \";
            syscall({prlimit}, $pid, 7, 0, $old) == 0 and $pid == {me} and print 'prlimit ';
            syscall({read}, $pid, $buffer, 0, $buffer, 0, 0) == 0 and print 'read ';
            syscall({priority}, 0, {me}, 19) == 0 and print 'priority ' }} print 'held'"
    );
    holds(&house, &script);
}

fn mounts_and_namespaces_are_refused() {
    let house = House::new();
    house.needs_layer(Layer::Seccomp);
    let (mount, umount) = numbers(&[("mount", [165, 40, 21]), ("umount2", [166, 39, 52])]);
    let (unshare, clone) = numbers(&[("unshare", [272, 97, 337]), ("clone", [56, 220, 120])]);
    let (pivot, chroot) = numbers(&[("pivot_root", [155, 41, 218]), ("chroot", [161, 51, 61])]);
    let hidden = house.root.parent().unwrap().display().to_string();
    let script = format!(
        "my ($none, $tmp, $kind, $here) = ('none', 'tmp', 'tmpfs', '.'); syscall({mount}, $none, $tmp, $kind, 0, 0) == 0 and print 'mount ';
         for my $path ('{hidden}', '/run', '/tmp', '/proc', '/') {{ my $copy = \"$path\"; syscall({umount}, $copy, 2) == 0 and print \"umount $path \" }}
         for my $flag (0x10000000, 0x00020000, 0x20000000, 0x40000000) {{
            syscall({unshare}, $flag) == 0 and print 'unshare ';
            my $pid = syscall({clone}, $flag | 17, 0, 0, 0, 0); $pid == 0 and exit; $pid > 0 and print 'clone ' }}
         syscall({pivot}, $here, $here) == 0 and print 'pivot '; syscall({chroot}, $here) == 0 and print 'chroot ';
         for my $call (428, 429, 430, 432, 442) {{ syscall($call, 0, 0, 0, 0, 0) >= 0 and print \"$call \" }}
         $! = 0; syscall(435, 0, 0); print $!{{ENOSYS}} ? 'held' : 'clone3 is there'"
    );
    holds(&house, &script);
}

fn no_privilege_is_left() {
    let house = House::new();
    house.needs(Level::Partial);
    let status = out(&house.run(&["cat", "/proc/self/status"], |_| {}));
    for line in
        ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapInh:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
    {
        assert!(status.contains(line), "{line}: {status}");
    }
    let me = rustix::process::getuid().as_raw();
    let user = out(&house.run(&["id", "-u"], |_| {})).trim().parse::<u32>().unwrap();
    assert_eq!(user != me, house.sandbox.findings().holds(Layer::UidPerSlot), "{user}");
    let set = "$< = 0; $> = 0; $> == 0 and print 'root '; exec('su', '-c', 'echo root') if -e '/bin/su' and 0; print 'held'";
    if user != 0 {
        holds(&house, set);
    }
    let owner = out(&house.run(&["stat", "-c", "%u", "."], |_| {})).trim().parse::<u32>().unwrap();
    assert_eq!(owner, user);
}

fn the_kernels_insides_are_refused() {
    let house = House::new();
    house.needs_layer(Layer::Seccomp);
    let (keyctl, bpf) = numbers(&[("keyctl", [250, 219, 311]), ("bpf", [321, 280, 386])]);
    let (perf, kexec) = numbers(&[("perf_event_open", [298, 241, 364]), ("kexec_load", [246, 104, 347])]);
    let script = format!(
        "for my $call ({keyctl}, {bpf}, {perf}, {kexec}) {{
            $! = 0; syscall($call, 0, 0, 0, 0, 0) >= 0 and print \"$call \"; $!{{EPERM}} or print \"$call: $! \" }}
         for my $call (425, 426, 427) {{ $! = 0; syscall($call, 0, 0); $!{{ENOSYS}} or print \"$call: $! \" }} print 'held'"
    );
    holds(&house, &script);
}

fn memory_that_nobody_counts_is_refused() {
    let house = House::new();
    house.needs_layer(Layer::Seccomp);
    if house.sandbox.findings().memory_enforced {
        skip("a cgroup counts it here");
    }
    let (memfd, shmget) = numbers(&[("memfd_create", [319, 279, 385]), ("shmget", [29, 194, 307])]);
    let script = format!(
        "my $name = 'x'; syscall({memfd}, $name, 0) >= 0 and print 'memfd '; syscall({shmget}, 0, 1 << 20, 01600) >= 0 and print 'shm '; print 'held'"
    );
    let report = house.run(&["perl", "-e", &script], |launch| launch.limits.memory = Some(256 << 20));
    assert_eq!(out(&report), "held", "{}", errors(&report));
}

fn memory_hogs_of_one_and_of_four_are_killed() {
    let house = House::new();
    let limit = 96 << 20;
    let hog = "my $x = 'x' x (150 << 20); sleep 100";
    let report = house.run(&["perl", "-e", hog], |launch| launch.limits.memory = Some(limit));
    assert!(matches!(report.outcome, Outcome::OutOfMemory { .. }), "{:?}", report.outcome);
    let four = "fork; fork; my $x = 'x' x (40 << 20); sleep 100";
    let report = house.run(&["perl", "-e", four], |launch| launch.limits.memory = Some(limit));
    assert!(matches!(report.outcome, Outcome::OutOfMemory { .. }), "{:?}", report.outcome);
}

fn a_fork_bomb_is_contained() {
    let house = House::new();
    let findings = house.sandbox.findings();
    // Without a user of its own only the supervisor's looks stop it: a fuse keeps the machine alive between two of them.
    let counted = findings.holds(Layer::UidPerSlot) || findings.holds(Layer::UserNamespace);
    let bomb = if counted { "while (1) { fork }" } else { "for (1..8) { fork } sleep 100" };
    let report = house.run(&["perl", "-e", bomb], |launch| launch.limits.processes = Some(60));
    assert_eq!(report.outcome, Outcome::TooManyProcesses { limit: 60 });
    let zygote = house.sandbox.zygote_pid();
    soon("nothing of it is left", || super::house::at_rest(zygote));
    house.no_scratch_is_left();
}

fn zombies_by_the_thousand_are_reaped() {
    let house = House::new();
    // Ten thousand with the long soak: most of the time is perl's, in making them.
    let count = if std::env::var_os("DUNLIN_SOAK").is_some() { 10_000 } else { 1_000 };
    let script =
        format!("for (1..{count}) {{ my $pid = fork; if (!$pid) {{ fork and exit; exit }} waitpid($pid, 0) }} print 'held'");
    let report = house.run(&["perl", "-e", &script], |launch| launch.limits.wall = None);
    assert_eq!((report.outcome.clone(), out(&report)), (Outcome::Exited(0), "held".to_owned()), "{}", errors(&report));
}

fn nothing_is_left_when_node_zygote_and_supervisor_are_killed() {
    use rustix::process::{Pid, Signal, kill_process};
    let folder = super::house::folder();
    let (mut node, pid) = super::cases::start_node(folder.path());
    let supervisor = super::house::parent(pid);
    let zygote = super::house::parent(supervisor);
    let mut started = Vec::new();
    soon("the program has started another one", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        // Not the one that moves a file, which is about to end by itself.
        let sleeps = |child: &i32| fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name == "sleep\n");
        started = children.split_whitespace().map(|child| child.parse::<i32>().unwrap()).filter(sleeps).collect();
        !started.is_empty()
    });
    // Stopped first, so that neither can do anything about the others' end.
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in [zygote, supervisor] {
            kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        }
        if signal == Signal::STOP {
            node.kill().unwrap();
        }
    }
    node.wait().unwrap();
    soon("the program itself is dead", || gone(pid));
    if !House::new().sandbox.findings().holds(Layer::PidNamespace) {
        for child in started.into_iter().filter(|child| !gone(*child)) {
            let _ = kill_process(Pid::from_raw(child).unwrap(), Signal::KILL);
        }
        skip("without a pid namespace only the program itself dies, not what it started");
    }
    soon("what it started is dead", || started.iter().all(|child| gone(*child)));
}

fn neighbours_can_not_be_seen_or_read() {
    let house = House::new();
    house.needs(Level::Partial);
    let neighbour = house.next_scratch();
    let mut running = house.start("echo secret >mine; echo $$; sleep 100", |_| {});
    let pid = running.process(&house);
    let script = format!(
        "my $g; open(my $f, '<', '{}/mine') and print 'file '; open($g, '<', '/proc/{pid}/environ') and <$g> and print 'environment ';
         kill('KILL', {pid}) and print 'killed '; print 'held'",
        neighbour.display()
    );
    let report = attempt(&house, &script, Network::Host);
    assert!(!gone(pid));
    running.cancel.send(true).unwrap();
    assert_eq!(house.end(running).outcome, Outcome::Cancelled);
    assert_eq!(out(&report), "held");
}
