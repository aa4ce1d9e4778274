//! Why a task waits, in plain words. Pure: the leader's board and its table of members enter, a [`WaitView`] leaves.
//!
//! The members are gone through once; how many tasks wait makes no difference. Whether the task waits at all the caller
//! knows from the ledger.

use std::time::Duration;

use crate::api::{MemberState, NodeWaitView, Obstacle, WaitCause, WaitView};
use crate::dispatch::{Board, Place};
use crate::roster::{Liveness, MemberRef};
use crate::task::{Need, NodeId, Queue, TaskId, UnixMillis};

/// Nodes that are named in a sentence.
const NAMED: usize = 5;

/// The task that is asked after.
pub(super) struct Asked<'a> {
    pub(super) task: TaskId,
    pub(super) queue: &'a Queue,
    /// If the ledger has it as delayed: until when.
    pub(super) until: Option<UnixMillis>,
}

/// What the leader knows.
pub(super) struct Known<'a> {
    pub(super) board: &'a Board,
    pub(super) liveness: &'a Liveness,
    pub(super) now: Duration,
    /// By the clock that pauses go by.
    pub(super) wall: UnixMillis,
    pub(super) name: &'a dyn Fn(NodeId) -> String,
}

/// Says why a task that has not ended and is not handed out is not running.
pub(super) fn why(asked: &Asked<'_>, known: &Known<'_>) -> WaitView {
    if let Some(left) = pause_left(asked, known) {
        let text = format!("for the pause before its next attempt, which is over in {:.1} s", left.as_secs_f64());
        return WaitView { cause: WaitCause::Pause, text, nodes: Vec::new(), more_nodes: 0 };
    }
    let look = |member: MemberRef<'_>| NodeWaitView {
        node: member.node,
        name: (known.name)(member.node),
        obstacle: obstacle(asked.queue, known, &member),
    };
    let mut nodes: Vec<NodeWaitView> = known.liveness.each().map(look).collect();
    nodes.sort_by_key(|node| (rank(&node.obstacle), node.node));
    let (cause, text) = cause(asked, &known.board.place(asked.task, asked.queue), &nodes);
    let more_nodes = nodes.len().saturating_sub(WaitView::MAX_NODES) as u64;
    nodes.truncate(WaitView::MAX_NODES);
    WaitView { cause, text, nodes, more_nodes }
}

/// What is left of a delayed task's pause.
fn pause_left(asked: &Asked<'_>, known: &Known<'_>) -> Option<Duration> {
    let until = asked.until.filter(|_| !known.board.is_ready(asked.task))?;
    let due = known.board.due(asked.task).unwrap_or(until);
    Some(Duration::from_millis(due.0.saturating_sub(known.wall.0)))
}

fn obstacle(queue: &Queue, known: &Known<'_>, member: &MemberRef<'_>) -> Obstacle {
    let serves = || member.heartbeat.is_some_and(|beat| beat.pods.iter().any(|pod| pod.groups.contains(&queue.group)));
    match (member.state, member.heartbeat) {
        (MemberState::Lost, beat) => {
            let since = known.now.saturating_sub(member.lost.unwrap_or(known.now));
            Obstacle::Lost { since, served: serves(), held: beat.map(|beat| beat.sandbox().holds()) }
        }
        (_, None) => Obstacle::NotHeard,
        (_, Some(_)) if !serves() => Obstacle::OtherGroups,
        (_, Some(beat)) => {
            let (sandbox, holds) = (beat.sandbox(), beat.sandbox().holds());
            let room = known.board.room(member.node, &queue.group).unwrap_or_default();
            if !queue.need.is_met_by(holds.level, holds.memory_enforced) {
                Obstacle::Lacks(sandbox)
            } else if !sandbox.is_enough() {
                Obstacle::Short(sandbox)
            } else if beat.draining {
                Obstacle::Draining
            } else if beat.busy || (!room.free && room.taken < room.slots) {
                Obstacle::Paused
            } else if room.free {
                Obstacle::Nothing
            } else {
                Obstacle::Busy { slots: room.slots, tasks: room.tasks }
            }
        }
    }
}

/// How far a node is from running the task.
fn rank(obstacle: &Obstacle) -> u8 {
    match obstacle {
        Obstacle::Nothing => 0,
        Obstacle::Busy { .. } => 1,
        Obstacle::Paused => 2,
        Obstacle::Draining => 3,
        Obstacle::Short(_) => 4,
        Obstacle::Lacks(_) => 5,
        Obstacle::Lost { served: true, .. } => 6,
        Obstacle::Lost { .. } | Obstacle::NotHeard => 7,
        Obstacle::OtherGroups => 8,
    }
}

/// The cause follows from the node that comes closest.
fn cause(asked: &Asked<'_>, place: &Place, nodes: &[NodeWaitView]) -> (WaitCause, String) {
    let Queue { group, need } = asked.queue;
    let closest = nodes.first().map_or(&Obstacle::OtherGroups, |node| &node.obstacle);
    match closest {
        Obstacle::Lost { .. } | Obstacle::NotHeard | Obstacle::OtherGroups => {
            (WaitCause::Group, format!("no live node serves group {group}{}", lost(nodes, Need::default())))
        }
        Obstacle::Lacks(_) => {
            let hold = list(nodes, |obstacle| match obstacle {
                Obstacle::Lacks(sandbox) => Some(sandbox.holds().to_string()),
                _ => None,
            });
            (WaitCause::Need, format!("it needs {need}; the nodes of group {group} hold: {hold}{}", lost(nodes, *need)))
        }
        Obstacle::Short(_) | Obstacle::Draining | Obstacle::Paused => {
            let closed = list(nodes, |obstacle| match obstacle {
                Obstacle::Short(_) | Obstacle::Draining | Obstacle::Paused => Some(obstacle.to_string()),
                _ => None,
            });
            (WaitCause::Open, format!("the nodes that could run it take nothing new: {closed}{}", lost(nodes, *need)))
        }
        Obstacle::Nothing | Obstacle::Busy { .. } if place.withheld => {
            let text = "a former leader may have handed it out: the new one first hears from the nodes what they run";
            (WaitCause::Announcements, text.to_owned())
        }
        Obstacle::Nothing | Obstacle::Busy { .. } if place.held_up => {
            (WaitCause::Journal, "the journal has too many ends of attempts to write; nothing is handed out meanwhile".to_owned())
        }
        Obstacle::Nothing => {
            (WaitCause::Turn, format!("a slot is free for it, and it is handed out in its turn{}", ahead(place)))
        }
        Obstacle::Busy { .. } => (WaitCause::Slot, busy(nodes, asked.queue, place)),
    }
}

fn busy(nodes: &[NodeWaitView], queue: &Queue, place: &Place) -> String {
    let slots = |node: &NodeWaitView| if let Obstacle::Busy { slots, .. } = node.obstacle { slots } else { 0 };
    let count: u64 = nodes.iter().map(slots).sum();
    let which = if queue.need == Need::default() { "" } else { " of nodes that hold what it needs" };
    let all = if count == 1 { "the one slot".to_owned() } else { format!("all {count} slots") };
    let are = if count == 1 { "is" } else { "are" };
    format!("{all} for group {}{which} {are} busy{}", queue.group, ahead(place))
}

fn ahead(place: &Place) -> String {
    match (place.before, place.more) {
        (0, false) => "; it is the next of its queue".to_owned(),
        (1, false) => "; 1 task of its queue comes before it".to_owned(),
        (count, false) => format!("; {count} tasks of its queue come before it"),
        (count, true) => format!("; more than {count} tasks of its queue come before it"),
    }
}

/// `n2 partial, n3 process-only and 4 more`: the nodes of which there is something to say.
fn list(nodes: &[NodeWaitView], say: impl Fn(&Obstacle) -> Option<String>) -> String {
    let said = nodes.iter().filter_map(|node| Some(format!("{} {}", node.name, say(&node.obstacle)?)));
    let mut lines: Vec<String> = said.collect();
    let more = lines.len().saturating_sub(NAMED);
    lines.truncate(NAMED);
    if more == 0 { lines.join(", ") } else { format!("{} and {more} more", lines.join(", ")) }
}

/// The lost nodes that served the group and would do.
fn lost(nodes: &[NodeWaitView], need: Need) -> String {
    let lines = list(nodes, |obstacle| match obstacle {
        Obstacle::Lost { served: true, held: Some(held), .. } if need.is_met_by(held.level, held.memory_enforced) => {
            Some("did until it was lost".to_owned())
        }
        _ => None,
    });
    if lines.is_empty() { lines } else { format!("; {lines}") }
}

#[cfg(test)]
mod tests;
