//! The library as a program uses it: the example runs three nodes with a local and a forked handler, and says what came back.

use std::path::PathBuf;
use std::process::Command;

/// Built by the same `cargo test` that runs this, beside its own folder.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its own path");
    let target = this.parent().and_then(|deps| deps.parent()).expect("tests are built in target/<profile>/deps");
    target.join("examples").join(name)
}

#[test]
fn three_embedded_nodes_run_local_handlers_forked_handlers_and_commands() {
    let program = example("embed");
    let run = Command::new("timeout").arg("60").arg(&program).output().expect("the example starts");
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {said}{complained}", program.display());
    for line in ["task 1: succeeded: HELLO", "task 2: succeeded: olleh", "task 3: succeeded: attempt 1 of task 3"] {
        assert!(said.contains(line), "no {line:?} in: {said}");
    }
    assert!(said.contains("task 4: not started: node n") && said.contains("has no handler unknown"), "{said}");
}
