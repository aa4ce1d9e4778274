//! One node as a process: its settings, its start up to the line that says it is ready, signals, and its log.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use dunlin_node::client::Client;
use dunlin_node::task::NodeId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::LONG;
use super::command::{Ended, Run, bare};
use super::network::Place;

/// Lines of a node's log that are printed when a test has failed.
const TAIL: usize = 60;

/// What a node is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) listen: String,
    pub(crate) rank: u32,
    pub(crate) expect: u32,
    pub(crate) peers: Vec<String>,
    pub(crate) pods: Vec<String>,
    pub(crate) secret_file: PathBuf,
    /// The network namespace it lives in, if not this process's own.
    pub(crate) place: Option<Place>,
    pub(crate) log: String,
    /// Variables beside the usual ones.
    pub(crate) env: Vec<(String, String)>,
}

impl Settings {
    /// `dunlin up` with these settings.
    pub(crate) fn command(&self) -> Command {
        let up = bare();
        let mut command = match &self.place {
            Some(place) => place.enter(&up),
            None => up,
        };
        // Tasks of most promises wait for files of their test; `sandboxed.rs` has those of the sandbox.
        command.env("DUNLIN_SANDBOX_LEVEL", "process-only");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.args(["up", "-o", "json", "--no-mdns", "--name", &self.name, "--listen", &self.listen]);
        command.args(["--rank", &self.rank.to_string(), "--expect", &self.expect.to_string(), "--log", &self.log]);
        command.arg("--data").arg(&self.data).arg("--secret-file").arg(&self.secret_file);
        command.args(self.pods.iter().flat_map(|pod| ["--pod", pod]));
        command.args(self.peers.iter().flat_map(|peer| ["--peer", peer]));
        command
    }
}

/// A running node.
pub(crate) struct Process {
    pub(crate) settings: Settings,
    pub(crate) node: NodeId,
    /// Where it really listens.
    pub(crate) address: String,
    child: Child,
    paused: bool,
}

impl Process {
    /// Starts a node and waits until it says that it is ready.
    pub(crate) fn start(settings: Settings) -> Self {
        fs::create_dir_all(&settings.data).unwrap();
        let log = |name: &str| OpenOptions::new().create(true).append(true).open(beside(&settings.data, name)).unwrap();
        let before = lines(&beside(&settings.data, "story")).len();
        let mut command = settings.command();
        // A pipe that closes with this process, so that no node outlives it.
        command.arg("--until-stdin-ends").stdin(Stdio::piped()).stdout(log("story")).stderr(log("log"));
        let child = command.spawn().unwrap();
        let mut process = Process { settings, node: NodeId::default(), address: String::new(), child, paused: false };
        process.wait_until_ready(before);
        process
    }

    fn wait_until_ready(&mut self, before: usize) {
        let until = Instant::now() + LONG;
        let ready = loop {
            let ready = self.story().into_iter().skip(before).find(|line| line["event"] == "ready");
            if let Some(ready) = ready {
                break ready;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "{} is not ready ({ended:?})\n{}", self.settings.name, self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.node = NodeId(u64::from_str_radix(&text(&ready["node"]), 16).unwrap());
        self.address = text(&ready["listen"][0]);
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.settings.data.join("dunlin.sock")
    }

    /// A client of this node that sits out a change of leader.
    pub(crate) fn client(&self) -> Client {
        Client::unix(self.socket()).with_patience(LONG)
    }

    /// A client of this node that tells every trouble at once.
    pub(crate) fn impatient(&self) -> Client {
        Client::unix(self.socket()).with_patience(Duration::ZERO)
    }

    /// A command of the command line on this node, not started yet.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = bare();
        command.arg("--socket").arg(self.socket()).args(words);
        command
    }

    /// A command of the command line on this node, to its end.
    pub(crate) fn dunlin(&self, words: &[&str]) -> Ended {
        Run::start(self.command(words)).ended()
    }

    /// Whether the process is there and not paused.
    pub(crate) fn is_running(&mut self) -> bool {
        !self.paused && self.child.try_wait().unwrap().is_none()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let name = self.settings.name.clone();
        super::eventually(&format!("{name} ends"), limit, async || self.child.try_wait().unwrap().ok_or("it runs")).await
    }

    /// The most memory that the process has had resident, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// What it has printed: one object a line, all its lives.
    pub(crate) fn story(&self) -> Vec<Value> {
        lines(&beside(&self.settings.data, "story")).iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its log: all its lives.
    pub(crate) fn log(&self) -> String {
        lines(&beside(&self.settings.data, "log")).join("\n")
    }

    /// The end of what it told, for a test that has failed.
    pub(crate) fn print_tail(&self) {
        for name in ["story", "log"] {
            let lines = lines(&beside(&self.settings.data, name));
            eprintln!("---- the end of the {name} of {} ({})", self.settings.name, self.node);
            lines.iter().skip(lines.len().saturating_sub(TAIL)).for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_tail();
        }
        self.kill();
    }
}

/// A file beside a node's data folder, where no test of an unreadable or full folder is in its way.
fn beside(data: &Path, name: &str) -> PathBuf {
    data.with_extension(name)
}

fn lines(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}
