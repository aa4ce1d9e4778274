//! A trace as lines for people: what each machine did, and why it ignored what it ignored.
//!
//! Greetings, beats and acknowledgements are left out: they come by the hundred and change nothing that a later line does not tell.

use std::format;
use std::string::String;

use super::raft::RaftMessage;
use super::trace::{Event, What};
use super::watch::Fault;
use crate::{Bid, FoundingRefusal, Ignored, NodeId, Note, Output, StepDown, Withdrawal};

/// A node's name in transcripts.
#[must_use]
pub fn label(node: NodeId) -> String {
    format!("n{}", node.0)
}

/// An event as one line, or nothing if it is not worth one.
#[must_use]
pub fn line(event: &Event) -> Option<String> {
    let text = match &event.what {
        What::Done(text) => format!("--  {text}"),
        What::Said(node, output) => format!("{}  {}", label(*node), output_text(*node, output)?),
        What::Raft { from, message: RaftMessage::Grant { term }, to } => {
            format!("{}  Raft: {} grants its vote for term {}", label(*to), label(*from), term.0)
        }
        What::Raft { from, message: RaftMessage::Reject { term }, to } => {
            format!("{}  Raft: {} refuses its vote (it is in term {})", label(*to), label(*from), term.0)
        }
        What::RaftLeads(node, term) => format!("{}  Raft: leads term {}", label(*node), term.0),
        What::Broken(fault) => format!("!!  {}", fault_text(*fault)),
        What::Mail { .. } | What::Raft { .. } => return None,
    };
    Some(format!("{:>6} ms  {text}", event.at.as_nanos() / 1_000_000))
}

fn fault_text(fault: Fault) -> String {
    match fault {
        Fault::TwoActing(one, other) => format!("BROKEN: {} and {} act at the same time", label(one), label(other)),
        Fault::TwoLeaders(term, one, other) => {
            format!("BROKEN: {} and {} both lead term {}", label(one), label(other), term.0)
        }
        Fault::VoteRegressed(node, term) => format!("BROKEN: {} took back its vote in term {}", label(node), term.0),
        Fault::EntryLost(node, id) => {
            format!("BROKEN: {} commits without the acknowledged entry {id}", label(node))
        }
        Fault::StaleRead(node) => format!("BROKEN: {} answers without knowing what was acknowledged before it", label(node)),
        Fault::TwoSwarms(one, other) => format!("BROKEN: {} and {} are in different swarms", label(one), label(other)),
        Fault::Machine(violation) => format!("BROKEN: {violation}"),
    }
}

fn bid_text(bid: &Bid) -> String {
    let position = bid.position;
    let journal = if position.index == 0 {
        String::from("empty journal")
    } else {
        format!("journal up to entry {} of term {}", position.index, position.term.0)
    };
    format!("{journal}, rank {}", bid.rank.0)
}

fn output_text(me: NodeId, output: &Output) -> Option<String> {
    Some(match output {
        Output::MayAct { term } => format!("may act in term {}", term.0),
        Output::SteppedDown { term, why } => format!("steps down from term {}: {}", term.0, step_down_text(*why)),
        Output::Challenge { candidate, .. } => format!("is challenged by {}", label(*candidate)),
        Output::Following { leader, term } if *leader != me => format!("follows {} in term {}", label(*leader), term.0),
        Output::Leaderless { last, .. } if *last != me => format!("does not hear {} any more", label(*last)),
        Output::PersistPledge(pledge) => {
            let names: std::vec::Vec<_> = pledge.0.keys().map(|node| label(*node)).collect();
            format!("pledges to {}", names.join(" "))
        }
        Output::Found(_) => String::from("founds: all have pledged"),
        Output::Initialize(_) => String::from("creates the journal"),
        Output::JoinExisting { via, .. } => format!("joins the swarm of {}", label(*via)),
        Output::FoundingRefused(refusal) => refusal_text(refusal),
        Output::Ignored { from, why } => ignored_text(*from, *why)?,
        Output::Note(note) => note_text(note)?,
        _ => return None,
    })
}

fn step_down_text(why: StepDown) -> String {
    match why {
        StepDown::NoMajority => String::from("no majority answers its beats"),
        StepDown::NewerTerm(term) => format!("term {} exists", term.0),
        StepDown::RaftDeposed => String::from("Raft says it leads no more"),
        StepDown::NotAVoter => String::from("it is no voter any more"),
    }
}

fn refusal_text(refusal: &FoundingRefusal) -> String {
    match refusal {
        FoundingRefusal::TooMany { expect, nodes } => {
            let names: std::vec::Vec<_> = nodes.iter().map(|node| label(*node)).collect();
            format!("does not found: {} nodes expected, seen are {}", expect, names.join(" "))
        }
        FoundingRefusal::ExpectDiffers { node, theirs, ours } => {
            format!("does not count {}: it expects {theirs} nodes, not {ours}", label(*node))
        }
        FoundingRefusal::PledgeDiffers { node, .. } => format!("can't found: {} has pledged to others", label(*node)),
    }
}

fn ignored_text(from: Option<NodeId>, why: Ignored) -> Option<String> {
    let who = from.map_or(String::from("that"), label);
    Some(match why {
        Ignored::StaleTerm => format!("ignores {who}: its term is over"),
        Ignored::LowerBid => format!("ignores {who}: a lower bid than its candidate's"),
        Ignored::NotTakingPart => format!("ignores {who}: it takes no part now"),
        Ignored::Ratifying => format!("ignores {who}: it has asked Raft already"),
        Ignored::Hearsay => format!("has pledged itself and takes no swarm's name from {who}"),
        Ignored::TermTaken => format!("ignores {who}: that term has another leader"),
        Ignored::ForgedSender | Ignored::OtherSwarm | Ignored::NotAVoter => format!("ignores {who}: {why:?}"),
        _ => return None,
    })
}

fn note_text(note: &Note) -> Option<String> {
    Some(match note {
        Note::BootWaitOver => String::from("has waited one lease since its start"),
        Note::Stood { target_term, bid, against: None } => {
            format!("stands for term {} ({})", target_term.0, bid_text(bid))
        }
        Note::Stood { target_term, bid, against: Some(node) } => {
            format!("objects to {} and stands for term {} ({})", label(*node), target_term.0, bid_text(bid))
        }
        Note::Voted { to, .. } => format!("is for {}", label(*to)),
        Note::Yielded { to } => format!("gives way to {}", label(*to)),
        Note::Counted(count) => format!("counts {count}"),
        Note::LostMajority { votes, needed } => format!("starts again: {votes} of {needed} votes"),
        Note::Refused { by, leader } => format!("is refused by {}, who hears {}", label(*by), label(*leader)),
        Note::Tied { with, draw } => format!("ties with {} and draws {}", label(*with), draw.points()),
        Note::Ratifying { target_term } => format!("asks Raft for term {}", target_term.0),
        Note::Reclaiming { term } => format!("is Raft's leader of term {} still, and writes a marker in it", term.0),
        Note::Crowned { term } => format!("leads term {}", term.0),
        Note::RatificationFailed => String::from("was not ratified"),
        Note::Withdrew(Withdrawal::Deaf) => String::from("withdraws: it hears no majority"),
        Note::Withdrew(Withdrawal::RoundOver) => String::from("withdraws: its round is over"),
        Note::Withdrew(Withdrawal::NotRatified) => String::from("withdraws"),
        Note::Released { by } => format!("decides again: {} is no candidate any more", label(*by)),
    })
}
