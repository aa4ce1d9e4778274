//! Scripted tasks: what an attempt does is said by its arguments, and takes simulated time.
//!
//! `finish MS`, `fail MS`, `hang` (until it is killed), `vanish MS` (its supervisor dies). No process is started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::audit::Audit;
use super::needs::Holding;
use super::trace::Trace;
use crate::sandbox::{Launch, Report};
use crate::task::{Captured, LostWhy, NodeId, Outcome, Usage};
use crate::worker::{Cancel, LiveOutput, Runner};

/// What all nodes' runners count.
#[derive(Default)]
pub(super) struct Ran {
    /// Attempts begun.
    pub(super) begun: AtomicU64,
    /// How often each node had more attempts at once than slots; must stay empty.
    pub(super) crowded: Mutex<BTreeMap<NodeId, u64>>,
}

/// Runs scripted tasks for one life of one node.
pub(super) struct Scripted {
    pub(super) node: NodeId,
    pub(super) slots: i64,
    pub(super) trace: Trace,
    pub(super) ran: Arc<Ran>,
    pub(super) at_once: Arc<AtomicI64>,
    pub(super) audit: Audit,
    /// What this life holds.
    pub(super) holding: Holding,
}

/// Counts an attempt for as long as it runs, however it ends.
struct Running(Arc<AtomicI64>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Runner for Scripted {
    fn run(&self, launch: Launch, _: Bytes, cancel: Cancel, _: Arc<LiveOutput>) -> BoxFuture<'static, Report> {
        self.trace.line(&super::name(self.node), &format_args!("runs {} {}", launch.name, launch.argv.join(" ")));
        self.audit.runs(self.node, &launch.name, &self.holding);
        self.ran.begun.fetch_add(1, Ordering::Relaxed);
        if self.at_once.fetch_add(1, Ordering::Relaxed) >= self.slots {
            *self.ran.crowded.lock().unwrap_or_else(PoisonError::into_inner).entry(self.node).or_default() += 1;
        }
        let running = Running(Arc::clone(&self.at_once));
        async move {
            let millis = launch.argv.get(1).and_then(|text| text.parse().ok()).unwrap_or(0);
            let (takes, outcome) = match launch.argv.first().map(String::as_str) {
                Some("finish") => (Some(Duration::from_millis(millis)), Outcome::Exited(0)),
                Some("fail") => (Some(Duration::from_millis(millis)), Outcome::Exited(3)),
                Some("vanish") => (Some(Duration::from_millis(millis)), Outcome::Lost(LostWhy::SupervisorDied)),
                _ => (None, Outcome::Cancelled),
            };
            let limit = launch.limits.wall.unwrap_or(Duration::MAX);
            let outcome = tokio::select! {
                biased;
                () = cancel.cancelled() => Outcome::Cancelled,
                () = wait(takes) => outcome,
                () = wait(Some(limit)) => Outcome::TimedOut { limit },
            };
            drop(running);
            Report { outcome, stdout: Captured::default(), stderr: Captured::default(), usage: Usage::default() }
        }
        .boxed()
    }
}

/// Some time, or for ever.
async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
