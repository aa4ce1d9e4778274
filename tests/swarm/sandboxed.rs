//! What a task can't do to its node, seen from the command line. What each machine holds is the sandbox's own tests' business.

use dunlin_node::task::{Level, TaskSpec, TaskState};

use crate::harness::{Run, Settings, Swarm, bare, questions};

/// What this machine holds, as `dunlin doctor` says.
fn held() -> Level {
    let mut doctor = bare();
    doctor.args(["doctor", "-o", "quiet"]);
    Run::start(doctor).ended().with(0).stdout.trim().parse().unwrap()
}

fn with_all_that_holds(settings: &mut Settings) {
    settings.env.push(("DUNLIN_SANDBOX_LEVEL".to_owned(), "full".to_owned()));
}

#[tokio::test]
async fn a_task_neither_reads_its_nodes_folder_nor_writes_outside_of_its_own() {
    if held() < Level::Partial {
        eprintln!("skipped: this machine holds less than partial; `dunlin doctor` says why");
        return;
    }
    let mut swarm = Swarm::planned(1);
    swarm.add_with(|_, settings| with_all_that_holds(settings));
    swarm.settled().await;
    let node = &swarm.nodes[0];
    for (file, needle) in [("key", "key"), ("dunlin.sock", "dunlin.sock"), ("log.redb", "log.redb")] {
        let path = node.settings.data.join(file);
        let script = format!("cat {0} || ls -l {0}", path.display());
        let refused = node.dunlin(&["run", "--", "sh", "-c", &script]);
        assert!(
            refused.code != Some(0) && refused.stdout.is_empty(),
            "a task reads {needle}: {}{}",
            refused.stdout,
            refused.stderr
        );
    }
    let outside = swarm.path("written-by-a-task");
    let script = format!("touch {}; echo mine > here && cat here", outside.display());
    let inside = node.dunlin(&["run", "--", "sh", "-c", &script]).with(0);
    assert_eq!(inside.stdout, "mine\n");
    assert!(!outside.exists(), "a task has written outside of its scratch folder");
    // And the work that it is for goes on as ever.
    let script = "printf 'b\\na\\n' | sort | sha256sum | cut -c1-8";
    assert_eq!(node.dunlin(&["run", "--", "sh", "-c", script]).with(0).stdout, "911169dd\n");
}

#[tokio::test]
async fn a_node_does_not_start_on_less_than_its_owner_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = bare();
    up.env("DUNLIN_SANDBOX_LEVEL", "process-only").env("DUNLIN_SANDBOX_REQUIRE", "full");
    up.args(["up", "--no-mdns", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
    Run::start(up).ended().with(1).says(&[
        "the sandbox is process-only on this machine",
        "`sandbox.require` asks for full",
        "dunlin doctor",
    ]);
}

#[tokio::test]
async fn the_doctor_says_what_is_missing_and_shows_the_steps() {
    let run = |words: &[&str]| {
        let mut doctor = bare();
        doctor.arg("doctor").args(words);
        Run::start(doctor).ended()
    };
    assert!(run(&[]).with(0).stdout.starts_with("sandbox: "));
    let steps = run(&["--plan"]).with(0).stdout;
    assert!(steps.contains("start the program") && steps.contains("give up gaining privileges"), "{steps}");
    let json: serde_json::Value = serde_json::from_str(&run(&["-o", "json"]).with(0).stdout).unwrap();
    for missing in json["missing"].as_array().unwrap() {
        assert!(!missing["reason"].as_str().unwrap().is_empty(), "{missing}");
    }
    let mut strict = bare();
    strict.args(["doctor"]).env("DUNLIN_SANDBOX_LEVEL", "process-only").env("DUNLIN_SANDBOX_REQUIRE", "partial");
    assert!(Run::start(strict).ended().with(1).stdout.contains("less than `sandbox.require` asks for"));
}

#[tokio::test]
async fn a_task_waits_for_a_node_that_holds_what_it_needs_and_others_pass_it() {
    if held() < Level::Full {
        eprintln!("skipped: this machine does not hold full; `dunlin doctor` says why");
        return;
    }
    // The first node uses less than its machine holds.
    let mut swarm = Swarm::found(1).await;
    let client = swarm.nodes[0].client();
    let mut demanding = TaskSpec::command(["true"]);
    demanding.sandbox.need.level = Level::Full;
    let waits = client.submit(demanding, None).await.unwrap().task;
    let passes = client.submit(TaskSpec::command(["true"]), None).await.unwrap().task;
    questions::end_of(&client, passes).await;
    let view = client.task(waits).await.unwrap();
    assert_eq!((view.state, view.attempts.len()), (TaskState::Queued, 0));
    let strong = swarm.add_with(|_, settings| with_all_that_holds(settings));
    let ended = questions::end_of(&client, waits).await;
    assert_eq!(ended.state, TaskState::Succeeded);
    assert_eq!(ended.attempts.iter().map(|attempt| attempt.node).collect::<Vec<_>>(), [swarm.nodes[strong].node]);
}

#[tokio::test]
async fn limits_of_the_command_line_end_a_task_and_say_which() {
    let swarm = Swarm::found(1).await;
    let node = &swarm.nodes[0];
    let hog = "a=x; while :; do a=$a$a; done";
    node.dunlin(&["run", "--memory", "48MiB", "--", "sh", "-c", hog]).says(&["killed: used more than"]);
    let spin = "while :; do :; done";
    node.dunlin(&["run", "--cpu-time", "300ms", "--", "sh", "-c", spin]).says(&["processor time"]);
    node.dunlin(&["run", "--memory", "0", "--", "true"]).with(64).says(&["more than nothing"]);
    node.dunlin(&["run", "--stdout-limit", "1MiB", "--", "true"]).with(64).says(&["512 KiB"]);
}
