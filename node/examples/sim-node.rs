//! `scripts/sim node`: runs seeds of the simulated swarm and says what they came to; replays one of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dunlin_node::sim::{self, Run};

const USAGE: &str = "\
usage: scripts/sim node [--seeds N] [--from SEED] [--twice] [--threads N]
       scripts/sim node --reproduce SEED [--lines N] [--history FILE]
  --seeds N         how many seeds (default 1000)
  --from SEED       the first one (default 0)
  --twice           run each seed twice; the traces must be alike
  --threads N       runs at a time (default: one a core)
  --reproduce SEED  run one seed and print the last lines of what happened
  --lines N         how many lines (default 300)
  --history FILE    write down what clients saw and journals hold, for scripts/history";

/// What was asked for.
struct Asked {
    seeds: u64,
    from: u64,
    twice: bool,
    threads: usize,
    reproduce: Option<u64>,
    lines: usize,
    history: Option<PathBuf>,
}

fn main() -> ExitCode {
    match asked(std::env::args().skip(1)) {
        Ok(Asked { reproduce: Some(seed), lines, history, .. }) => reproduce(seed, lines, history.as_deref()),
        Ok(asked) => many(&asked),
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            ExitCode::from(64)
        }
    }
}

fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut asked = Asked { seeds: 1_000, from: 0, twice: false, threads, reproduce: None, lines: 300, history: None };
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64, String> {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            text.parse().map_err(|_| format!("{word} needs a number, not {text:?}"))
        };
        match word.as_str() {
            "--seeds" => asked.seeds = number()?,
            "--from" => asked.from = number()?,
            "--threads" => asked.threads = usize::try_from(number()?.max(1)).unwrap_or(1),
            "--reproduce" => asked.reproduce = Some(number()?),
            "--lines" => asked.lines = usize::try_from(number()?).unwrap_or(usize::MAX),
            "--twice" => asked.twice = true,
            "--history" => asked.history = Some(words.next().ok_or("--history needs a file")?.into()),
            _ => return Err(format!("unknown argument {word:?}")),
        }
    }
    Ok(asked)
}

fn reproduce(seed: u64, lines: usize, history: Option<&Path>) -> ExitCode {
    let run = match sim::run(seed, lines) {
        Ok(run) => run,
        Err(error) => return failed(&error),
    };
    if let Some(file) = history
        && let Err(error) = write_history(file, &run)
    {
        eprintln!("{} can't be written: {error}", file.display());
        return ExitCode::from(74);
    }
    run.lines.iter().for_each(|line| println!("{line}"));
    println!("\n{}\n", sim::LEGEND);
    println!("seed {seed}: hash {:016x}, {:.1} s simulated", run.hash, run.simulated.as_secs_f64());
    if !sim::REPLAYS {
        println!("this build can't replay: it has no --cfg tokio_unstable (RUSTFLAGS is set?)");
    }
    run.violations.iter().for_each(|violation| println!("VIOLATION: {violation}"));
    if run.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_history(file: &Path, run: &Run) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    for record in &run.history {
        serde_json::to_writer(&mut out, record)?;
        writeln!(out)?;
    }
    out.flush()
}

fn failed(error: &std::io::Error) -> ExitCode {
    eprintln!("the simulator could not run: {error}");
    ExitCode::from(74)
}

fn many(asked: &Asked) -> ExitCode {
    let (began, next) = (Instant::now(), AtomicU64::new(asked.from));
    let runs: Mutex<BTreeMap<u64, Run>> = Mutex::default();
    let errors: Mutex<Vec<std::io::Error>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..asked.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= asked.from.saturating_add(asked.seeds) {
                        return;
                    }
                    match one(seed, asked.twice) {
                        Ok(run) => drop(lock(&runs).insert(seed, run)),
                        Err(error) => return lock(&errors).push(error),
                    }
                }
            });
        }
    });
    if let Some(error) = lock(&errors).first() {
        return failed(error);
    }
    summary(&lock(&runs).values().collect::<Vec<_>>(), asked, began.elapsed())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One seed; a second run of it must be alike.
fn one(seed: u64, twice: bool) -> std::io::Result<Run> {
    let mut run = sim::run(seed, 0)?;
    // It has been judged; a thousand of them would fill the memory.
    run.history = Vec::new();
    if twice && sim::REPLAYS {
        let again = sim::run(seed, 0)?;
        if again.hash != run.hash {
            run.violations.push(format!("two runs differ: {:016x} and {:016x}", run.hash, again.hash));
        }
    }
    for violation in &run.violations {
        println!("seed {seed}: {violation}\n  reproduce with: scripts/sim node --reproduce {seed}");
    }
    Ok(run)
}

fn summary(runs: &[&Run], asked: &Asked, took: Duration) -> ExitCode {
    let sum = |of: &dyn Fn(&Run) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
    let simulated: Duration = runs.iter().map(|run| run.simulated).sum();
    let broken = runs.iter().filter(|run| !run.violations.is_empty()).count();
    println!(
        "{} seeds from {}, {broken} of them broken; {:.0} s simulated in {:.0} s",
        runs.len(),
        asked.from,
        simulated.as_secs_f64(),
        took.as_secs_f64()
    );
    println!(
        "leaderships {}, entries {}, acknowledged tasks {}, attempts {}, refused reports and facts {}",
        sum(&|run| run.tally.leaderships),
        sum(&|run| run.tally.entries),
        sum(&|run| run.tally.acknowledged),
        sum(&|run| run.attempts),
        sum(&|run| run.tally.refused)
    );
    println!(
        "tasks that needed something of their node {}, of which nobody could run {} before one came who held enough",
        sum(&|run| run.tally.needing),
        sum(&|run| run.tally.unmet)
    );
    let mut to_leader: Vec<Duration> = runs.iter().filter_map(|run| run.to_leader).collect();
    let mut gaps: Vec<Duration> = runs.iter().flat_map(|run| run.tally.gaps.clone()).collect();
    println!("time to a leader after healing: {}", quantiles(&mut to_leader));
    println!("time without a leader, under faults: {}", quantiles(&mut gaps));
    let frames: Vec<u64> = (0..4).map(|place| sum(&|run| run.frames[place])).collect();
    println!("frames {}, lost {}, doubled {}, late {}", frames[0], frames[1], frames[2], frames[3]);
    let disk: Vec<u64> = (0..4).map(|place| sum(&|run| run.disk[place])).collect();
    println!("disk writes dropped {}, torn {}; bits flipped {}; operations refused {}", disk[0], disk[1], disk[2], disk[3]);
    faults(runs);
    match (asked.twice, sim::REPLAYS) {
        (true, true) => println!("each seed ran twice: the traces must be alike"),
        (true, false) => println!("skipped: running twice; this build has no --cfg tokio_unstable (RUSTFLAGS is set?)"),
        (false, _) => {}
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn faults(runs: &[&Run]) {
    let sum = |of: &dyn Fn(&Run) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
    println!(
        "faults: kills {}, power cuts {}, blackouts {}, power cuts inside a write {}, partitions {}, one-way cuts {}, resets {}, storms {}, full disks {}, failed syncs {}, slow disks {}, leaders behind their followers {}, stopped processes {}, clock jumps {}",
        sum(&|run| run.injected.kills),
        sum(&|run| run.injected.power_cuts),
        sum(&|run| run.injected.blackouts),
        sum(&|run| run.injected.torn_writes),
        sum(&|run| run.injected.partitions),
        sum(&|run| run.injected.one_way),
        sum(&|run| run.injected.resets),
        sum(&|run| run.injected.storms),
        sum(&|run| run.injected.full_disks),
        sum(&|run| run.injected.failed_syncs),
        sum(&|run| run.injected.slow_disks),
        sum(&|run| run.injected.outrun),
        sum(&|run| run.injected.stops),
        sum(&|run| run.injected.clock_jumps),
    );
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at =
        |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default();
    format!(
        "p50 {:.2} s, p99 {:.2} s, max {:.2} s ({} times)",
        at(50).as_secs_f64(),
        at(99).as_secs_f64(),
        at(100).as_secs_f64(),
        times.len()
    )
}
