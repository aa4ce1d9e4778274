//! What a task can't do to its node, seen from the command line. What each machine holds is the sandbox's own tests' business.

use dunlin_node::api::WaitCause;
use dunlin_node::task::{Level, TaskSpec, TaskState};
use serde_json::Value;

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

/// Holds nothing and asks for everything, and is the only one that serves group `rare`.
fn below_its_own_requirement(settings: &mut Settings) {
    settings.env.push(("DUNLIN_SANDBOX_REQUIRE".to_owned(), "full".to_owned()));
    settings.pods = vec!["default,rare=2".to_owned()];
}

#[tokio::test]
async fn a_node_below_its_owners_requirement_leads_and_takes_no_tasks_until_it_holds_enough() {
    let change = |number, settings: &mut Settings| {
        if number == 2 {
            below_its_own_requirement(settings)
        }
    };
    let mut swarm = Swarm::found_with(3, change).await;
    assert_eq!(swarm.settled().await.0, 2, "it has the highest rank, and leads");
    let client = swarm.nodes[0].client();
    let mut rare = TaskSpec::command(["true"]);
    rare.group = "rare".parse().unwrap();
    let waits = client.submit(rare, None).await.unwrap().task;
    for _ in 0..8 {
        let task = client.submit(TaskSpec::command(["true"]), None).await.unwrap().task;
        let ended = questions::end_of(&client, task).await;
        assert!(ended.attempts.iter().all(|attempt| attempt.node != swarm.nodes[2].node), "{:?}", ended.attempts);
    }
    let short = "n3 takes no tasks: its sandbox is process-only, and `sandbox.require` asks for full";
    for node in &swarm.nodes {
        let status = node.dunlin(&["status"]).with(0).stdout;
        assert_eq!(status.matches(short).count(), 1, "{status}");
        assert!(node.dunlin(&["nodes"]).with(0).stdout.contains("process-only: no tasks below full"));
        let why = node.dunlin(&["explain", &waits.to_string()]).with(0).stdout;
        let told =
            "the nodes that could run it take nothing new: n3 takes no tasks: holds process-only, and its owner asks for full";
        assert!(why.contains(told), "{why}");
    }
    let told = swarm.nodes[2].story();
    assert!(told.iter().any(|line| line["event"] == "ready" && line["takes_tasks"] == false), "{told:?}");
    let warned =
        |line: &Value| line["kind"] == "warning" && line["text"].as_str().unwrap().starts_with("this node takes no tasks");
    assert!(told.iter().any(warned), "{told:?}");
    let view = client.task(waits).await.unwrap();
    assert_eq!((view.state, view.attempts.len()), (TaskState::Queued, 0));
    // Its owner asks for less, and starts it again.
    swarm.nodes[2].settings.env.clear();
    swarm.start_again(2);
    let ended = questions::end_of(&swarm.nodes[0].client(), waits).await;
    assert_eq!((ended.state, ended.attempts.len()), (TaskState::Succeeded, 1));
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
    let told = view.waits.unwrap();
    assert_eq!(
        (told.cause, told.text.as_str()),
        (WaitCause::Need, "it needs full; the nodes of group default hold: n1 process-only")
    );
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
