//! A test harness as small as can be: names, filters, one process for each case in each environment, one line a test.
//!
//! A case that can't run says why and counts as ignored; none passes in silence.

use std::collections::VecDeque;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dunlin_node::sandbox::Environment;

/// No case may take longer.
const CASE_LIMIT: Duration = Duration::from_secs(60);
/// Exit code of a case that can't run here; its last line says why.
const SKIPPED: i32 = 77;
/// Becomes an environment, then executes the rest of the command line.
const ENTER: &str = "--enter-environment";
/// Runs one case in this process.
const CASE: &str = "--run-case";
/// Tells a case where it runs.
const HERE: &str = "DUNLIN_TEST_ENVIRONMENT";

/// A test, which runs in every environment: its name and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
}

/// Where this case runs.
pub(crate) fn here() -> Environment {
    std::env::var(HERE).ok().and_then(|name| name.parse().ok()).unwrap_or(Environment::Root)
}

/// Why a case can't run here, on its way out of the case: its folders and processes are taken away as at any other end.
struct Skip(String);

/// Ends the case as one that can't run here.
pub(crate) fn skip(why: &str) -> ! {
    std::panic::resume_unwind(Box::new(Skip(why.to_owned())))
}

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

/// How a case ended.
enum End {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Runs the cases that the command line asks for and ends the process.
pub(crate) fn run(cases: &[Case]) -> ! {
    enter_or_run_case(cases);
    let asked = asked();
    let matches = |name: &str, filter: &String| if asked.exact { name == filter } else { name.contains(filter) };
    let wanted = |name: &str| {
        (asked.filters.is_empty() || asked.filters.iter().any(|filter| matches(name, filter)))
            && !asked.skip.iter().any(|filter| matches(name, filter))
            && !asked.ignored_only
    };
    let all = cases.len() * Environment::ALL.len();
    let chosen: VecDeque<(String, Environment, Case)> = cases
        .iter()
        .flat_map(|case| Environment::ALL.map(|place| (format!("{}/{}", place.as_str(), case.name), place, *case)))
        .filter(|(name, ..)| wanted(name))
        .collect();
    if asked.list {
        chosen.iter().for_each(|(name, ..)| println!("{name}: test"));
        std::process::exit(0);
    }
    println!("\nrunning {} tests", chosen.len());
    let started = Instant::now();
    let (number, filtered) = (chosen.len(), all - chosen.len());
    let (failed, skipped) = run_all(chosen);
    if !failed.is_empty() {
        println!("\nfailures:");
        failed.iter().for_each(|(name, why)| println!("\n---- {name} ----\n{why}"));
        println!("\nfailures:\n    {}", Vec::from_iter(failed.iter().map(|(name, _)| name.as_str())).join("\n    "));
    }
    let (word, passed) = (if failed.is_empty() { "ok" } else { "FAILED" }, number - failed.len() - skipped);
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {skipped} ignored; 0 measured; {filtered} filtered out; finished in {:.2}s\n",
        failed.len(),
        started.elapsed().as_secs_f64()
    );
    std::process::exit(if failed.is_empty() { 0 } else { 101 })
}

fn run_all(chosen: VecDeque<(String, Environment, Case)>) -> (Vec<(String, String)>, usize) {
    let (queue, failed, skipped) = (Mutex::new(chosen), Mutex::new(Vec::new()), Mutex::new(0));
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, place, case)) = { queue.lock().unwrap().pop_front() } {
                    match run_case(place, case) {
                        End::Passed => println!("test {name} ... ok"),
                        End::Skipped(why) => {
                            println!("test {name} ... ignored, {why}");
                            *skipped.lock().unwrap() += 1;
                        }
                        End::Failed(why) => {
                            println!("test {name} ... FAILED");
                            failed.lock().unwrap().push((name, why));
                        }
                    }
                }
            });
        }
    });
    (failed.into_inner().unwrap(), skipped.into_inner().unwrap())
}

fn run_case(place: Environment, case: Case) -> End {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([ENTER, place.as_str(), CASE, case.name])
        .env(HERE, place.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut outputs = [Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>, Box::new(child.stderr.take().unwrap())];
    let reading = std::thread::spawn(move || {
        let mut said = String::new();
        outputs.iter_mut().for_each(|output| drop(output.read_to_string(&mut said)));
        said
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if started.elapsed() > CASE_LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let said = reading.join().unwrap();
    match status.map(|status| status.code()) {
        Some(Some(0)) => End::Passed,
        Some(Some(SKIPPED)) => End::Skipped(said.trim().lines().last().unwrap_or("it does not say why").to_owned()),
        Some(code) => End::Failed(format!("{said}\n(exit code {code:?})")),
        None => End::Failed(format!("{said}\nit took longer than {CASE_LIMIT:?}")),
    }
}

fn enter_or_run_case(cases: &[Case]) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [ENTER, place, ref rest @ ..] => {
            if let Err(error) = place.parse::<Environment>().unwrap().enter() {
                eprintln!("the environment `{place}` can't be made here: {error}");
                std::process::exit(SKIPPED);
            }
            panic!("{}", Command::new("/proc/self/exe").args(rest).exec());
        }
        [CASE, name] => {
            let case = cases.iter().find(|case| case.name == name).unwrap();
            match std::panic::catch_unwind(case.run) {
                Ok(()) => std::process::exit(0),
                Err(end) => match end.downcast::<Skip>() {
                    Ok(why) => {
                        eprintln!("{}", why.0);
                        std::process::exit(SKIPPED)
                    }
                    Err(_) => std::process::exit(101), // The panic's words are on standard error already.
                },
            }
        }
        _ => {}
    }
}
