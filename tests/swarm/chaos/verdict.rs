//! Stops every node, adds what their journals hold to the history, and lets the checker decide.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_history::{Checker, Rule};

use super::clients::Recorder;
use super::table::{Row, Table};
use crate::harness::{Run, Swarm, bare};

/// How long a node may take to stop.
const STOP: Duration = Duration::from_secs(20);

/// See the head of this file.
///
/// # Panics
/// With the violations, if there are any; the history is kept then.
pub(crate) async fn pass(swarm: &mut Swarm, recorder: &Recorder, pauses: u32, table: &mut Table) {
    swarm.nodes.iter().for_each(crate::harness::Process::terminate);
    for node in &mut swarm.nodes {
        node.ended(STOP).await;
    }
    for node in &swarm.nodes {
        let mut export = bare();
        export.args(["journal", "export", "--data"]).arg(&node.settings.data);
        Run::start(export).ended().with(0).stdout.lines().for_each(|line| recorder.write_line(line));
    }
    recorder.flush();
    let mut checker = Checker::new();
    checker.read(BufReader::new(File::open(recorder.path()).unwrap())).unwrap();
    let report = checker.finish();
    println!("{report}");
    table.counted(Row::ACKNOWLEDGED, report.counts.acknowledged_tasks);
    let stale = report.broken(Rule::H2) + report.broken(Rule::H4);
    (0..pauses).for_each(|_| table.counted(Row::PAUSED, stale));
    table.counted(Row::VIOLATIONS, report.broken.iter().sum());
    assert!(report.counts.acknowledged_tasks > 0 && report.counts.journals == swarm.nodes.len() as u64, "{report}");
    if !report.is_clean() {
        let kept = keep(recorder.path());
        panic!("promises were broken; the history is in {}\n{report}\n{table}", kept.display());
    }
}

fn keep(history: &Path) -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{}.jsonl", std::process::id()));
    fs::copy(history, &kept).unwrap();
    kept
}
