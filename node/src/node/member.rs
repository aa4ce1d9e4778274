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
/// Reports that are sent in one turn.
const TURN: usize = 256;

/// Sends heartbeats and reports for as long as the node lives. A new leader hears at once what this member holds.
pub(super) async fn report(core: Arc<Core>, mut reports: mpsc::Receiver<ToLeader>) {
    let mut standing = core.standing.clone();
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut leader = None;
    let mut seq = 0;
    loop {
        tokio::select! {
            biased;
            changed = standing.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = standing.borrow_and_update().leader;
                if now != leader {
                    leader = now;
                    heartbeat(&core, leader.map(|(leader, _)| leader), &mut seq);
                    resend(&core, leader.map(|(leader, _)| leader));
                }
            }
            report = reports.recv() => {
                let Some(report) = report else { return };
                let mut messages = vec![report];
                while messages.len() < TURN && let Ok(next) = reports.try_recv() {
                    messages.push(next);
                }
                if let Some((leader, _)) = leader {
                    // What can't be sent now stays with the worker and goes again with a heartbeat.
                    core.send_to_leader(leader, messages);
                }
            }
            _ = ticks.tick() => {
                heartbeat(&core, leader.map(|(leader, _)| leader), &mut seq);
                resend(&core, leader.map(|(leader, _)| leader));
            }
        }
    }
}

fn heartbeat(core: &Core, leader: Option<NodeId>, seq: &mut u64) {
    let Some(leader) = leader else { return };
    *seq += 1;
    let state = core.worker.state();
    let beat = Heartbeat {
        boot: core.boot,
        seq: *seq,
        name: core.config.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rank: core.config.rank,
        role: core.config.role(),
        pods: core.config.pods.clone(),
        held: state.held,
        processed: state.processed,
        draining: state.draining,
        busy: state.busy,
    };
    let bytes = beat.encode();
    if leader == core.node {
        let _ = core.desk_inputs.try_send(DeskInput::Heartbeat { from: core.node, bytes });
    } else if let Err(error) = core.mesh.send(leader, Service::Roster, bytes) {
        tracing::trace!(%error, "a heartbeat was not sent");
    }
}

/// Sends again what the leader has had time to answer and has not.
fn resend(core: &Core, leader: Option<NodeId>) {
    let Some(leader) = leader else { return };
    let overdue = core.worker.overdue();
    if !overdue.is_empty() {
        core.send_to_leader(leader, overdue);
    }
}

/// Passes heartbeats on to the desk for as long as the node lives.
pub(super) async fn take_heartbeats(core: Arc<Core>, mut inbox: mpsc::Receiver<Incoming>) {
    while let Some(incoming) = inbox.recv().await {
        if core.standing.borrow().is_leader() {
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
        if core.standing.borrow().is_leader() {
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
                core.worker.take(messages);
            }
            Ok(_) => tracing::debug!(node = %from, "work from a node that does not lead was dropped"),
            Err(error) => tracing::warn!(node = %from, %error, "a message about work could not be read and was dropped"),
        }
    }
}
