//! Judges histories in files: `dunlin-history FILE...`, where `-` is the standard input.
//!
//! Several files are one history, told one after the other. The verdict goes to the standard output.
//! Ends with 0 if nothing is wrong, 1 if a rule was broken, 2 if the input can't be read.

use std::fs::File;
use std::io::{self, BufReader};
use std::process::ExitCode;

use dunlin_history::{Checker, Rule};

const VIOLATIONS: u8 = 1;
const UNREADABLE: u8 = 2;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() || files.iter().any(|file| file == "--help" || file == "-h") {
        print_help();
        return if files.is_empty() { ExitCode::from(UNREADABLE) } else { ExitCode::SUCCESS };
    }
    let mut checker = Checker::new();
    let several = files.len() > 1;
    for file in &files {
        let before = checker.taken();
        if let Err(why) = read(&mut checker, file) {
            eprintln!("{file}: {why}");
            return ExitCode::from(UNREADABLE);
        }
        if several {
            println!("{file}: records {} to {}", before + 1, checker.taken());
        }
    }
    let report = checker.finish();
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATIONS) }
}

fn read(checker: &mut Checker, file: &str) -> Result<(), String> {
    let read = if file == "-" {
        checker.read(io::stdin().lock())
    } else {
        let opened = File::open(file).map_err(|error| format!("it can't be opened: {error}"))?;
        checker.read(BufReader::new(opened))
    };
    read.map_err(|error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

fn print_help() {
    println!(
        "dunlin-history FILE...\n\nJudges what clients saw and what journals hold (JSON lines; `-` is the standard input):\n"
    );
    for rule in Rule::ALL {
        println!("  {rule}  {}", rule.sentence());
    }
    println!("\nEnds with 0 if nothing is wrong, 1 if a rule was broken, 2 if the input can't be read.");
}
