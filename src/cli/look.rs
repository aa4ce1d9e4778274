//! `status`, `nodes`, `tasks`, `task`: verbs that only look (and the noun-verb forms of those that act).

use clap::{Args, Subcommand};
use dunlin_node::api::{ApiError, TaskFilter, TaskView};
use dunlin_node::client::ClientError;
use dunlin_node::task::{GroupName, TaskId};

use super::act::{self, WhichArgs};
use super::context::{Context, print};
use crate::exit::{Failure, code};

const TASKS_EXAMPLES: &str = "Examples:
  dunlin tasks
  dunlin tasks --state dead --group gpu
  dunlin tasks --before 500 --limit 1000      the next page
  dunlin tasks -o quiet --state queued | wc -l";

/// The states a task is listed under.
const STATES: [&str; 6] = ["queued", "running", "delayed", "succeeded", "dead", "cancelled"];

#[derive(Debug, Args)]
#[command(after_help = TASKS_EXAMPLES)]
pub(super) struct TasksArgs {
    /// Only in this state
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// Only of this group
    #[arg(short, long)]
    group: Option<GroupName>,
    /// Only older than this task
    #[arg(long, value_name = "ID")]
    before: Option<u64>,
    /// How many at most
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct NodesArgs {
    #[command(subcommand)]
    verb: Option<NodeVerb>,
}

#[derive(Debug, Subcommand)]
enum NodeVerb {
    /// As `nodes`
    List,
}

const EXPLAIN_EXAMPLES: &str = "Examples:
  dunlin explain 12
  dunlin explain last
  dunlin explain 12 -o json | jq -r .waits.cause";

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub(super) struct ExplainArgs {
    /// Its id, or `last`
    id: String,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(super) struct TaskArgs {
    #[command(subcommand)]
    verb: Option<TaskVerb>,
    /// Its id, or `last`
    id: Option<String>,
}

#[derive(Debug, Subcommand)]
enum TaskVerb {
    /// As `tasks`
    List(TasksArgs),
    /// As `task ID`
    Show {
        /// Its id, or `last`
        id: String,
    },
    /// As `cancel`
    Cancel(WhichArgs),
    /// As `retry`
    Retry(WhichArgs),
}

pub(super) async fn status(context: &Context) -> Result<u8, Failure> {
    let view = context.client.status().await?;
    print(&context.render().status(&view))?;
    // Without a leader the swarm does nothing: scripts can tell by the code alone.
    Ok(if view.leader.is_some() { code::OK } else { code::UNAVAILABLE })
}

pub(super) async fn nodes(context: &Context, args: NodesArgs) -> Result<u8, Failure> {
    match args.verb {
        None | Some(NodeVerb::List) => print(&context.render().nodes(&context.client.nodes().await?))?,
    }
    Ok(code::OK)
}

pub(super) async fn tasks(context: &Context, args: TasksArgs) -> Result<u8, Failure> {
    let filter = TaskFilter { state: args.state, group: args.group, before: args.before.map(TaskId), limit: args.limit };
    print(&context.render().tasks(&context.client.tasks(filter).await?))?;
    Ok(code::OK)
}

pub(super) async fn task(context: &Context, args: TaskArgs) -> Result<u8, Failure> {
    match (args.verb, args.id) {
        (Some(TaskVerb::List(args)), _) => tasks(context, args).await,
        (Some(TaskVerb::Cancel(args)), _) => act::cancel(context, args).await,
        (Some(TaskVerb::Retry(args)), _) => act::retry(context, args).await,
        (Some(TaskVerb::Show { id }), _) | (None, Some(id)) => show(context, &id).await,
        (None, None) => Err(Failure::usage("no task is named").next("`dunlin task 7` or `dunlin task last`")),
    }
}

async fn show(context: &Context, id: &str) -> Result<u8, Failure> {
    let id = context.task_id(id).await?;
    print(&context.render().task(&asked(context, id).await?))?;
    Ok(code::OK)
}

pub(super) async fn explain(context: &Context, args: ExplainArgs) -> Result<u8, Failure> {
    let id = context.task_id(&args.id).await?;
    print(&context.render().waits(&asked(context, id).await?))?;
    Ok(code::OK)
}

/// A task; and if nobody leads, that this is also why it does not run.
async fn asked(context: &Context, id: TaskId) -> Result<TaskView, Failure> {
    context.client.task(id).await.map_err(|error| {
        let leaderless = matches!(error, ClientError::Api(ApiError::NoLeader { .. }));
        let failure = Failure::from(error);
        match failure.why.clone() {
            Some(why) if leaderless => {
                failure.why(format!("{why}; task {id} waits, if it has not ended: only a leader hands out"))
            }
            _ => failure,
        }
    })
}
