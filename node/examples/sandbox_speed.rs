//! Prints what it costs to start a process and wait for it: through the sandbox at each level and, in turn with it, without.
//!
//! `scripts/bench sandbox`, or `cargo run --release -p dunlin-node --example sandbox_speed [RUNS [MEGABYTES [SYSTEM]]]`; the megabytes
//! stand for a loaded node's memory; a system named (`full`) is measured alone. A line is `workload<TAB>system<TAB>n<TAB>value<TAB>unit`. `SANDBOX_FOLDER` says where
//! the scratch folders are (not in /tmp, where a task has none of its own).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dunlin_node::sandbox::{Handlers, Isolation, Launch, ResolvedLimits, Sandbox, SandboxConfig, enter_if_child};
use dunlin_node::task::{Level, Outcome};
use tokio::sync::watch;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What a task writes while the node's memory is watched.
const FLOOD: u64 = 1_000_000_000;

fn main() -> ExitCode {
    enter_if_child(&Handlers::new());
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn argument(place: usize, default: usize) -> usize {
    std::env::args().nth(place).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One way to run `/bin/true`.
struct System {
    name: String,
    /// `None` is a plain process.
    sandbox: Option<Sandbox>,
    folder: PathBuf,
}

impl System {
    async fn run(&self, name: usize, argv: &[&str]) -> Result<(), Fault> {
        let Some(sandbox) = &self.sandbox else {
            // The standard library's is a posix_spawn as long as nothing is asked for that this can't do.
            let (program, arguments) = argv.split_first().ok_or("no program")?;
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            let mut command = Command::new(program);
            command.args(arguments).env_clear();
            tokio::task::block_in_place(|| command.status())?;
            return Ok(());
        };
        let name = format!("{name}-1");
        let launch = Launch {
            scratch: self.folder.join(&name),
            name,
            argv: argv.iter().map(ToString::to_string).collect(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            limits: ResolvedLimits { stdout: 1 << 20, ..ResolvedLimits::default() },
            isolation: Isolation::default(),
        };
        let (_cancel, never) = watch::channel(false);
        let report = sandbox.run(launch, Bytes::new(), never, None).await;
        if report.outcome == Outcome::Exited(0) { Ok(()) } else { Err(report.outcome.to_string().into()) }
    }

    /// How many of them a second, so many at once.
    async fn rate(self: &std::sync::Arc<Self>, first: usize, runs: usize, width: usize) -> Result<f64, Fault> {
        let started = Instant::now();
        let lanes: Vec<_> = (0..width)
            .map(|lane| {
                let system = std::sync::Arc::clone(self);
                tokio::spawn(async move {
                    for n in (lane..runs).step_by(width) {
                        system.run(first + n, &["/bin/true"]).await?;
                    }
                    Ok::<(), Fault>(())
                })
            })
            .collect();
        for lane in lanes {
            lane.await??;
        }
        Ok(runs as f64 / started.elapsed().as_secs_f64())
    }
}

fn systems(root: &Path) -> Result<Vec<std::sync::Arc<System>>, Fault> {
    let mut systems = vec![System { name: "posix_spawn".to_owned(), sandbox: None, folder: root.to_owned() }];
    for at_most in Level::ALL {
        let folder = root.join(at_most.to_string());
        let hidden = vec![root.to_owned()];
        // An ordinary user's process that is closed to others could not reset its own high-water mark of memory.
        let config = SandboxConfig { at_most, hidden, protect_node: false, ..SandboxConfig::new(&folder) };
        let sandbox = Sandbox::start(config)?;
        if sandbox.level() == at_most {
            systems.push(System { name: at_most.to_string(), sandbox: Some(sandbox), folder });
        } else {
            eprintln!("this machine holds {} and not {at_most}", sandbox.level());
        }
    }
    Ok(systems.into_iter().map(std::sync::Arc::new).collect())
}

/// As in a node, tasks are launched by the runtime's workers and not by a thread beside them.
#[tokio::main]
async fn run() -> Result<(), Fault> {
    tokio::spawn(measure()).await?
}

async fn measure() -> Result<(), Fault> {
    let folder = std::env::var_os("SANDBOX_FOLDER").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let root = folder.join(format!("dunlin-sandbox-speed-{}", std::process::id()));
    std::fs::create_dir_all(&root)?;
    // Other users must be able to pass to the scratch folders.
    std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    let (runs, megabytes) = (argument(1, 400), argument(2, 200));
    let ballast = vec![1_u8; megabytes << 20];
    let mut systems = systems(&root)?;
    if let Some(only) = std::env::args().nth(3) {
        systems.retain(|system| system.name == only);
    }
    latencies(&systems, runs).await?;
    rates(&systems, runs).await?;
    drop(ballast);
    memory(&systems).await?;
    drop(systems);
    Ok(std::fs::remove_dir_all(root)?)
}

/// In turns, so that what else the machine does meets all of them alike.
async fn latencies(systems: &[std::sync::Arc<System>], runs: usize) -> Result<(), Fault> {
    let mut times = vec![Vec::with_capacity(runs); systems.len()];
    for n in 0..runs {
        for (system, times) in systems.iter().zip(&mut times) {
            let started = Instant::now();
            system.run(n, &["/bin/true"]).await?;
            times.push(started.elapsed());
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let at = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    for (system, times) in systems.iter().zip(&times) {
        for percent in [10, 50, 99] {
            println!("sandbox-start-p{percent}\t{}\t{runs}\t{:.3}\tms", system.name, at(times, percent));
        }
    }
    for (system, own) in systems.iter().zip(&times).filter(|_| systems[0].sandbox.is_none()).skip(1) {
        println!("sandbox-start-ratio\t{}/posix_spawn\t{runs}\t{:.2}\tratio", system.name, at(own, 50) / at(&times[0], 50));
    }
    Ok(())
}

async fn rates(systems: &[std::sync::Arc<System>], runs: usize) -> Result<(), Fault> {
    const ROUNDS: usize = 3;
    for width in [2, 16] {
        let mut rates = vec![Vec::new(); systems.len()];
        for round in 0..ROUNDS {
            for (system, rates) in systems.iter().zip(&mut rates) {
                rates.push(system.rate((width * ROUNDS + round) * runs, runs, width).await?);
            }
        }
        for (system, rates) in systems.iter().zip(&mut rates) {
            rates.sort_by(f64::total_cmp);
            println!("sandbox-rate\t{}-{width}-at-once\t{}\t{:.0}\tprocesses/s", system.name, ROUNDS * runs, rates[ROUNDS / 2]);
        }
    }
    Ok(())
}

/// How much more memory this process takes while a task writes a gigabyte.
async fn memory(systems: &[std::sync::Arc<System>]) -> Result<(), Fault> {
    let flood = format!("head -c {FLOOD} /dev/zero");
    for system in systems.iter().filter(|system| system.sandbox.is_some()) {
        system.run(usize::MAX, &["/bin/true"]).await?;
        std::fs::write("/proc/self/clear_refs", "5")?; // The high-water mark begins anew.
        let before = status("VmRSS:")?;
        system.run(usize::MAX, &["/bin/sh", "-c", &flood]).await?;
        let grown = status("VmHWM:")?.saturating_sub(before) as f64 / 1024.0;
        println!("sandbox-memory\t{}-writes-1GB\t1\t{grown:.2}\tMiB", system.name);
    }
    Ok(())
}

/// A number of /proc/self/status, in KiB.
fn status(field: &str) -> Result<u64, Fault> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}
