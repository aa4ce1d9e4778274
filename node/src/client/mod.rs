//! A client of a running node: the same typed requests, from another process.
//!
//! [`Client`] implements [`Api`], so whatever works with a node in the same process works with one behind a socket, and
//! adds conveniences: submissions that are repeated under the same idempotency key until they are answered, and outputs
//! and events that are followed across pauses. Deliberately not here: starting a node, choosing between several nodes.
//!
//! ```no_run
//! # async fn example() -> Result<(), dunlin_node::client::ClientError> {
//! use dunlin_node::{client::Client, task::TaskSpec};
//! let client = Client::unix("/var/lib/dunlin/dunlin.sock");
//! let submitted = client.submit(TaskSpec::command(["uname", "-a"]), None).await?;
//! client.wait(submitted.task).await?;
//! println!("{:?}", client.result(submitted.task).await?.stdout.tail);
//! # Ok(())
//! # }
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use crate::api::{
    Api, ApiError, NodeView, Request, Response, StatusView, TaskFilter, TaskResult, TaskSelector, TaskSummary, TaskView, wire,
};
use crate::sandbox::OutputStream;
use crate::task::{IdempotencyKey, TaskId, TaskSpec};

mod error;
mod follow;
mod patience;
mod pool;
#[cfg(test)]
mod tests;

pub use error::ClientError;
pub use follow::{EventFollow, OutputFollow, OutputPart};

use patience::Backoff;
use pool::Pool;

/// The longest wait that one request asks of a node; longer waits are made of several.
const LONG_POLL: Duration = Duration::from_secs(30);

/// What a node may take on top of a request's own patience, and a little for the way.
const ANSWER_GRACE: Duration = Duration::from_secs(35);

/// How long transient trouble (no leader, a lost connection) is sat out by default.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node behind its unix socket. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
    patience: Duration,
}

/// What became of one submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The task.
    pub task: TaskId,
    /// Whether the key was known, so that this is an earlier submission's task.
    pub duplicate: bool,
    /// The key under which it was submitted.
    pub key: IdempotencyKey,
}

impl Client {
    /// A client of the node whose API listens on this unix socket. Connects at the first request.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Client { pool: Arc::new(Pool::new(path.into())), patience: PATIENCE }
    }

    /// Changes how long transient trouble is sat out (30 s by default; zero: not at all).
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.pool.path()
    }

    /// Sends one request once.
    ///
    /// # Errors
    /// See [`ClientError`]; after [`ClientError::Lost`] and [`ClientError::TimedOut`] it may have been carried out.
    pub async fn call(&self, request: &Request) -> Result<Response, ClientError> {
        let limit = own_patience(request) + ANSWER_GRACE;
        let body = wire::encode_request(request).into();
        let answer = tokio::time::timeout(limit, self.pool.post(body));
        let (ok, bytes) = answer.await.map_err(|_| ClientError::TimedOut { waited: limit })??;
        if ok {
            return wire::decode_response(&bytes).map_err(|error| ClientError::Protocol(error.to_string()));
        }
        let refusal = wire::decode_error(&bytes).map_err(|error| ClientError::Protocol(error.to_string()))?;
        Err(ClientError::Api(refusal))
    }

    /// Sends a request that may be repeated, until it is answered or the patience is over.
    ///
    /// # Errors
    /// The last one.
    async fn call_patiently(&self, request: &Request) -> Result<Response, ClientError> {
        let mut backoff = Backoff::new(self.patience);
        loop {
            match self.call(request).await {
                Err(error) if error.is_transient(self.pool.was_reached()) => match backoff.wait_again() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(error.after(backoff.elapsed())),
                },
                answer => return answer,
            }
        }
    }

    /// Submits one task, under a key of its own if none is given, and repeats it under that key while no leader answers.
    ///
    /// # Errors
    /// See [`ClientError`]. If the outcome is unknown, submitting again under the same key is safe.
    pub async fn submit(&self, spec: TaskSpec, key: Option<IdempotencyKey>) -> Result<Submitted, ClientError> {
        let mut all = self.submit_all(vec![(spec, key)]).await?;
        all.pop().ok_or_else(|| unexpected("a submission of one task", "no task"))
    }

    /// Submits up to 1,000 tasks (2 MiB) at once: all are taken or none.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn submit_all(&self, tasks: Vec<(TaskSpec, Option<IdempotencyKey>)>) -> Result<Vec<Submitted>, ClientError> {
        let tasks: Vec<_> = tasks
            .into_iter()
            .map(|(spec, key)| key.map_or_else(new_key, Ok).map(|key| (spec, Some(key))))
            .collect::<Result<_, _>>()?;
        let keys: Vec<_> = tasks.iter().filter_map(|(_, key)| key.clone()).collect();
        match self.call_patiently(&Request::Submit { tasks }).await? {
            Response::Submitted(ids) if ids.len() == keys.len() => {
                let paired = ids.into_iter().zip(keys);
                Ok(paired.map(|((task, duplicate), key)| Submitted { task, duplicate, key }).collect())
            }
            other => Err(unexpected("a submission", &other)),
        }
    }

    /// Waits until the task is final, however long that takes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn wait(&self, task: TaskId) -> Result<TaskView, ClientError> {
        loop {
            match self.call_patiently(&Request::Wait { task, patience: LONG_POLL }).await? {
                Response::Task(view) if view.state.is_final() => return Ok(*view),
                Response::Task(_) => {}
                other => return Err(unexpected("a wait", &other)),
            }
        }
    }

    /// A task's outputs and how it ended.
    ///
    /// # Errors
    /// [`ApiError::NotEnded`] before its end; see [`ClientError`].
    pub async fn result(&self, task: TaskId) -> Result<TaskResult, ClientError> {
        match self.call_patiently(&Request::Result(task)).await? {
            Response::Result(result) => Ok(*result),
            other => Err(unexpected("a result", &other)),
        }
    }

    /// One task with its attempts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn task(&self, task: TaskId) -> Result<TaskView, ClientError> {
        match self.call_patiently(&Request::Task(task)).await? {
            Response::Task(view) => Ok(*view),
            other => Err(unexpected("a task", &other)),
        }
    }

    /// Tasks, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tasks(&self, filter: TaskFilter) -> Result<Vec<TaskSummary>, ClientError> {
        match self.call_patiently(&Request::Tasks(filter)).await? {
            Response::Tasks(tasks) => Ok(tasks),
            other => Err(unexpected("a list of tasks", &other)),
        }
    }

    /// Every node known.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn nodes(&self) -> Result<Vec<NodeView>, ClientError> {
        match self.call_patiently(&Request::Nodes).await? {
            Response::Nodes(nodes) => Ok(nodes),
            other => Err(unexpected("a list of nodes", &other)),
        }
    }

    /// How the swarm is, as this client's node sees it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        match self.call_patiently(&Request::Status).await? {
            Response::Status(status) => Ok(*status),
            other => Err(unexpected("a status", &other)),
        }
    }

    /// Cancels tasks; answers with those that had not ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, which: TaskSelector) -> Result<Vec<TaskId>, ClientError> {
        match self.call_patiently(&Request::Cancel(which)).await? {
            Response::Applied(tasks) => Ok(tasks),
            other => Err(unexpected("a cancel", &other)),
        }
    }

    /// Queues dead or cancelled tasks again. Sent once: a repeated one would also retry what has failed in between.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn retry(&self, which: TaskSelector) -> Result<Vec<TaskId>, ClientError> {
        match self.call(&Request::Retry(which)).await? {
            Response::Applied(tasks) => Ok(tasks),
            other => Err(unexpected("a retry", &other)),
        }
    }

    /// What a task writes, from an offset on, until it has ended.
    #[must_use]
    pub fn output(&self, task: TaskId, stream: OutputStream, from: u64) -> OutputFollow {
        OutputFollow::new(self.clone(), task, stream, from)
    }

    /// The history from a sequence number on.
    #[must_use]
    pub fn events(&self, from: u64) -> EventFollow {
        EventFollow::new(self.clone(), from)
    }
}

impl Api for Client {
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Response, ApiError>> {
        let client = self.clone();
        async move { client.call(&request).await.map_err(ApiError::from) }.boxed()
    }
}

/// What the request itself asks the node to wait.
fn own_patience(request: &Request) -> Duration {
    match request {
        Request::Wait { patience, .. } | Request::Output { patience, .. } | Request::Events { patience, .. } => {
            (*patience).min(LONG_POLL)
        }
        _ => Duration::ZERO,
    }
}

/// A key that nobody else makes: 128 random bits.
fn new_key() -> Result<IdempotencyKey, ClientError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Protocol(format!("no random numbers: {error}")))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.parse().map_err(|error: crate::task::InvalidName| ClientError::Protocol(error.to_string()))
}

fn unexpected(asked: &str, answer: impl std::fmt::Debug) -> ClientError {
    let answer: String = format!("{answer:?}").chars().take(200).collect();
    ClientError::Protocol(format!("{asked} was answered with {answer}"))
}
