//! W5: what a node takes without work, and how long the first task needs. W7: that an idle swarm leaves disk and CPU alone.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::queue::mib;
use crate::swarm::Swarm;
use crate::{Failure, line, probe, quantile};

/// W5.
pub(crate) fn memory(folder: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let mut swarm = Swarm::start(folder, 5, 4)?;
    swarm.members[4].ask("each 1 handler")?;
    line("w5-first-task", "dunlin-5", 1, began.elapsed().as_secs_f64(), "s");
    swarm.settled()?;
    std::thread::sleep(Duration::from_secs(2));
    let mut sizes = Vec::new();
    for member in &swarm.members {
        sizes.push(mib(probe::resident(member.pid())?));
    }
    line("w5-rss", "dunlin-5-median", 5, quantile(&mut sizes, 0.5), "MiB");
    line("w5-rss", "dunlin-5-max", 5, quantile(&mut sizes, 1.0), "MiB");
    for (name, path) in [("release", "target/release/dunlin"), ("dist", "target/dist/dunlin")] {
        if let Ok(file) = std::fs::metadata(path) {
            line("w5-binary", name, 1, mib(file.len()), "MiB");
        }
    }
    swarm.end()
}

/// W7: taken for a third of a minute and scaled.
pub(crate) fn quiet(folder: &Path) -> Result<(), Failure> {
    const WATCHED: Duration = Duration::from_secs(20);
    let mut swarm = Swarm::start(folder, 3, 4)?;
    swarm.settled()?;
    swarm.members[0].ask("each 20 handler")?;
    std::thread::sleep(Duration::from_secs(2));
    let count = swarm.members.len();
    let mut bytes = Vec::new();
    for index in 0..count {
        bytes.push(swarm.state(index)?.journal_bytes);
    }
    let cpu = swarm.cpu()?;
    std::thread::sleep(WATCHED);
    let cpu = swarm.cpu()?.saturating_sub(cpu);
    let mut written = 0;
    for (index, before) in bytes.iter().enumerate() {
        written += swarm.state(index)?.journal_bytes.saturating_sub(*before);
    }
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    let a_minute = (written * 60 / WATCHED.as_secs()) as f64;
    line("w7-journal", "dunlin-3", count, a_minute, "bytes/min");
    let share = cpu.as_secs_f64() / WATCHED.as_secs_f64() * 100.0 / f64::from(u32::try_from(count)?);
    line("w7-cpu", "dunlin-3-each", count, share, "% of a core");
    swarm.end()
}
