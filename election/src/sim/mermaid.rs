//! A trace as a Mermaid sequence diagram: the messages that tell the story, each once.
//!
//! A broadcast that repeats itself is drawn the first time only; what was lost on the way ends in a cross.

use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::raft::RaftMessage;
use super::text::label;
use super::trace::{Event, What};
use crate::{Message, NodeId, Note, Output};

/// The most lines of a diagram: a longer one is no help.
const MAX_LINES: usize = 60;

/// The diagram, without the fence around it.
#[must_use]
pub fn diagram(nodes: &[NodeId], trace: &[Event]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut drawn: BTreeSet<String> = BTreeSet::new();
    for event in trace {
        let Some(line) = draw(nodes, &event.what) else { continue };
        if lines.last() != Some(&line) && drawn.insert(line.clone()) {
            lines.push(line);
        }
    }
    let cut = lines.len() > MAX_LINES;
    lines.truncate(MAX_LINES);
    let mut text = String::from("sequenceDiagram\n");
    for node in nodes {
        text.push_str(&format!("    participant {}\n", label(*node)));
    }
    for line in lines {
        text.push_str(&format!("    {line}\n"));
    }
    if cut {
        text.push_str(&format!("    {} and so on\n", over_all(nodes)));
    }
    text
}

fn over_all(nodes: &[NodeId]) -> String {
    match nodes {
        [first, .., last] => format!("Note over {},{}:", label(*first), label(*last)),
        _ => format!("Note over {}:", nodes.first().map_or_else(String::new, |node| label(*node))),
    }
}

fn draw(nodes: &[NodeId], what: &What) -> Option<String> {
    match what {
        What::Done(text) => Some(format!("{} {text}", over_all(nodes))),
        What::Broken(fault) => Some(format!("{} BROKEN: {}", over_all(nodes), fault.name())),
        What::RaftLeads(node, term) => Some(format!("Note over {}: Raft's leader of term {}", label(*node), term.0)),
        What::Said(node, output) => said(output).map(|text| format!("Note over {}: {text}", label(*node))),
        What::Mail { from, to, message, arrived } => {
            let text = mail(message)?;
            let arrow = if *arrived { "->>" } else { "-x" };
            Some(format!("{}{arrow}{}: {text}", label(*from), label(*to)))
        }
        What::Raft { from, to, message } => {
            let text = match message {
                RaftMessage::RequestVote { term, .. } => format!("Raft: your vote for term {}?", term.0),
                RaftMessage::Grant { term } => format!("Raft: granted for term {}", term.0),
                RaftMessage::Reject { .. } => String::from("Raft: refused"),
                RaftMessage::Append { .. } | RaftMessage::Appended { .. } => return None,
            };
            Some(format!("{}-->>{}: {text}", label(*from), label(*to)))
        }
    }
}

fn said(output: &Output) -> Option<String> {
    Some(match output {
        Output::MayAct { term } => format!("acts in term {}", term.0),
        Output::SteppedDown { term, .. } => format!("steps down from term {}", term.0),
        Output::Note(Note::Stood { target_term, .. }) => format!("stands for term {}", target_term.0),
        Output::Note(Note::RatificationFailed) => String::from("not ratified"),
        Output::Note(Note::Tied { draw, .. }) => format!("draws {}", draw.points()),
        _ => return None,
    })
}

fn mail(message: &Message) -> Option<String> {
    Some(match message {
        Message::Beat { term, .. } => format!("beat of term {}", term.0),
        Message::Candidacy { count: Some(count), target_term, .. } => format!("{count} (for term {})", target_term.0),
        Message::Candidacy { count: None, target_term, .. } => format!("I stand for term {}", target_term.0),
        Message::Vote { to, target_term, .. } => format!("I am for {} (term {})", label(*to), target_term.0),
        Message::Refuse { leader, .. } => format!("no, I hear {}", label(*leader)),
        Message::Stale { term } => format!("we are in term {}", term.0),
        Message::Withdraw => String::from("I withdraw"),
        Message::Ack { .. } | Message::Hello(_) => return None,
    })
}
