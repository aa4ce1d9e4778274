//! The program itself: files enter, an exit code and words leave.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use dunlin_history::{Answer, Record, State};

use crate::story::{Story, submit};

/// A file of this test alone, which is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn with(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dunlin-history-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn judge(files: &[&Scratch]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin-history"));
    let Output { status, stdout, stderr } = command.args(files.iter().map(|file| &file.0)).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

fn good() -> Story {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).healed().finals(1, State::Succeeded);
    story
}

#[test]
fn a_good_history_ends_with_0_also_when_it_is_spread_over_files_and_has_empty_lines() {
    let text = good().lines();
    let (whole, gappy) = (Scratch::with("whole", &text), Scratch::with("gappy", &text.replace('\n', "\n\n")));
    assert_eq!(judge(&[&whole]).0, Some(0));
    assert_eq!(judge(&[&gappy]).0, Some(0));
    let middle = text.lines().count() / 2;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (first, second) = (Scratch::with("first", &lines[..middle].concat()), Scratch::with("second", &lines[middle..].concat()));
    let (code, said) = judge(&[&first, &second]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 tasks (1 acknowledged, 1 ended)") && said.ends_with("0 violations\n"), "{said}");
}

#[test]
fn a_broken_history_ends_with_1_and_names_the_line_the_task_and_the_rule() {
    let mut story = good();
    story.push(Record::Answered { request: submit(4), answer: Answer::Acknowledged(4) });
    let line = story.records.len();
    let (code, said) = judge(&[&Scratch::with("broken", &story.lines())]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("H3: record {line}: task 4: it was acknowledged")), "{said}");
    assert!(said.ends_with("1 violations\n"), "{said}");
}

#[test]
fn what_is_no_history_ends_with_2_and_names_the_line() {
    let good = good().lines();
    let lines = good.lines().count();
    for bad in [
        "{\"kind\":\"healed\"",
        "{\"kind\":\"unheard_of\"}",
        "{\"kind\":\"observed\",\"task\":1,\"state\":\"dead\",\"more\":1}",
        "{\"kind\":\"entry\",\"node\":\"1\",\"index\":9,\"term\":1,\"digest\":\"1\",\"more\":1}",
        "{\"kind\":\"final\",\"node\":\"+1\",\"task\":1,\"state\":\"dead\"}",
        "{\"kind\":\"final\",\"node\":\"00000000000000001\",\"task\":1,\"state\":\"dead\"}",
        "{\"kind\":\"observed\",\"task\":-1,\"state\":\"dead\"}",
        "[]",
        "\u{0}",
    ] {
        let (code, said) = judge(&[&Scratch::with("bad", &format!("{good}\n{bad}\n"))]);
        assert_eq!(code, Some(2), "{bad}: {said}");
        assert!(said.contains(&format!("line {} is not a record", lines + 2)), "{bad}: {said}");
    }
    let (code, said) = judge(&[&Scratch(PathBuf::from("/nonexistent/history"))]);
    assert_eq!((code, said.contains("can't be opened")), (Some(2), true), "{said}");
    assert_eq!(judge(&[]).0, Some(2));
}

#[test]
fn records_are_written_as_the_documentation_shows_them() {
    let mut story = Story::new();
    story.copies = vec![0xab];
    story.acknowledged(1).succeeds(1).healed();
    let lines = story.lines();
    let expected = [
        r#"{"kind":"invoked","request":{"submit":"key-1"}}"#,
        r#"{"kind":"answered","request":{"submit":"key-1"},"answer":{"acknowledged":1}}"#,
        r#"{"kind":"entry","node":"00000000000000ab","index":2,"term":1,"digest":"00000000000007d1","#,
        r#""facts":[{"fact":"submitted","task":1,"key":"key-1"}]}"#,
        r#"{"kind":"healed"}"#,
    ];
    expected.iter().for_each(|line| assert!(lines.contains(line), "no {line} in\n{lines}"));
}
