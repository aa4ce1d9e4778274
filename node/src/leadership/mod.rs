//! Drives dunlin-election: its timers, its messages, ratification through the journal, and the acting gate.

mod gate;

pub use gate::Gate;
