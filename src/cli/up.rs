//! `up`: its flags, and how what happens to the node is told.

use std::path::PathBuf;

use clap::Args;

use super::Global;
use crate::config::{Given, Value, checked_peer, checked_pod};
use crate::exit::Failure;
use crate::up::{self, Options};

const EXAMPLES: &str = "Examples:
  dunlin up                                    a swarm of one, which others can join
  dunlin up --peer pi1 --secret-file s.txt     join the swarm that pi1 belongs to
  dunlin up --expect 3 --peer pi1 --peer pi2 --secret-file s.txt
                                               found a swarm of three: the same on each
  dunlin up --pod gpu=1 --pod default=8        group gpu one at a time, default eight

The settings can also stand in dunlin.toml (`dunlin config init`) or in DUNLIN_* variables.
The secret is never a flag, because flags are visible to everybody on the machine.
SIGTERM or Ctrl-C: finish what runs, then leave; a second one stops at once.";

#[derive(Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UpArgs {
    /// What this node calls itself (default: the host's name)
    #[arg(long)]
    name: Option<String>,
    /// Where it listens for other nodes (default: 0.0.0.0:7440)
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// A node to try; may be repeated
    #[arg(long = "peer", value_name = "HOST[:PORT]", value_parser = checked_peer)]
    peers: Vec<String>,
    /// A file that holds the swarm's secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// How many nodes found the swarm together; 0 only joins one
    #[arg(long, value_name = "N")]
    expect: Option<i64>,
    /// Who leads: the highest rank first (default: 100)
    #[arg(long)]
    rank: Option<i64>,
    /// What it runs: groups and slots, as in gpu,default=2; may be repeated
    #[arg(long = "pod", value_name = "GROUPS=SLOTS", value_parser = checked_pod)]
    pods: Vec<String>,
    /// Do not look for nodes by multicast
    #[arg(long)]
    no_mdns: bool,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// Stop at once when standard input ends (for programs that start nodes, so that none outlives them)
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

impl UpArgs {
    fn settings(&self) -> Vec<(&'static str, Given)> {
        let mut flags = Vec::new();
        let mut text = |key, flag, value: Option<String>| {
            flags.extend(value.map(|value| (key, Given::flag(flag, Value::Text(value)))));
        };
        text("name", "--name", self.name.clone());
        text("listen", "--listen", self.listen.clone());
        text("secret_file", "--secret-file", self.secret_file.as_ref().map(|path| path.display().to_string()));
        text("log", "--log", self.log.clone());
        let mut other = |key, flag, value: Option<Value>| flags.extend(value.map(|value| (key, Given::flag(flag, value))));
        other("expect", "--expect", self.expect.map(Value::Number));
        other("rank", "--rank", self.rank.map(Value::Number));
        other("peers", "--peer", (!self.peers.is_empty()).then(|| Value::List(self.peers.clone())));
        other("pods", "--pod", (!self.pods.is_empty()).then(|| Value::List(self.pods.clone())));
        other("mdns", "--no-mdns", self.no_mdns.then_some(Value::Bool(false)));
        flags
    }
}

pub(super) async fn up(global: Global, args: UpArgs) -> Result<u8, Failure> {
    let config = global.load(args.settings())?.config;
    up::up(config, Options { format: global.format(), until_stdin_ends: args.until_stdin_ends }).await
}
