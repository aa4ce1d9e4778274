//! Lets the worker run its attempts in the sandbox: carries a cancel in and live output out.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::sandbox::{Launch, Report, Sandbox};
use crate::worker::{Cancel, LiveOutput, Runner};

/// Pieces of live output that may wait; what exceeds it is missing from the live view, not from the result.
const LIVE_QUEUE: usize = 64;

/// The sandbox as the worker's runner.
pub(super) struct SandboxRunner(Sandbox);

impl SandboxRunner {
    pub(super) fn new(sandbox: Sandbox) -> Self {
        SandboxRunner(sandbox)
    }
}

impl Runner for SandboxRunner {
    fn run(&self, launch: Launch, stdin: Bytes, cancel: Cancel, live: Arc<LiveOutput>) -> BoxFuture<'static, Report> {
        let sandbox = self.0.clone();
        Box::pin(async move {
            let (cancelled, on_cancel) = watch::channel(false);
            let (tap, mut outputs) = mpsc::channel(LIVE_QUEUE);
            let run = sandbox.run(launch, stdin, on_cancel, Some(tap));
            tokio::pin!(run);
            let mut told = false;
            loop {
                tokio::select! {
                    report = &mut run => {
                        while let Ok(output) = outputs.try_recv() {
                            live.push(&output);
                        }
                        return report;
                    }
                    Some(output) = outputs.recv() => live.push(&output),
                    () = cancel.cancelled(), if !told => {
                        told = true;
                        let _ = cancelled.send(true);
                    }
                }
            }
        })
    }
}
