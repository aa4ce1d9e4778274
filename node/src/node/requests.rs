//! Answers requests: on the leader from the ledger and the desk, on any other node by forwarding to the leader.
//!
//! A request enters with its own patience. While nobody leads it waits; a submission carries a key for every task, so that
//! trying it again across a change of leader never makes a second task.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::core::Core;
use super::{leader_requests, views};
use crate::admission;
use crate::api::{ApiError, Request, Response, StatusView};
use crate::mesh::{self, RequestError, Service};
use crate::process::of_this_process;
use crate::task::{IdempotencyKey, NodeId, TaskSpec};

/// How long a request waits for a leader before it gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest a long poll may ask for.
pub(super) const LONGEST_POLL: Duration = Duration::from_secs(30);
/// Beside a request's own patience, what a forwarded one may take on its way.
const FORWARD_SLACK: Duration = Duration::from_secs(6);
/// How long a status waits for the leader's part of it.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// A task that is being submitted.
type Submission = (TaskSpec, Option<IdempotencyKey>);

/// A request between nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Forwarded {
    /// For the leader.
    ToLeader(Request),
    /// For the node that runs the attempt: answer from its own worker.
    ToMember(Request),
}

/// Why a node did not answer a forwarded request itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Ready(Box<Result<Response, ApiError>>),
    /// It does not lead (any more): ask again elsewhere.
    NotLeading,
}

/// What one try came to.
pub(super) enum Tried {
    Answered(Result<Response, ApiError>),
    /// Not done, or not known to be done; the text says why, for the case that no try succeeds.
    Again(String),
}

/// Carries out one request, here or on the leader.
pub(super) async fn answer(core: &Arc<Core>, request: Request) -> Result<Response, ApiError> {
    let request = prepare(core, request)?;
    if matches!(request, Request::Status) {
        return status(core).await.map(|view| Response::Status(Box::new(view)));
    }
    let started = core.clock.now();
    loop {
        let why = match once(core, &request).await {
            Tried::Answered(answer) => return answer,
            Tried::Again(why) => why,
        };
        let waited = core.clock.now().saturating_sub(started);
        if waited >= PATIENCE {
            return Err(ApiError::NoLeader { waited, detail: format!("{why}; {}", views::who_is_here(core)) });
        }
        core.leadership_changed(PAUSE).await;
    }
}

/// How this node is, from itself; how the swarm is, from the leader if it answers.
async fn status(core: &Arc<Core>) -> Result<StatusView, ApiError> {
    let mut own = views::status(core).await?;
    let Some(leader) = core.known_leader().filter(|leader| *leader != core.node) else { return Ok(own) };
    let asked = Forwarded::ToLeader(Request::Status);
    if let Ok(Answer::Ready(answer)) = forward(core, leader, &asked, STATUS_PATIENCE).await
        && let Ok(Response::Status(theirs)) = *answer
    {
        own.leader = theirs.leader;
        own.tasks = theirs.tasks;
        own.voters = theirs.voters;
        // What both see is said once.
        let news = theirs.warnings.into_iter().filter(|warning| !own.warnings.contains(warning)).collect::<Vec<_>>();
        own.warnings.extend(news);
        own.age = Duration::ZERO;
    }
    Ok(own)
}

async fn once(core: &Arc<Core>, request: &Request) -> Tried {
    if let Some(term) = core.gate.acting() {
        return leader_requests::answer(core, term, request.clone()).await;
    }
    let Some(leader) = core.known_leader() else {
        return Tried::Again("no leader is known".to_owned());
    };
    if leader == core.node {
        return Tried::Again("this node leads but has lost touch with the majority".to_owned());
    }
    let patience = own_patience(request) + FORWARD_SLACK;
    let request = Forwarded::ToLeader(request.clone());
    let asked = tokio::select! {
        biased;
        asked = forward(core, leader, &request, patience) => asked,
        // A leader that went silent answers nobody: whoever has asked it need not wait longer than the election.
        () = leads_no_more(core, leader) => return Tried::Again(format!("the leader {} went silent", core.name_of(leader))),
    };
    match asked {
        Ok(Answer::Ready(answer)) => Tried::Answered(*answer),
        Ok(Answer::NotLeading) => Tried::Again(format!("{} does not lead any more", core.name_of(leader))),
        Err(error) => Tried::Again(format!("the leader {} did not answer: {error}", core.name_of(leader))),
    }
}

/// Ends when this node follows somebody else, or nobody.
async fn leads_no_more(core: &Core, leader: NodeId) {
    let mut standing = core.standing.clone();
    // Closed means that the node stops; whoever waits is let go then too.
    let _ = standing.wait_for(|standing| standing.leader.map(|(node, _)| node) != Some(leader)).await;
}

/// Asks another node.
pub(super) async fn forward(core: &Core, to: NodeId, request: &Forwarded, patience: Duration) -> Result<Answer, ForwardError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(request, &mut bytes).map_err(|error| ForwardError::Codec(error.to_string()))?;
    let answer = core.mesh.request(to, Service::Api, Bytes::from(bytes), patience).await?;
    ciborium::from_reader(&answer[..]).map_err(|error| ForwardError::Codec(error.to_string()))
}

/// Why a forwarded request got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error(transparent)]
    Mesh(#[from] RequestError),
    #[error("the message could not be read: {0}")]
    Codec(String),
}

/// Serves other nodes' forwarded requests until the inbox closes; each in a task of its own, so that a panic or a long poll
/// harms nobody else. At most `MAX_FORWARDED` at once: beyond that the asker is told to try again.
pub(super) async fn serve(core: Arc<Core>, mut inbox: tokio::sync::mpsc::Receiver<mesh::Incoming>) {
    const MAX_FORWARDED: usize = 4_096;
    let places = Arc::new(tokio::sync::Semaphore::new(MAX_FORWARDED));
    while let Some(incoming) = inbox.recv().await {
        let Some(reply) = incoming.reply else { continue };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let core = core.clone();
        tokio::spawn(of_this_process(async move {
            let _place = place;
            let answer = match ciborium::from_reader::<Forwarded, _>(&incoming.bytes[..]) {
                Ok(Forwarded::ToLeader(request)) => answer_as_leader(&core, request).await,
                Ok(Forwarded::ToMember(request)) => Answer::Ready(Box::new(views::output_here(&core, request).await)),
                Err(error) => Answer::Ready(Box::new(Err(ApiError::Invalid(format!("the request could not be read: {error}"))))),
            };
            let mut bytes = Vec::new();
            if ciborium::into_writer(&answer, &mut bytes).is_ok() && bytes.len() <= mesh::MAX_MESSAGE {
                reply.send(Bytes::from(bytes));
            }
        }));
    }
}

async fn answer_as_leader(core: &Arc<Core>, request: Request) -> Answer {
    let Some(term) = core.gate.acting() else { return Answer::NotLeading };
    let request = match prepare(core, request) {
        Ok(request) => request,
        Err(error) => return Answer::Ready(Box::new(Err(error))),
    };
    match leader_requests::answer(core, term, request).await {
        Tried::Answered(answer) => Answer::Ready(Box::new(answer)),
        Tried::Again(_) => Answer::NotLeading,
    }
}

/// Checks a request and completes it: every task gets a key, every patience is cut to its limit.
fn prepare(core: &Core, request: Request) -> Result<Request, ApiError> {
    Ok(match request {
        Request::Submit { tasks } => {
            admission::check_submission(tasks.iter().map(|(spec, _)| spec), core.waiting(), &core.admission)?;
            Request::Submit { tasks: keyed(core, tasks)? }
        }
        Request::Wait { task, patience } => Request::Wait { task, patience: patience.min(LONGEST_POLL) },
        Request::Output { task, stream, from, patience } => {
            Request::Output { task, stream, from, patience: patience.min(LONGEST_POLL) }
        }
        Request::Events { from, limit, patience } => {
            Request::Events { from, limit: limit.min(1_000), patience: patience.min(LONGEST_POLL) }
        }
        other => other,
    })
}

fn own_patience(request: &Request) -> Duration {
    match request {
        Request::Wait { patience, .. } | Request::Output { patience, .. } | Request::Events { patience, .. } => *patience,
        _ => Duration::ZERO,
    }
}

/// Reads what nodes forward to each other; for the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn survives(bytes: &[u8]) {
    let written = |value: &dyn Fn(&mut Vec<u8>) -> bool| {
        let mut bytes = Vec::new();
        assert!(value(&mut bytes), "what was read can be written");
        bytes
    };
    if let Ok(request) = ciborium::from_reader::<Forwarded, _>(bytes) {
        let once = written(&|out| ciborium::into_writer(&request, out).is_ok());
        let read: Forwarded = ciborium::from_reader(&once[..]).expect("what was written can be read");
        assert_eq!(format!("{read:?}"), format!("{request:?}"));
    }
    if let Ok(answer) = ciborium::from_reader::<Answer, _>(bytes) {
        let once = written(&|out| ciborium::into_writer(&answer, out).is_ok());
        let read: Answer = ciborium::from_reader(&once[..]).expect("what was written can be read");
        assert_eq!(format!("{read:?}"), format!("{answer:?}"));
    }
}

/// Gives every task without a key a fresh one: the time, then random bits of this request, then the task's place in it.
/// Keys that grow with time lie together in the ledger, so that an entry touches few pages.
fn keyed(core: &Core, tasks: Vec<Submission>) -> Result<Vec<Submission>, ApiError> {
    if tasks.iter().all(|(_, key)| key.is_some()) {
        return Ok(tasks);
    }
    let random = (core.entropy)().map_err(|error| ApiError::Internal(format!("no random bytes: {error}")))?;
    let millis = core.clock.wall().0 & 0xffff_ffff_ffff;
    let fresh = |place: usize| {
        // A request has far fewer tasks than two bytes count.
        let text = format!("{millis:012x}{random:016x}{:04x}", place & 0xffff);
        text.parse().map_err(|error| ApiError::Internal(format!("a key of our own was refused: {error}")))
    };
    let with_key = |(place, (spec, key)): (usize, Submission)| Ok((spec, Some(key.map_or_else(|| fresh(place), Ok)?)));
    tasks.into_iter().enumerate().map(with_key).collect()
}
