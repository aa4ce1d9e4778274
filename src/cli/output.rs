//! `result` and `logs`: what a task wrote.

use std::io::Write;

use clap::{Args, ValueEnum};
use dunlin_node::api::TaskResult;
use dunlin_node::sandbox::OutputStream;
use dunlin_node::task::Captured;

use super::context::{Context, print, tell};
use super::run::forward;
use crate::exit::{Failure, code};
use crate::json;
use crate::render::Format;

#[derive(Debug, Args)]
#[command(after_help = "Standard output goes to standard output, standard error to standard error, byte for byte.
With -o json both are in one object; what is not UTF-8 is base64 there.")]
pub(super) struct ResultArgs {
    /// Its id, or `last`
    id: String,
    /// Wait for the task's end first
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Stdout,
    Stderr,
    Both,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Its id, or `last`
    id: String,
    /// Go on until the task has ended
    #[arg(short, long)]
    follow: bool,
    /// Which of its outputs
    #[arg(long, value_enum, default_value = "both")]
    stream: Which,
}

pub(super) async fn result(context: &Context, args: ResultArgs) -> Result<u8, Failure> {
    let id = context.task_id(&args.id).await?;
    if args.wait {
        context.client.wait(id).await?;
    }
    let result = context.client.result(id).await?;
    match context.format {
        Format::Json => print(&format!("{}\n", json::result(&result)))?,
        Format::Text => outputs(&result, true)?,
        Format::Quiet => outputs(&result, false)?,
    }
    Ok(code::OK)
}

fn outputs(result: &TaskResult, with_words: bool) -> Result<(), Failure> {
    std::io::stderr().lock().write_all(&result.stderr.tail)?;
    let mut out = std::io::stdout().lock();
    out.write_all(&result.stdout.tail)?;
    out.flush()?;
    if with_words {
        told_if_cut("standard output", &result.stdout);
        told_if_cut("standard error", &result.stderr);
        match &result.outcome {
            Some(outcome) if outcome.is_success() => {}
            Some(outcome) => tell(&format!("dunlin: task {} {outcome}", result.task)),
            None => tell(&format!("dunlin: task {} {} before any attempt", result.task, result.state.name())),
        }
    }
    Ok(())
}

fn told_if_cut(name: &str, captured: &Captured) {
    if captured.dropped() > 0 {
        tell(&format!("dunlin: the first {} of {} bytes of {name} were not kept", captured.dropped(), captured.total));
    }
}

pub(super) async fn logs(context: &Context, args: LogsArgs) -> Result<u8, Failure> {
    let id = context.task_id(&args.id).await?;
    let follow = |stream| {
        let follow = context.client.output(id, stream, 0);
        forward(if args.follow { follow } else { follow.until_now() }, stream)
    };
    match args.stream {
        Which::Stdout => follow(OutputStream::Stdout).await?,
        Which::Stderr => follow(OutputStream::Stderr).await?,
        Which::Both => {
            tokio::try_join!(follow(OutputStream::Stdout), follow(OutputStream::Stderr))?;
        }
    }
    Ok(code::OK)
}
