//! The whole swarm under load: real processes on this machine, one line a figure, the machine's own limits beside them.
//!
//! `bench [WORKLOAD…]` measures; it starts itself again as `bench node …` for every node of a swarm. Lines of
//! `workload<TAB>system<TAB>n<TAB>value<TAB>unit` leave on the standard output, everything else on the standard error.
//! Never a timed test: figures move with the machine, ratios inside one run move less, CPU time per task moves least.

mod failover;
mod idle;
mod limits;
mod member;
mod probe;
mod queue;
mod single;
mod swarm;

use std::path::Path;
use std::time::Instant;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What can be asked for, in the order in which it is run.
const WORKLOADS: [&str; 8] = ["limits", "w1", "w2", "w3", "w4", "w5", "w6", "w7"];

fn main() -> Result<(), Failure> {
    dunlin_node::sandbox::enter_if_child(&dunlin_node::sandbox::Handlers::new());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "node") {
        return member::run(&arguments[1..]);
    }
    if let Some(unknown) = arguments.iter().find(|asked| !WORKLOADS.contains(&asked.as_str())) {
        return Err(format!("{unknown:?} is not a workload; there are: {}", WORKLOADS.join(", ")).into());
    }
    let parent = std::env::var_os("BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::Builder::new().prefix("dunlin-bench-").tempdir_in(parent)?;
    for workload in WORKLOADS {
        if arguments.is_empty() || arguments.iter().any(|asked| asked == workload) {
            let started = Instant::now();
            run(workload, folder.path())?;
            eprintln!("{workload} took {:.1} s; load {}", started.elapsed().as_secs_f64(), probe::load());
        }
    }
    Ok(())
}

fn run(workload: &str, folder: &Path) -> Result<(), Failure> {
    match workload {
        "limits" => limits::run(folder),
        "w1" => queue::durable(folder),
        "w2" => queue::processes(folder),
        "w3" => single::run(folder),
        "w4" => failover::run(folder),
        "w5" => idle::memory(folder),
        "w6" => queue::backlog(folder),
        _ => idle::quiet(folder),
    }
}

/// Prints one figure.
pub(crate) fn line(workload: &str, system: &str, n: usize, value: f64, unit: &str) {
    let digits = if value >= 1_000.0 || value == value.trunc() { 0 } else { 2 };
    println!("{workload}\t{system}\t{n}\t{value:.digits$}\t{unit}");
}

/// The value that `share` of all values do not exceed; the values get sorted.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let at = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(at).copied().unwrap_or(f64::NAN)
}
