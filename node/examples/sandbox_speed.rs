//! Prints what it costs to start a process and wait for it: through the sandbox and, in the same run, without it.
//!
//! `cargo run --release -p dunlin-node --example sandbox_speed [RUNS [MEGABYTES [LEVEL]]]`; the megabytes stand for a loaded
//! node's memory, the level is the most that is used of what the machine holds.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dunlin_node::sandbox::{Handlers, Isolation, Launch, ResolvedLimits, Sandbox, SandboxConfig, enter_if_child};
use dunlin_node::task::{Level, Outcome};
use tokio::sync::watch;

fn main() -> ExitCode {
    enter_if_child(&Handlers::new());
    match measure() {
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

#[tokio::main]
async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::temp_dir().join(format!("dunlin-sandbox-speed-{}", std::process::id()));
    let at_most = std::env::args().nth(3).map_or(Ok(Level::Full), |word| word.parse())?;
    let sandbox = Sandbox::start(SandboxConfig { at_most, ..SandboxConfig::new(root.join("scratch")) })?;
    println!("level {}", sandbox.level());
    let (runs, megabytes) = (argument(1, 1000), argument(2, 0));
    let ballast = vec![1_u8; megabytes << 20];

    // In turns, so that what else the machine does meets all of them alike.
    let (mut command, mut tokio_command, mut sandboxed) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..runs {
        let started = Instant::now();
        std::process::Command::new("/bin/true").env_clear().status()?;
        command.push(started.elapsed());

        let started = Instant::now();
        run(&sandbox, &root, n).await?;
        sandboxed.push(started.elapsed());

        let started = Instant::now();
        let process = std::process::Stdio::piped;
        let child = std::process::Command::new("/bin/true").env_clear().stdout(process()).stderr(process()).spawn()?;
        child.wait_with_output()?;
        tokio_command.push(started.elapsed());
    }
    print("std Command", &mut command);
    print("std Command, outputs read", &mut tokio_command);
    print("sandbox", &mut sandboxed);
    for width in [2, 4, 16] {
        throughput(&sandbox, &root, runs, width).await?;
    }
    drop(ballast);
    drop(sandbox);
    std::fs::remove_dir_all(root)?;
    Ok(())
}

async fn run(sandbox: &Sandbox, root: &std::path::Path, n: usize) -> Result<(), String> {
    let name = format!("{n}-1");
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let scratch = root.join("scratch").join(&name);
    let launch = Launch {
        name,
        argv: vec!["/bin/true".to_owned()],
        env,
        scratch,
        limits: ResolvedLimits::default(),
        isolation: Isolation::default(),
    };
    let (_cancel, never) = watch::channel(false);
    let report = sandbox.run(launch, Bytes::new(), never, None).await;
    if report.outcome == Outcome::Exited(0) { Ok(()) } else { Err(report.outcome.to_string()) }
}

async fn throughput(sandbox: &Sandbox, root: &std::path::Path, runs: usize, width: usize) -> Result<(), String> {
    let started = Instant::now();
    let lanes: Vec<_> = (0..width)
        .map(|lane| {
            let (sandbox, root) = (sandbox.clone(), root.to_owned());
            tokio::spawn(async move {
                for n in (lane..runs).step_by(width) {
                    run(&sandbox, &root, n).await?;
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    for lane in lanes {
        lane.await.map_err(|e| e.to_string())??;
    }
    let rate = runs as f64 / started.elapsed().as_secs_f64();
    println!("sandbox\t{width} at once\t{runs}\t{rate:.0}\tper second");
    Ok(())
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).map_or(0, Duration::as_micros);
    println!("{what}\tp10 / p50 / p99\t{}\t{} / {} / {}\tus", times.len(), at(10), at(50), at(99));
}
