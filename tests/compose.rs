//! Five containers from `compose.yaml`: they find each other by the service's name, run tasks, lose the leader's container,
//! and every task still ends with the right result.
//!
//! Enters: the binary under test, put into an image by `scripts/image`. Leaves: nothing, whatever happens: the project, its
//! volumes, its network and its image are removed. Where no Docker engine answers (or `DUNLIN_TEST_DOCKER=off`) the test
//! says so and passes. Times are not measured here; every wait has an end.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How many nodes, and how many tasks; more tasks than slots, so that some are queued when the leader dies.
const NODES: usize = 5;
const TASKS: usize = 40;
/// The longest that a single command of Docker may take.
const COMMAND: Duration = Duration::from_secs(60);
/// The longest from the start of the containers to a leader, and from the leader's death to the last result.
const ELECTED: Duration = Duration::from_secs(40);
const FINISHED: Duration = Duration::from_secs(60);

/// Runs a command with an end: `timeout` kills it, so that a stuck engine can't hold the suite.
fn run(program: &str, args: &[&str], env: &[(&str, &str)], limit: Duration) -> Output {
    Command::new("timeout")
        .args(["--kill-after=5", &limit.as_secs().to_string(), program])
        .args(args)
        .envs(env.iter().copied())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} could not be started: {error}"))
}

fn succeeded(output: Output, what: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{what}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The words that call Compose on this machine: the plugin, or the older program of its own.
fn compose_words() -> Option<Vec<&'static str>> {
    [vec!["docker", "compose"], vec!["docker-compose"]].into_iter().find(|words| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("version").stdin(Stdio::null()).output().is_ok_and(|o| o.status.success())
    })
}

/// Why the test can't run here. The base image is made on the way: it takes packages, which an offline machine can't have.
fn obstacle() -> Option<String> {
    let answers =
        |args: &[&str]| Command::new("docker").args(args).stdin(Stdio::null()).output().is_ok_and(|o| o.status.success());
    if std::env::var("DUNLIN_TEST_DOCKER").is_ok_and(|v| v == "off") {
        return Some("DUNLIN_TEST_DOCKER=off".to_owned());
    }
    if !answers(&["info"]) {
        return Some("no Docker engine answers".to_owned());
    }
    if compose_words().is_none() {
        return Some("neither `docker compose` nor `docker-compose` is here".to_owned());
    }
    let base = run("scripts/image", &["--base-only"], &[], COMMAND);
    let unavailable = base.status.code() == Some(69);
    unavailable.then(|| String::from_utf8_lossy(&base.stderr).trim().to_owned())
}

/// A project of its own name, removed with all that belongs to it when the test ends, also by a panic.
struct Project {
    name: String,
    image: String,
    secret: String,
    compose: Vec<&'static str>,
}

impl Project {
    fn start() -> Self {
        let name = format!("dunlin-test-{}", std::process::id());
        let secret = Sha256::digest(format!("{name} {:?}", Instant::now())).iter().map(|b| format!("{b:02x}")).collect();
        let compose = compose_words().expect("checked before");
        let project = Project { image: format!("{name}:latest"), name, secret, compose };
        let image = ["--binary", env!("CARGO_BIN_EXE_dunlin"), "--tag", &project.image];
        succeeded(run("scripts/image", &image, &[], COMMAND), "scripts/image");
        succeeded(project.compose(&["up", "-d"]), "compose up");
        project
    }

    fn compose(&self, args: &[&str]) -> Output {
        let env = [("DUNLIN_SECRET", self.secret.as_str()), ("DUNLIN_IMAGE", &self.image), ("DUNLIN_EXPECT", "5")];
        let words: Vec<&str> = self.compose[1..].iter().copied().chain(["-p", &self.name]).chain(args.iter().copied()).collect();
        run(self.compose[0], &words, &env, COMMAND)
    }

    /// The ids of the containers that run now.
    fn containers(&self) -> Vec<String> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let listed = run("docker", &["ps", "-q", "--no-trunc", "--filter", &filter], &[], COMMAND);
        succeeded(listed, "docker ps").lines().map(str::to_owned).collect()
    }

    /// What the node in a container says of the swarm; `None` while it says nothing.
    fn status(&self, container: &str) -> Option<Value> {
        let asked = run("docker", &["exec", container, "dunlin", "status", "-o", "json"], &[], Duration::from_secs(10));
        asked.status.success().then(|| serde_json::from_slice(&asked.stdout).ok()).flatten()
    }

    /// The container whose own node is the leader it knows; asks until there is one.
    fn leader(&self) -> String {
        let until = Instant::now() + ELECTED;
        while Instant::now() < until {
            for container in self.containers() {
                let Some(status) = self.status(&container) else { continue };
                let node = status.get("node");
                if node.is_some() && status.pointer("/leader/node") == node {
                    return container;
                }
            }
        }
        panic!("no leader within {ELECTED:?}\n{}", self.logs());
    }

    fn logs(&self) -> String {
        String::from_utf8_lossy(&self.compose(&["logs", "--tail", "40"]).stdout).into_owned()
    }

    /// Runs a shell script in a container and returns what it printed.
    fn sh(&self, container: &str, script: &str, limit: Duration) -> String {
        let output = run("docker", &["exec", container, "sh", "-euc", script], &[], limit);
        if !output.status.success() {
            eprintln!("{}", self.logs());
        }
        succeeded(output, script)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "1"]);
        run("docker", &["image", "rm", "-f", &self.image], &[], COMMAND);
    }
}

#[test]
fn five_containers_finish_every_task_when_the_leaders_container_is_killed() {
    if let Some(why) = obstacle() {
        // Straight to the descriptor: a passing test's prints are swallowed, and a skip must be heard.
        let _ = writeln!(std::io::stderr(), "skipped: containers: {why}");
        return;
    }
    let project = Project::start();
    assert_eq!(project.containers().len(), NODES, "{}", project.logs());
    let leader = project.leader();
    let survivor = project.containers().into_iter().find(|c| *c != leader).expect("five run");

    // Each task takes a while, so that the leader dies with tasks running and tasks queued.
    let submit = format!(
        "for i in $(seq 1 {TASKS}); do dunlin submit -o quiet -- sh -c \"sleep 0.5; printf 'task %s' $i | sha256sum\"; done"
    );
    let submitted = project.sh(&survivor, &submit, COMMAND);
    let ids: Vec<&str> = submitted.lines().collect();
    assert_eq!(ids.len(), TASKS, "{submitted}");
    succeeded(run("docker", &["kill", &leader], &[], COMMAND), "docker kill");

    let collect = format!("for id in {}; do until dunlin result \"$id\" 2>/dev/null; do sleep 0.1; done; done", ids.join(" "));
    let results = project.sh(&survivor, &collect, FINISHED);
    let expected: Vec<String> = (1..=TASKS)
        .map(|i| Sha256::digest(format!("task {i}")).iter().map(|b| format!("{b:02x}")).collect::<String>() + "  -")
        .collect();
    assert_eq!(results.lines().collect::<Vec<_>>(), expected);

    let after = project.leader();
    assert_ne!(after, leader, "another node leads");
    assert_eq!(project.containers().len(), NODES - 1, "a killed container stays down");
}
