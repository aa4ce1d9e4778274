//! `journal export`: what the journal of a stopped node holds, for people and for checkers of histories.
//!
//! The records are those of the crate `dunlin-history` (which this program does not link: the tests hold the two together).

use std::io::{self, BufWriter, Write};

use clap::{Args, Subcommand};
use dunlin_node::journal::{ExportError, Exported, ExportedEntry, Fact, Reply};
use dunlin_node::node::{StoppedError, StoppedNode};
use dunlin_node::task::{NodeId, Outcome};
use serde_json::{Value, json};

use super::Global;
use crate::exit::{Failure, code};

#[derive(Debug, Args)]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    verb: JournalVerb,
}

#[derive(Debug, Subcommand)]
enum JournalVerb {
    /// Print every entry of a stopped node's journal and where its ledger has every task, one object of JSON a line
    #[command(after_help = "The node must not run: stop it, or copy its data folder. Nothing in the folder is changed.
Commands, results and other contents of tasks are not printed.

Examples:
  dunlin journal export --data /var/lib/dunlin | jq -c 'select(.kind == \"entry\")'
  for n in n1 n2 n3; do dunlin journal export --data $n; done | scripts/history -")]
    Export,
}

pub(super) fn journal(global: &Global, args: &JournalArgs) -> Result<u8, Failure> {
    match args.verb {
        JournalVerb::Export => export(global),
    }
}

fn export(global: &Global) -> Result<u8, Failure> {
    let config = global.load(Vec::new())?.config;
    let node = StoppedNode::open(&config.data)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let id = node.id();
    let told = node.journal(&mut |exported| writeln!(out, "{}", line(id, &exported)));
    told?;
    out.flush()?;
    Ok(code::OK)
}

/// One record of a history.
fn line(node: NodeId, exported: &Exported) -> Value {
    let node = node.to_string();
    match exported {
        Exported::Snapshot { index } => json!({ "kind": "snapshot", "node": node, "index": index }),
        Exported::Entry(entry) => entry_line(&node, entry),
        Exported::Task { task, state } => json!({ "kind": "final", "node": node, "task": task, "state": state.name() }),
    }
}

fn entry_line(node: &str, told: &ExportedEntry) -> Value {
    let mut line = json!({
        "kind": "entry",
        "node": node,
        "index": told.index,
        "term": told.term,
        "digest": format!("{:016x}", told.digest),
        "committed": told.committed,
    });
    if let Some(entry) = &told.entry {
        line["claims"] = json!(entry.term);
        let replies = told.replies.iter().map(Some).chain(std::iter::repeat(None));
        let facts = entry.facts.iter().zip(replies);
        line["facts"] = facts.filter_map(|(fact, reply)| fact_of(entry.term.0, fact, reply)).collect();
    }
    line
}

/// A fact that a history knows, with what the fold made of it.
fn fact_of(term: u64, fact: &Fact, reply: Option<&Reply>) -> Option<Value> {
    let accepted = matches!(reply, Some(Reply::Done));
    Some(match fact {
        Fact::Opened { leader } | Fact::Reclaimed { leader } => {
            json!({ "fact": "opened", "term": term, "leader": leader.to_string() })
        }
        Fact::Submitted { key, .. } => {
            let task = if let Some(Reply::Submitted { task, .. }) = reply { Some(task) } else { None };
            json!({ "fact": "submitted", "task": task, "key": key })
        }
        Fact::AttemptEnded(end) => {
            let after = if let Some(Reply::Ended { state }) = reply { Some(state.name()) } else { None };
            json!({
                "fact": "attempt_ended",
                "task": end.task,
                "attempt": end.attempt,
                "fence": end.fence,
                "node": end.node.to_string(),
                "outcome": outcome(&end.outcome),
                "after": after,
            })
        }
        Fact::Cancelled { task } => json!({ "fact": "cancelled", "task": task, "accepted": accepted }),
        Fact::Retried { task } => json!({ "fact": "retried", "task": task, "accepted": accepted }),
        Fact::ReportRefused { task, attempt, fence, node, .. } => {
            json!({ "fact": "refused", "task": task, "attempt": attempt, "fence": fence, "node": node.to_string() })
        }
        Fact::Founded { .. } | Fact::Joined(_) | Fact::Left { .. } | Fact::Challenged { .. } => return None,
    })
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        outcome if outcome.is_success() => "succeeded",
        Outcome::Cancelled => "cancelled",
        Outcome::Lost(_) => "lost",
        _ => "failed",
    }
}

impl From<StoppedError> for Failure {
    fn from(error: StoppedError) -> Self {
        // Whoever read our output has enough.
        if let StoppedError::Journal(ExportError::Told(error)) = error {
            return error.into();
        }
        let failure = Failure::error(error.to_string());
        let failure = match std::error::Error::source(&error) {
            Some(source) => failure.why(source.to_string()),
            None => failure,
        };
        match error {
            StoppedError::InUse(_) => failure.next("stop the node first, or copy its folder and name the copy with --data DIR"),
            StoppedError::NoNode(_) | StoppedError::Folder { .. } => failure.next("name the node's data folder with --data DIR"),
            StoppedError::Journal(ExportError::Missing(_)) => failure.next("this node has not been in a swarm yet"),
            StoppedError::Key(_) | StoppedError::Journal(_) => failure,
        }
    }
}
