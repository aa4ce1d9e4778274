//! `demo`: its flags.

use std::path::PathBuf;

use clap::Args;

use super::Global;
use crate::demo::{self, Plan};
use crate::exit::Failure;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dunlin demo                                five nodes; the files below this folder are the work
  dunlin demo --input /usr/share/dict --input README.md
  dunlin demo --nodes 3 --no-kill --keep     three nodes, nobody is killed, the folder is kept")]
pub(super) struct DemoArgs {
    /// How many nodes
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=7))]
    nodes: u32,
    /// Files, or folders of files, that are the work; may be repeated (default: this folder)
    #[arg(long, value_name = "PATH")]
    input: Vec<PathBuf>,
    /// Do not kill the leader
    #[arg(long)]
    no_kill: bool,
    /// Keep the nodes' folders
    #[arg(long)]
    keep: bool,
}

pub(super) async fn demo(global: Global, args: DemoArgs) -> Result<u8, Failure> {
    let plan = Plan { nodes: args.nodes, input: args.input, kill: !args.no_kill, keep: args.keep, format: global.format() };
    demo::demo(plan).await
}
