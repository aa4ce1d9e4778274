//! Answers requests on the leader: writes through the journal, reads from the ledger and the desk.
//!
//! The caller has passed the acting gate; a write carries the term into the journal, where the fold checks it again.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::requests::{Answer, Forwarded, Tried, forward};
use super::views;
use crate::api::{ApiError, Request, Response, TaskFilter, TaskSelector};
use crate::journal::ledger::TaskQuery;
use crate::journal::{Fact, Journal, LedgerError, ProposeError, Reply};
use crate::task::{IdempotencyKey, NodeId, TaskId, TaskSpec, TaskState, Term};

/// Facts of one proposal when many tasks are cancelled or retried at once.
const PIECE: usize = 500;
/// Tasks that one cancel or retry applies to at most; the rest is said to remain.
const MAX_SELECTED: usize = 100_000;

pub(super) async fn answer(core: &Arc<Core>, term: Term, request: Request) -> Tried {
    match request {
        Request::Submit { tasks } => submit(core, term, tasks).await,
        Request::Cancel(selector) => select(core, term, selector, Act::Cancel).await,
        Request::Retry(selector) => select(core, term, selector, Act::Retry).await,
        Request::Wait { task, patience } => Tried::Answered(wait(core, task, patience).await),
        Request::Output { .. } => output(core, request).await,
        Request::Events { from, limit, patience } => Tried::Answered(events(core, from, limit, patience).await),
        Request::Status => Tried::Answered(views::status(core).await.map(|view| Response::Status(Box::new(view)))),
        Request::Nodes => Tried::Answered(read(core, |core| views::nodes(&core)).await.map(Response::Nodes)),
        Request::Tasks(filter) => Tried::Answered(tasks(core, filter).await),
        Request::Task(task) => {
            let view = read(core, move |core| views::task_and_why_it_waits(&core, task)).await;
            Tried::Answered(view.map(|view| Response::Task(Box::new(view))))
        }
        Request::Result(task) => {
            Tried::Answered(read(core, move |core| views::result(&core, task)).await.map(|view| Response::Result(Box::new(view))))
        }
        Request::Drain(node) => drain(core, node).await,
    }
}

/// Reads the ledger away from the runtime's threads.
pub(super) async fn read<T: Send + 'static>(
    core: &Arc<Core>,
    look: impl FnOnce(Arc<Core>) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let core = core.clone();
    let executor = core.executor;
    executor
        .run(move || look(core))
        .await
        .unwrap_or_else(|_| Err(ApiError::Internal("reading the ledger failed; the node's log says why".to_owned())))
}

pub(super) fn unreadable(error: LedgerError) -> ApiError {
    ApiError::Internal(format!("the ledger could not be read: {error}"))
}

async fn submit(core: &Arc<Core>, term: Term, tasks: Vec<(TaskSpec, Option<IdempotencyKey>)>) -> Tried {
    let crowded = core
        .desk
        .read(|leading| tasks.iter().map(|(spec, _)| &spec.group).find(|group| !leading.board.has_room_for(group)).cloned());
    if let Some(group) = crowded.flatten() {
        let why = format!("tasks of too many groups wait already; group {group} would be one more");
        return Tried::Answered(Err(ApiError::Overloaded(why)));
    }
    let facts = tasks.into_iter().map(|(spec, key)| Fact::Submitted { spec: Box::new(spec), key }).collect();
    match propose(core, term, facts).await {
        Ok(replies) => {
            let ids: Option<Vec<(TaskId, bool)>> = replies
                .into_iter()
                .map(|reply| match reply {
                    Reply::Submitted { task, duplicate } => Some((task, duplicate)),
                    _ => None,
                })
                .collect();
            match ids {
                Some(ids) => Tried::Answered(Ok(Response::Submitted(ids))),
                None => Tried::Again("the leadership ended while the tasks were being written".to_owned()),
            }
        }
        Err(tried) => tried,
    }
}

async fn propose(core: &Core, term: Term, facts: Vec<Fact>) -> Result<Vec<Reply>, Tried> {
    core.journal.propose(term, facts).await.map_err(|error| match error {
        ProposeError::DiskFull => Tried::Answered(Err(ApiError::Overloaded(
            "the leader's disk is full; free some space there (running tasks go on and report)".to_owned(),
        ))),
        ProposeError::TooLarge { .. } => Tried::Answered(Err(ApiError::Invalid(error.to_string()))),
        ProposeError::Full | ProposeError::NotLeader(_) | ProposeError::TimedOut | ProposeError::Stopped(_) => {
            Tried::Again(error.to_string())
        }
    })
}

#[derive(Clone, Copy)]
enum Act {
    Cancel,
    Retry,
}

impl Act {
    fn fact(self, task: TaskId) -> Fact {
        match self {
            Act::Cancel => Fact::Cancelled { task },
            Act::Retry => Fact::Retried { task },
        }
    }

    fn applies_to(self, state: &TaskState) -> bool {
        match self {
            Act::Cancel => !state.is_final(),
            Act::Retry => matches!(state, TaskState::Dead(_) | TaskState::Cancelled),
        }
    }
}

async fn select(core: &Arc<Core>, term: Term, selector: TaskSelector, act: Act) -> Tried {
    let selected = match read(core, move |core| chosen(&core, &selector, act)).await {
        Ok(selected) => selected,
        Err(error) => return Tried::Answered(Err(error)),
    };
    let mut applied = Vec::new();
    for piece in selected.chunks(PIECE) {
        match propose(core, term, piece.iter().map(|task| act.fact(*task)).collect()).await {
            Ok(replies) => {
                let done = piece.iter().zip(replies).filter(|(_, reply)| matches!(reply, Reply::Done | Reply::Ended { .. }));
                applied.extend(done.map(|(task, _)| *task));
            }
            Err(tried) => return tried,
        }
    }
    Tried::Answered(Ok(Response::Applied(applied)))
}

/// The tasks that a selector means and the act applies to. Named ones must exist.
fn chosen(core: &Core, selector: &TaskSelector, act: Act) -> Result<Vec<TaskId>, ApiError> {
    let state = |task: TaskId| core.ledger.task(task).map_err(unreadable).map(|record| record.map(|record| record.state));
    let missing = |task: TaskId| ApiError::NotFound { what: "task".to_owned(), id: task.to_string() };
    let named: Vec<TaskId> = match selector {
        TaskSelector::Ids(ids) => {
            for task in ids {
                state(*task)?.ok_or_else(|| missing(*task))?;
            }
            ids.clone()
        }
        TaskSelector::Last => vec![core.ledger.last_task().map_err(unreadable)?.ok_or_else(|| missing(TaskId(0)))?],
        TaskSelector::Range(first, last) if first > last || first.0 == 0 => {
            return Err(ApiError::Invalid(format!("{first}-{last} is not a range of task numbers")));
        }
        TaskSelector::Range(first, last) => {
            let end = last.0.min(core.ledger.last_task().map_err(unreadable)?.unwrap_or_default().0);
            (first.0..=end).take(MAX_SELECTED).map(TaskId).collect()
        }
        TaskSelector::All => match act {
            Act::Cancel => core.ledger.unfinished(None, MAX_SELECTED).map_err(unreadable)?,
            Act::Retry => {
                let query = TaskQuery { state: Some("dead".to_owned()), limit: MAX_SELECTED, ..TaskQuery::default() };
                core.ledger.tasks(&query).map_err(unreadable)?.into_iter().map(|(record, _)| record.task).collect()
            }
        },
    };
    let mut selected = Vec::new();
    for task in named {
        if state(task)?.is_some_and(|state| act.applies_to(&state)) {
            selected.push(task);
        }
    }
    Ok(selected)
}

/// Waits until a task is final, listening to what the ledger folds.
async fn wait(core: &Arc<Core>, task: TaskId, patience: Duration) -> Result<Response, ApiError> {
    let mut applied = core.journal.applied();
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        // One row by its key: faster than another thread is woken.
        let view = views::task(core, task)?;
        if view.state.is_final() {
            return Ok(Response::Task(Box::new(view)));
        }
        loop {
            match tokio::time::timeout_at(deadline, applied.recv()).await {
                Err(_) => return Ok(Response::Task(Box::new(view))),
                Ok(Ok(entry)) if !entry.entry.facts.iter().any(|fact| concerns(fact, task)) => {}
                // Something about this task, or entries were missed: look again.
                Ok(_) => break,
            }
        }
    }
}

fn concerns(fact: &Fact, wanted: TaskId) -> bool {
    match fact {
        Fact::AttemptEnded(end) => end.task == wanted,
        Fact::Cancelled { task } | Fact::Retried { task } => *task == wanted,
        _ => false,
    }
}

async fn events(core: &Arc<Core>, from: u64, limit: u32, patience: Duration) -> Result<Response, ApiError> {
    let mut applied = core.journal.applied();
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let events = read(core, move |core| core.ledger.events(from, limit).map_err(unreadable)).await?;
        if !events.is_empty() {
            return Ok(Response::Events(events));
        }
        if tokio::time::timeout_at(deadline, applied.recv()).await.is_err() {
            return Ok(Response::Events(Vec::new()));
        }
    }
}

/// A running attempt's output is with its member; an ended one's is in the ledger.
async fn output(core: &Arc<Core>, request: Request) -> Tried {
    let Request::Output { task, stream, from, patience } = request else {
        return Tried::Answered(Err(ApiError::Internal("not a request for output".to_owned())));
    };
    let deadline = tokio::time::Instant::now() + patience;
    let mut applied = core.journal.applied();
    loop {
        let Some(lease) = core.desk.lease(task) else {
            match read(core, move |core| views::kept_output(&core, task, stream, from)).await {
                Ok(Some(chunk)) => return Tried::Answered(Ok(Response::Output(chunk))),
                Err(error) => return Tried::Answered(Err(error)),
                // Queued: wait for something to happen to it.
                Ok(None) if tokio::time::Instant::now() < deadline => {
                    let _ = tokio::time::timeout(Duration::from_millis(50), applied.recv()).await;
                    continue;
                }
                Ok(None) => return Tried::Answered(Ok(Response::Output(views::nothing_yet(from)))),
            }
        };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let request = Request::Output { task, stream, from, patience: left };
        if lease.node == core.node {
            match views::output_here(core, request).await {
                // The attempt has just ended: its report is on the way into the ledger.
                Err(ApiError::NotFound { .. }) => {}
                answer => return Tried::Answered(answer),
            }
        } else {
            match forward(core, lease.node, &Forwarded::ToMember(request), left + Duration::from_secs(2)).await {
                Ok(Answer::Ready(answer)) if !matches!(*answer, Err(ApiError::NotFound { .. })) => {
                    return Tried::Answered(*answer);
                }
                _ => {}
            }
        }
        if tokio::time::Instant::now() >= deadline {
            return Tried::Answered(Ok(Response::Output(views::nothing_yet(from))));
        }
        let _ = tokio::time::timeout(Duration::from_millis(50), applied.recv()).await;
    }
}

async fn tasks(core: &Arc<Core>, filter: TaskFilter) -> Result<Response, ApiError> {
    const STATES: [&str; 6] = ["queued", "running", "delayed", "succeeded", "dead", "cancelled"];
    if let Some(state) = &filter.state
        && !STATES.contains(&state.as_str())
    {
        return Err(ApiError::Invalid(format!("{state:?} is not a state; the states are {}", STATES.join(", "))));
    }
    read(core, move |core| views::tasks(&core, &filter)).await.map(Response::Tasks)
}

async fn drain(core: &Arc<Core>, node: NodeId) -> Tried {
    if node == core.node {
        core.worker.drain();
        return Tried::Answered(Ok(Response::Done));
    }
    match forward(core, node, &Forwarded::ToMember(Request::Drain(node)), Duration::from_secs(5)).await {
        Ok(Answer::Ready(answer)) => Tried::Answered(*answer),
        Ok(Answer::NotLeading) => Tried::Answered(Err(ApiError::Internal("the node gave no answer".to_owned()))),
        Err(_) => Tried::Answered(Err(ApiError::NotFound { what: "reachable node".to_owned(), id: core.name_of(node) })),
    }
}
