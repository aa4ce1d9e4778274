//! A stopped node's journal can be read: every entry with what became of it, and nothing in the folder is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dunlin_history::{Checker, Fact, Outcome, Record, State};
use dunlin_node::api::TaskSelector;
use dunlin_node::task::{RetryPolicy, TaskSpec};
use sha2::{Digest, Sha256};

use crate::harness::{Run, Swarm, bare, questions};

fn export(data: &Path) -> Run {
    let mut command = bare();
    command.args(["journal", "export", "--data"]).arg(data);
    Run::start(command)
}

/// What a folder holds, file by file.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| (path.display().to_string(), Sha256::digest(fs::read(&path).unwrap()).to_vec())).collect()
}

#[tokio::test]
async fn the_journals_of_stopped_nodes_agree_and_hold_what_happened_and_the_folders_stay_as_they_are() {
    let mut swarm = Swarm::found(3).await;
    let (leader, _) = swarm.settled().await;
    let client = swarm.nodes[leader].client();
    let good = client.submit(TaskSpec::command(["true"]), Some("good".parse().unwrap())).await.unwrap().task;
    let again = client.submit(TaskSpec::command(["true"]), Some("good".parse().unwrap())).await.unwrap();
    assert!(again.duplicate);
    let mut bad = TaskSpec::command(["false"]);
    bad.retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let bad = client.submit(bad, None).await.unwrap().task;
    let mut nobodys = TaskSpec::command(["true"]);
    nobodys.group = "nobody".parse().unwrap();
    let nobodys = client.submit(nobodys, None).await.unwrap().task;
    client.cancel(TaskSelector::Ids(vec![nobodys])).await.unwrap();
    for task in [good, bad, nobodys] {
        questions::end_of(&client, task).await;
    }
    // How far the journal is known to be committed is written down with the next entry.
    assert!(client.submit(TaskSpec::command(["true"]), Some("good".parse().unwrap())).await.unwrap().duplicate);

    let running = &swarm.nodes[leader].settings.data;
    export(running).ended().with(1).says(&["is in use by another process", "stop the node first"]);
    swarm.nodes.iter_mut().for_each(crate::harness::Process::kill);

    let mut checker = Checker::new();
    for node in &swarm.nodes {
        let data = &node.settings.data;
        let before = contents(data);
        let told = export(data).ended().with(0).stdout;
        assert_eq!(contents(data), before, "looking changes nothing");
        assert_eq!(export(data).ended().with(0).stdout, told, "and shows the same again");
        let records: Vec<Record> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if node.node == swarm.nodes[leader].node {
            holds_what_happened(&records, good.0, bad.0, nobodys.0);
        }
        records.iter().for_each(|record| checker.take(record));
    }
    let report = checker.finish();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.counts.journals, report.counts.tasks), (3, 3), "{report}");

    (0..3).for_each(|number| swarm.start_again(number));
    swarm.settled().await;
    assert_eq!(swarm.nodes[0].client().task(good).await.unwrap().state.name(), "succeeded", "they start as before");
}

fn holds_what_happened(records: &[Record], good: u64, bad: u64, nobodys: u64) {
    let finals: BTreeMap<u64, State> = records
        .iter()
        .filter_map(|record| if let Record::Final { task, state, .. } = record { Some((*task, *state)) } else { None })
        .collect();
    assert_eq!(finals, BTreeMap::from([(good, State::Succeeded), (bad, State::Dead), (nobodys, State::Cancelled)]));
    let facts: Vec<&Fact> = records
        .iter()
        .filter_map(|record| if let Record::Entry(entry) = record { Some(&entry.facts) } else { None })
        .flatten()
        .collect();
    let named = |key: &str| Fact::Submitted { task: Some(good), key: Some(key.to_owned()) };
    assert!(facts.contains(&&named("good")), "{facts:?}");
    let ended = |wanted: u64, how: Outcome, then: State| {
        facts.iter().any(|fact| {
            matches!(fact, Fact::AttemptEnded { task, attempt: 1, outcome, after: Some(after), .. }
                if *task == wanted && *outcome == how && *after == then)
        })
    };
    assert!(ended(good, Outcome::Succeeded, State::Succeeded) && ended(bad, Outcome::Failed, State::Dead), "{facts:?}");
    assert!(facts.contains(&&Fact::Cancelled { task: nobodys, accepted: true }), "{facts:?}");
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Opened { .. })), "{facts:?}");
}

#[tokio::test]
async fn what_is_no_data_folder_is_told_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    export(folder.path()).ended().with(1).says(&["is not the data folder of a node", "--data DIR"]);
    export(&folder.path().join("none")).ended().with(1).says(&["is not the data folder of a node"]);
    assert_eq!(contents(folder.path()), BTreeMap::new());
    // One that has never been in a swarm: a lock and a key, no journal.
    let mut swarm = Swarm::planned(3);
    swarm.add_with(|_, _| {});
    swarm.nodes[0].kill();
    let data = &swarm.nodes[0].settings.data;
    let told = export(data).ended().with(0).stdout;
    assert_eq!(told, "", "its journal is empty");
    fs::remove_file(data.join("log.redb")).unwrap();
    export(data).ended().with(1).says(&["there is no journal in", "has not been in a swarm"]);
    assert!(!data.join("log.redb").exists());
    fs::write(data.join("log.redb"), "not a log").unwrap();
    export(data).ended().with(1).says(&["log.redb is damaged"]);
    assert_eq!(fs::read(data.join("log.redb")).unwrap(), b"not a log");
}
