//! `events`: the history, resumable.

use clap::Args;

use super::context::{Context, print};
use crate::exit::{Failure, code};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dunlin events                     everything so far
  dunlin events -f --from 1042      go on behind event 1041 and keep watching
  dunlin events -f -o json | jq -r .text")]
pub(super) struct EventsArgs {
    /// Keep watching
    #[arg(short, long)]
    follow: bool,
    /// The first event wanted; the numbers stand at the beginning of each line
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
}

pub(super) async fn events(context: &Context, args: EventsArgs) -> Result<u8, Failure> {
    let events = context.client.events(args.from);
    let mut events = if args.follow { events } else { events.until_now() };
    while let Some(event) = events.next().await? {
        print(&context.render().event(&event))?;
    }
    Ok(code::OK)
}
