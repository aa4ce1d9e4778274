//! Writes the pages of the walkthrough from the scripts: `walkthrough [--check] FOLDER`.
//!
//! With `--check` nothing is written, and a page that is not what its script tells now makes it fail.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dunlin_election::sim::walkthrough::{files, pages};

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("walkthrough: {why}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), String> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = arguments.first().is_some_and(|first| first == "--check");
    if check {
        arguments.remove(0);
    }
    let [folder] = arguments.as_slice() else { return Err(String::from("usage: walkthrough [--check] FOLDER")) };
    let folder = PathBuf::from(folder);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    for (name, content) in files(&pages(&scripts)?) {
        let file = folder.join(name);
        if !check {
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            std::fs::write(&file, content).map_err(|error| format!("{}: {error}", file.display()))?;
        } else if std::fs::read_to_string(&file).ok().as_deref() != Some(content.as_str()) {
            return Err(format!("{} is stale: run scripts/bless", file.display()));
        }
    }
    Ok(())
}
