//! The member's side of the node: heartbeats to the leader, hand-outs from it, reports back until they are answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::core::Core;
use super::desk::DeskInput;
use crate::mesh::{Incoming, Service};
use crate::roster::Heartbeat;
use crate::task::NodeId;
use crate::worker::protocol::{ToLeader, ToMember, unpack};

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Heartbeats after which unanswered reports go again.
const RESEND_EVERY: u64 = 4;

/// Sends heartbeats and reports for as long as the node lives. A new leader hears at once what this member holds.
pub(super) async fn report(core: Arc<Core>) {
    let mut standing = core.standing.clone();
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut known = None;
    let mut seq = 0;
    loop {
        let leader = known.map(|(leader, _)| leader);
        tokio::select! {
            biased;
            changed = standing.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = standing.borrow_and_update().leader;
                if let Some((leader, _)) = now.filter(|_| now != known) {
                    heartbeat(&core, leader, &mut seq);
                    core.worker.resend();
                }
                known = now;
            }
            reports = core.worker.outgoing(), if leader.is_some() => {
                if let Some(leader) = leader {
                    // What can't be sent now is not answered either, and goes again.
                    core.send_to_leader(leader, reports);
                }
            }
            _ = ticks.tick() => if let Some(leader) = leader {
                heartbeat(&core, leader, &mut seq);
                if seq.is_multiple_of(RESEND_EVERY) {
                    core.worker.resend();
                }
            }
        }
    }
}

fn heartbeat(core: &Core, leader: NodeId, seq: &mut u64) {
    *seq += 1;
    let holding = core.worker.holding();
    let beat = Heartbeat {
        boot: core.boot,
        seq: *seq,
        name: core.config.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rank: core.config.rank,
        role: core.config.role(),
        pods: holding.pods,
        held: holding.held,
        processed: holding.processed,
        draining: holding.draining,
        busy: holding.busy,
        level: core.findings.level,
        memory_enforced: core.findings.memory_enforced,
        requires: core.config.sandbox.require,
    };
    let bytes = beat.encode();
    if leader == core.node {
        let _ = core.desk_inputs.try_send(DeskInput::Heartbeat { from: core.node, bytes });
    } else if let Err(error) = core.mesh.send(leader, Service::Roster, bytes) {
        tracing::trace!(%error, "a heartbeat was not sent");
    }
}

/// Passes heartbeats on to the desk for as long as the node lives.
pub(super) async fn take_heartbeats(core: Arc<Core>, mut inbox: mpsc::Receiver<Incoming>) {
    while let Some(incoming) = inbox.recv().await {
        if core.known_leader() == Some(core.node) {
            let input = DeskInput::Heartbeat { from: incoming.from, bytes: incoming.bytes };
            if core.desk_inputs.send(input).await.is_err() {
                return;
            }
        }
    }
}

/// Passes hand-outs to the worker and reports to the desk for as long as the node lives.
///
/// Only the node that this one follows may hand out; the worker's fence refuses what an older leader sent.
pub(super) async fn take_work(core: Arc<Core>, mut inbox: mpsc::Receiver<Incoming>) {
    while let Some(incoming) = inbox.recv().await {
        let from = incoming.from;
        if core.known_leader() == Some(core.node) {
            match unpack::<ToLeader>(&incoming.bytes) {
                Ok(messages) => {
                    if core.desk_inputs.send(DeskInput::Reports { from, messages }).await.is_err() {
                        return;
                    }
                    continue;
                }
                Err(error) => tracing::debug!(node = %from, %error, "not a report"),
            }
        }
        match unpack::<ToMember>(&incoming.bytes) {
            Ok(messages) if core.known_leader() == Some(from) => {
                core.worker.receive(messages);
            }
            Ok(_) => tracing::debug!(node = %from, "work from a node that does not lead was dropped"),
            Err(error) => tracing::warn!(node = %from, %error, "a message about work could not be read and was dropped"),
        }
    }
}
