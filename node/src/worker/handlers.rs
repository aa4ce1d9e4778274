//! Named handlers of the embedding program, and the threads on which the local ones run.
//!
//! A local handler runs inside the node on a thread of its own pool, never on the runtime's. It can't be killed: when its
//! time is over the attempt is reported as such, but its slot stays taken until the handler returns. A forked handler is a
//! process under the sandbox and has no such weakness.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::run::Cancel;
use crate::task::{AttemptNumber, GroupName, HandlerName, TaskId};

/// The most threads for local handlers.
pub const MAX_THREADS: usize = 512;
/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// What a local handler is given.
#[derive(Clone, Debug)]
pub struct HandlerInput {
    /// The task.
    pub task: TaskId,
    /// Which of its attempts: a handler whose effects must not be doubled looks at it.
    pub attempt: AttemptNumber,
    /// The task's group.
    pub group: GroupName,
    /// The task's environment variables.
    pub env: BTreeMap<String, String>,
    /// The task's input.
    pub input: Bytes,
    /// Set when the task was cancelled or its time is over; a long handler should look at it now and then.
    pub cancel: Cancel,
}

/// A handler inside the node: its bytes are the task's standard output, its error the reason of the failure.
pub type LocalHandler = Arc<dyn Fn(HandlerInput) -> Result<Bytes, String> + Send + Sync>;
/// Gives the command that runs a handler in a process of its own.
pub type ForkedHandler = Arc<dyn Fn(&HandlerName) -> Vec<String> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Handler {
    Local(LocalHandler),
    Forked(ForkedHandler),
}

/// The handlers that a node has.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<HandlerName, Handler>);

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Handlers {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler that runs inside the node; replaces one of the same name.
    pub fn local(
        &mut self,
        name: HandlerName,
        run: impl Fn(HandlerInput) -> Result<Bytes, String> + Send + Sync + 'static,
    ) -> &mut Self {
        self.0.insert(name, Handler::Local(Arc::new(run)));
        self
    }

    /// Adds a handler that runs in a process of its own, started by the command that `argv` gives; replaces one of the same
    /// name. The process reads the input from its standard input.
    pub fn forked(&mut self, name: HandlerName, argv: impl Fn(&HandlerName) -> Vec<String> + Send + Sync + 'static) -> &mut Self {
        self.0.insert(name, Handler::Forked(Arc::new(argv)));
        self
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &HandlerName> {
        self.0.keys()
    }

    pub(super) fn get(&self, name: &HandlerName) -> Option<Handler> {
        self.0.get(name).cloned()
    }
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    closed: bool,
}

/// Threads that come when there is work and go when there has been none for a while. The jobs that wait are bounded by the
/// slots of those who hand them in.
#[derive(Clone)]
pub(super) struct Pool {
    queue: Arc<(Mutex<Queue>, Condvar)>,
    max: usize,
}

impl Pool {
    pub(super) fn new(max: usize) -> Self {
        Pool { queue: Arc::default(), max: max.clamp(1, MAX_THREADS) }
    }

    /// Has a job run.
    ///
    /// # Errors
    /// If the operating system gives no thread and there is none: the job was dropped.
    pub(super) fn run(&self, job: Job) -> std::io::Result<()> {
        let (lock, wake) = &*self.queue;
        let mut queue = held(lock);
        queue.jobs.push_back(job);
        if queue.idle >= queue.jobs.len() {
            drop(queue);
            wake.notify_one();
            return Ok(());
        }
        if queue.threads >= self.max {
            return Ok(());
        }
        let shared = Arc::clone(&self.queue);
        match std::thread::Builder::new().name("dunlin-handler".to_owned()).spawn(move || work(&shared)) {
            Ok(_) => queue.threads += 1,
            Err(error) if queue.threads == 0 => {
                queue.jobs.pop_back();
                return Err(error);
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Threads end when they have nothing to do.
    pub(super) fn close(&self) {
        held(&self.queue.0).closed = true;
        self.queue.1.notify_all();
    }
}

fn held(lock: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Jobs run outside the lock, and nothing inside it panics half-way.
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(shared: &(Mutex<Queue>, Condvar)) {
    let (lock, wake) = shared;
    let mut queue = held(lock);
    loop {
        if let Some(job) = queue.jobs.pop_front() {
            drop(queue);
            // The job reports a handler's panic itself; this only keeps the thread.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            queue = held(lock);
            continue;
        }
        if queue.closed {
            break;
        }
        queue.idle += 1;
        let (woken, waited) = wake.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
        queue = woken;
        queue.idle -= 1;
        if waited.timed_out() && queue.jobs.is_empty() {
            break;
        }
    }
    queue.threads -= 1;
}
