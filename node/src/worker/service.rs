//! The running worker: starts attempts, watches handlers' time, keeps reports until they are answered.
//!
//! There is no task that everything passes through: the state is behind one lock that is held for microseconds, so that an
//! attempt without a process costs no switch between threads but the one to its handler.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use tokio::runtime;
use tokio::sync::Notify;

use super::handlers::{Handler, HandlerInput, Handlers, LocalHandler, Pool};
use super::output::{LiveChunk, LiveOutput};
use super::protocol::{Assignment, FRAME_TARGET, MAX_MESSAGES, ToLeader, ToMember};
use super::run::{Cancel, Runner, WorkerConfig, launch, resolve};
use super::slots::{Slots, Taken};
use crate::process::of_this_process;
use crate::sandbox::{OutputStream, Report};
use crate::task::{
    AttemptEnd, AttemptNumber, Captured, Fence, HeldAttempt, NodeId, Outcome, Pod, Program, TaskId, TaskSpec, Usage,
};

type Key = (TaskId, AttemptNumber, Fence);

/// What a member tells of its work in a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Every attempt it holds.
    pub held: Vec<HeldAttempt>,
    /// The highest fence among the hand-outs taken or declined.
    pub processed: Fence,
    /// It finishes what it has and takes nothing new.
    pub draining: bool,
    /// Too many reports wait for an answer.
    pub busy: bool,
}

struct Running {
    cancel: Cancel,
    /// A local handler's, which nobody can kill.
    deadline: Option<(Instant, Duration)>,
}

struct State {
    slots: Slots,
    running: BTreeMap<Fence, (Key, Running)>,
    deadlines: BTreeSet<(Instant, Fence)>,
    /// Outputs of attempts that run or whose report has not been answered.
    live: BTreeMap<Fence, (TaskId, AttemptNumber, Arc<LiveOutput>)>,
}

struct Inner {
    config: WorkerConfig,
    runner: Arc<dyn Runner>,
    handlers: Handlers,
    pool: Pool,
    runtime: runtime::Handle,
    state: Mutex<State>,
    /// There is something to send.
    unsent: Notify,
    /// Something ended or was answered.
    changed: Notify,
    /// The earliest deadline is another one.
    rearm: Notify,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pool.close();
    }
}

/// Makes workers.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Starts a worker on the runtime it is called on. It ends when every handle is dropped and nothing runs.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(config: WorkerConfig, runner: Arc<dyn Runner>, handlers: Handlers) -> WorkerHandle {
        let slots = Slots::new(&config.pods);
        let threads =
            config.pods.iter().map(|pod| usize::try_from(pod.slots).unwrap_or(usize::MAX)).fold(0, usize::saturating_add);
        let inner = Arc::new(Inner {
            pool: Pool::new(threads),
            config,
            runner,
            handlers,
            runtime: runtime::Handle::current(),
            state: Mutex::new(State { slots, running: BTreeMap::new(), deadlines: BTreeSet::new(), live: BTreeMap::new() }),
            unsent: Notify::new(),
            changed: Notify::new(),
            rearm: Notify::new(),
        });
        inner.runtime.spawn(of_this_process(watch_deadlines(Arc::downgrade(&inner))));
        WorkerHandle(inner)
    }
}

/// A running worker.
#[derive(Clone)]
pub struct WorkerHandle(Arc<Inner>);

impl std::fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WorkerHandle").field(&self.0.config.name).finish()
    }
}

impl WorkerHandle {
    /// Takes the leader's messages in order. Never waits.
    pub fn receive(&self, messages: Vec<ToMember>) {
        for message in messages {
            match message {
                ToMember::Assign(assignment) => self.assign(assignment),
                ToMember::Cancel { fence, .. } => self.cancel(fence),
                ToMember::Verdict { fence, .. } => self.0.answered(fence),
            }
        }
    }

    /// Takes one hand-out: starts it or declines it.
    pub fn assign(&self, assignment: Assignment) {
        let Assignment { fence, task, attempt, pod, spec } = assignment;
        let spec = ciborium::from_reader::<TaskSpec, _>(&spec[..]);
        let need = spec.as_ref().map(|spec| spec.sandbox.need).unwrap_or_default();
        let declined = self.0.config.declines(need);
        match self.0.lock().slots.take_unless(declined, (task, attempt, fence, pod)) {
            Taken::Start => {}
            Taken::Known => return,
            Taken::Declined(_) => {
                self.0.unsent.notify_one();
                return;
            }
        }
        let key = (task, attempt, fence);
        match spec {
            Ok(spec) => start(&self.0, key, spec),
            Err(error) => {
                let step = "read the task's description".to_owned();
                self.0.finish(key, bare(Outcome::SetupFailed { step, error: error.to_string() }, Duration::ZERO));
            }
        }
    }

    /// Has an attempt end; unknown ones are ignored. A local handler is only told.
    pub fn cancel(&self, fence: Fence) {
        if let Some((_, running)) = self.0.lock().running.get(&fence) {
            running.cancel.cancel();
        }
    }

    /// Has every attempt end.
    pub fn cancel_all(&self) {
        self.0.lock().running.values().for_each(|(_, running)| running.cancel.cancel());
    }

    /// Waits for messages to the leader and takes them: at most a frame's worth. Reports come again after
    /// [`WorkerHandle::resend`] as long as they have not been answered.
    pub async fn outgoing(&self) -> Vec<ToLeader> {
        loop {
            let messages = self.try_outgoing();
            if !messages.is_empty() {
                return messages;
            }
            self.0.unsent.notified().await;
        }
    }

    /// As [`WorkerHandle::outgoing`], but answers with nothing if there is nothing.
    #[must_use]
    pub fn try_outgoing(&self) -> Vec<ToLeader> {
        let mut state = self.0.lock();
        let messages = state.slots.take_unsent(MAX_MESSAGES, FRAME_TARGET);
        if state.slots.has_unsent() {
            self.0.unsent.notify_one();
        }
        messages
    }

    /// Every unanswered report is to be sent again: call it when there is another leader, or another connection to it.
    pub fn resend(&self) {
        self.0.lock().slots.resend();
        self.0.unsent.notify_one();
    }

    /// What a heartbeat says of the work.
    #[must_use]
    pub fn holding(&self) -> Holding {
        let state = self.0.lock();
        Holding {
            pods: self.0.config.pods.clone(),
            held: state.slots.held(),
            processed: state.slots.processed(),
            draining: state.slots.is_draining(),
            busy: state.slots.is_busy(),
        }
    }

    /// Nothing new is taken from here on.
    pub fn drain(&self) {
        self.0.lock().slots.drain();
        self.0.changed.notify_waiters();
    }

    /// Waits until nothing is held: everything has ended and every report has been answered.
    pub async fn idle(&self) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.0.lock().slots.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// What the task's newest attempt here has written from an offset on, waiting for more for at most `patience`. `None` if
    /// no attempt of it is held here (its result is in the ledger, or it runs elsewhere).
    pub async fn output(
        &self,
        task: TaskId,
        stream: OutputStream,
        from: u64,
        patience: Duration,
    ) -> Option<(AttemptNumber, Fence, LiveChunk)> {
        let (attempt, fence, live) = {
            let state = self.0.lock();
            let (fence, (_, attempt, live)) = state.live.iter().rfind(|(_, (of, ..))| *of == task)?;
            (*attempt, *fence, Arc::clone(live))
        };
        Some((attempt, fence, live.read(stream, from, patience).await))
    }
}

fn bare(outcome: Outcome, wall: Duration) -> Report {
    let usage = Usage { wall, ..Usage::default() };
    Report { outcome, stdout: Captured::default(), stderr: Captured::default(), usage }
}

fn start(inner: &Arc<Inner>, key: Key, spec: TaskSpec) {
    let mut forked = false;
    let argv = match &spec.program {
        Program::Command(argv) => argv.clone(),
        Program::Handler(name) => match inner.handlers.get(name) {
            Some(Handler::Local(run)) => return start_local(inner, key, spec, run),
            Some(Handler::Forked(argv)) => {
                forked = true;
                argv(name)
            }
            None => {
                let known: Vec<&str> = inner.handlers.names().map(crate::task::HandlerName::as_str).collect();
                let has = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let why = format!("node {} has no handler {name}; it has: {has}", inner.config.name);
                return inner.finish(key, bare(Outcome::NotFound(why), Duration::ZERO));
            }
        },
    };
    let cancel = Cancel::new();
    let live = Arc::new(LiveOutput::new());
    inner.begin(key, Running { cancel: cancel.clone(), deadline: None }, Some(Arc::clone(&live)));
    let launch = launch(&inner.config, key, &spec, argv);
    let (inner, runtime) = (Arc::clone(inner), inner.runtime.clone());
    let run = async move {
        let running = AssertUnwindSafe(async { inner.runner.run(launch, spec.stdin, cancel, Arc::clone(&live)).await });
        let report = running.catch_unwind().await.unwrap_or_else(|panic| {
            let step = "watch the attempt".to_owned();
            bare(Outcome::SetupFailed { step, error: panic_text(&*panic) }, Duration::ZERO)
        });
        live.close();
        inner.finish(key, if forked { report.of_handler() } else { report });
    };
    runtime.spawn(of_this_process(run));
}

fn start_local(inner: &Arc<Inner>, key: Key, spec: TaskSpec, run: LocalHandler) {
    let limits = resolve(&spec.limits, &inner.config.defaults);
    let cancel = Cancel::new();
    let began = Instant::now();
    let deadline = limits.wall.and_then(|wall| began.checked_add(wall).map(|at| (at, wall)));
    inner.begin(key, Running { cancel: cancel.clone(), deadline }, None);
    let (task, attempt, _) = key;
    let TaskSpec { group, env, stdin, .. } = spec;
    let input = HandlerInput { task, attempt, group, env, input: stdin, cancel: cancel.clone() };
    let worker = Arc::clone(inner);
    let job = Box::new(move || {
        let ended = std::panic::catch_unwind(AssertUnwindSafe(|| run(input)));
        let (outcome, output) = match ended {
            _ if cancel.is_cancelled() => (Outcome::Cancelled, Bytes::new()),
            Ok(Ok(output)) => (Outcome::Exited(0), output),
            Ok(Err(why)) => (Outcome::HandlerFailed(shortened(why)), Bytes::new()),
            Err(panic) => (Outcome::HandlerFailed(format!("the handler panicked: {}", panic_text(&*panic))), Bytes::new()),
        };
        let mut report = bare(outcome, began.elapsed());
        report.stdout = tail(&output, limits.stdout);
        worker.finish(key, report);
    });
    if let Err(error) = inner.pool.run(job) {
        let step = "start a thread for the handler".to_owned();
        inner.finish(key, bare(Outcome::SetupFailed { step, error: error.to_string() }, Duration::ZERO));
    }
}

fn tail(output: &Bytes, limit: u32) -> Captured {
    let skip = output.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    Captured { tail: output.slice(skip..), total: output.len() as u64 }
}

/// A reason is a line for people, not a way to carry data past the limits.
fn shortened(why: String) -> String {
    const LONGEST: usize = 4_096;
    if why.len() <= LONGEST { why } else { why.chars().take(LONGEST / 4).chain("…".chars()).collect() }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    shortened(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned()))
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No handler, runner or waker code runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, key: Key, running: Running, live: Option<Arc<LiveOutput>>) {
        let (task, attempt, fence) = key;
        let mut state = self.lock();
        let mut earliest = false;
        if let Some((at, _)) = running.deadline {
            earliest = state.deadlines.first().is_none_or(|(first, _)| at < *first);
            state.deadlines.insert((at, fence));
        }
        if let Some(live) = live {
            state.live.insert(fence, (task, attempt, live));
        }
        state.running.insert(fence, (key, running));
        drop(state);
        if earliest {
            self.rearm.notify_one();
        }
    }

    /// An attempt has ended and left its slot.
    fn finish(&self, key: Key, report: Report) {
        let fence = key.2;
        let mut state = self.lock();
        if let Some((_, Running { deadline: Some((at, _)), .. })) = state.running.remove(&fence) {
            state.deadlines.remove(&(at, fence));
        }
        let end = self.end(key, report);
        if !state.slots.ended(end, true) {
            state.slots.slot_freed(fence);
        }
        drop(state);
        self.unsent.notify_one();
        self.changed.notify_waiters();
    }

    /// Reports the handlers whose time is over; their slots stay taken. Answers when the next one's time is.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        while let Some((at, fence)) = state.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            state.deadlines.remove(&(at, fence));
            let Some((key, Running { cancel, deadline })) = state.running.get(&fence) else { continue };
            let limit = deadline.map_or(Duration::ZERO, |(_, wall)| wall);
            cancel.cancel();
            let end = self.end(*key, bare(Outcome::TimedOut { limit }, limit));
            state.slots.ended(end, false);
            self.unsent.notify_one();
        }
        state.deadlines.first().map(|(at, _)| *at)
    }

    fn end(&self, (task, attempt, fence): Key, report: Report) -> AttemptEnd {
        let Report { outcome, stdout, stderr, usage } = report;
        let node: NodeId = self.config.node;
        AttemptEnd { task, attempt, fence, node, outcome, stdout, stderr, usage }
    }

    fn answered(&self, fence: Fence) {
        let mut state = self.lock();
        if state.slots.answered(fence) {
            state.live.remove(&fence);
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

/// Ends when the worker is gone.
async fn watch_deadlines(worker: std::sync::Weak<Inner>) {
    const LOOK: Duration = Duration::from_secs(5);
    loop {
        let Some(inner) = worker.upgrade() else { return };
        let now = Instant::now();
        let wait = inner.expire(now).map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
        // Held while waiting: so at most `LOOK` longer than the last handle.
        let _ = tokio::time::timeout(wait, inner.rearm.notified()).await;
    }
}
