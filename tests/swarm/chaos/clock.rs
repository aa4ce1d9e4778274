//! The wall clock of a node jumps by an hour, to and fro. Nothing that the swarm decides may depend on it, and no
//! failed task may wait for its next attempt until a wrong clock comes true.
//!
//! By libfaketime, which is asked for the wall clock only; the monotonic clock goes on as it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::dice::Dice;
use super::storm::{Storm, hold};
use super::table::{Row, Table};
use crate::harness::{Settings, Swarm};

const NODES: usize = 3;

/// Where distributions put it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// The clock of the leader, then of a member, an hour forward, an hour back behind the truth, and true again.
pub(crate) async fn jumps(dice: &mut Dice, table: &mut Table) {
    let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else {
        return table.skip("row 6 (a clock that jumps)", "libfaketimeMT.so.1 is not installed (package faketime)");
    };
    let told = |settings: &mut Settings| {
        let file = settings.data.with_extension("clock");
        fs::write(&file, "+0\n").unwrap();
        let value = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        settings.env = vec![
            value("LD_PRELOAD", library),
            value("FAKETIME_TIMESTAMP_FILE", &file.display().to_string()),
            value("FAKETIME_CACHE_DURATION", "1"),
            value("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
    };
    let mut storm = Storm::of(Swarm::planned(NODES), NODES, dice, |_, settings| told(settings)).await;
    let (leader, _) = storm.swarm.settled().await;
    for number in [leader, dice.other(NODES, leader)] {
        for jump in ["+1h", "-1h", "+0"] {
            let before = storm.swarm.settled().await;
            fs::write(storm.swarm.nodes[number].settings.data.with_extension("clock"), format!("{jump}\n")).unwrap();
            // It is noticed within the second for which the library keeps what it read; then time for several beats.
            hold(Duration::from_millis(2_500)).await;
            let after = storm.swarm.settled().await;
            table.counted(Row::CLOCK, u64::from(before != after));
        }
    }
    storm.end(table).await;
}
