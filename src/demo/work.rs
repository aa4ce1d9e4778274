//! The demo's clients: each file becomes a task, is waited for and its answer compared, whichever node dies meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dunlin_node::api::{ApiError, TaskView};
use dunlin_node::client::{Client, ClientError};
use dunlin_node::task::{InvalidName, TaskSpec, TaskState};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::input::File;
use super::stage::Stage;
use crate::exit::Failure;

/// Files on their way at once.
const SUBMITTERS: usize = 8;

/// Before another node is asked.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of one file.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) file: String,
    pub(super) view: TaskView,
    /// Whether the swarm's digest is the one computed here.
    pub(super) right: bool,
}

/// The files and how far they have come.
pub(super) struct Work {
    files: Vec<File>,
    clients: Vec<Client>,
    next: AtomicUsize,
    progress: watch::Sender<Progress>,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    done: usize,
    /// A submitter has given up, so that the rest can't be waited for.
    failed: bool,
}

/// The submitters at work.
pub(super) struct Submitters(JoinSet<Result<Vec<Checked>, Failure>>);

impl Work {
    pub(super) fn new(files: Vec<File>, clients: Vec<Client>) -> Self {
        Work { files, clients, next: AtomicUsize::new(0), progress: watch::Sender::default() }
    }

    pub(super) fn total(&self) -> usize {
        self.files.len()
    }

    pub(super) fn done(&self) -> usize {
        self.progress.borrow().done
    }

    pub(super) fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Sends the submitters off.
    pub(super) fn start(self: &Arc<Self>, stage: &Stage) -> Submitters {
        let mut submitters = JoinSet::new();
        for number in 0..SUBMITTERS {
            let (work, stage) = (self.clone(), stage.clone());
            submitters.spawn(async move { work.submitter(number, &stage).await });
        }
        Submitters(submitters)
    }

    /// Waits until so many files are done. False if that will not happen, because a submitter has given up.
    pub(super) async fn until_done(&self, count: usize) -> bool {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.failed || progress.done >= count).await;
        reached.is_ok_and(|progress| !progress.failed)
    }

    async fn submitter(&self, number: usize, stage: &Stage) -> Result<Vec<Checked>, Failure> {
        let mut checked = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.files.get(index) else { return Ok(checked) };
            let one = self.one(file, index, number).await;
            self.progress.send_modify(|progress| match &one {
                Ok(_) => progress.done += 1,
                Err(_) => progress.failed = true,
            });
            checked.push(one?);
            stage.progress(self.done(), self.total());
        }
    }

    async fn one(&self, file: &File, index: usize, number: usize) -> Result<Checked, Failure> {
        let mut spec = TaskSpec::command(["sha256sum"]);
        spec.stdin = file.bytes.clone();
        spec.label = Some(file.path.display().to_string().chars().take(200).collect());
        // The same key whichever node is asked, so that asking a second one makes no second task.
        let key = format!("demo-{index}").parse().map_err(|error: InvalidName| Failure::error(error.to_string()))?;
        let question = (spec, Some(key));
        let submit = |client: Client| {
            let (spec, key) = question.clone();
            async move { client.submit(spec, key).await }
        };
        let task = self.ask(number, submit).await?.task;
        let view = self.ask(number, |client| async move { client.wait(task).await }).await?;
        let result = self.ask(number, |client| async move { client.result(task).await }).await?;
        let said = String::from_utf8_lossy(&result.stdout.tail);
        let right = view.state == TaskState::Succeeded && said.split(' ').next() == Some(file.digest.as_str());
        Ok(Checked { file: file.path.display().to_string(), view, right })
    }

    /// Asks one node after the other, beginning with the submitter's own, until one answers. The demo's limit on time
    /// ends this, too.
    async fn ask<T, F>(&self, number: usize, question: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut turn = number;
        loop {
            match question(self.clients[turn % self.clients.len()].clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) if goes_elsewhere(&error) => {
                    turn += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether another node may do better.
fn goes_elsewhere(error: &ClientError) -> bool {
    match error {
        ClientError::NoNode { .. } | ClientError::Lost(_) | ClientError::TimedOut { .. } => true,
        ClientError::Api(error) => matches!(error, ApiError::NoLeader { .. } | ApiError::Overloaded(_)),
        ClientError::Protocol(_) => false,
    }
}

impl Submitters {
    /// What became of every file.
    pub(super) async fn finish(mut self) -> Result<Vec<Checked>, Failure> {
        let mut all = Vec::new();
        while let Some(joined) = self.0.join_next().await {
            all.extend(joined.map_err(|error| Failure::error("a submitter of the demo failed").why(error.to_string()))??);
        }
        Ok(all)
    }
}
