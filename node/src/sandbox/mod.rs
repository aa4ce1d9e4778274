//! Runs one attempt as somebody else's command without letting it hurt the node.
//!
//! ```text
//! node (tokio, many threads)                 host.rs, attempt.rs, capture.rs, scratch.rs
//!  └─ zygote      this binary again          zygote.rs      a SEQPACKET socket at fd 0; never has threads
//!      └─ supervisor   one for each running task, prepared before it comes; adopts every orphan
//!                                           supervisor.rs, prepared.rs, guard.rs; decides in watch.rs
//!          └─ target   the program           target.rs      executes the steps of plan.rs
//! ```
//!
//! In comes a [`Launch`], out comes a [`Report`], whatever happens. The node itself never forks: a large process with
//! threads can't do that quickly or safely, and the zygote can. The program that embeds a node calls
//! [`enter_if_child`] first thing in `main`, because zygote and handlers are that same program started again.
//!
//! What stands around a task depends on the machine. The zygote tries every layer when it starts (`probe.rs`), and a
//! [`Level`](crate::task::Level) says what follows: namespaces and mounts (`surroundings.rs`), Landlock (`confine.rs`), a
//! filter for system calls (`seccomp/`), a user for each running task.

mod attempt;
mod capture;
mod cgroup;
mod confine;
mod crew;
mod environment;
mod footprint;
mod guard;
mod handlers;
mod host;
mod kernel;
mod plan;
mod prepared;
mod probe;
mod program;
mod remedy;
mod scratch;
mod seccomp;
mod shelf;
mod shelter;
mod slots;
mod spec;
mod supervisor;
mod surroundings;
mod survey;
mod sys;
mod target;
mod traces;
mod tree;
mod watch;
mod wire;
mod zygote;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use wire::survives;
#[cfg(test)]
pub(crate) use wire::tests::samples;

#[doc(hidden)]
pub use environment::Environment;
pub use handlers::{Handlers, Input, enter_if_child, handler_argv};
pub use host::{Sandbox, SandboxConfig, SandboxError};
pub use plan::{Limited, Plan, Step};
pub use shelter::{Birth, Shelter};
pub use spec::{Isolation, Launch, Output, OutputStream, Report, ResolvedLimits};
