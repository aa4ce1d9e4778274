//! Runs one attempt as somebody else's command without letting it hurt the node.
//!
//! ```text
//! node (tokio, many threads)       host/         launches, pipes, supervisors that wait, what this machine holds
//!  └─ zygote                       zygote/       this binary again, behind a socket at fd 0; never has threads
//!      └─ supervisor               supervisor/   one for each running task, prepared before it comes; adopts every orphan
//!          └─ target               target.rs     executes the steps of the plan and becomes the program
//! ```
//!
//! In comes a [`Launch`], out comes a [`Report`], whatever happens (`spec.rs`; what travels between the processes is in
//! `wire.rs`). The node itself never forks: a large process with threads can't do that quickly or safely, and the zygote
//! can. The program that embeds a node calls [`enter_if_child`] first thing in `main`, because zygote and handlers are that
//! same program started again.
//!
//! What stands around a task depends on the machine. The zygote tries every layer when it starts (`zygote/probe.rs`), and a
//! [`Level`](crate::task::Level) says what follows for a task (`shelter.rs`), step by step (`plan.rs`): namespaces and mounts
//! (`supervisor/surroundings.rs`), Landlock (`supervisor/confine.rs`), a filter for system calls (`seccomp/`), a user for
//! each running task. Where tasks work and what they leave there is in `scratch/`, and all that is unsafe in `kernel/`.

mod environment;
mod host;
mod kernel;
mod plan;
mod program;
mod scratch;
mod seccomp;
mod shelter;
mod spec;
mod supervisor;
mod target;
mod wire;
mod zygote;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use wire::survives;
#[cfg(test)]
pub(crate) use wire::tests::samples;

#[doc(hidden)]
pub use environment::Environment;
pub use host::{Sandbox, SandboxConfig, SandboxError};
pub use plan::{Limited, Plan, Step};
pub use shelter::{Birth, Shelter};
pub use spec::{Isolation, Launch, Output, OutputStream, Report, ResolvedLimits};
pub use zygote::handlers::{Handlers, Input, enter_if_child, handler_argv};
