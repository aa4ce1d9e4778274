//! What every case needs: a sandbox with its runtime in a folder of its own, and ways to look at processes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dunlin_node::sandbox::{Launch, Output, Report, ResolvedLimits, Sandbox, SandboxConfig};
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
        let folder = tempfile::tempdir().unwrap();
        let mut house = House::within(folder.path());
        house.folder = Some(folder);
        house
    }

    pub(crate) fn within(folder: &Path) -> House {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let root = folder.join("scratch");
        let sandbox = runtime.block_on(async { Sandbox::start(SandboxConfig::new(&root)) }).unwrap();
        House { runtime, sandbox, root, folder: None, count: Cell::new(0) }
    }

    pub(crate) fn launch(&self, argv: &[&str], change: impl FnOnce(&mut Launch)) -> Launch {
        self.count.set(self.count.get() + 1);
        let name = format!("{}-1", self.count.get());
        let scratch = self.root.join(&name);
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]);
        let limits = ResolvedLimits { wall: Some(SOON), grace: Duration::from_millis(200), ..ResolvedLimits::default() };
        let argv = argv.iter().map(ToString::to_string).collect();
        let mut launch = Launch { name, argv, env, scratch, limits };
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
