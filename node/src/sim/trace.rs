//! What happened, one line an event, and a hash over all of it: two runs of a seed must give the same.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// What the columns and words of a line mean.
pub const LEGEND: &str = "\
time since the start in seconds (simulated) | who | what
who: n1, n2 … a node, c1, c2 … a client, chaos = the fault schedule, audit = the invariants, swarm = all of it
what a node says is its narration; `folds #7 t3` = it folded entry 7 of term 3; `runs 12-1` = attempt 1 of task 12";

/// The trace of one run; clones are the same trace.
#[derive(Clone)]
pub(super) struct Trace(Arc<Mutex<State>>);

struct State {
    start: Instant,
    hash: u64,
    lines: VecDeque<String>,
    keep: usize,
}

impl Trace {
    /// A trace that begins now and keeps its last lines.
    pub(super) fn new(keep: usize) -> Self {
        Trace(Arc::new(Mutex::new(State { start: Instant::now(), hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), keep })))
    }

    /// One event.
    pub(super) fn line(&self, who: &dyn Display, what: &dyn Display) {
        let mut state = self.state();
        let line = format!("{:>11.6} {who:<5} {what}", state.start.elapsed().as_secs_f64());
        line.bytes().for_each(|byte| state.mix(u64::from(byte)));
        if state.keep == 0 {
            return;
        }
        if state.lines.len() == state.keep {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
    }

    /// Something too frequent for a line of its own that must be alike all the same.
    pub(super) fn mix(&self, numbers: &[u64]) {
        let mut state = self.state();
        let now = u64::try_from(state.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        state.mix(now);
        numbers.iter().for_each(|number| state.mix(*number));
    }

    pub(super) fn hash(&self) -> u64 {
        self.state().hash
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.state().lines.iter().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// FNV-1a over whole words: against accidents only.
    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
}
