//! A test harness as small as can be: names, filters, one thread for each core, one line a test.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// No case may take longer; a longer one ends the whole run as failed.
const CASE_LIMIT: Duration = Duration::from_secs(60);

/// A test: its name and what it does.
pub(crate) type Case = (&'static str, fn());

struct Asked {
    list: bool,
    ignored_only: bool,
    exact: bool,
    filters: Vec<String>,
    skip: Vec<String>,
}

fn asked() -> Asked {
    let mut asked = Asked { list: false, ignored_only: false, exact: false, filters: Vec::new(), skip: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => asked.list = true,
            "--ignored" => asked.ignored_only = true,
            "--exact" => asked.exact = true,
            "--skip" => asked.skip.extend(arguments.next()),
            "--format" | "--test-threads" | "--color" | "-Z" | "--logfile" | "--report-time" => drop(arguments.next()),
            flag if flag.starts_with('-') => {}
            filter => asked.filters.push(filter.to_owned()),
        }
    }
    asked
}

/// Runs the cases that the command line asks for and ends the process.
pub(crate) fn run(cases: &[Case]) -> ! {
    let asked = asked();
    let matches = |name: &str, filter: &String| if asked.exact { name == filter } else { name.contains(filter) };
    let wanted = |name: &str| {
        (asked.filters.is_empty() || asked.filters.iter().any(|filter| matches(name, filter)))
            && !asked.skip.iter().any(|filter| matches(name, filter))
            && !asked.ignored_only
    };
    let chosen: VecDeque<Case> = cases.iter().copied().filter(|(name, _)| wanted(name)).collect();
    if asked.list {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        std::process::exit(0);
    }
    println!("\nrunning {} tests", chosen.len());
    let (started, all, filtered) = (Instant::now(), chosen.len(), cases.len() - chosen.len());
    let (queue, failed) = (Mutex::new(chosen), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, case)) = { queue.lock().unwrap().pop_front() } {
                    let passed = run_case(name, case);
                    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
                    if !passed {
                        failed.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    let (word, passed) = (if failed.is_empty() { "ok" } else { "FAILED" }, all - failed.len());
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; {filtered} filtered out; finished in {:.2}s\n",
        failed.len(),
        started.elapsed().as_secs_f64()
    );
    std::process::exit(if failed.is_empty() { 0 } else { 101 })
}

fn run_case(name: &'static str, case: fn()) -> bool {
    let (done, over) = std::sync::mpsc::sync_channel::<()>(1);
    let guard = std::thread::spawn(move || {
        if over.recv_timeout(CASE_LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            println!("test {name} ... FAILED (it took longer than {CASE_LIMIT:?})");
            std::process::exit(101);
        }
    });
    let passed = panic::catch_unwind(AssertUnwindSafe(case)).is_ok();
    drop(done);
    let _ = guard.join();
    passed
}
