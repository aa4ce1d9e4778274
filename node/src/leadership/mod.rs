//! Drives dunlin-election: its timers, its messages, ratification through the journal, and the acting gate.
//!
//! The election's packets, Raft's state and the mesh's peers enter; beats, votes and Raft's orders leave. What the other
//! rooms read is the [`Standing`] (who leads) and the [`Gate`] (may I act now). Nothing about tasks is known here.

mod driver;
mod gate;
mod keep;
mod narration;
mod standing;
mod words;

pub(crate) use driver::{Driver, Failing, Naming, Sources};
pub use gate::Gate;
pub use keep::KeepError;
pub(crate) use keep::{Belongs, Keep};
pub use narration::{Narration, NarrationKind, Narrator};
pub use standing::Standing;
