//! W4: the leader dies; the time until a task that was submitted afterwards has run.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::swarm::Swarm;
use crate::{Failure, line, quantile};

/// A node that was started again takes no part in elections for one lease; this is longer. A majority that can elect is
/// what is measured here, not how long it takes to have one.
const CALM: Duration = Duration::from_millis(1_500);

pub(crate) fn run(folder: &Path) -> Result<(), Failure> {
    let mut swarm = Swarm::start(folder, 3, 4)?;
    let mut killed = Vec::new();
    for round in 0..11 {
        swarm.settled()?;
        std::thread::sleep(CALM);
        let leader = swarm.settled()?;
        let survivor = (leader + 1 + round % 2) % 3;
        swarm.members[survivor].ask("each 3 handler")?;
        let began = Instant::now();
        swarm.members[leader].kill()?;
        swarm.members[survivor].ask("each 1 handler")?;
        killed.push(began.elapsed().as_secs_f64() * 1_000.0);
        swarm.revive(leader)?;
    }
    report("w4-killed", &mut killed);
    let mut silent = Vec::new();
    for round in 0..4 {
        swarm.settled()?;
        std::thread::sleep(CALM);
        let leader = swarm.settled()?;
        let survivor = (leader + 1 + round % 2) % 3;
        let began = Instant::now();
        swarm.members[leader].signal(Signal::STOP)?;
        swarm.members[survivor].ask("each 1 handler")?;
        silent.push(began.elapsed().as_secs_f64() * 1_000.0);
        swarm.members[leader].signal(Signal::CONT)?;
    }
    report("w4-silent", &mut silent);
    swarm.end()
}

fn report(workload: &str, times: &mut [f64]) {
    eprintln!("  {workload}: {}", times.iter().map(|time| format!("{time:.0}")).collect::<Vec<_>>().join(" "));
    line(&format!("{workload}-p50"), "dunlin-3", times.len(), quantile(times, 0.5), "ms");
    line(&format!("{workload}-max"), "dunlin-3", times.len(), quantile(times, 1.0), "ms");
}
