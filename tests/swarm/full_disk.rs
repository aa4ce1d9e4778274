//! The disk is full: new tasks are refused with the reason, what runs is reported, and with space it goes on by itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dunlin_node::task::TaskSpec;

use crate::harness::{LONG, Run, Swarm, eventually, file_with, questions};

/// A small file system in memory; gone when it is dropped.
struct Small(PathBuf);

impl Small {
    fn new(path: &Path) -> Result<Self, String> {
        fs::create_dir(path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(path).stdin(Stdio::null()).output();
        let mount = mount.map_err(|error| error.to_string())?;
        if mount.status.success() { Ok(Small(path.to_owned())) } else { Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned()) }
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_tasks_and_reports_the_running_ones() {
    let mut swarm = Swarm::planned(1);
    let small = match Small::new(&swarm.path("small")) {
        Ok(small) => small,
        Err(why) => return println!("SKIPPED: no small file system can be mounted here: {why}"),
    };
    let data = swarm.path("small").join("node");
    swarm.add_with(|_, settings| settings.data = data.clone());
    swarm.settled().await;
    let client = swarm.nodes[0].client();
    let go = swarm.path("go");
    let running = TaskSpec::command(["sh", "-c", &format!("while ! [ -e {} ]; do sleep 0.02; done", go.display())]);
    let running = client.submit(running, None).await.unwrap().task;
    questions::running_on(&client, running, 1).await;

    small.fill();
    // What has space in the files is still taken; sooner or later there is none.
    let mut taken = Vec::new();
    let refused = loop {
        let mut submit = swarm.nodes[0].command(&["submit", "-o", "quiet", "-g", "nobody", "--stdin", "-", "--", "cat"]);
        submit.stdin(Stdio::from(file_with(&[b'x'; 900_000])));
        let ended = Run::start(submit).ended();
        if ended.code != Some(0) {
            break ended;
        }
        taken.push(ended.stdout.trim().parse().map(dunlin_node::task::TaskId).unwrap());
        assert!(taken.len() < 30, "24 MiB can't hold all this");
    };
    println!("{} submissions of 900 kB were taken with a full disk", taken.len());
    refused.with(69).says(&["the swarm takes no new tasks now", "disk is full", "free some space"]);
    assert!(swarm.nodes[0].is_running());
    // A report is small: the space that is kept for it is enough.
    fs::write(&go, "").unwrap();
    let view = questions::end_of(&client, running).await;
    assert_eq!(view.attempts.len(), 1);

    small.empty();
    let after = eventually("new tasks are taken again", LONG, async || {
        let submitted = swarm.nodes[0].impatient().submit(TaskSpec::command(["true"]), None).await;
        submitted.map(|submitted| submitted.task).map_err(|error| error.to_string())
    })
    .await;
    questions::end_of(&client, after).await;
    questions::assert_each_succeeded_once(&client, [running, after]).await;
    for task in taken {
        assert!(!client.task(task).await.unwrap().state.is_final(), "what was taken is there");
    }
}
