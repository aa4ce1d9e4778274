//! Runs one attempt as somebody else's command without letting it hurt the node.
//!
//! ```text
//! node (tokio, many threads)                 host.rs, attempt.rs, capture.rs, scratch.rs
//!  └─ zygote      this binary again          zygote.rs      a SEQPACKET socket at fd 0; never has threads
//!      └─ supervisor   one for each task     supervisor.rs  adopts every orphan; decides in watch.rs
//!          └─ target   the program           target.rs      executes the steps of plan.rs
//! ```
//!
//! In comes a [`Launch`], out comes a [`Report`], whatever happens. The node itself never forks: a large process with
//! threads can't do that quickly or safely, and the zygote can. The program that embeds a node calls
//! [`enter_if_child`] first thing in `main`, because zygote and handlers are that same program started again.
//!
//! This room does not isolate yet: a task can read what its user can read and reach the network ([`Level`]).

mod attempt;
mod capture;
mod handlers;
mod host;
mod plan;
mod program;
mod scratch;
mod spec;
mod supervisor;
mod sys;
mod target;
mod tree;
mod watch;
mod wire;
mod zygote;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use wire::survives;
#[cfg(test)]
pub(crate) use wire::tests::samples;

pub use handlers::{Handlers, Input, enter_if_child, handler_argv};
pub use host::{Sandbox, SandboxConfig, SandboxError};
pub use plan::{Level, Limited, Plan, Step};
pub use spec::{Launch, Output, OutputStream, Report, ResolvedLimits};
