//! What requests are answered with: the ledger's rows, the desk's leases and this node's standing put together for people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::leader_requests::{read, unreadable};
use super::waits;
use crate::api::{
    ApiError, AttemptView, LeaderView, MemberState, NodeView, OutputChunk, PodView, Request, Response, StatusView, TaskFilter,
    TaskResult, TaskSummary, TaskView,
};
use crate::dispatch::LeaseView;
use crate::journal::Journal;
use crate::journal::ledger::{Output, TaskQuery};
use crate::roster::Heartbeat;
use crate::sandbox::OutputStream;
use crate::task::{AttemptNumber, GroupName, NodeId, Pod, Program, TaskId, TaskRecord, TaskSpec, TaskState, Usage};

/// The most bytes of output in one answer.
const MAX_CHUNK: usize = 256 << 10;
/// The most tasks in one answer.
const MAX_TASKS: usize = 1_000;
/// The most characters of a command line in a list.
const MAX_COMMAND: usize = 200;

pub(super) async fn status(core: &Arc<Core>) -> Result<StatusView, ApiError> {
    let standing = core.standing.borrow().clone();
    let raft = core.journal.status().borrow().clone();
    let now = core.clock.now();
    let acting = core.gate.acting();
    let (counts, running) = read(core, |core| {
        let counts = core.ledger.counts().map_err(unreadable)?;
        Ok((counts, leased(&core)?.len() as u64))
    })
    .await?;
    let waiting = |state: &str| counts.iter().filter(|(_, of, _)| *of == state).map(|(.., count)| count).sum::<u64>();
    let tasks = vec![
        ("queued".to_owned(), waiting("queued").saturating_sub(running)),
        ("running".to_owned(), running),
        ("delayed".to_owned(), waiting("delayed")),
        ("succeeded".to_owned(), waiting("succeeded")),
        ("dead".to_owned(), waiting("dead")),
        ("cancelled".to_owned(), waiting("cancelled")),
    ];
    let leader = standing.leader.map(|(node, _)| LeaderView {
        node,
        name: core.name_of(node),
        why: standing.why.clone(),
        tenure: now.saturating_sub(standing.since),
    });
    let standing_age = now.saturating_sub(standing.since);
    let mut warnings = Vec::new();
    if standing.swarm.is_none() {
        warnings.push(format!("no swarm yet: {}", who_is_here(core)));
    } else if leader.is_none() {
        warnings.push(format!("no leader: {}", who_is_here(core)));
    } else if standing.is_leader() && acting.is_none() {
        warnings.push("this node leads but has lost touch with the majority of the voters: nothing is accepted".to_owned());
    }
    let missing: Vec<String> = raft
        .voters
        .iter()
        .filter(|voter| **voter != core.node && !core.is_connected(**voter))
        .map(|voter| core.name_of(*voter))
        .collect();
    if !missing.is_empty() {
        warnings.push(format!("not in reach of this node: {}", missing.join(", ")));
    }
    // What this node says of itself the leader says in the same words, and it is told once.
    warnings.extend(core.sandbox().shortfall(&core.name_of(core.node)));
    if acting.is_some() {
        let others = withheld(core).into_iter().filter(|line| !warnings.contains(line)).collect::<Vec<_>>();
        warnings.extend(others);
        warnings.extend(unserved(core, &counts));
    }
    Ok(StatusView {
        swarm: standing.swarm,
        node: core.node,
        name: core.config.name.clone(),
        role: standing.role.to_owned(),
        leader,
        term: standing.term,
        voters: raft.voters,
        age: if acting.is_some() { Duration::ZERO } else { core.journal.last_append().map_or(standing_age, |at| at.elapsed()) },
        tasks,
        journal_index: raft.applied,
        journal_bytes_written: core.journal.bytes_written(),
        warnings,
    })
}

/// Live members that take no tasks because they hold less than their owners ask for.
fn withheld(core: &Core) -> Vec<String> {
    let short = core.desk.read(|leading| {
        let live = leading.liveness.each().filter(|member| member.state == MemberState::Live);
        let sandbox = live.filter_map(|member| Some((member.node, member.heartbeat?.sandbox())));
        sandbox.filter(|(_, sandbox)| !sandbox.is_enough()).collect::<Vec<_>>()
    });
    let short = short.unwrap_or_default();
    short.into_iter().filter_map(|(node, sandbox)| sandbox.shortfall(&core.name_of(node))).collect()
}

/// Groups with waiting tasks that no live member serves.
fn unserved(core: &Core, counts: &[(GroupName, &'static str, u64)]) -> Vec<String> {
    let served = core
        .desk
        .read(|leading| leading.liveness.live_pods().flat_map(|pod| pod.groups.iter().cloned()).collect::<BTreeSet<GroupName>>());
    let served = served.unwrap_or_default();
    let mut waiting: BTreeMap<&GroupName, u64> = BTreeMap::new();
    for (group, _, count) in counts.iter().filter(|(_, state, _)| matches!(*state, "queued" | "delayed")) {
        *waiting.entry(group).or_default() += count;
    }
    waiting.retain(|group, count| *count > 0 && !served.contains(*group));
    let line = |(group, count)| match count {
        1 => format!("1 task waits for group {group}, which no live node serves"),
        _ => format!("{count} tasks wait for group {group}, which no live node serves"),
    };
    waiting.into_iter().map(line).collect()
}

/// Whom this node sees, in words.
pub(super) fn who_is_here(core: &Core) -> String {
    let peers = core.mesh.peers();
    let standing = core.standing.borrow();
    if peers.is_empty() {
        return "no other node is in reach; if there should be some, check --peer, the secret and the firewall".to_owned();
    }
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    let voters = core.journal.status().borrow().voters.clone();
    if standing.swarm.is_none() || voters.is_empty() {
        return format!("in reach: {}", names.join(", "));
    }
    let here = voters.iter().filter(|voter| **voter == core.node || peers.iter().any(|peer| peer.node == **voter)).count();
    format!("{here} of {} voters are in reach, a majority is {}", voters.len(), voters.len() / 2 + 1)
}

pub(super) fn nodes(core: &Core) -> Result<Vec<NodeView>, ApiError> {
    let members = core.ledger.members().map_err(unreadable)?;
    let raft = core.journal.status().borrow().clone();
    let peers = core.mesh.peers();
    let now = core.clock.now();
    let mut views = Vec::with_capacity(members.len());
    for member in members {
        let (heard, leases) = core
            .desk
            .read(|leading| (leading.liveness.view(now, member.node), leading.board.leases_of(member.node).collect::<Vec<_>>()))
            .unwrap_or_default();
        let beat = heard.as_ref().and_then(|heard| heard.heartbeat.as_ref());
        let pod = |(index, pod): (usize, &Pod)| {
            let here = |(_, lease): &&(TaskId, LeaseView)| usize::from(lease.pod.0) == index && !lease.ended;
            let running = leases.iter().filter(here).map(|(task, _)| *task).collect();
            PodView { groups: pod.groups.clone(), slots: pod.slots, running }
        };
        let address = if member.node == core.node {
            core.mesh.addresses().first().map(ToString::to_string)
        } else {
            peers.iter().find(|peer| peer.node == member.node).map(|peer| peer.address.clone())
        };
        views.push(NodeView {
            node: member.node,
            name: member.name,
            rank: member.rank,
            state: heard.as_ref().map_or(MemberState::Unknown, |heard| heard.state),
            role: role(core, &raft, member.node).to_owned(),
            last_heard: heard.as_ref().and_then(|heard| heard.last_heard),
            pods: beat.map(|beat| beat.pods.iter().enumerate().map(pod).collect()).unwrap_or_default(),
            sandbox: beat.map(Heartbeat::sandbox),
            version: beat.map(|beat| beat.version.clone()),
            address,
        });
    }
    Ok(views)
}

fn role(core: &Core, raft: &crate::journal::RaftStatus, node: NodeId) -> &'static str {
    if core.known_leader() == Some(node) {
        "leader"
    } else if raft.voters.contains(&node) {
        "voter"
    } else if raft.learners.contains(&node) {
        "learner"
    } else {
        "worker"
    }
}

fn row(core: &Core, task: TaskId) -> Result<(TaskRecord, TaskSpec), ApiError> {
    let missing = || ApiError::NotFound { what: "task".to_owned(), id: task.to_string() };
    let record = core.ledger.task(task).map_err(unreadable)?.ok_or_else(missing)?;
    let spec = core.ledger.spec(task).map_err(unreadable)?.ok_or_else(missing)?;
    Ok((record, spec))
}

pub(super) fn task(core: &Core, task: TaskId) -> Result<TaskView, ApiError> {
    let (record, mut spec) = row(core, task)?;
    let stdin_len = spec.stdin.len() as u64;
    spec.stdin = bytes::Bytes::new();
    let mut attempts: Vec<AttemptView> = record
        .attempts
        .iter()
        .map(|attempt| AttemptView {
            attempt: attempt.attempt,
            node: attempt.node,
            fence: attempt.fence,
            outcome: Some(attempt.outcome.clone()),
            ended_at: Some(attempt.ended_at),
            usage: attempt.usage,
        })
        .collect();
    if let Some(lease) = core.desk.lease(task).filter(|_| !record.state.is_final()) {
        let (outcome, ended_at, usage) = (None, None, Usage::default());
        attempts.push(AttemptView { attempt: lease.attempt, node: lease.node, fence: lease.fence, outcome, ended_at, usage });
    }
    let TaskRecord { state, submitted_at, ended_at, .. } = record;
    Ok(TaskView { task, state, spec, stdin_len, submitted_at, ended_at, attempts, waits: None })
}

/// A task as [`task`] shows it, and if it is not running, why.
pub(super) fn task_and_why_it_waits(core: &Core, task: TaskId) -> Result<TaskView, ApiError> {
    let mut view = self::task(core, task)?;
    let until = match view.state {
        TaskState::Queued => None,
        TaskState::Delayed { until } => Some(until),
        TaskState::Succeeded | TaskState::Dead(_) | TaskState::Cancelled => return Ok(view),
    };
    let (queue, now) = (view.spec.queue(), core.clock.now());
    let asked = waits::Asked { task, queue: &queue, until };
    // Read beforehand: nobody waits for the ledger's disk while the desk is held.
    let written: BTreeMap<NodeId, String> =
        core.ledger.members().map_err(unreadable)?.into_iter().map(|member| (member.node, member.name)).collect();
    let name = |node| core.names.of(node).or_else(|| written.get(&node).cloned()).unwrap_or_else(|| node.to_string());
    let waits = core.desk.read(|leading| {
        let (board, liveness, wall) = (&leading.board, &leading.liveness, leading.time(now));
        let known = waits::Known { board, liveness, now, wall, name: &name };
        board.lease(task).is_none().then(|| waits::why(&asked, &known))
    });
    view.waits = waits.flatten();
    Ok(view)
}

pub(super) fn result(core: &Core, task: TaskId) -> Result<TaskResult, ApiError> {
    let (record, _) = row(core, task)?;
    if !record.state.is_final() {
        return Err(ApiError::NotEnded(task));
    }
    let Output { stdout, stderr } = core.ledger.output(task).map_err(unreadable)?;
    let last = record.attempts.last();
    Ok(TaskResult {
        task,
        outcome: last.map(|attempt| attempt.outcome.clone()),
        attempt: last.map_or(AttemptNumber(0), |attempt| attempt.attempt),
        node: last.map(|attempt| attempt.node),
        stdout,
        stderr,
        usage: last.map(|attempt| attempt.usage).unwrap_or_default(),
        state: record.state,
    })
}

pub(super) fn tasks(core: &Core, filter: &TaskFilter) -> Result<Vec<TaskSummary>, ApiError> {
    let limit = match filter.limit {
        0 => 100,
        some => usize::try_from(some).unwrap_or(MAX_TASKS).min(MAX_TASKS),
    };
    if filter.state.as_deref() == Some("running") {
        return running(core, filter, limit);
    }
    let skip_leased = filter.state.as_deref() == Some("queued");
    let mut found: Vec<TaskSummary> = Vec::new();
    let mut before = filter.before;
    loop {
        let query = TaskQuery { state: filter.state.clone(), group: filter.group.clone(), before, limit };
        let rows = core.ledger.tasks(&query).map_err(unreadable)?;
        let last_page = rows.len() < limit;
        before = rows.last().map(|(record, _)| record.task);
        for (record, _) in rows {
            if skip_leased && core.desk.lease(record.task).is_some() {
                continue;
            }
            found.push(summary(core, record)?);
        }
        if last_page || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

/// The tasks that are handed out and have not been reported on.
fn leased(core: &Core) -> Result<BTreeSet<TaskId>, ApiError> {
    let members = core.ledger.members().map_err(unreadable)?;
    let leased = core.desk.read(|leading| {
        let tasks = members.iter().flat_map(|member| leading.board.leases_of(member.node));
        tasks.filter(|(_, lease)| !lease.ended).map(|(task, _)| task).collect()
    });
    Ok(leased.unwrap_or_default())
}

/// The tasks that are handed out, newest first.
fn running(core: &Core, filter: &TaskFilter, limit: usize) -> Result<Vec<TaskSummary>, ApiError> {
    let mut found = Vec::new();
    for task in leased(core)?.into_iter().rev().filter(|task| filter.before.is_none_or(|before| *task < before)) {
        let Some(record) = core.ledger.task(task).map_err(unreadable)?.filter(|record| !record.state.is_final()) else {
            continue;
        };
        let view = summary(core, record)?;
        if filter.group.as_ref().is_none_or(|group| *group == view.group) {
            found.push(view);
        }
        if found.len() == limit {
            break;
        }
    }
    Ok(found)
}

fn summary(core: &Core, record: TaskRecord) -> Result<TaskSummary, ApiError> {
    let spec = core.ledger.spec(record.task).map_err(unreadable)?;
    let lease = core.desk.lease(record.task).filter(|_| !record.state.is_final());
    let last = record.attempts.last();
    let ended = u32::try_from(record.attempts.len()).unwrap_or(u32::MAX);
    Ok(TaskSummary {
        task: record.task,
        state: if lease.is_some() { "running".to_owned() } else { record.state.name().to_owned() },
        group: spec.as_ref().map(|spec| spec.group.clone()).unwrap_or_default(),
        attempts: ended + u32::from(lease.is_some()),
        node: lease.map(|lease| lease.node).or(last.map(|attempt| attempt.node)),
        command: spec.map(|spec| command_line(&spec)).unwrap_or_default(),
        submitted_at: record.submitted_at,
        ended_at: record.ended_at,
        outcome: last.map(|attempt| attempt.outcome.to_string()),
    })
}

fn command_line(spec: &TaskSpec) -> String {
    let whole = match &spec.program {
        Program::Command(argv) => argv.join(" "),
        Program::Handler(name) => format!("handler {name}"),
    };
    whole.chars().take(MAX_COMMAND).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What an ended attempt left of an output; `None` while the task waits to be run.
pub(super) fn kept_output(core: &Core, task: TaskId, stream: OutputStream, from: u64) -> Result<Option<OutputChunk>, ApiError> {
    let missing = || ApiError::NotFound { what: "task".to_owned(), id: task.to_string() };
    let record = core.ledger.task(task).map_err(unreadable)?.ok_or_else(missing)?;
    if !record.state.is_final() {
        return Ok(None);
    }
    let Output { stdout, stderr } = core.ledger.output(task).map_err(unreadable)?;
    let kept = match stream {
        OutputStream::Stdout => stdout,
        OutputStream::Stderr => stderr,
    };
    let from = from.clamp(kept.dropped(), kept.total.max(kept.dropped()));
    let start = usize::try_from(from - kept.dropped()).unwrap_or(usize::MAX).min(kept.tail.len());
    let end = kept.tail.len().min(start.saturating_add(MAX_CHUNK));
    Ok(Some(OutputChunk {
        from,
        bytes: kept.tail.slice(start..end),
        attempt: record.attempts.last().map(|attempt| attempt.attempt),
        fence: record.attempts.last().map(|attempt| attempt.fence),
        end: end == kept.tail.len(),
    }))
}

pub(super) fn nothing_yet(from: u64) -> OutputChunk {
    OutputChunk { from, bytes: bytes::Bytes::new(), attempt: None, fence: None, end: false }
}

/// Answers from this node's own worker.
pub(super) async fn output_here(core: &Arc<Core>, request: Request) -> Result<Response, ApiError> {
    match request {
        Request::Output { task, stream, from, patience } => {
            let missing = || ApiError::NotFound { what: "running task".to_owned(), id: task.to_string() };
            let (attempt, fence, chunk) = core.worker.output(task, stream, from, patience).await.ok_or_else(missing)?;
            let (attempt, fence) = (Some(attempt), Some(fence));
            Ok(Response::Output(OutputChunk { from: chunk.from, bytes: chunk.bytes, attempt, fence, end: false }))
        }
        Request::Drain(node) if node == core.node => {
            core.worker.drain();
            Ok(Response::Done)
        }
        _ => Err(ApiError::Invalid("a member answers for its own attempts only".to_owned())),
    }
}
