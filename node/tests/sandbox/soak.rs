//! Many tasks, eight at once, and then a look at everything that could have been left behind.
//!
//! `DUNLIN_SOAK=400` makes it shorter.

use std::collections::VecDeque;
use std::fs;

use bytes::Bytes;
use dunlin_node::task::Outcome;

use super::cases::cases;
use super::harness::Case;
use super::house::{House, WAITING, at_rest, open_descriptors, out, soon};

pub(crate) const ALL: &[Case] = cases![a_soak_leaves_nothing];

/// Tasks at once.
const WIDTH: usize = 8;

fn a_soak_leaves_nothing() {
    let tasks = std::env::var("DUNLIN_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(4_000);
    let house = House::new();
    run(&house, 2 * WIDTH);
    let before = left(&house);
    run(&house, tasks);
    let zygote = house.sandbox.zygote_pid();
    soon("no supervisor has anything to do", || at_rest(zygote));
    // The last descriptors are closed by the runtime's threads, in their own time.
    soon(&format!("descriptors and mounts are at most {before:?} again"), || {
        let after = left(&house);
        after.0 <= before.0 + WAITING && after.1 <= before.1
    });
    match fs::read_dir(format!("/proc/{zygote}/fd")) {
        Ok(descriptors) => assert_eq!(descriptors.count(), 3, "descriptors of the zygote"),
        // It is closed to everybody but root, as it should be.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    house.no_scratch_is_left();
    println!("{tasks} tasks");
}

fn run(house: &House, tasks: usize) {
    let mut running = VecDeque::new();
    for n in 0..tasks {
        if running.len() == WIDTH {
            end(house, running.pop_front().unwrap());
        }
        running.push_back((n, house.start_with(&["cat"], Bytes::from(n.to_string()))));
    }
    running.into_iter().for_each(|one| end(house, one));
}

fn end(house: &House, (n, run): (usize, tokio::task::JoinHandle<dunlin_node::sandbox::Report>)) {
    let report = house.runtime.block_on(run).unwrap();
    assert_eq!((report.outcome.clone(), out(&report)), (Outcome::Exited(0), n.to_string()));
}

/// Open descriptors of this node, and mounts of ours that it sees; others may come and go.
fn left(house: &House) -> (usize, usize) {
    let root = house.root.to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    (open_descriptors(), mounts.lines().filter(|line| line.contains(" - tmpfs dunlin ") || line.contains(root)).count())
}
