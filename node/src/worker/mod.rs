//! The member's side: takes hand-outs, runs attempts, reports until answered.
//!
//! Messages of the leader enter through [`WorkerHandle::receive`]; messages for the leader leave through
//! [`WorkerHandle::outgoing`]. Which leader they go to, and over what, is not this room's business.

mod handlers;
mod output;
pub mod protocol;
mod run;
mod service;
mod slots;

pub use handlers::{ForkedHandler, HandlerInput, Handlers, LocalHandler, MAX_THREADS};
pub use output::{LiveChunk, LiveOutput, MAX_PATIENCE, MAX_TAIL};
pub use run::{Cancel, DEFAULT_PATH, Runner, WorkerConfig, resolve};
pub use service::{Holding, Worker, WorkerHandle};
pub use slots::{MAX_REPORT_BYTES, MAX_REPORTS, Slots, Taken};

#[cfg(test)]
mod tests;
