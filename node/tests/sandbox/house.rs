//! What every case needs: a sandbox with its runtime in a folder of its own, and ways to look at processes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dunlin_node::sandbox::{Isolation, Launch, Output, Report, ResolvedLimits, Sandbox, SandboxConfig};
use dunlin_node::task::{Layer, Level};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// For everything that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Sleeps for ever and ignores what it may.
pub(crate) const IMMORTAL: &str = "trap '' TERM INT HUP; while :; do sleep 1000; done";

/// A sandbox with its runtime in a folder that goes away.
pub(crate) struct House {
    pub(crate) runtime: Runtime,
    pub(crate) sandbox: Sandbox,
    pub(crate) root: PathBuf,
    folder: Option<TempDir>,
    count: Cell<u32>,
}

impl House {
    pub(crate) fn new() -> House {
        House::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut SandboxConfig)) -> House {
        let folder = folder();
        let mut house = House::changed(folder.path(), change);
        house.folder = Some(folder);
        house
    }

    pub(crate) fn within(folder: &Path) -> House {
        House::changed(folder, |_| {})
    }

    /// The sandbox hides its whole folder, as a node hides its data.
    fn changed(folder: &Path, change: impl FnOnce(&mut SandboxConfig)) -> House {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let root = folder.join("scratch");
        let mut config = SandboxConfig { hidden: vec![folder.to_owned()], ..SandboxConfig::new(&root) };
        change(&mut config);
        let sandbox = runtime.block_on(async { Sandbox::start(config) }).unwrap();
        House { runtime, sandbox, root, folder: None, count: Cell::new(0) }
    }

    /// Ends the case by name if this machine, or the environment, does not hold this much.
    pub(crate) fn needs(&self, level: Level) {
        let findings = self.sandbox.findings();
        if findings.level < level {
            let missing = findings.missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            super::harness::skip(&format!("it needs level {level} and there is {}: {missing}", findings.level));
        }
    }

    pub(crate) fn needs_layer(&self, layer: Layer) {
        if !self.sandbox.findings().holds(layer) {
            super::harness::skip(&format!("it needs {layer}, which is missing here"));
        }
    }

    pub(crate) fn full(&self) -> bool {
        self.sandbox.level() == Level::Full
    }

    /// Where the next launch works.
    pub(crate) fn next_scratch(&self) -> PathBuf {
        self.root.join(format!("{}-1", self.count.get() + 1))
    }

    /// The machine's number of a process that a task calls by its own.
    pub(crate) fn outer(&self, pid: i32) -> i32 {
        outer(i32::try_from(self.sandbox.zygote_pid()).unwrap(), pid)
    }

    pub(crate) fn launch(&self, argv: &[&str], change: impl FnOnce(&mut Launch)) -> Launch {
        self.count.set(self.count.get() + 1);
        let name = format!("{}-1", self.count.get());
        let scratch = self.root.join(&name);
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]);
        let limits = ResolvedLimits { wall: Some(SOON), grace: Duration::from_millis(200), ..ResolvedLimits::default() };
        let argv = argv.iter().map(ToString::to_string).collect();
        let isolation = Isolation::default();
        let mut launch = Launch { name, argv, env, scratch, limits, isolation };
        change(&mut launch);
        launch
    }

    pub(crate) fn run(&self, argv: &[&str], change: impl FnOnce(&mut Launch)) -> Report {
        self.run_with(argv, Bytes::new(), change)
    }

    pub(crate) fn run_with(&self, argv: &[&str], stdin: impl Into<Bytes>, change: impl FnOnce(&mut Launch)) -> Report {
        let launch = self.launch(argv, change);
        let (_cancel, never) = watch::channel(false);
        self.runtime.block_on(self.sandbox.run(launch, stdin.into(), never, None))
    }

    /// Starts a shell script that will say a line when it is ready.
    pub(crate) fn start(&self, script: &str, change: impl FnOnce(&mut Launch)) -> Running {
        let launch = self.launch(&["sh", "-c", script], change);
        let (cancel, cancelled) = watch::channel(false);
        let (live, outputs) = mpsc::channel(64);
        let sandbox = self.sandbox.clone();
        let run = async move { sandbox.run(launch, Bytes::new(), cancelled, Some(live)).await };
        Running { run: self.runtime.spawn(run), cancel, outputs, said: String::new() }
    }

    pub(crate) fn start_with(&self, argv: &[&str], stdin: Bytes) -> JoinHandle<Report> {
        let launch = self.launch(argv, |_| {});
        let sandbox = self.sandbox.clone();
        let (cancel, never) = watch::channel(false);
        self.runtime.spawn(async move {
            let report = sandbox.run(launch, stdin, never, None).await;
            drop(cancel);
            report
        })
    }

    pub(crate) fn end(&self, running: Running) -> Report {
        let Running { run, cancel, .. } = running;
        let report = self.runtime.block_on(async { tokio::time::timeout(SOON, run).await }).unwrap().unwrap();
        drop(cancel);
        report
    }

    pub(crate) fn no_scratch_is_left(&self) {
        let left: Vec<_> = fs::read_dir(&self.root).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

pub(crate) struct Running {
    pub(crate) run: JoinHandle<Report>,
    pub(crate) cancel: watch::Sender<bool>,
    outputs: mpsc::Receiver<Output>,
    said: String,
}

impl Running {
    /// The next line of the task's output, as one of its processes.
    pub(crate) fn process(&mut self, house: &House) -> i32 {
        house.outer(self.number(house))
    }

    /// The next line of the task's output, as a number.
    pub(crate) fn number(&mut self, house: &House) -> i32 {
        while !self.said.contains('\n') {
            let next = async { tokio::time::timeout(SOON, self.outputs.recv()).await };
            let output = house.runtime.block_on(next).expect("it says nothing").expect("it ended");
            self.said.push_str(&String::from_utf8_lossy(&output.bytes));
        }
        let (line, rest) = self.said.split_once('\n').map(|(line, rest)| (line.to_owned(), rest.to_owned())).unwrap();
        self.said = rest;
        line.trim().parse().unwrap_or_else(|_| panic!("{line:?} is no number"))
    }
}

pub(crate) fn out(report: &Report) -> String {
    String::from_utf8_lossy(&report.stdout.tail).into_owned()
}

/// Supervisors that may wait for a task, each with a line to the node.
pub(crate) const WAITING: usize = 16;

/// Whether nothing descends from the zygote but supervisors that have nothing to do.
pub(crate) fn at_rest(zygote: u32) -> bool {
    let children = |pid: &str| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children(&zygote.to_string()).is_ok_and(|list| {
        let supervisors: Vec<&str> = list.split_whitespace().collect();
        supervisors.len() <= WAITING && supervisors.iter().all(|pid| children(pid).is_ok_and(|own| own.is_empty()))
    })
}

/// Waits until something holds, looking again and again within bounded time.
pub(crate) fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < SOON, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process's /proc/PID/stat after its name: state, parent, …
pub(crate) fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat[stat.rfind(')')? + 2..].split(' ').map(str::to_owned).collect())
}

pub(crate) fn parent(pid: i32) -> i32 {
    stat(pid).unwrap()[1].parse().unwrap()
}

/// Whether a process runs no more; one that is dead and not yet waited for counts as gone.
pub(crate) fn gone(pid: i32) -> bool {
    stat(pid).is_none_or(|fields| fields[0] == "Z" || fields[0] == "X")
}

pub(crate) fn kill(pid: i32) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}

pub(crate) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A folder that vanishes, which every user may pass, away from /tmp, which tasks do not see.
pub(crate) fn folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir_in("/var/lib").or_else(|_| tempfile::tempdir()).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The machine's number of the process that is `inner` below `zygote`.
pub(crate) fn outer(zygote: i32, inner: i32) -> i32 {
    let mut found = None;
    soon("the process is seen", || {
        let everybody = fs::read_dir("/proc").unwrap().flatten();
        let mut numbers = everybody.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        found = numbers.find(|pid| innermost(*pid) == Some(inner) && descends(*pid, zygote));
        found.is_some()
    });
    found.unwrap()
}

fn innermost(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

fn descends(pid: i32, from: i32) -> bool {
    let mut here = pid;
    while here > 1 {
        match stat(here) {
            Some(fields) => here = fields[1].parse().unwrap(),
            None => return false,
        }
        if here == from {
            return true;
        }
    }
    false
}

/// Processes on this machine whose command line names this.
pub(crate) fn alive(name: &str) -> usize {
    let names = |line: Vec<u8>| line.windows(name.len()).any(|part| part == name.as_bytes());
    let everybody = fs::read_dir("/proc").unwrap().flatten();
    everybody.filter(|process| fs::read(process.path().join("cmdline")).is_ok_and(names)).count()
}
