//! After the healing: a leader must come, every acknowledged task must end, and all nodes must agree on everything.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::life::Life;
use super::name;
use super::world::World;
use crate::journal::Journal;
use crate::task::TaskId;

/// From the end of all faults to a leader (five seconds from when the nodes are up again).
const LEADER: Duration = Duration::from_secs(5);
/// From then on without one more task that has ended: an attempt, its back-off, a time-out.
const PROGRESS: Duration = Duration::from_secs(30);
/// From then until every node has folded everything.
const AGREEMENT: Duration = Duration::from_secs(30);
/// For so long nothing happens to a task for which nobody holds what it needs.
const QUIET: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until the world is as it should be; says what was missing if it never is.
async fn within(world: &World, time: Duration, what: &str, mut reached: impl FnMut() -> Result<(), String>) -> Option<Duration> {
    let start = Instant::now();
    loop {
        let Err(missing) = reached() else { return Some(start.elapsed()) };
        if start.elapsed() > time {
            world.audit.violation(&format!("{what} within {time:?} of healing: {missing}"));
            return None;
        }
        tokio::time::sleep(LOOK).await;
        world.audit_now();
    }
}

/// A leader acts soon.
pub(super) async fn demand(world: &Arc<World>) -> Option<Duration> {
    world.audit.restart_clock();
    within(world, LEADER, "no leader", || {
        let states = || world.lives().iter().map(|life| describe(life)).collect::<Vec<_>>().join("; ");
        if world.lives().iter().any(|life| life.node.acting().is_some()) { Ok(()) } else { Err(states()) }
    })
    .await
}

fn describe(life: &Life) -> String {
    let standing = life.node.standing().borrow().clone();
    let raft = life.node.journal().status().borrow().clone();
    format!(
        "{} is {} in term {}, raft term {} last {}.{} voters {:?} learners {:?}",
        name(life.id),
        standing.role,
        standing.term,
        raft.term,
        raft.last.term,
        raft.last.index,
        raft.voters,
        raft.learners
    )
}

/// Every task has ended for which somebody holds what it needs, also those of which no client knows that they are there; the
/// others wait, and end too when somebody does. And all ledgers say the same.
pub(super) async fn final_state(world: &Arc<World>) {
    if !all_end(world, could_run).await {
        return;
    }
    if !unmet(world).is_empty() {
        // An attempt that was lost before the healing may still be on its way into the journal.
        tokio::time::sleep(QUIET).await;
    }
    let waiting = unmet(world);
    world.audit.unmet(waiting.len());
    if !waiting.is_empty() {
        tokio::time::sleep(QUIET).await;
        if unmet(world) != waiting {
            world.audit.violation(&format!("nobody holds what they need: {waiting:?} became {:?}", unmet(world)));
        }
        world.make_one_whole();
        if demand(world).await.is_none() || !all_end(world, |_, _| true).await {
            return;
        }
    }
    agree(world).await;
}

fn leader(world: &World) -> Option<Arc<Life>> {
    world.lives().into_iter().find(|life| life.node.acting().is_some())
}

/// Waits until every one of these tasks has ended.
async fn all_end(world: &Arc<World>, which: fn(&World, TaskId) -> bool) -> bool {
    let acknowledged = world.audit.acknowledged_tasks();
    let mut before = usize::MAX;
    while before > 0 {
        let mut left = 0;
        let ended = within(world, PROGRESS, "no further task has ended", || {
            let Some(leader) = leader(world) else { return Err("no leader".to_owned()) };
            let open = open_tasks(&leader, &acknowledged, |task| which(world, task));
            left = open.len();
            if left < before { Ok(()) } else { Err(open.into_iter().take(5).collect::<Vec<_>>().join(", ")) }
        });
        if ended.await.is_none() {
            return false;
        }
        before = left;
    }
    true
}

/// The tasks that wait for a node that holds what they need, with how many attempts of each were counted.
fn unmet(world: &World) -> Vec<(TaskId, usize)> {
    let furthest = world.lives().into_iter().max_by_key(|life| life.node.ledger().applied_index().unwrap_or(0));
    let Some(life) = furthest else { return Vec::new() };
    let last = life.node.ledger().last_task().ok().flatten().unwrap_or_default();
    let record = |task| life.node.ledger().task(task).ok().flatten();
    let waits = (1..=last.0).map(TaskId).filter(|task| !could_run(world, *task)).filter_map(record);
    waits.filter(|record| !record.state.is_final()).map(|record| (record.task, record.attempts.len())).collect()
}

/// Whether somebody lives who would be given the task.
fn could_run(world: &World, task: TaskId) -> bool {
    world.audit.queue(task).is_none_or(|queue| world.somebody_could_run(&queue))
}

/// All nodes have folded everything, and it adds up to the same.
async fn agree(world: &Arc<World>) {
    let agreed = within(world, AGREEMENT, "nodes have not folded the same entries", || {
        let missing = world.plan.nodes().len() - world.damaged() - world.lives().len();
        let lives = holders(world);
        let mut folded: Vec<u64> = lives.iter().map(|life| life.node.ledger().applied_index().unwrap_or(0)).collect();
        let text = format!(
            "{missing} nodes are down, folded {folded:?}; {}",
            lives.iter().map(|life| describe(life)).collect::<Vec<_>>().join("; ")
        );
        folded.dedup();
        if missing == 0 && folded.len() == 1 { Ok(()) } else { Err(text) }
    })
    .await;
    if agreed.is_some() {
        compare(world);
        world.history.healed();
        holders(world).iter().for_each(|life| hold_down(world, life));
    }
}

/// The nodes that have the journal: its voters and learners, as the leader knows them. A second node of a swarm of one, say,
/// only works.
fn holders(world: &World) -> Vec<Arc<Life>> {
    let mut lives = world.lives();
    if let Some(leader) = lives.iter().find(|life| life.node.acting().is_some()) {
        let status = leader.node.journal().status().borrow().clone();
        lives.retain(|life| status.voters.contains(&life.id) || status.learners.contains(&life.id));
    }
    lives
}

/// Where one node's ledger has every task, for the history.
fn hold_down(world: &World, life: &Life) {
    let last = life.node.ledger().last_task().ok().flatten().unwrap_or_default();
    for task in (1..=last.0).map(TaskId) {
        if let Ok(Some(record)) = life.node.ledger().task(task) {
            world.history.finally(life.id, task, &record.state);
        }
    }
}

/// Which of these tasks have not ended, and what should be there and is not.
fn open_tasks(leader: &Life, acknowledged: &[TaskId], which: impl Fn(TaskId) -> bool) -> Vec<String> {
    let last = leader.node.ledger().last_task().ok().flatten().unwrap_or_default();
    let missing = acknowledged.iter().copied().filter(|task| *task > last);
    let state = |task: TaskId| match leader.node.ledger().task(task) {
        Ok(Some(record)) if record.state.is_final() || !which(task) => None,
        Ok(Some(record)) => Some(format!("task {task} is {}", record.state.name())),
        Ok(None) => Some(format!("task {task} is missing")),
        Err(error) => Some(format!("task {task} can't be read: {error}")),
    };
    (1..=last.0).map(TaskId).chain(missing).filter_map(state).collect()
}

/// All ledgers have the same tasks in the same states with the same attempts (H6), however each came there: live, by
/// replay, or from a snapshot.
fn compare(world: &World) {
    let lives = holders(world);
    let Some((first, others)) = lives.split_first() else { return };
    let last = first.node.ledger().last_task().ok().flatten().unwrap_or_default();
    for task in (1..=last.0).map(TaskId) {
        let expected = first.node.ledger().task(task).ok().flatten();
        for other in others {
            let found = other.node.ledger().task(task).ok().flatten();
            if found != expected {
                let text = format!("{} and {} differ on task {task}: {expected:?}, {found:?}", name(first.id), name(other.id));
                world.audit.violation(&text);
                return;
            }
        }
    }
    for other in others {
        let (one, two) = (first.node.ledger().counts().ok(), other.node.ledger().counts().ok());
        if one != two {
            world.audit.violation(&format!("{} and {} count differently: {one:?}, {two:?}", name(first.id), name(other.id)));
        }
    }
}
