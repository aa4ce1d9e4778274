//! Did a swarm keep its promises? Judged from the outside: what clients saw and what the journals hold.
//!
//! [`Record`]s enter a [`Checker`] one after the other, from a simulator or from lines of JSON; a [`Report`] leaves, with
//! every broken [`Rule`] in words and with counts of what was looked at. One pass, memory linear in tasks and entries.
//!
//! The checker knows the rules of the house but none of its code: it depends on no other crate of the workspace, so that
//! a mistake there can't be repeated here. It has its own small model of what facts add up to and holds the journals'
//! own verdicts (which end counted, which was refused) against it.
//!
//! What it takes for granted: at least one journal reaches back to the first entry; answers that clients call
//! acknowledged or failed are so for certain (everything else is [`Answer::Maybe`]); no ledger has forgotten a finished task.
//! Deliberately not here: how a fault is made, and any clock.

mod checker;
mod clients;
mod ledgers;
mod lines;
mod logs;
mod model;
mod record;
mod report;
mod terms;

pub use checker::Checker;
pub use lines::Unreadable;
pub use record::{
    Answer, Digest, Entry, Fact, Fence, Index, NodeId, NotHexadecimal, Outcome, Record, Request, State, TaskId, Term,
};
pub use report::{Counts, MAX_KEPT, Report, Rule, Subject, Violation};
