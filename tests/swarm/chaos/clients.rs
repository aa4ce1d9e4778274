//! Clients outside the swarm: they submit, cancel, retry and look, through any node's socket, and write down what they saw.
//!
//! A request is written down before it is sent; what has no clear answer is a maybe, and its key is tried again until it
//! has one. Each request is sent once and on a connection of its own, so that a socket that can't be connected to is a
//! clear no.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dunlin_history::{Answer, Record, Request as Asked, State};
use dunlin_node::api::{ApiError, Request, Response, TaskSelector};
use dunlin_node::client::{Client, ClientError};
use dunlin_node::task::{RetryPolicy, TaskId, TaskSpec, TaskState};
use tokio::task::JoinSet;

use super::dice::Dice;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Clients at the same time.
const CLIENTS: usize = 4;

/// Keys that one client leaves open, at most; the oldest is given up, as a client does that has died.
const OPEN_KEYS: usize = 8;

/// The history file.
pub(crate) struct Recorder {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
}

impl Recorder {
    pub(crate) fn new(path: PathBuf) -> Self {
        let file = Mutex::new(BufWriter::new(File::create(&path).unwrap()));
        Recorder { path, file }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&self, record: &Record) {
        self.write_line(&serde_json::to_string(record).unwrap());
    }

    pub(crate) fn write_line(&self, line: &str) {
        writeln!(self.file.lock().unwrap_or_else(PoisonError::into_inner), "{line}").unwrap();
    }

    pub(crate) fn flush(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush().unwrap();
    }

    /// Asks once and writes down both sides of it; answers with the task if it was acknowledged.
    pub(crate) async fn ask(&self, socket: &Path, asked: Asked, request: Request) -> Option<TaskId> {
        self.write(&Record::Invoked { request: asked.clone() });
        let client = Client::unix(socket).with_patience(Duration::ZERO);
        let answer = match tokio::time::timeout(PATIENCE, client.call(&request)).await {
            Ok(Ok(Response::Submitted(ids))) => ids.first().map_or(Answer::Maybe, |(task, _)| Answer::Acknowledged(task.0)),
            Ok(Ok(Response::Applied(tasks))) => tasks.first().map_or(Answer::Failed, |task| Answer::Acknowledged(task.0)),
            // Nothing was sent, or the swarm says that it will never be.
            Ok(Err(ClientError::NoNode { .. } | ClientError::Api(ApiError::Invalid(_) | ApiError::TooLarge { .. }))) => {
                Answer::Failed
            }
            Ok(_) | Err(_) => Answer::Maybe,
        };
        self.write(&Record::Answered { request: asked, answer });
        if let Answer::Acknowledged(task) = answer { Some(TaskId(task)) } else { None }
    }

    /// Submits until it is acknowledged.
    pub(crate) async fn submit(&self, socket: &Path, key: &str, spec: TaskSpec) -> TaskId {
        crate::harness::eventually(&format!("{key} is acknowledged"), crate::harness::LONG, async || {
            self.ask(socket, Asked::Submit(key.to_owned()), submission(key, spec.clone())).await.ok_or("maybe")
        })
        .await
    }

    async fn look(&self, socket: &Path, task: TaskId) -> Option<State> {
        let client = Client::unix(socket).with_patience(Duration::ZERO);
        let view = tokio::time::timeout(PATIENCE, client.task(task)).await.ok()?.ok()?;
        let state = match view.state {
            TaskState::Queued => State::Queued,
            TaskState::Delayed { .. } => State::Delayed,
            TaskState::Succeeded => State::Succeeded,
            TaskState::Dead(_) => State::Dead,
            TaskState::Cancelled => State::Cancelled,
        };
        self.write(&Record::Observed { task: task.0, state });
        Some(state)
    }
}

fn submission(key: &str, spec: TaskSpec) -> Request {
    Request::Submit { tasks: vec![(spec, Some(key.parse().unwrap()))] }
}

/// Clients at work.
pub(crate) struct Clients {
    running: JoinSet<()>,
    enough: Arc<AtomicBool>,
}

impl Clients {
    /// Sends some clients to work on these sockets.
    pub(crate) fn at_work(recorder: &Arc<Recorder>, sockets: &[PathBuf], dice: &mut Dice) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for number in 0..CLIENTS {
            let mut client = OneClient {
                number,
                recorder: Arc::clone(recorder),
                sockets: sockets.to_vec(),
                dice: dice.split(),
                keys: 0,
                open: Vec::new(),
                tasks: Vec::new(),
            };
            let enough = Arc::clone(&enough);
            running.spawn(async move {
                while !enough.load(Ordering::Relaxed) {
                    client.step().await;
                    // The pace of the load, not a wait for something.
                    tokio::time::sleep(client.dice.millis(50..350)).await;
                }
            });
        }
        Clients { running, enough }
    }

    /// Lets each finish what it has begun.
    pub(crate) async fn stop(mut self) {
        self.enough.store(true, Ordering::Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
    }
}

struct OneClient {
    number: usize,
    recorder: Arc<Recorder>,
    sockets: Vec<PathBuf>,
    dice: Dice,
    keys: u32,
    /// Keys without an answer yet, and what is asked for under them.
    open: Vec<(String, TaskSpec)>,
    /// Tasks that it knows of, newest last.
    tasks: Vec<TaskId>,
}

impl OneClient {
    async fn step(&mut self) {
        let socket = self.sockets[self.dice.below(self.sockets.len())].clone();
        let known = self.tasks.last().copied();
        match (self.dice.below(20), known) {
            (0..2, Some(task)) => {
                let request = Request::Cancel(TaskSelector::Ids(vec![task]));
                self.recorder.ask(&socket, Asked::Cancel(task.0), request).await;
            }
            (2..7, Some(_)) => {
                let task = self.tasks[self.dice.below(self.tasks.len())];
                let state = self.recorder.look(&socket, task).await;
                if matches!(state, Some(State::Dead | State::Cancelled)) && self.dice.below(2) == 0 {
                    let request = Request::Retry(TaskSelector::Ids(vec![task]));
                    self.recorder.ask(&socket, Asked::Retry(task.0), request).await;
                }
            }
            _ => self.submit(&socket).await,
        }
    }

    /// Something new, or a key that has no answer yet.
    async fn submit(&mut self, socket: &Path) {
        if self.open.len() >= OPEN_KEYS {
            self.open.remove(0);
        }
        let again = !self.open.is_empty() && self.dice.below(2) == 0;
        let (key, spec) = if again {
            let place = self.dice.below(self.open.len());
            self.open.remove(place)
        } else {
            self.keys += 1;
            (format!("client-{}-{}", self.number, self.keys), self.something())
        };
        match self.recorder.ask(socket, Asked::Submit(key.clone()), submission(&key, spec.clone())).await {
            Some(task) => self.tasks.push(task),
            None => self.open.push((key, spec)),
        }
    }

    fn something(&mut self) -> TaskSpec {
        let mut spec = match self.dice.below(10) {
            0..5 => TaskSpec::command(["true"]),
            5..8 => TaskSpec::command(["sleep".to_owned(), format!("0.{}", self.dice.below(10))]),
            _ => TaskSpec::command(["false"]),
        };
        spec.retry = RetryPolicy { backoff: Duration::from_millis(200), ..RetryPolicy::default() };
        spec
    }
}
