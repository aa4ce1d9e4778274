//! A single node, started with `up` and nothing else, is a useful swarm of one. Everything here is done as a person does it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::{Ended, LONG, Run, bare, eventually, file_with};

/// A person's machine: one data folder, and commands that name it.
struct Machine {
    data: PathBuf,
}

impl Machine {
    fn new(folder: &Path) -> Self {
        Machine { data: folder.join("node") }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = bare();
        command.arg("--data").arg(&self.data).args(words);
        command
    }

    fn dunlin(&self, words: &[&str]) -> Ended {
        Run::start(self.command(words)).ended()
    }

    /// The port is the only thing said, because 7440 may be in use on the test's machine; nobody else shall be found.
    async fn up(&self) -> Run {
        let node = Run::start(self.command(&["up", "--listen", "127.0.0.1:0", "--no-mdns"]));
        eventually("the node says how to join", LONG, async || {
            if node.stdout().contains("join    dunlin up --peer") { Ok(()) } else { Err((node.stdout(), node.stderr())) }
        })
        .await;
        node
    }
}

#[tokio::test]
async fn a_node_alone_runs_commands_as_if_they_ran_here() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(folder.path());
    let _node = machine.up().await;
    let secret = fs::metadata(machine.data.join("secret")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);

    assert_eq!(machine.dunlin(&["run", "--", "echo", "hello"]).with(0).stdout, "hello\n");
    assert_eq!(machine.dunlin(&["run", "--", "sh", "-c", "echo oops >&2; exit 3"]).with(3).stderr, "oops\n");
    let mut upper = machine.command(&["run", "--", "tr", "a-z", "A-Z"]);
    upper.stdin(Stdio::from(file_with(b"input\n")));
    assert_eq!(Run::start(upper).ended().with(0).stdout, "INPUT\n");
    let greeting = machine.dunlin(&["run", "-e", "GREETING=hi", "--", "sh", "-c", "echo $GREETING $DUNLIN_CONFIG"]);
    assert_eq!(greeting.with(0).stdout, "hi\n", "nothing of the node's own surroundings is inherited");
}

#[tokio::test]
async fn a_node_alone_queues_keeps_and_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(folder.path());
    let node = machine.up().await;
    let script = "echo $DUNLIN_ARRAY_INDEX";
    let array = machine.dunlin(&["submit", "-o", "quiet", "--wait", "--array", "1-3", "--", "sh", "-c", script]).with(0);
    let ids: Vec<&str> = array.stdout.lines().collect();
    assert_eq!(ids.len(), 3, "{}", array.stdout);
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(machine.dunlin(&["result", id]).with(0).stdout, format!("{}\n", number + 1));
    }
    let task = machine.dunlin(&["task", "last", "-o", "json"]).with(0).json();
    assert_eq!((task["id"].to_string().as_str(), task["state"].as_str()), (ids[2], Some("succeeded")));
    let status = machine.dunlin(&["status"]).with(0).stdout;
    assert!(status.contains("leader") && status.contains("succeeded"), "{status}");
    assert_eq!(machine.dunlin(&["nodes", "-o", "quiet"]).with(0).stdout.lines().count(), 1);
    assert!(machine.dunlin(&["events"]).with(0).stdout.lines().count() > 6);
    let token = machine.dunlin(&["token"]).with(0).stdout;
    assert!(token.starts_with("dunlin up --peer 127.0.0.1:"), "{token}");

    // A failure that is not retried, and a retry by hand.
    machine.dunlin(&["submit", "--retries", "0", "--wait", "--", "false"]).with(1);
    let dead = machine.dunlin(&["tasks", "--state", "dead", "-o", "quiet"]).with(0).stdout;
    assert_eq!(machine.dunlin(&["retry", "-o", "quiet", dead.trim()]).with(0).stdout, dead);
    machine.dunlin(&["result", "--wait", dead.trim()]).with(0).says(&["exit code 1"]);
    assert_eq!(machine.dunlin(&["task", dead.trim(), "-o", "json"]).with(0).json()["attempts"].as_array().map(Vec::len), Some(2));

    drop(node);
    let _again = machine.up().await;
    assert_eq!(machine.dunlin(&["result", ids[0]]).with(0).stdout, "1\n", "started again, it knows what it knew");
}
