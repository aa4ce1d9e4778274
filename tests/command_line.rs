//! Promise: the command line ends with the exit codes of the reference and says what happened, why, and what to do.
//!
//! The real binary in real processes; no node runs here.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn dunlin(home: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    alone(&mut command, home).args(words).stdin(Stdio::null());
    command.output().expect("the binary runs")
}

/// Nothing of this machine's own node or settings takes part, whoever runs the tests.
fn alone<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    let settings = home.join("empty.toml");
    std::fs::write(&settings, "").expect("the test's folder can be written");
    command.env_clear().env("HOME", home).env("DUNLIN_DATA", home.join("data")).env("DUNLIN_CONFIG", settings)
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_and_version_are_success_and_mistakes_are_usage_errors() {
    let home = tempfile::tempdir().unwrap();
    for words in [["--help"].as_slice(), &["--version"], &["run", "--help"], &["up", "--help"], &["task", "--help"]] {
        let output = dunlin(home.path(), words);
        assert_eq!((code(&output), err(&output).as_str()), (Some(0), ""), "{words:?}");
    }
    for words in [[].as_slice(), &["stauts"], &["run"], &["run", "--no-such-flag", "--", "ls"], &["demo", "--nodes", "9"]] {
        assert_eq!(code(&dunlin(home.path(), words)), Some(64), "{words:?}");
    }
}

#[test]
fn without_a_node_every_asking_verb_ends_with_69_and_says_how_to_start_one() {
    let home = tempfile::tempdir().unwrap();
    let asking = [
        ["status"].as_slice(),
        &["nodes"],
        &["tasks"],
        &["task", "1"],
        &["explain", "1"],
        &["result", "1"],
        &["cancel", "all"],
        &["run", "--", "ls"],
    ];
    for words in asking {
        let output = dunlin(home.path(), words);
        assert_eq!(code(&output), Some(69), "{words:?}: {}", err(&output));
        assert!(err(&output).contains("dunlin up"), "{}", err(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_line() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("my.toml");
    std::fs::write(&file, "rank = 5\nlisten_on = \"x\"\n").unwrap();
    let file = file.to_str().unwrap();
    for words in [["config", "validate", file].as_slice(), &["--config", file, "up"], &["--config", file, "config", "show"]] {
        let output = dunlin(home.path(), words);
        assert_eq!(code(&output), Some(64), "{words:?}");
        assert!(err(&output).contains("my.toml:2: there is no setting \"listen_on\""), "{}", err(&output));
    }
}

#[test]
fn config_init_writes_a_valid_file_once() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("etc/dunlin.toml");
    let path = file.to_str().unwrap();
    assert_eq!(code(&dunlin(home.path(), &["config", "init", path])), Some(0));
    assert_eq!(code(&dunlin(home.path(), &["config", "validate", path])), Some(0));
    let again = dunlin(home.path(), &["config", "init", path]);
    assert_eq!(code(&again), Some(1));
    assert!(err(&again).contains("--force"), "{}", err(&again));
    assert_eq!(code(&dunlin(home.path(), &["config", "init", "--force", path])), Some(0));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let mut child =
        alone(&mut command, home.path()).args(["config", "show"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!((child.wait().unwrap().code(), told.as_str()), (Some(0), ""));
}

#[test]
fn input_over_the_limit_and_odd_selectors_are_told_before_any_node_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let large = home.path().join("large");
    std::fs::write(&large, vec![0; (1 << 20) + 1]).unwrap();
    let output = dunlin(home.path(), &["run", "--stdin", large.to_str().unwrap(), "--", "cat"]);
    assert_eq!(code(&output), Some(64));
    assert!(err(&output).contains("the limit is 1 MiB"), "{}", err(&output));
    let output = dunlin(home.path(), &["cancel", "5-1"]);
    assert_eq!(code(&output), Some(64));
    assert!(err(&output).contains("write 1-5"), "{}", err(&output));
    let output = dunlin(home.path(), &["run", "-n", "--", ""]);
    assert_eq!(code(&output), Some(64));
    assert!(err(&output).contains("the command is empty"), "{}", err(&output));
    let output = dunlin(home.path(), &["demo", "--nodes", "2"]);
    assert_eq!(code(&output), Some(64));
    assert!(err(&output).contains("--no-kill"), "{}", err(&output));
}
