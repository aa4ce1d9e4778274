//! The whole swarm in one thread, in simulated time: real nodes, with a network, disks, clocks and tasks that obey a seed.
//!
//! A seed enters; a [`Run`] leaves: what was violated, what happened, and a hash of all of it. First comes chaos, with the
//! invariants looked at after every event; then everything heals, and progress is demanded. In the end the run's history
//! is judged once more, by `dunlin-history`. Replaced are only the node's
//! surroundings (`node/surroundings.rs`): mesh, disks, clock, chance, and what runs the attempts. Not simulated:
//! libp2p, the sandbox, files beside the journal's two (they are synced when they are written).

mod audit;
mod chaos;
mod clients;
mod history;
mod life;
mod needs;
mod random;
mod tasks;
mod time;
mod trace;
mod verdict;
mod weather;
mod world;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

pub use audit::Tally;
pub use chaos::Injected;
pub use trace::LEGEND;

use self::random::Random;
use self::trace::Trace;
use self::world::World;
use crate::node::Belonging;
use crate::task::NodeId;

/// Whether runs of a seed are alike in this build: tokio shuffles the branches of `select!` in the engine, and lets itself
/// be told how only with `--cfg tokio_unstable`.
pub const REPLAYS: bool = cfg!(tokio_unstable);

/// What a seed stands for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    seed: u64,
    /// Nodes that found the swarm.
    founders: u64,
    /// Nodes that join later.
    joining: u64,
    clients: u64,
    chaos: Duration,
    durable_facts: u64,
    snapshot_bytes: u64,
    keep_entries: u64,
    /// Whether tasks need something of their nodes, and nodes hold different things.
    needs: bool,
}

impl Plan {
    fn of(seed: u64) -> Self {
        let mut random = Random::new(seed, 5);
        let founders = [3, 3, 5, 5, 5, 1, 4][random.place(7)];
        let small = random.chance(400);
        Plan {
            seed,
            founders,
            joining: u64::from(random.chance(250)),
            clients: 1 + random.below(4),
            chaos: random.millis(8_000, 25_000),
            durable_facts: 1 + random.below(200),
            snapshot_bytes: if small { 20_000 + random.below(40_000) } else { 64 << 20 },
            keep_entries: if small { random.below(20) } else { 2_000 },
            needs: Random::new(seed, 9).chance(500),
        }
    }

    fn nodes(&self) -> Vec<NodeId> {
        (1..=self.founders + self.joining).map(NodeId).collect()
    }

    fn belonging(&self, node: NodeId) -> Belonging {
        let founders = u32::try_from(self.founders).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        if node.0 <= self.founders { Belonging::Expect(founders) } else { Belonging::Join }
    }
}

/// How a node is called in traces.
fn name(node: NodeId) -> String {
    format!("n{}", node.0)
}

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What must never be and was; empty if all is well.
    pub violations: Vec<String>,
    /// Over every line and every frame, with its time.
    pub hash: u64,
    /// What clients saw and journals hold, as `dunlin-history` reads it.
    pub history: Vec<dunlin_history::Record>,
    /// The last lines, see [`LEGEND`].
    pub lines: Vec<String>,
    /// What it adds up to.
    pub tally: Tally,
    /// What was done to it.
    pub injected: Injected,
    /// Frames: sent, lost, doubled, late.
    pub frames: [u64; 4],
    /// Disk writes: dropped, torn; bits flipped; operations refused.
    pub disk: [u64; 4],
    /// From the end of all faults to a leader that acts.
    pub to_leader: Option<Duration>,
    /// Attempts begun.
    pub attempts: u64,
    /// Simulated time.
    pub simulated: Duration,
}

/// Runs one seed and keeps the last `keep` lines of its trace.
///
/// # Errors
/// Only if this machine gives no runtime or no temporary folder.
pub fn run(seed: u64, keep: usize) -> std::io::Result<Run> {
    let folder = tempfile_folder(seed)?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.build()?;
    let run = runtime.block_on(live(Plan::of(seed), keep, folder.clone()));
    // What still waits in there are the remains of ended lives.
    drop(runtime);
    std::fs::remove_dir_all(&folder)?;
    Ok(run)
}

/// A folder of this run's own, in memory where there is such a file system.
fn tempfile_folder(seed: u64) -> std::io::Result<std::path::PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let memory = std::path::Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!("dunlin-sim-{}-{seed}-{number}", std::process::id()));
    std::fs::create_dir(&folder)?;
    Ok(folder)
}

async fn live(plan: Plan, keep: usize, folder: std::path::PathBuf) -> Run {
    let trace = Trace::new(keep);
    let started = tokio::time::Instant::now();
    trace.line(&"swarm", &format_args!("{plan:?}"));
    let world = World::new(plan.clone(), trace.clone(), folder);
    let mut random = Random::new(plan.seed, 6);
    for node in plan.nodes() {
        world.later(node, random.millis(0, 1_500));
    }
    let clients: Vec<_> = (1..=plan.clients)
        .map(|number| {
            let (random, needs) = (Random::new(plan.seed, 100 + number), Random::new(plan.seed, 200 + number));
            clients::Client { number, random, needs, world: Arc::clone(&world) }
        })
        .map(|client| tokio::spawn(client.run()))
        .collect();
    let watch = tokio::spawn(watch(Arc::clone(&world)));
    tokio::spawn(chaos::outrun_leaders(Arc::clone(&world), Random::new(plan.seed, 8)));
    tokio::spawn(chaos::stop_processes(Arc::clone(&world), Random::new(plan.seed, 11)));
    chaos::run(&world, Random::new(plan.seed, 7), plan.chaos).await;
    trace.line(&"swarm", &"everything heals");
    world.heal();
    let to_leader = verdict::demand(&world).await;
    for client in clients {
        drop(client.await);
    }
    verdict::final_state(&world).await;
    watch.abort();
    world.history.judged().iter().for_each(|violation| world.audit.violation(violation));
    finish(&world, to_leader, started)
}

/// Looks at who acts every few milliseconds, also when nothing else happens.
async fn watch(world: Arc<World>) {
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        world.audit_now();
    }
}

fn finish(world: &World, to_leader: Option<Duration>, started: tokio::time::Instant) -> Run {
    let crowded = world.ran.crowded.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    for (node, times) in crowded {
        world.audit.violation(&format!("{} had more attempts at once than slots, {times} times", name(node)));
    }
    let met = world.sky().met();
    let disk = world.disk_faults().iter().fold([0; 4], |sum: [u64; 4], faults| {
        [sum[0] + faults.dropped, sum[1] + faults.torn, sum[2] + faults.flipped, sum[3] + faults.refused]
    });
    Run {
        seed: world.plan.seed,
        violations: world.audit.violations(),
        hash: world.trace.hash(),
        history: world.history.records(),
        lines: world.trace.lines(),
        tally: world.audit.tally(),
        injected: world.injected(),
        frames: [met.frames, met.lost, met.doubled, met.late],
        disk,
        to_leader,
        attempts: world.ran.begun.load(std::sync::atomic::Ordering::Relaxed),
        simulated: started.elapsed(),
    }
}

#[cfg(test)]
mod tests;
