//! `cancel` and `retry`.

use clap::Args;

use super::context::{Context, print};
use super::select::selector;
use crate::exit::{Failure, code};

#[derive(Debug, Args)]
pub(super) struct WhichArgs {
    /// Ids (7, 1-5, 1,3), `last`, or `all`
    #[arg(required = true, value_name = "WHICH")]
    which: Vec<String>,
}

pub(super) async fn cancel(context: &Context, args: WhichArgs) -> Result<u8, Failure> {
    let which = selector(&args.which).map_err(Failure::usage)?;
    print(&context.render().applied("cancelled", &context.client.cancel(which).await?))?;
    Ok(code::OK)
}

pub(super) async fn retry(context: &Context, args: WhichArgs) -> Result<u8, Failure> {
    let which = selector(&args.which).map_err(Failure::usage)?;
    print(&context.render().applied("queued again", &context.client.retry(which).await?))?;
    Ok(code::OK)
}
