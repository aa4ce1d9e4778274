//! W1 and W2: many tasks at once. W6: tasks that only wait.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::limits::rate;
use crate::swarm::Swarm;
use crate::{Failure, line, probe, quantile};

/// Tasks of one round.
const TASKS: usize = 20_000;
const ROUNDS: usize = 3;
const SLOTS: u32 = 4;
const SUBMITTERS: usize = 64;
const BATCH: usize = 1_000;

/// How the tasks of a round come in.
#[derive(Clone, Copy)]
enum Coming {
    /// [`SUBMITTERS`] spread over all nodes, one task a request.
    One,
    /// One submitter on a node that does not lead, [`BATCH`] tasks a request.
    Batch,
    /// As `One`, and each task is a process.
    Process,
}

struct Round {
    rate: f64,
    cpu: f64,
    leader_cpu: f64,
}

/// Submits, waits until the last task's end is recorded, and takes the times.
fn round(swarm: &mut Swarm, leader: usize, tasks: usize, coming: Coming) -> Result<Round, Failure> {
    let before = swarm.state(leader)?;
    let nodes = swarm.members.len();
    let leader_pid = swarm.members[leader].pid();
    let (cpu, leader_cpu, began) = (swarm.cpu()?, probe::cpu(leader_pid)?, Instant::now());
    let mut orders = Vec::new();
    match coming {
        Coming::One => {
            for index in 0..nodes {
                let share = |all: usize| all / nodes + usize::from(index < all % nodes);
                let order = format!("submit {} {} 1 default", share(tasks), share(SUBMITTERS));
                orders.push((index, swarm.members[index].order(&order)?));
            }
        }
        Coming::Batch => {
            let other = (leader + 1) % nodes;
            orders.push((other, swarm.members[other].order(&format!("submit {tasks} 1 {BATCH} default"))?));
        }
        Coming::Process => orders.push((leader, swarm.members[leader].order(&format!("spawn {tasks}"))?)),
    }
    for (index, id) in orders {
        swarm.members[index].answer(id)?;
    }
    let submitted = began.elapsed();
    swarm.members[leader].ask(&format!("ended {}", before.ended + tasks))?;
    let took = began.elapsed();
    let per_task =
        |spent: Duration| rate(1, Duration::from_secs(1)) * spent.as_secs_f64() * 1e6 / rate(tasks, Duration::from_secs(1));
    let after = swarm.state(leader)?;
    // Two facts a task: submitted, ended.
    let facts = rate(2 * tasks, Duration::from_secs(1))
        / rate(after.entries.saturating_sub(before.entries).max(1), Duration::from_secs(1));
    let bytes = after.journal_bytes.saturating_sub(before.journal_bytes) / tasks as u64;
    let round = Round {
        rate: rate(tasks, took),
        cpu: per_task(swarm.cpu()?.saturating_sub(cpu)),
        leader_cpu: per_task(probe::cpu(leader_pid)?.saturating_sub(leader_cpu)),
    };
    eprintln!(
        "  {tasks} tasks: submitted in {:.2} s, ended in {:.2} s, {:.0} us CPU a task ({:.0} us the leader), {facts:.0} facts an entry, {bytes} B written a task; load {}",
        submitted.as_secs_f64(),
        took.as_secs_f64(),
        round.cpu,
        round.leader_cpu,
        probe::load()
    );
    Ok(round)
}

fn rounds(swarm: &mut Swarm, workload: &str, tasks: usize, coming: Coming) -> Result<f64, Failure> {
    let leader = swarm.settled()?;
    let system = format!("dunlin-{}", swarm.members.len());
    // The first tasks pay for threads, caches and files that the rest finds made.
    round(swarm, leader, tasks / 10, coming)?;
    let done: Vec<Round> = (0..ROUNDS).map(|_| round(swarm, leader, tasks, coming)).collect::<Result<_, _>>()?;
    let median = |of: fn(&Round) -> f64| quantile(&mut done.iter().map(of).collect::<Vec<_>>(), 0.5);
    let rate = median(|round| round.rate);
    line(workload, &system, tasks * ROUNDS, rate, "tasks/s");
    line(&format!("{workload}-cpu"), &system, tasks * ROUNDS, median(|round| round.cpu), "us/task");
    line(&format!("{workload}-cpu"), &format!("{system}-leader"), tasks * ROUNDS, median(|round| round.leader_cpu), "us/task");
    Ok(rate)
}

/// W1: tasks without a process through 3 and 5 nodes.
pub(crate) fn durable(folder: &Path) -> Result<(), Failure> {
    let mut three = Swarm::start(folder, 3, SLOTS)?;
    let of_three = rounds(&mut three, "w1", TASKS, Coming::One)?;
    rounds(&mut three, "w1-batch", TASKS, Coming::Batch)?;
    three.end()?;
    let mut five = Swarm::start(folder, 5, SLOTS)?;
    let of_five = rounds(&mut five, "w1", TASKS, Coming::One)?;
    line("w1-ratio", "dunlin-5/dunlin-3", TASKS * ROUNDS, of_five / of_three, "ratio");
    five.end()
}

/// W2: `/bin/true` as a task, one node with 2 slots; and 3 nodes with 1 slot each.
pub(crate) fn processes(folder: &Path) -> Result<(), Failure> {
    for (nodes, slots) in [(1, 2), (3, 1)] {
        let mut swarm = Swarm::start(folder, nodes, slots)?;
        rounds(&mut swarm, "w2", 1_000, Coming::Process)?;
        swarm.end()?;
    }
    Ok(())
}

/// W6: what 100,000 tasks for a group that nobody serves add to the leader's memory.
pub(crate) fn backlog(folder: &Path) -> Result<(), Failure> {
    const WAITING: usize = 100_000;
    let mut swarm = Swarm::start(folder, 3, SLOTS)?;
    let leader = swarm.settled()?;
    round(&mut swarm, leader, 2_000, Coming::Batch)?;
    let before = probe::resident(swarm.members[leader].pid())?;
    swarm.members[leader].ask(&format!("submit {WAITING} 4 {BATCH} nobody"))?;
    let after = probe::resident(swarm.members[leader].pid())?;
    line("w6", "dunlin-3", WAITING, mib(after.saturating_sub(before)), "MiB");
    line("w6-rss", "dunlin-3-leader", WAITING, mib(after), "MiB");
    let behind = round(&mut swarm, leader, TASKS, Coming::One)?;
    line("w6-rate", "dunlin-3", TASKS, behind.rate, "tasks/s");
    swarm.end()
}

pub(crate) fn mib(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}
