//! The crate's own simulator: whole swarms of machines over a model of Raft and a network that misbehaves, from a seed.
//!
//! Enters: a [`world::Setup`] and what a script or a test does to it. Leaves: a trace, the violations that were seen, and the
//! transcripts and diagrams made of it. Needs std; it is compiled for tests and with the feature `sim` only.

pub mod explore;
pub mod net;
pub mod raft;
pub mod report;
pub mod scenarios;
pub mod schedule;
pub mod script;
pub mod trace;
pub mod walkthrough;
pub mod watch;
pub mod world;

mod mermaid;
mod text;

pub use mermaid::diagram;
pub use text::{label, line};
