//! Everything that a node does on a runtime is started here, so that a simulator can stop a node as SIGSTOP stops a process.
//!
//! A future enters and comes back as one that belongs to the process by which it was started. While that is stopped, none of
//! its futures is polled: timers run out unseen, messages lie where they are, and all of it is found when the process goes on.
//! Outside of simulations a future comes back as it was, at no cost. Deliberately not here: what the network does with a
//! process that takes nothing (`mesh::memory`), and threads, of which a simulated node has none.

#[cfg(not(any(test, feature = "sim")))]
mod plain;
#[cfg(any(test, feature = "sim"))]
mod stoppable;

#[cfg(not(any(test, feature = "sim")))]
pub(crate) use plain::of_this_process;
#[cfg(any(test, feature = "sim"))]
pub(crate) use stoppable::{Process, of_this_process};
