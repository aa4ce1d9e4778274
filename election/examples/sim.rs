//! `scripts/sim election`: the election under random faults, or searched exhaustively, from the command line.
//!
//! Enters: the arguments listed by `--help`. Leaves: a report on stdout; the exit code is 1 if a promise was broken.

use std::process::ExitCode;
use std::thread;

use dunlin_election::sim::explore::explore;
use dunlin_election::sim::report::Report;
use dunlin_election::sim::scenarios::wide;
use dunlin_election::sim::schedule::Schedule;
use dunlin_election::sim::script::without;

/// How many lines `--reproduce` shows of the end of a run.
const LAST: usize = 200;

const HELP: &str = "\
scripts/sim election [--schedules N] [--from SEED]   random schedules, one a seed (default: 20000, from 0)
scripts/sim election --reproduce SEED                the same schedule again, twice: its last lines and its trace hash
scripts/sim election --minimise SEED                 the shortest schedule found that goes wrong the same way, as a script
scripts/sim election --explore [--departures N] [--depth N]   every run of small swarms that departs from the plain one so often
    --without RULE,RULE                              any of these with rules switched off (names: src/rules.rs, sim/raft.rs)";

const LEGEND: &str = "\
legend: the world's time, who, what. -- is done to the swarm, !! is a broken promise. Beats and acknowledgements are left out.";

#[derive(Default)]
struct Arguments {
    schedules: Option<u64>,
    from: u64,
    reproduce: Option<u64>,
    minimise: Option<u64>,
    explore: bool,
    departures: Option<u8>,
    depth: Option<u32>,
    without: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("sim: {why}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let fine = match (arguments.reproduce, arguments.minimise) {
        _ if arguments.explore => search(&arguments),
        (Some(seed), _) => reproduce(seed, &arguments),
        (None, Some(seed)) => minimise(seed, &arguments),
        (None, None) => schedules(&arguments),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        if word == "--help" {
            return Ok(None);
        }
        if word == "--explore" {
            arguments.explore = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word} wants a value, or is unknown"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} wants a number, not {value}"));
        match word.as_str() {
            "--schedules" => arguments.schedules = Some(number()?),
            "--from" => arguments.from = number()?,
            "--reproduce" => arguments.reproduce = Some(number()?),
            "--minimise" => arguments.minimise = Some(number()?),
            "--departures" => arguments.departures = u8::try_from(number()?).ok(),
            "--depth" => arguments.depth = u32::try_from(number()?).ok(),
            "--without" => arguments.without = value.split(',').map(String::from).collect(),
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    schedule(0, &arguments)?;
    Ok(Some(arguments))
}

/// The schedule of a seed, with the rules that were asked for.
fn schedule(seed: u64, arguments: &Arguments) -> Result<Schedule, String> {
    let mut schedule = Schedule::of(seed);
    arguments.without.iter().try_for_each(|rule| without(&mut schedule.setup, rule))?;
    Ok(schedule)
}

fn schedules(arguments: &Arguments) -> bool {
    let count = arguments.schedules.unwrap_or(20_000);
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let how = match arguments.without.as_slice() {
        [] => String::new(),
        rules => format!(" --without {}", rules.join(",")),
    };
    let part = &|first: u64| {
        let mut report = Report::of(how.clone());
        for seed in (arguments.from..arguments.from + count).filter(|seed| seed % threads == first) {
            if let Ok(schedule) = schedule(seed, arguments) {
                report.add(seed, &schedule.play(false));
            }
        }
        report
    };
    let report = thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        parts.into_iter().filter_map(|part| part.join().ok()).reduce(Report::and).unwrap_or_default()
    });
    println!("{report}");
    report.wrong.is_empty() && report.schedules == count
}

fn search(arguments: &Arguments) -> bool {
    let mut fine = true;
    for (name, scenario, mut bounds) in wide() {
        bounds.departures = arguments.departures.unwrap_or(bounds.departures);
        bounds.depth = arguments.depth.unwrap_or(bounds.depth);
        let before = std::time::Instant::now();
        let report = explore(&scenario, bounds);
        let (seconds, departures) = (before.elapsed().as_secs_f32(), bounds.departures);
        println!("{name}, {departures} departures, {seconds:.1} s: {report}");
        fine &= report.broken.is_none() && report.complete;
    }
    fine
}

fn reproduce(seed: u64, arguments: &Arguments) -> bool {
    let Ok(schedule) = schedule(seed, arguments) else { return false };
    let (outcome, again) = (schedule.play(true), schedule.play(true));
    println!("{LEGEND}");
    let lines = &outcome.lines[outcome.lines.len().saturating_sub(LAST)..];
    lines.iter().for_each(|line| println!("{line}"));
    println!("seed {seed}: trace hash {:016x}, the second time {:016x}", outcome.hash, again.hash);
    println!("wrong: {:?}; healed to led: {:?}", outcome.wrongs(), outcome.healed_to_led);
    outcome.wrongs().is_empty() && outcome.hash == again.hash
}

fn minimise(seed: u64, arguments: &Arguments) -> bool {
    let Ok(schedule) = schedule(seed, arguments) else { return false };
    let wrongs = schedule.play(false).wrongs();
    let Some(wrong) = wrongs.first() else {
        println!("seed {seed} does not go wrong");
        return false;
    };
    let short = schedule.minimised(|schedule| schedule.play(false).wrongs().contains(wrong));
    println!("# {wrong}, of seed {seed}");
    short.script().iter().for_each(|line| println!("{line}"));
    true
}
