//! The disk is full: new tasks are refused with the reason, what runs is reported, and with space it goes on by itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dunlin_node::task::{TaskId, TaskSpec};

use crate::harness::{LONG, Swarm, eventually, questions};

/// A small file system in memory; gone when it is dropped.
struct Small(PathBuf);

impl Small {
    fn new(path: &Path) -> Result<Self, String> {
        fs::create_dir(path).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(path).stdin(Stdio::null()).output();
        let mount = mount.map_err(|error| error.to_string())?;
        if mount.status.success() {
            Ok(Small(path.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned())
        }
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes all the space but this many bytes.
    fn fill(&self, leave: u64) {
        let mut file = File::options().create(true).append(true).open(self.0.join("filler")).unwrap();
        while self.free() > leave && file.write_all(&[0; 4_096]).is_ok() {}
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

/// A swarm of one on a small file system, with a task that runs until the file `go` is there.
async fn swarm() -> Result<(Swarm, Small, TaskId), String> {
    let mut swarm = Swarm::planned(1);
    let small = Small::new(&swarm.path("small"))?;
    let data = swarm.path("small").join("node");
    swarm.add_with(|_, settings| settings.data = data.clone());
    swarm.settled().await;
    let client = swarm.nodes[0].client();
    let script = format!("while ! [ -e {} ]; do sleep 0.02; done; echo done", swarm.path("go").display());
    let running = client.submit(TaskSpec::command(["sh", "-c", &script]), None).await.unwrap().task;
    questions::running_on(&client, running, 1).await;
    Ok((swarm, small, running))
}

/// Waits until new tasks are taken, and gives one.
async fn taken_again(swarm: &Swarm) -> TaskId {
    eventually("new tasks are taken again", LONG, async || {
        let submitted = swarm.nodes[0].impatient().submit(TaskSpec::command(["true"]), None).await;
        submitted.map(|submitted| submitted.task).map_err(|error| error.to_string())
    })
    .await
}

#[tokio::test]
async fn on_a_nearly_full_disk_new_tasks_are_refused_and_running_ones_are_reported() {
    let (mut swarm, small, running) = match swarm().await {
        Ok(begun) => begun,
        Err(why) => return println!("SKIPPED: no small file system can be mounted here: {why}"),
    };
    small.fill(16 << 20);
    swarm.nodes[0].dunlin(&["submit", "--", "true"]).with(69).says(&[
        "the swarm takes no new tasks now",
        "disk is full",
        "free some space",
    ]);
    fs::write(swarm.path("go"), "").unwrap();
    let client = swarm.nodes[0].client();
    let view = questions::end_of(&client, running).await;
    assert_eq!(view.attempts.len(), 1);
    assert!(swarm.nodes[0].is_running());

    small.empty();
    let after = taken_again(&swarm).await;
    questions::end_of(&client, after).await;
    questions::assert_each_succeeded_once(&client, [running, after]).await;
}

#[tokio::test]
async fn without_a_byte_left_nothing_that_was_taken_is_lost() {
    let (mut swarm, small, running) = match swarm().await {
        Ok(begun) => begun,
        Err(why) => return println!("SKIPPED: no small file system can be mounted here: {why}"),
    };
    small.fill(0);
    swarm.nodes[0].dunlin(&["submit", "--", "true"]).with(69).says(&["disk is full"]);
    fs::write(swarm.path("go"), "").unwrap();
    // The end may find room within the journal's file. If it does not, the node stops rather than promise what it can't
    // keep, and says why.
    let stopped = eventually("the task has ended, or the node has stopped", LONG, async || {
        if !swarm.nodes[0].is_running() {
            return Ok(true);
        }
        let view = swarm.nodes[0].impatient().task(running).await.map_err(|error| error.to_string())?;
        if view.state.is_final() { Ok(false) } else { Err(format!("{view:?}")) }
    })
    .await;
    println!("with no byte left the node {}", if stopped { "stopped" } else { "wrote the end down" });
    small.empty();
    if stopped {
        let log = swarm.nodes[0].log();
        assert!(log.contains("No space left") || log.contains("disk is full"), "{log}");
        swarm.start_again(0);
        swarm.settled().await;
    }
    let client = swarm.nodes[0].client();
    let after = taken_again(&swarm).await;
    for task in [running, after] {
        questions::end_of(&client, task).await;
    }
    questions::assert_each_succeeded_once(&client, [running, after]).await;
}
