//! W3: one task at a time, from the submission until its end is known where it was submitted.

use std::path::Path;

use crate::swarm::Swarm;
use crate::{Failure, line, quantile};

pub(crate) fn run(folder: &Path) -> Result<(), Failure> {
    let mut swarm = Swarm::start(folder, 3, 4)?;
    let leader = swarm.settled()?;
    let other = (leader + 1) % 3;
    for (kind, count) in [("handler", 1_000), ("process", 300)] {
        for (place, at) in [("leader", leader), ("follower", other)] {
            let member = &mut swarm.members[at];
            member.ask(&format!("each 50 {kind}"))?;
            let answer = member.ask(&format!("each {count} {kind}"))?;
            let mut times: Vec<f64> = answer.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            times.iter_mut().for_each(|time| *time /= 1_000.0);
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                line(&format!("w3-{kind}-{name}"), &format!("dunlin-3-{place}"), count, quantile(&mut times, share), "ms");
            }
        }
    }
    swarm.end()
}
