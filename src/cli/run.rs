//! `run`: a command somewhere in the swarm as if it ran here.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use dunlin_node::api::TaskView;
use dunlin_node::client::{OutputFollow, OutputPart};
use dunlin_node::sandbox::OutputStream;
use dunlin_node::task::{GroupName, Outcome, TaskId, TaskSpec, TaskState};

use super::context::{Context, tell};
use super::limits::LimitArgs;
use super::stdin;
use crate::exit::{Failure, code};

const EXAMPLES: &str = "Examples:
  dunlin run -- uname -a
  tar c src | dunlin run -g builders --timeout 10m -- sh -c 'tar x && make'
  dunlin run -e LANG=C --stdin words.txt -- sort -u

No shell is involved: for pipes and variables use sh -c '...'.
If the node that runs it dies, the command is started again elsewhere, at most twice; if it
fails by itself, it is not. Ctrl-C leaves it running and says how to get back to it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// The group of nodes that may run it
    #[arg(short, long, default_value = "default")]
    group: GroupName,
    /// An environment variable; nothing else is passed on
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// A file as its standard input, - for ours (which is also what is piped in)
    #[arg(long, value_name = "FILE", conflicts_with = "no_stdin")]
    stdin: Option<PathBuf>,
    /// Give it an empty standard input, even if something is piped in
    #[arg(short, long)]
    no_stdin: bool,
    /// A line for people
    #[arg(long)]
    label: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// `NAME=VALUE`.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// An empty program can't be meant: most often a shell's variable was not set.
pub(super) fn not_empty(command: &[String]) -> Result<(), Failure> {
    match command.first() {
        Some(program) if !program.is_empty() => Ok(()),
        _ => Err(Failure::usage("the command is empty").next("name a program after `--`, as in `dunlin run -- uname -a`")),
    }
}

pub(super) async fn run(context: &Context, args: RunArgs) -> Result<u8, Failure> {
    not_empty(&args.command)?;
    let input = match (&args.stdin, args.no_stdin) {
        (Some(path), _) => stdin::named(path).await?,
        (None, true) => bytes::Bytes::new(),
        (None, false) => stdin::piped().await?,
    };
    let mut spec = TaskSpec::command(args.command);
    spec.group = args.group;
    spec.env = args.env.into_iter().collect::<BTreeMap<_, _>>();
    spec.limits = args.limits.limits();
    spec.sandbox = args.limits.sandbox();
    spec.label = args.label;
    spec.stdin = input;
    // What fails by itself would fail again before the eyes of the person; what was lost with its node is another matter.
    spec.retry.on_failure = false;
    let task = tokio::select! {
        submitted = context.client.submit(spec, None) => submitted?.task,
        () = interrupted() => {
            return Err(Failure::new(code::INTERRUPTED, "interrupted while submitting")
                .why("the swarm had not answered yet; it may have taken the command")
                .next("`dunlin tasks` shows whether it did"));
        }
    };
    tokio::select! {
        code = to_its_end(context, task) => code,
        () = interrupted() => {
            tell(&format!(
                "\ndunlin: left task {task} running\n  watch it again: dunlin logs -f {task}\n  stop it: dunlin cancel {task}"
            ));
            Ok(code::INTERRUPTED)
        }
    }
}

/// Ctrl-C. If it can't be watched for, it keeps its usual effect and this never returns.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn to_its_end(context: &Context, task: TaskId) -> Result<u8, Failure> {
    let out = forward(context.client.output(task, OutputStream::Stdout, 0), OutputStream::Stdout);
    let err = forward(context.client.output(task, OutputStream::Stderr, 0), OutputStream::Stderr);
    let streamed = tokio::try_join!(out, err);
    if let Err(failure) = streamed {
        return Err(if failure.code == code::UNAVAILABLE { still_there(failure, task) } else { failure });
    }
    let view = context.client.wait(task).await.map_err(|error| still_there(error.into(), task))?;
    Ok(ended(&view))
}

fn still_there(failure: Failure, task: TaskId) -> Failure {
    failure
        .next(format!("task {task} is in the journal and goes on without us: `dunlin logs -f {task}` when a node answers again"))
}

/// The exit code for a task that has ended; anything but an exit of its own is told on standard error.
pub(super) fn ended(view: &TaskView) -> u8 {
    let last = view.attempts.iter().rev().find_map(|attempt| attempt.outcome.as_ref());
    let told = match (last, &view.state) {
        (_, TaskState::Succeeded) => None,
        (_, TaskState::Cancelled) => Some(Outcome::Cancelled.to_string()),
        (Some(Outcome::Exited(_)), _) => None,
        (Some(outcome), _) => Some(outcome.to_string()),
        (None, state) => Some(state.name().to_owned()),
    };
    if let Some(told) = told {
        tell(&format!("dunlin: task {} {told}", view.task));
    }
    let code = match (&view.state, last) {
        (TaskState::Succeeded, _) => 0,
        (TaskState::Cancelled, _) => Outcome::Cancelled.exit_code(),
        (_, Some(outcome)) => outcome.exit_code(),
        (_, None) => 1,
    };
    u8::try_from(code).unwrap_or(code::ERROR)
}

/// Writes what comes to our own output of the same name, as it comes.
pub(super) async fn forward(mut follow: OutputFollow, stream: OutputStream) -> Result<(), Failure> {
    while let Some(part) = follow.next().await? {
        match part {
            OutputPart::Bytes(bytes) => {
                // On a thread of its own: a reader that has paused must not keep Ctrl-C from being heard.
                let written = tokio::task::spawn_blocking(move || write(stream, &bytes)).await;
                written.map_err(|error| Failure::error("writing failed").why(error.to_string()))??;
            }
            OutputPart::Missing(bytes) => tell(&format!("dunlin: {bytes} bytes of output were not kept")),
            OutputPart::Restarted(attempt) => {
                tell(&format!("dunlin: attempt {attempt} was started elsewhere; the output begins again"));
            }
        }
    }
    Ok(())
}

fn write(stream: OutputStream, bytes: &[u8]) -> std::io::Result<()> {
    match stream {
        OutputStream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        OutputStream::Stderr => std::io::stderr().lock().write_all(bytes),
    }
}
