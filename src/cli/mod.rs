//! The command line: verbs, flags, and how a command ends.
//!
//! Words enter; an exit code, standard output and standard error leave. One file a verb family; answers are printed by
//! [`crate::render`]. Deliberately not here: what requests mean (the node) and how they travel (`dunlin_node::client`).

mod act;
mod config;
mod context;
mod demo;
mod doctor;
mod events;
mod journal;
mod limits;
mod look;
mod output;
mod run;
mod select;
mod stdin;
mod submit;
#[cfg(test)]
mod tests;
mod token;
mod up;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use crate::exit::{Failure, code};
use crate::render::Format;
use context::Context;
pub(crate) use doctor::Diagnosis;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EVERYWHERE: &str = "Options of every verb";

const EXAMPLES: &str = "Examples:
  dunlin demo                       five nodes on this machine, real work, a killed leader
  dunlin up                         start this machine's node: a swarm of one, which others can join
  dunlin run -- uname -a            run a command somewhere in the swarm, like ssh
  echo hi | dunlin run -- sha256sum
  dunlin submit --array 1-100 -- sh -c 'echo $DUNLIN_ARRAY_INDEX'
  dunlin tasks                      what is queued, running and done

Exit codes: 0 ok, 1 error, 64 usage, 69 no node, leader or majority answers, 77 not permitted,
124 time limit, 130 interrupted; `run` and `submit --wait` return the task's own.";

/// Runs people's work on the machines they already have
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, styles = STYLES, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Flags that every verb takes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Global {
    /// How to print
    #[arg(short, long, value_enum, default_value_t, global = true, value_name = "FORMAT", help_heading = EVERYWHERE)]
    output: Format,
    /// The node's socket (default: dunlin.sock in its data folder; also DUNLIN_SOCKET)
    #[arg(long, global = true, value_name = "PATH", help_heading = EVERYWHERE)]
    socket: Option<PathBuf>,
    /// The node's data folder (also DUNLIN_DATA)
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    data: Option<PathBuf>,
    /// The configuration file (also DUNLIN_CONFIG)
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start this machine's node
    Up(up::UpArgs),
    /// Run a command in the swarm and stream what it writes, like ssh
    Run(run::RunArgs),
    /// Queue one command or many, and print the ids
    Submit(submit::SubmitArgs),
    /// Who leads and why, and how the swarm is
    Status,
    /// Every node: whether it is there, what it runs, what its sandbox holds; also `node list`
    #[command(alias = "node")]
    Nodes(look::NodesArgs),
    /// List tasks, newest first
    Tasks(look::TasksArgs),
    /// One task with its attempts; also `task list|show|cancel|retry`
    Task(look::TaskArgs),
    /// Why a task is not running: the cause, and what stands in each node's way
    Explain(look::ExplainArgs),
    /// What a task wrote and how it ended
    Result(output::ResultArgs),
    /// What a task writes, while it runs or after
    Logs(output::LogsArgs),
    /// Stop tasks
    Cancel(act::WhichArgs),
    /// Queue dead or cancelled tasks again
    Retry(act::WhichArgs),
    /// The whole history
    Events(events::EventsArgs),
    /// What a stopped node's journal holds
    Journal(journal::JournalArgs),
    /// How another machine joins this swarm
    Token(token::TokenArgs),
    /// The settings: write a file, show what is in force, check a file
    Config(config::ConfigArgs),
    /// What this machine holds against the tasks that it runs
    Doctor(doctor::DoctorArgs),
    /// Five real nodes on this machine, real work, a killed leader, and a checked result
    Demo(demo::DemoArgs),
}

/// Reads the command line, carries it out, and answers with the exit code.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let ended = carry_out(cli);
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.what.is_empty() {
                context::tell(&failure.to_string());
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Help and version are success; everything else that clap says is a usage error.
fn not_parsed(error: &clap::Error) -> ExitCode {
    // A reader that has gone (`dunlin --help | head`) is no fault of ours.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { code::USAGE } else { code::OK })
}

fn carry_out(cli: Cli) -> Result<u8, Failure> {
    let global = cli.global;
    match cli.verb {
        Verb::Up(args) => in_runtime(Workers::Node, up::up(global, args)),
        Verb::Demo(args) => in_runtime(Workers::Node, demo::demo(global, args)),
        Verb::Config(args) => config::config(&global, &args),
        Verb::Journal(args) => journal::journal(&global, &args),
        Verb::Doctor(args) => in_runtime(Workers::One, doctor::doctor(global, args)),
        Verb::Token(args) => in_runtime(Workers::One, token::token(global, args)),
        Verb::Run(args) => with_node(global, async |context| run::run(&context, args).await),
        Verb::Submit(args) => with_node(global, async |context| submit::submit(&context, args).await),
        Verb::Status => with_node(global, async |context| look::status(&context).await),
        Verb::Nodes(args) => with_node(global, async |context| look::nodes(&context, args).await),
        Verb::Tasks(args) => with_node(global, async |context| look::tasks(&context, args).await),
        Verb::Task(args) => with_node(global, async |context| look::task(&context, args).await),
        Verb::Explain(args) => with_node(global, async |context| look::explain(&context, args).await),
        Verb::Result(args) => with_node(global, async |context| output::result(&context, args).await),
        Verb::Logs(args) => with_node(global, async |context| output::logs(&context, args).await),
        Verb::Cancel(args) => with_node(global, async |context| act::cancel(&context, args).await),
        Verb::Retry(args) => with_node(global, async |context| act::retry(&context, args).await),
        Verb::Events(args) => with_node(global, async |context| events::events(&context, args).await),
    }
}

fn with_node<F: AsyncFnOnce(Context) -> Result<u8, Failure>>(global: Global, act: F) -> Result<u8, Failure> {
    in_runtime(Workers::One, async { act(Context::of(&global)?).await })
}

enum Workers {
    One,
    Node,
}

fn in_runtime(workers: Workers, act: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let mut builder = match workers {
        Workers::One => tokio::runtime::Builder::new_current_thread(),
        Workers::Node => tokio::runtime::Builder::new_multi_thread(),
    };
    if matches!(workers, Workers::Node) {
        builder.worker_threads(dunlin_node::node::worker_threads());
    }
    let runtime = builder.enable_all().build()?;
    let ended = runtime.block_on(act);
    // Not waited for: a thread that reads a terminal or writes into a full pipe would hold the exit up.
    runtime.shutdown_background();
    ended
}
