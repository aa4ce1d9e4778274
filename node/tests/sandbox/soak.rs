//! Many tasks, eight at once, and then a look at everything that could have been left behind.
//!
//! `DUNLIN_SOAK=4000` makes it as long as it is meant to be; a run without it plays a tenth of that.

use std::collections::VecDeque;
use std::fs;

use bytes::Bytes;
use dunlin_node::task::Outcome;

use super::harness::Case;
use super::house::{House, open_descriptors, out, soon};

pub(crate) const ALL: &[Case] = &[Case { name: "a_soak_leaves_nothing", everywhere: false, run: a_soak_leaves_nothing }];

/// Tasks at once.
const WIDTH: usize = 8;

fn a_soak_leaves_nothing() {
    let tasks = std::env::var("DUNLIN_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(400);
    let house = House::new();
    run(&house, 2 * WIDTH);
    let before = left();
    run(&house, tasks);
    let zygote = house.sandbox.zygote_pid();
    soon("no supervisor is left", || {
        fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).is_ok_and(|list| list.is_empty())
    });
    assert_eq!(left(), before, "descriptors and mounts");
    assert_eq!(fs::read_dir(format!("/proc/{zygote}/fd")).unwrap().count(), 3, "descriptors of the zygote");
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

/// Open descriptors of this node and mounts that it sees.
fn left() -> (usize, usize) {
    (open_descriptors(), fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count())
}
