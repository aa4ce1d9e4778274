//! Words in, verbs out; and verbs against a swarm in memory behind a real socket.

use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use dunlin_node::api::{ApiError, Request};
use dunlin_node::client::Client;
use dunlin_node::task::Program;

use super::context::Context;
use super::{Cli, Verb, act, look, output, run, submit};
use crate::exit::Failure;
use crate::fake::Fake;
use crate::http::Server;
use crate::render::Format;

fn parse(words: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("dunlin").chain(words.split_whitespace()))
}

struct Up {
    fake: Fake,
    context: Context,
    _server: Server,
    _folder: tempfile::TempDir,
}

fn up() -> Up {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dunlin.sock");
    let fake = Fake::default();
    let server = Server::bind(&path).unwrap().serve(Arc::new(fake.clone()));
    let client = Client::unix(path).with_patience(Duration::from_millis(100));
    Up { fake, context: Context { client, format: Format::Quiet }, _server: server, _folder: folder }
}

impl Up {
    async fn verb(&self, words: &str) -> Result<u8, Failure> {
        let context = &self.context;
        match parse(words).unwrap().verb {
            Verb::Run(args) => run::run(context, args).await,
            Verb::Submit(args) => submit::submit(context, args).await,
            Verb::Status => look::status(context).await,
            Verb::Nodes(args) => look::nodes(context, args).await,
            Verb::Tasks(args) => look::tasks(context, args).await,
            Verb::Task(args) => look::task(context, args).await,
            Verb::Explain(args) => look::explain(context, args).await,
            Verb::Result(args) => output::result(context, args).await,
            Verb::Logs(args) => output::logs(context, args).await,
            Verb::Cancel(args) => act::cancel(context, args).await,
            Verb::Retry(args) => act::retry(context, args).await,
            Verb::Events(args) => super::events::events(context, args).await,
            other => panic!("{other:?} does not speak to a node"),
        }
    }
}

#[test]
fn the_definition_of_the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn mistakes_are_usage_errors_with_suggestions() {
    let told = |words: &str| {
        let error = parse(words).unwrap_err();
        assert!(error.use_stderr(), "{words} is an error, not help");
        error.to_string()
    };
    assert!(told("stauts").contains("'status'"));
    assert!(told("run --timeuot 5 -- ls").contains("--timeout"));
    assert!(told("run").contains("COMMAND"));
    assert!(told("submit --priority 3 -- ls").contains("--priority"));
    assert!(told("run --timeout soon -- ls").contains("is not a duration"));
    assert!(told("run -e NAME -- ls").contains("NAME=VALUE"));
    assert!(told("run -g Big -- ls").contains("group name"));
    assert!(told("submit --array 5 -- ls").contains("1-100"));
    assert!(told("submit --array 1-5%2 -- ls").contains("not offered yet"));
    assert!(told("tasks --state odd").contains("succeeded"));
    assert!(told("tasks --limit 5000").contains("1..=1000"));
    assert!(told("status -o yaml").contains("json"));
    assert!(told("up --pod gpu=x").contains("number of slots"));
    assert!(told("up --peer a:b").contains("a host and a port"));
    assert!(told("up --secret x").contains("--secret-file"));
    assert!(told("cancel").contains("WHICH"));
}

#[test]
fn a_command_keeps_its_own_flags_with_and_without_dashes() {
    for words in ["run -g gpu -- ls -l --socket x", "run -g gpu ls -l --socket x"] {
        let cli = parse(words).unwrap();
        let Verb::Run(args) = cli.verb else { panic!("not run") };
        let shown = format!("{args:?}");
        assert!(shown.contains(r#"["ls", "-l", "--socket", "x"]"#), "{shown}");
        assert!(cli.global.socket.is_none());
    }
}

#[test]
fn nouns_and_verbs_say_the_same() {
    assert!(matches!(parse("node list").unwrap().verb, Verb::Nodes(_)));
    assert!(matches!(parse("task list --state dead").unwrap().verb, Verb::Task(_)));
    assert!(matches!(parse("task 7").unwrap().verb, Verb::Task(_)));
    assert!(matches!(parse("task cancel 1-5").unwrap().verb, Verb::Task(_)));
    assert!(parse("-o json task show last").unwrap().global.output == Format::Json);
    assert!(parse("task show last -o json").unwrap().global.output == Format::Json);
}

#[tokio::test]
async fn run_returns_the_tasks_own_code() {
    let up = up();
    assert_eq!(up.verb("run -n -- echo hi").await, Ok(0));
    assert_eq!(up.verb("run -n -- fail 3").await, Ok(3));
    assert_eq!(up.verb("run -n -- late").await, Ok(124));
    assert_eq!(up.verb("run -n -- missing").await, Ok(127));
    let Request::Submit { tasks } = &up.fake.seen()[0] else { panic!("not a submission") };
    assert!(!tasks[0].0.retry.on_failure, "what fails by itself is not repeated before the person's eyes");
    assert_eq!(tasks[0].0.retry.attempts, 3);
}

#[tokio::test]
async fn without_a_leader_the_code_is_69() {
    let up = up();
    let no_leader = ApiError::NoLeader { waited: Duration::from_secs(30), detail: "2 of 5 voters answer".into() };
    up.fake.refuse(vec![no_leader; 100]);
    let failure = up.verb("run -n -- echo hi").await.unwrap_err();
    assert_eq!(failure.code, 69);
    assert!(failure.to_string().contains("because: 2 of 5 voters answer"), "{failure}");
    up.fake.refuse(Vec::new());
    up.fake.lose_leader();
    assert_eq!(up.verb("status").await, Ok(69));
}

#[tokio::test]
async fn without_a_leader_a_task_that_is_asked_after_waits_for_that() {
    let up = up();
    up.verb("submit -- sleep").await.unwrap();
    assert_eq!(up.verb("explain last").await, Ok(0));
    let no_leader = ApiError::NoLeader { waited: Duration::from_secs(30), detail: "1 of 3 voters are in reach".into() };
    for words in ["explain 1", "task 1"] {
        up.fake.refuse(vec![no_leader.clone(); 100]);
        let failure = up.verb(words).await.unwrap_err();
        assert_eq!(failure.code, 69);
        let told = "because: 1 of 3 voters are in reach; task 1 waits, if it has not ended: only a leader hands out";
        assert!(failure.to_string().contains(told), "{failure}");
    }
}

#[tokio::test]
async fn submit_makes_one_task_for_each_number_or_line() {
    let up = up();
    assert_eq!(up.verb("submit --array 3-5 --retries 0 --idempotency-key k -- echo x").await, Ok(0));
    let Request::Submit { tasks } = &up.fake.seen()[0] else { panic!("not a submission") };
    let indexes: Vec<_> = tasks.iter().map(|(spec, _)| spec.env["DUNLIN_ARRAY_INDEX"].as_str()).collect();
    assert_eq!(indexes, ["3", "4", "5"]);
    assert_eq!(tasks[2].1.as_ref().unwrap().as_str(), "k/2");
    assert_eq!(tasks[0].0.retry.attempts, 1);
    assert_eq!(tasks[0].0.program, Program::Command(vec!["echo".into(), "x".into()]));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    std::fs::write(&file, "a b\n\nc\n").unwrap();
    assert_eq!(up.verb(&format!("submit --each-line {} -- echo", file.display())).await, Ok(0));
    let Request::Submit { tasks } = &up.fake.seen()[1] else { panic!("not a submission") };
    assert_eq!(tasks.iter().map(|(spec, _)| spec.env["DUNLIN_ITEM"].as_str()).collect::<Vec<_>>(), ["a b", "c"]);
}

#[tokio::test]
async fn large_submissions_travel_in_pieces() {
    let mut up = up();
    up.context.format = Format::Text;
    assert_eq!(up.verb("submit --array 1-2500 -- echo").await, Ok(0));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input");
    std::fs::write(&file, vec![b'x'; 700_000]).unwrap();
    assert_eq!(up.verb(&format!("submit --array 1-5 --stdin {} -- echo", file.display())).await, Ok(0));
    let sizes: Vec<usize> = up
        .fake
        .seen()
        .iter()
        .filter_map(|request| if let Request::Submit { tasks } = request { Some(tasks.len()) } else { None })
        .collect();
    assert_eq!(sizes, [1000, 1000, 500, 2, 2, 1]);
}

#[tokio::test]
async fn submit_and_wait_returns_the_first_failure() {
    let up = up();
    assert_eq!(up.verb("submit --wait -- echo").await, Ok(0));
    assert_eq!(up.verb("submit --wait -- fail 7").await, Ok(7));
}

#[tokio::test]
async fn tasks_are_named_by_number_or_as_the_last() {
    let up = up();
    assert_eq!(up.verb("task last").await.unwrap_err().to_string(), "dunlin: there is no task yet");
    up.verb("submit -- echo").await.unwrap();
    assert_eq!(up.verb("task last").await, Ok(0));
    assert_eq!(up.verb("result 1").await, Ok(0));
    assert_eq!(up.verb("logs last").await, Ok(0));
    assert_eq!(up.verb("task x").await.unwrap_err().code, 64);
    let missing = up.verb("result 9").await.unwrap_err();
    assert_eq!((missing.code, missing.what.as_str()), (1, "there is no task 9"));
    assert_eq!(up.verb("cancel 1-x").await.unwrap_err().code, 64);
    up.verb("submit -- sleep").await.unwrap();
    let running = up.verb("result last").await.unwrap_err();
    assert!(running.to_string().contains("dunlin logs -f 2"), "{running}");
    assert_eq!(up.verb("cancel last").await, Ok(0));
    assert_eq!(up.verb("run -n -- echo").await, Ok(0));
    assert_eq!(up.verb("events").await, Ok(0));
    assert_eq!(up.verb("task list").await, Ok(0));
    assert_eq!(up.verb("node list").await, Ok(0));
}
