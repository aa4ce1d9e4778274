//! The stories: each script runs, does what it expects, and tells exactly what its golden transcript and its page say.
//!
//! `DUNLIN_BLESS=1` writes both anew.

use std::format;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use crate::sim::script::run;
use crate::sim::walkthrough::{files, pages};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

fn compare(file: &Path, content: &str, stale: &mut Vec<String>) {
    if std::env::var_os("DUNLIN_BLESS").is_some_and(|bless| bless == "1") {
        let folder = file.parent().expect("a file in a folder");
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(file, content)).expect("the golden file can be written");
    } else if std::fs::read_to_string(file).ok().as_deref() != Some(content) {
        stale.push(format!("{}", file.display()));
    }
}

#[test]
fn scripts_tell_what_their_transcripts_and_pages_say() {
    let pages = pages(&scripts()).unwrap_or_else(|error| panic!("{error}"));
    assert!(pages.len() >= 4, "the first four stories are there");
    let mut stale = Vec::new();
    for page in &pages {
        compare(&scripts().join(format!("{}.transcript", page.name)), &page.transcript, &mut stale);
    }
    let walkthrough = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/walkthrough");
    for (name, content) in files(&pages) {
        compare(&walkthrough.join(name), &content, &mut stale);
    }
    assert!(stale.is_empty(), "not what the scripts tell now; look at the difference, then DUNLIN_BLESS=1: {stale:#?}");
}

#[test]
fn a_script_with_a_fault_nobody_expects_fails() {
    let script = "scene x\nwithout majority refuse ratify opening quorum_lease withdraw_deaf\ncut n0 n2\nrun 1000ms";
    let error = run(script).expect_err("two leaders act");
    assert!(error.what.contains("unexpected fault"), "{error}");
}

#[test]
fn a_script_error_names_its_line() {
    for (script, line) in
        [("title x\nrun 5ms", 2), ("scene x\nrun soon", 2), ("scene x\n\nfly n0", 3), ("scene x\nwithout gravity", 2)]
    {
        assert_eq!(run(script).expect_err(script).line, line, "{script}");
    }
}
