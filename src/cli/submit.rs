//! `submit`: queue one command or many.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use dunlin_node::client::Submitted;
use dunlin_node::task::{GroupName, IdempotencyKey, TaskSpec};

use super::context::{Context, print};
use super::limits::LimitArgs;
use super::run::{ended, not_empty, variable};
use super::{select, stdin};
use crate::exit::{Failure, code};

/// Tasks in one request, and the bytes they may add up to: the swarm's own limits with room for what is around them.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 3 << 19;

/// The most tasks of one command.
const MAX_TASKS: u64 = 1_000_000;

const EXAMPLES: &str = "Examples:
  dunlin submit --stdin site.tar --memory 1GiB -- sh -c 'tar x && make'
  dunlin submit --array 1-1000 -- sh -c 'render --frame $DUNLIN_ARRAY_INDEX'
  dunlin submit --each-line urls.txt -- sh -c 'curl -fsS \"$DUNLIN_ITEM\" | wc -c'
  dunlin submit --idempotency-key nightly-2026-01-31 --wait -- backup.sh

A submission that is repeated under the same --idempotency-key never makes a second task.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SubmitArgs {
    /// The group of nodes that may run it
    #[arg(short, long, default_value = "default")]
    group: GroupName,
    /// An environment variable; nothing else is passed on
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// How often a failed attempt is repeated
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: u32,
    /// A file as standard input, - for ours
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// One task for each number; it is in DUNLIN_ARRAY_INDEX
    #[arg(long, value_name = "FROM-TO", value_parser = array, conflicts_with = "each_line")]
    array: Option<(u64, u64)>,
    /// One task for each line of a file (- for standard input); it is in DUNLIN_ITEM
    #[arg(long, value_name = "FILE")]
    each_line: Option<PathBuf>,
    /// Your own name for this submission, so that it can be repeated safely
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<IdempotencyKey>,
    /// A line for people
    #[arg(long)]
    label: Option<String>,
    /// Wait until all have ended and return the first failed one's exit code
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// `1-100`.
pub(super) fn array(text: &str) -> Result<(u64, u64), String> {
    if text.contains('%') {
        return Err("a limit on how many run at once (%N) is not offered yet; give a pod so many slots instead".to_owned());
    }
    let (first, last) = match text.split_once('-') {
        Some(_) => select::range(text).map_err(|_| format!("{text:?} is not a range such as 1-100"))?,
        None => return Err(format!("{text:?} is not a range such as 1-100")),
    };
    if last - first >= MAX_TASKS {
        return Err(format!("{text} is more than {MAX_TASKS} tasks"));
    }
    Ok((first, last))
}

pub(super) async fn submit(context: &Context, args: SubmitArgs) -> Result<u8, Failure> {
    not_empty(&args.command)?;
    let wait = args.wait;
    let tasks = tasks(args).await?;
    let mut submitted: Vec<Submitted> = Vec::with_capacity(tasks.len());
    let mut tasks = tasks.into_iter().peekable();
    while tasks.peek().is_some() {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((spec, key)) =
            tasks.next_if(|(spec, _)| batch.is_empty() || (batch.len() < BATCH && bytes + size(spec) <= BATCH_BYTES))
        {
            bytes += size(&spec);
            batch.push((spec, key));
        }
        match context.client.submit_all(batch).await {
            Ok(ids) => submitted.extend(ids),
            Err(error) if submitted.is_empty() => return Err(error.into()),
            Err(error) => {
                // What was taken is told, so that the rest can be submitted without doubling it.
                print(&context.render().submitted(&submitted))?;
                let failure = Failure::from(error);
                return Err(failure.next(format!("{} tasks were taken (above), the rest was not", submitted.len())));
            }
        }
    }
    print(&context.render().submitted(&submitted))?;
    if wait { all_ended(context, &submitted).await } else { Ok(code::OK) }
}

async fn all_ended(context: &Context, submitted: &[Submitted]) -> Result<u8, Failure> {
    let mut first_failed = code::OK;
    for task in submitted {
        let code = tokio::select! {
            view = context.client.wait(task.task) => ended(&view?),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                return Err(Failure::new(code::INTERRUPTED, "interrupted while waiting")
                    .why("the tasks go on without us")
                    .next("`dunlin tasks` shows them, `dunlin cancel` stops them"));
            }
        };
        if first_failed == code::OK {
            first_failed = code;
        }
    }
    Ok(first_failed)
}

/// About as many bytes as the task takes on its way.
fn size(spec: &TaskSpec) -> usize {
    let command = match &spec.program {
        dunlin_node::task::Program::Command(argv) => argv.iter().map(|word| word.len() + 3).sum(),
        dunlin_node::task::Program::Handler(name) => name.as_str().len(),
    };
    let env: usize = spec.env.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
    command + env + spec.stdin.len() + spec.label.as_ref().map_or(0, String::len) + 256
}

type Tasks = Vec<(TaskSpec, Option<IdempotencyKey>)>;

async fn tasks(args: SubmitArgs) -> Result<Tasks, Failure> {
    if args.stdin.as_deref() == Some(Path::new("-")) && args.each_line.as_deref() == Some(Path::new("-")) {
        return Err(Failure::usage("standard input can't be both the lines and the tasks' input"));
    }
    let mut spec = TaskSpec::command(args.command);
    spec.group = args.group;
    spec.env = args.env.into_iter().collect::<BTreeMap<_, _>>();
    spec.limits = args.limits.limits();
    spec.sandbox = args.limits.sandbox();
    spec.retry.attempts = args.retries.saturating_add(1);
    spec.label = args.label;
    if let Some(path) = &args.stdin {
        spec.stdin = stdin::named(path).await?;
    }
    let key = args.idempotency_key;
    match (args.array, args.each_line) {
        (Some((first, last)), _) => {
            varied(&spec, key.as_ref(), "DUNLIN_ARRAY_INDEX", (first..=last).map(|index| index.to_string()))
        }
        (None, Some(path)) => varied(&spec, key.as_ref(), "DUNLIN_ITEM", lines(&path).await?.into_iter()),
        (None, None) => Ok(vec![(spec, key)]),
    }
}

/// One task for each value of a variable; the key is given a number for each, counted from 0.
fn varied(
    spec: &TaskSpec,
    key: Option<&IdempotencyKey>,
    variable: &str,
    values: impl Iterator<Item = String>,
) -> Result<Tasks, Failure> {
    let one = |(index, value): (usize, String)| {
        let mut spec = spec.clone();
        spec.env.insert(variable.to_owned(), value);
        let key = key.map(|key| format!("{key}/{index}").parse()).transpose();
        key.map(|key| (spec, key)).map_err(|error: dunlin_node::task::InvalidName| Failure::usage(error.to_string()))
    };
    values.enumerate().map(one).collect()
}

async fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let bytes = stdin::lines_of(path).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        Failure::usage(format!("{} is not text", path.display())).why(format!("byte {} is not UTF-8", error.valid_up_to()))
    })?;
    let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(Failure::usage(format!("{} has no line with anything in it", path.display())));
    }
    Ok(lines)
}
