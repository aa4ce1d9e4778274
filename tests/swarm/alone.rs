//! A single node, started with `up` and nothing else, is a useful swarm of one. Everything here is done as a person does it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::{LONG, Run, bare, eventually, file_with};

#[tokio::test]
async fn a_node_alone_is_a_useful_swarm() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    let dunlin = |words: &[&str]| {
        let mut command = bare();
        command.args(words).arg("--data").arg(&data);
        command
    };
    let ended = |words: &[&str]| Run::start(dunlin(words)).ended();
    // The port is the only thing said, because 7440 may be in use on the test's machine; nobody else shall be found.
    let node = Run::start(dunlin(&["up", "--listen", "127.0.0.1:0", "--no-mdns"]));
    eventually("the node says how to join", LONG, async || {
        let text = node.stdout();
        if text.contains("join    dunlin up --peer") { Ok(()) } else { Err(format!("{text}\n{}", node.stderr())) }
    })
    .await;
    let secret = fs::metadata(data.join("secret")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);

    // run: outputs, input and exit code as if it ran here.
    let run = |words: &[&str]| {
        Run::start({
            let mut run = bare();
            run.arg("--data").arg(&data).arg("run").args(words);
            run
        })
        .ended()
    };
    let hello = run(&["--", "echo", "hello"]).with(0);
    assert_eq!(hello.stdout, "hello\n");
    assert_eq!(run(&["--", "sh", "-c", "echo oops >&2; exit 3"]).with(3).stderr, "oops\n");
    let mut upper = bare();
    upper.arg("--data").arg(&data).args(["run", "--", "tr", "a-z", "A-Z"]).stdin(Stdio::from(file_with(b"input\n")));
    assert_eq!(Run::start(upper).ended().with(0).stdout, "INPUT\n");
    assert_eq!(run(&["-e", "GREETING=hi", "--", "sh", "-c", "echo $GREETING $HOME_OF_THE_NODE"]).with(0).stdout, "hi\n");

    // submit, wait, look, fetch.
    let array = Run::start({
        let mut c = bare();
        c.arg("--data").arg(&data).args([
            "submit",
            "-o",
            "quiet",
            "--wait",
            "--array",
            "1-3",
            "--",
            "sh",
            "-c",
            "echo $DUNLIN_ARRAY_INDEX",
        ]);
        c
    })
    .ended()
    .with(0);
    let ids: Vec<&str> = array.stdout.lines().collect();
    assert_eq!(ids.len(), 3, "{}", array.stdout);
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(ended(&["result", id]).with(0).stdout, format!("{}\n", number + 1));
    }
    let task = ended(&["task", "last", "-o", "json"]).with(0).json();
    assert_eq!((task["id"].to_string().as_str(), task["state"].as_str()), (ids[2], Some("succeeded")));
    let status = ended(&["status"]).with(0).stdout;
    assert!(status.contains("leader") && status.contains("succeeded"), "{status}");
    assert_eq!(ended(&["nodes", "-o", "quiet"]).with(0).stdout.lines().count(), 1);
    assert!(ended(&["events"]).with(0).stdout.lines().count() > 8);
    let token = ended(&["token"]).with(0).stdout;
    assert!(token.starts_with("dunlin up --peer 127.0.0.1:"), "{token}");

    // A failure that is not retried, and a retry by hand.
    let failed = Run::start({
        let mut c = bare();
        c.arg("--data").arg(&data).args(["submit", "--retries", "0", "--wait", "--", "false"]);
        c
    })
    .ended()
    .with(1);
    drop(failed);
    let dead = ended(&["tasks", "--state", "dead", "-o", "quiet"]).with(0).stdout;
    ended(&["retry", dead.lines().next().unwrap()]).with(0);
    assert_eq!(ended(&["cancel", "all"]).with(0).code, Some(0));

    // Started again, it knows what it knew.
    drop(node);
    let again = Run::start(dunlin(&["up", "--listen", "127.0.0.1:0", "--no-mdns"]));
    eventually("it is back", LONG, async || if again.stdout().contains("join ") { Ok(()) } else { Err(again.stderr()) }).await;
    assert_eq!(ended(&["result", ids[0]]).with(0).stdout, "1\n");
}
