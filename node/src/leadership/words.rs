//! The election in words: what a person who watches is told for each thing that happened.

use dunlin_election::{FoundingRefusal, NodeId as Id, Note, StepDown, Withdrawal};

use crate::task::NodeId;

/// Names a node for people.
pub(super) type Naming<'a> = &'a dyn Fn(NodeId) -> String;

pub(super) fn of_note(note: &Note, name: Naming<'_>) -> String {
    let name = |id: Id| name(NodeId(id.0));
    match note {
        Note::BootWaitOver => "has waited for one lease after its start and may vote and stand".to_owned(),
        Note::Stood { target_term, bid, against } => {
            let why = match against {
                Some(other) => format!("because the bid of {} is lower than its own", name(*other)),
                None => "because it hears no leader".to_owned(),
            };
            format!(
                "stands for term {} {why} (journal {}.{}, rank {})",
                target_term.0, bid.position.term.0, bid.position.index, bid.rank.0
            )
        }
        Note::Voted { to, target_term } => format!("votes for {} in term {}", name(*to), target_term.0),
        Note::Yielded { to } => format!("gives way to the better bid of {}", name(*to)),
        Note::Counted(0) => "counts 0: a majority has held".to_owned(),
        Note::Counted(count) => format!("counts {count}"),
        Note::LostMajority { votes, needed } => format!("starts its countdown again: {votes} of {needed} votes were renewed"),
        Note::Refused { by, leader } => format!("is refused by {}, which hears the leader {}", name(*by), name(*leader)),
        Note::Tied { with, draw } => format!("ties with {} and draws {}", name(*with), draw.points()),
        Note::Ratifying { target_term } => format!("asks Raft to ratify it as the leader of term {}", target_term.0),
        Note::Reclaiming { term } => format!("takes up its leadership of term {} again", term.0),
        Note::Crowned { term } => format!("is ratified as the leader of term {}", term.0),
        Note::RatificationFailed => "was not ratified".to_owned(),
        Note::Withdrew(Withdrawal::Deaf) => "withdraws: it does not hear a majority".to_owned(),
        Note::Withdrew(Withdrawal::RoundOver) => "withdraws: its round is over".to_owned(),
        Note::Withdrew(Withdrawal::NotRatified) => "withdraws: it was not ratified".to_owned(),
        Note::Released { by } => format!("is free to vote again: {} stands no more", name(*by)),
    }
}

pub(super) fn of_step_down(why: &StepDown) -> String {
    match why {
        StepDown::NoMajority => "no majority of the voters has answered within its lease".to_owned(),
        StepDown::NewerTerm(term) => format!("term {} has begun", term.0),
        StepDown::RaftDeposed => "Raft has another leader".to_owned(),
        StepDown::NotAVoter => "it is no voter any more".to_owned(),
    }
}

pub(super) fn of_refusal(refusal: &FoundingRefusal, name: Naming<'_>) -> String {
    let name = |id: &Id| name(NodeId(id.0));
    match refusal {
        FoundingRefusal::TooMany { expect, nodes } => {
            let names: Vec<String> = nodes.iter().map(name).collect();
            format!(
                "no swarm is founded: {expect} nodes were expected but {} are here ({}); stop the extra ones or give every node the same --expect",
                names.len(),
                names.join(", ")
            )
        }
        FoundingRefusal::ExpectDiffers { node, theirs, ours } => format!(
            "no swarm is founded: {} was told --expect {theirs}, this node --expect {ours}; give every node the same number",
            name(node)
        ),
        FoundingRefusal::PledgeDiffers { node, theirs, ours } => format!(
            "no swarm is founded: {} has already pledged to a set of {} nodes, this node to another one of {}; remove the data folder of the nodes that never founded and start them again",
            name(node),
            theirs.0.len(),
            ours.0.len()
        ),
    }
}
