//! What may come in and what may not, refusal by refusal.

use std::collections::BTreeMap;

use super::*;
use crate::task::HandlerName;

fn refused(change: impl FnOnce(&mut TaskSpec)) -> String {
    let mut spec = TaskSpec::command(["echo", "hello"]);
    change(&mut spec);
    check(&spec, &Limits::default()).unwrap_err().to_string()
}

#[test]
fn everyday_tasks_come_in() {
    let mut spec = TaskSpec::command(["sh", "-c", "echo $X; cat"]);
    spec.env = BTreeMap::from([("X".into(), "a=b".into()), ("DUNLIN_ITEM".into(), String::new())]);
    spec.stdin = vec![0; 1 << 20].into();
    spec.limits.stdout = Some(0);
    spec.sandbox.read = vec!["/srv/data".into(); 16];
    assert_eq!(check(&spec, &Limits::default()), Ok(()));
    let handler = TaskSpec::handler("noop".parse::<HandlerName>().unwrap(), vec![]);
    assert_eq!(check(&handler, &Limits::default()), Ok(()));
}

#[test]
fn each_broken_rule_is_named_with_its_limit() {
    type Case = (fn(&mut TaskSpec), &'static str);
    let cases: [Case; 21] = [
        (|spec| spec.program = Program::Command(vec![]), "the command is empty"),
        (|spec| spec.program = Program::Command(vec![String::new()]), "the program's name is empty"),
        (|spec| spec.program = Program::Command(vec!["a\0b".into()]), "the program's name contains a NUL"),
        (|spec| spec.program = Program::Command(vec!["a".into(), "\0".into()]), "argument 1 contains a NUL"),
        (|spec| spec.program = Program::Command(vec!["a".into(); 5_000]), "5000 arguments; the limit is 4096"),
        (|spec| spec.program = Program::Command(vec!["a".repeat(140_000)]), "the limit is 131072"),
        (|spec| drop(spec.env.insert(String::new(), String::new())), "must not be empty"),
        (|spec| drop(spec.env.insert("A=B".into(), String::new())), "must not contain '='"),
        (|spec| drop(spec.env.insert("A".into(), "\0".into())), "the environment variable A contains a NUL"),
        (|spec| drop(spec.env.insert("A".into(), "x".repeat(200_000))), "the environment is 200003 bytes"),
        (|spec| spec.stdin = vec![0; (1 << 20) + 1].into(), "the standard input is 1048577 bytes; the limit is 1048576"),
        (|spec| spec.retry.attempts = 0, "the number of attempts is 0; it must be from 1 to 100"),
        (|spec| spec.retry.attempts = 101, "the number of attempts is 101"),
        (|spec| spec.limits.wall = Some(Duration::ZERO), "the time limit is 0ns"),
        (|spec| spec.limits.grace = Some(Duration::from_secs(601)), "must be from 0ns to 600s"),
        (|spec| spec.limits.stderr = Some(1 << 20), "must be from 0 to 524288"),
        (|spec| spec.sandbox.read = vec!["/a".into(); 17], "17 paths to read; the limit is 16"),
        (|spec| spec.sandbox.read = vec!["data".into()], "\"data\" can't be read by a task: it must be absolute"),
        (|spec| spec.sandbox.read = vec!["/a\0".into()], "it contains a NUL byte"),
        (|spec| spec.sandbox.read = vec!["/".repeat(4_097).into()], "a path to read is 4097 bytes; the limit is 4096"),
        (
            |spec| {
                spec.program = Program::Handler("noop".parse().unwrap());
                spec.sandbox.need.memory_enforced = true;
            },
            "only a command can ask for one",
        ),
    ];
    for (change, expected) in cases {
        let said = refused(change);
        assert!(said.contains(expected), "{said:?} does not contain {expected:?}");
    }
}

#[test]
fn submissions_are_bounded_as_a_whole() {
    let limits = Limits::default();
    let spec = TaskSpec::command(["true"]);
    let many = vec![spec.clone(); 1_001];
    let said = |tasks: &[TaskSpec], waiting| check_submission(tasks.iter(), waiting, &limits).unwrap_err();
    assert_eq!(said(&[], 0), AdmissionError::NoTask);
    assert!(matches!(said(&many, 0), AdmissionError::TooMany { count: 1_001, limit: 1_000, .. }));
    assert_eq!(check_submission(many[1..].iter(), 0, &limits), Ok(()));
    assert!(matches!(said(&many[..1], limits.queue), AdmissionError::QueueFull { .. }));
    let mut heavy = spec;
    heavy.stdin = vec![0; 1 << 20].into();
    assert!(matches!(said(&vec![heavy; 2], 0), AdmissionError::TooLarge { what: "the submission", .. }));
}

#[test]
fn refusals_keep_their_kind_for_the_caller() {
    use crate::api::ApiError;
    let full = ApiError::from(AdmissionError::QueueFull { waiting: 5, limit: 5 });
    assert!(matches!(full, ApiError::Overloaded(_)));
    assert!(matches!(ApiError::from(AdmissionError::EmptyCommand), ApiError::Invalid(_)));
}
