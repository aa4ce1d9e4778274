//! Who runs what: the leader's board of waiting tasks, leases and members. Pure; time is an input.
//!
//! What happened enters through [`Board::step`], what the leader must do leaves it. Nothing is journaled here: a hand-out
//! is a lease in the leader's memory, fenced by (term, sequence), and a new leader adopts what its members announce.
//! Deliberately not here: reading the ledger (the board asks with [`Output::Refill`]), sending, proposing, and telling who
//! is alive (`roster`).

mod board;
mod choose;
mod delayed;
mod event;
mod lease;
mod offer;
mod queue;
mod report;
mod waiting;

pub use board::{Board, BoardConfig, LeaseView};
pub use event::{DelayedTask, Ignored, Input, Next, Offer, Output, Verdict};
pub use waiting::{Place, Room};

#[cfg(test)]
mod tests;
