//! Bad input gets a clear message and the right exit code: what happened, why, and what to do. All through the command line.

use std::fs;
use std::process::Stdio;

use dunlin_node::task::TaskSpec;

use crate::harness::{Ended, LONG, Process, Run, Swarm, bare, eventually, file_with, questions};

#[tokio::test]
async fn mistakes_on_the_command_line_are_told_and_leave_nothing_behind() {
    let swarm = Swarm::found(1).await;
    let node = &swarm.nodes[0];
    node.dunlin(&["run"]).with(64).says(&["COMMAND"]);
    node.dunlin(&["submit", "--"]).with(64).says(&["COMMAND"]);
    node.dunlin(&["submit", "--", ""]).with(64).says(&["the command is empty", "name a program after `--`"]);
    node.dunlin(&["submit", "--tineout", "1s", "--", "true"]).with(64).says(&["--tineout", "--timeout"]);
    node.dunlin(&["submti", "--", "true"]).with(64).says(&["submti", "submit"]);
    node.dunlin(&["submit", "--timeout", "soon", "--", "true"]).with(64).says(&["soon"]);
    node.dunlin(&["submit", "--timeout", "0s", "--", "true"]).with(64);
    node.dunlin(&["submit", "--array", "9-1", "--", "true"]).with(64).says(&["9-1"]);
    node.dunlin(&["submit", "-e", "=x", "--", "true"]).with(64).says(&["NAME=VALUE"]);
    node.dunlin(&["submit", "--idempotency-key", &"k".repeat(1_000), "--", "true"]).with(64);
    for group in ["a b", "a/b", "grüppe", "", "x\u{7}", &"g".repeat(1_000)] {
        node.dunlin(&["submit", "-g", group, "--", "true"]).with(64).says(&["--group"]);
    }
    node.dunlin(&["task", "999"]).with(1).says(&["there is no task 999", "dunlin tasks"]);
    node.dunlin(&["result", "999"]).with(1).says(&["there is no task 999"]);
    node.dunlin(&["logs", "999"]).with(1).says(&["there is no task 999"]);
    node.dunlin(&["cancel", "999"]).with(1).says(&["there is no task 999"]);
    node.dunlin(&["task", "last"]).with(1).says(&["there is no task yet"]);
    node.dunlin(&["task", "seven"]).with(64).says(&["\"seven\" is not a task's id", "last"]);
    node.dunlin(&["cancel", "5-1"]).with(64).says(&["write 1-5"]);
    node.dunlin(&["tasks", "--state", "sleeping"]).with(64).says(&["queued"]);
    node.dunlin(&["submit", "--stdin", "/no/such/file", "--", "cat"]).with(1).says(&["/no/such/file"]);
    assert_eq!(node.dunlin(&["tasks", "-o", "quiet"]).with(0).stdout, "", "nothing of all this became a task");

    let waiting = node.dunlin(&["submit", "-o", "quiet", "-g", "nobody", "--", "true"]).with(0).stdout;
    node.dunlin(&["result", waiting.trim()]).with(1).says(&["has not ended yet", "dunlin logs -f"]);
}

#[tokio::test]
async fn payloads_and_environments_over_their_limit_are_refused_with_the_limit() {
    let swarm = Swarm::found(1).await;
    let node = &swarm.nodes[0];
    let with_stdin = |size: usize| {
        let mut command = node.command(&["run", "--", "wc", "-c"]);
        command.stdin(Stdio::from(file_with(&vec![b'x'; size])));
        Run::start(command).ended()
    };
    assert_eq!(with_stdin(1 << 20).with(0).stdout.trim(), "1048576", "exactly the limit, and far more than a pipe holds");
    with_stdin((1 << 20) + 1).with(64).says(&["too large", "the limit is 1 MiB", "try:"]);

    let big = format!("A={}", "x".repeat(70_000));
    let other = format!("B={}", "x".repeat(70_000));
    node.dunlin(&["run", "-e", &big, "--", "true"]).with(0);
    node.dunlin(&["run", "-e", &big, "-e", &other, "--", "true"]).with(64).says(&["environment", "the limit is 131072"]);
    node.dunlin(&["run", "--", "true", &big, &other]).with(64).says(&["the limit is 131072"]);
    let label = "l".repeat(300);
    node.dunlin(&["run", "--label", &label, "--", "true"]).with(64).says(&["label", "256"]);
}

#[tokio::test]
async fn without_a_node_every_verb_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    for words in [&["status"][..], &["run", "--", "true"], &["submit", "--", "true"], &["tasks"], &["events"]] {
        let mut command = bare();
        command.arg("--data").arg(folder.path()).args(words);
        Run::start(command).ended().with(69).says(&["no node answers on", "because:", "dunlin up"]);
    }
    // A node that was killed leaves its socket behind.
    let mut swarm = Swarm::found(1).await;
    swarm.nodes[0].kill();
    swarm.nodes[0].dunlin(&["status"]).with(69).says(&["the node that made this socket has ended", "dunlin up"]);
}

#[tokio::test]
async fn mistakes_in_the_settings_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dunlin.toml");
    let up = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = bare();
        command.arg("--config").arg(&file).arg("--data").arg(folder.path().join("data")).args(["up", "--no-mdns"]);
        Run::start(command).ended().with(64)
    };
    up("rnak = 7\n").says(&["dunlin.toml:1", "there is no setting \"rnak\"", "did you mean \"rank\"", "dunlin config init"]);
    up("rank = \"high\"\n").says(&["dunlin.toml:1: rank"]);
    up("name = \"x\"\nlisten = \"nowhere\"\n").says(&["dunlin.toml:2: listen"]);
    up("[tasks]\ntimeout = \"soon\"\n").says(&["dunlin.toml:2: tasks.timeout"]);
    up("rank = \n").says(&["dunlin.toml:1"]);
    up("secret = \"short\"\n").says(&["16 to 1024 characters, not 5"]);
    up("[[pods]]\ngroups = [\"a b\"]\nslots = 1\n").says(&["dunlin.toml"]);
    let mut missing = bare();
    missing.args(["--config", "/no/such.toml", "up"]);
    Run::start(missing).ended().with(64).says(&["could not read /no/such.toml"]);
    assert!(!folder.path().join("data").exists(), "nothing was begun");
}

/// One more `dunlin up` with this node's settings, changed; it must fail.
fn refused(node: &Process, change: impl Fn(&mut crate::harness::Settings)) -> Ended {
    let mut settings = node.settings.clone();
    change(&mut settings);
    Run::start(settings.command()).ended()
}

#[tokio::test]
async fn a_node_that_can_not_start_says_what_is_in_its_way() {
    let swarm = Swarm::found(1).await;
    let node = &swarm.nodes[0];
    let own = swarm.path("other");
    refused(node, |settings| (settings.data, settings.listen) = (own.clone(), node.address.clone())).with(1).says(&[
        &node.address,
        "can't be listened on",
        "--listen ADDR:PORT",
    ]);
    refused(node, |_| {}).with(1).says(&["one data folder is one node", "--data DIR"]);
    let socket = swarm.path("other.sock");
    let mut second = node.settings.command();
    second.env("DUNLIN_SOCKET", &socket);
    Run::start(second).ended().with(1).says(&["is in use by another process", "--data DIR"]);

    let file = swarm.path("a-file");
    fs::write(&file, "").unwrap();
    refused(node, |settings| settings.data = file.join("data")).with(1).says(&["can't be made", "--data DIR"]);
    let newer = swarm.path("newer");
    fs::create_dir(&newer).unwrap();
    fs::write(newer.join("boot"), "{\"v\":9,\"d\":1}").unwrap();
    refused(node, |settings| settings.data = newer.clone()).with(1).says(&["format 9", "newer version of dunlin"]);
    let damaged = swarm.path("damaged");
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("boot"), "{").unwrap();
    refused(node, |settings| settings.data = damaged.clone()).with(1).says(&["boot"]);

    let secret = swarm.path("open-secret");
    fs::write(&secret, "a secret that everybody can read").unwrap();
    refused(node, |settings| (settings.data, settings.secret_file) = (own.clone(), secret.clone()))
        .with(77)
        .says(&["can be read by others", "chmod 600"]);
    refused(node, |settings| (settings.data, settings.secret_file) = (own.clone(), "/no/secret".into()))
        .with(64)
        .says(&["/no/secret"]);
    let mut none = bare();
    none.arg("--data").arg(&own).args(["up", "--expect", "3", "--no-mdns", "--listen", "127.0.0.1:0"]);
    Run::start(none).ended().with(64).says(&["has no secret", "--secret-file FILE"]);
    refused(node, |settings| (settings.data, settings.expect) = (own.clone(), 1_000)).with(64).says(&["--expect"]);
    refused(node, |settings| (settings.data, settings.pods) = (own.clone(), vec!["gpu=0".into()])).with(64).says(&["--pod"]);
    refused(node, |settings| (settings.data, settings.peers) = (own.clone(), vec!["host:0:0".into()])).with(64).says(&["--peer"]);

    // The one that was there first has not noticed.
    let client = node.client();
    let task = client.submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    questions::end_of(&client, task).await;
}

#[tokio::test]
async fn a_folder_that_is_another_users_is_not_touched() {
    let swarm = Swarm::found(1).await;
    let data = swarm.path("roots-own");
    fs::create_dir(&data).unwrap();
    let mut settings = swarm.nodes[0].settings.clone();
    settings.data = data.clone();
    let up = settings.command();
    let mut other = std::process::Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(up.get_program()).args(up.get_args());
    other.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("DUNLIN_CONFIG", "/dev/null").stdin(Stdio::null());
    let mut probe = std::process::Command::new("setpriv");
    probe.args(["--reuid", "65534", "--clear-groups", "--regid", "65534"]).arg(up.get_program()).arg("--version");
    if !probe.output().is_ok_and(|output| output.status.success()) {
        return println!("SKIPPED: no other user can be taken on here");
    }
    let ended = Run::start(other).ended();
    assert!(matches!(ended.code, Some(1 | 77)), "{ended:?}");
    ended.says(&["ermission denied", "--data DIR"]);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[tokio::test]
async fn nodes_that_were_told_different_numbers_found_nothing_and_say_so() {
    let mut swarm = Swarm::planned(2);
    swarm.add_with(|_, _| {});
    swarm.add_with(|_, settings| settings.expect = 3);
    for number in [0, 1] {
        let (own, theirs) = [(2, 3), (3, 2)][number];
        eventually("both are told", LONG, async || {
            let wanted = format!("was told --expect {theirs}, this node --expect {own}; give every node the same number");
            let story = swarm.nodes[number].story();
            story.iter().any(|line| line["text"].as_str().is_some_and(|text| text.contains(&wanted))).then_some(()).ok_or(story)
        })
        .await;
        let view = swarm.nodes[number].impatient().status().await.unwrap();
        assert!(view.swarm.is_none() && view.leader.is_none(), "{view:?}");
        swarm.nodes[number].dunlin(&["status"]).with(69);
    }
}

#[tokio::test]
async fn more_nodes_than_expected_never_make_two_swarms() {
    let mut swarm = Swarm::planned(3);
    (0..2).for_each(|_| _ = swarm.add_with(|_, _| {}));
    // Two more, which know of the first two only, meet them at the same moment.
    let first: Vec<String> = swarm.nodes.iter().map(|node| node.address.clone()).collect();
    swarm.nodes.iter_mut().for_each(Process::pause);
    (0..2).for_each(|_| _ = swarm.add_with(|_, settings| settings.peers = first.clone()));
    swarm.nodes.iter_mut().take(2).for_each(Process::resume);

    // Either three found and the fourth joins them, or nobody does and the reason is told.
    let told = |process: &Process| {
        let story = process.story();
        story.iter().any(|line| line["text"].as_str().is_some_and(|text| text.contains("no swarm is founded")))
    };
    eventually("all belong to one swarm, or the reason why there is none is told", LONG, async || {
        let mut swarms = Vec::new();
        for node in &swarm.nodes {
            swarms.push(node.impatient().status().await.map_err(|error| error.to_string())?.swarm);
        }
        let founded: std::collections::BTreeSet<_> = swarms.iter().flatten().map(ToString::to_string).collect();
        assert!(founded.len() <= 1, "two swarms: {swarms:?}");
        let all = swarms.iter().all(Option::is_some);
        if all || (founded.is_empty() && swarm.nodes.iter().any(told)) { Ok(()) } else { Err(format!("{swarms:?}")) }
    })
    .await;
}
