//! The member's side: takes hand-outs, runs attempts, reports until answered.

pub mod protocol;
