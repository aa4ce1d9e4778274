//! Swarms of real processes for the tests: started in a temporary folder, asked through their sockets, gone at the end.
//!
//! How many nodes and with which settings enter; running processes, typed clients and the command line leave. When a test
//! fails, the end of every node's log is printed. Deliberately not here: any promise.

mod command;
mod network;
mod process;
pub(crate) mod questions;
mod swarm;

pub(crate) use command::{Ended, Run, bare, file_with};
pub(crate) use network::{HUB, Network, address};
pub(crate) use process::{Process, Settings};
pub(crate) use swarm::{Swarm, write_secret};

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// The longest that anything may take that is not a promise of its own: far above what was ever seen, so that a busy
/// machine fails no test.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Between two looks at a state.
const LOOK: Duration = Duration::from_millis(20);

/// Looks at a state again and again until it is as wanted. `Err` says what was seen instead.
///
/// # Panics
/// With what was seen last, when the limit has passed.
pub(crate) async fn eventually<T, E: Debug>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let until = Instant::now() + limit;
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(seen) => assert!(Instant::now() < until, "not within {limit:?}: {what}; seen last: {seen:?}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Prints a measured time for the person who reads the log; nothing is asserted on it.
pub(crate) fn measured(what: &str, time: Duration) {
    println!("measured: {what}: {time:.2?}");
}
