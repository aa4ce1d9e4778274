//! A swarm in memory, for tests only: it takes tasks, "runs" them at once by rules of the tests, and remembers requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dunlin_node::api::{
    Api, ApiError, AttemptView, EventKind, EventView, LeaderView, MemberState, NodeView, OutputChunk, PodView, Request, Response,
    SandboxView, StatusView, TaskResult, TaskSelector, TaskSummary, TaskView,
};
use dunlin_node::sandbox::OutputStream;
use dunlin_node::task::{
    AttemptNumber, Captured, DeadWhy, Fence, GroupName, IdempotencyKey, Level, NodeId, Outcome, Program, SwarmId, TaskId,
    TaskSpec, TaskState, Term, UnixMillis, Usage,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;

pub(crate) const NODE: NodeId = NodeId(0x0123_4567_89ab_cdef);

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    grew: Notify,
}

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    keys: BTreeMap<IdempotencyKey, TaskId>,
    events: Vec<EventView>,
    seen: Vec<Request>,
    refusals: Vec<ApiError>,
    leaderless: bool,
}

struct Task {
    spec: TaskSpec,
    state: TaskState,
    outcome: Option<Outcome>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Fake {
    /// The next requests are refused with these, one each.
    pub(crate) fn refuse(&self, refusals: Vec<ApiError>) {
        self.state().refusals = refusals;
    }

    pub(crate) fn lose_leader(&self) {
        self.state().leaderless = true;
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.state().seen.clone()
    }

    pub(crate) fn add_event(&self, text: &str) {
        let mut state = self.state();
        let seq = state.events.len() as u64 + 1;
        state.events.push(event(seq, text));
        drop(state);
        self.inner.grew.notify_waiters();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub(crate) fn event(seq: u64, text: &str) -> EventView {
    EventView {
        seq,
        at: UnixMillis(1_769_850_307_042),
        term: Term(3),
        kind: EventKind::TaskSubmitted,
        task: Some(TaskId(seq)),
        node: Some(NODE),
        attempt: None,
        text: text.to_owned(),
    }
}

/// `echo WORDS`, `cat`, `fail CODE`, `sleep`, `binary`, `handler` names and `panic` (in this API, to be contained).
fn execute(spec: &TaskSpec) -> Task {
    let Program::Command(argv) = &spec.program else { panic!("handlers are not in the fake") };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let outcome = match argv.first().map(String::as_str) {
        Some("echo") => {
            stdout = (argv[1..].join(" ") + "\n").into_bytes();
            Some(Outcome::Exited(0))
        }
        Some("cat") => {
            stdout = spec.stdin.to_vec();
            Some(Outcome::Exited(0))
        }
        Some("binary") => {
            stdout = vec![0xff, 0xfe, 0];
            Some(Outcome::Exited(0))
        }
        Some("fail") => {
            stderr = b"no luck\n".to_vec();
            Some(Outcome::Exited(argv[1].parse().unwrap()))
        }
        Some("late") => Some(Outcome::TimedOut { limit: Duration::from_secs(5) }),
        Some("sleep") => None,
        Some("panic") => panic!("asked for"),
        _ => Some(Outcome::NotFound("no such file".to_owned())),
    };
    let state = match &outcome {
        None => TaskState::Queued,
        Some(outcome) if outcome.is_success() => TaskState::Succeeded,
        Some(_) => TaskState::Dead(DeadWhy::NotRetried),
    };
    Task { spec: spec.clone(), state, outcome, stdout, stderr }
}

impl State {
    fn answer(&mut self, request: &Request) -> Result<Response, ApiError> {
        self.seen.push(request.clone());
        if !self.refusals.is_empty() {
            return Err(self.refusals.remove(0));
        }
        match request {
            Request::Submit { tasks } => self.submit(tasks),
            Request::Status => Ok(Response::Status(Box::new(status(!self.leaderless)))),
            Request::Nodes => Ok(Response::Nodes(vec![node()])),
            Request::Tasks(filter) => {
                let newest_first = (1..=self.tasks.len() as u64).rev().map(TaskId);
                let limit = if filter.limit == 0 { 100 } else { filter.limit as usize };
                let wanted = newest_first.filter(|id| filter.before.is_none_or(|before| *id < before)).take(limit);
                Ok(Response::Tasks(wanted.map(|id| self.summary(id)).collect()))
            }
            Request::Task(id) | Request::Wait { task: id, .. } => Ok(Response::Task(Box::new(self.view(*id)?))),
            Request::Result(id) => self.result(*id),
            Request::Output { task, stream, from, .. } => self.output(*task, *stream, *from),
            Request::Cancel(which) => Ok(Response::Applied(self.cancel(which))),
            Request::Retry(which) => Ok(Response::Applied(self.named(which))),
            Request::Events { from, limit, .. } => {
                let after = self.events.iter().filter(|event| event.seq >= *from).take(*limit as usize);
                Ok(Response::Events(after.cloned().collect()))
            }
            Request::Drain(_) => Ok(Response::Done),
        }
    }

    fn submit(&mut self, tasks: &[(TaskSpec, Option<IdempotencyKey>)]) -> Result<Response, ApiError> {
        let mut ids = Vec::new();
        for (spec, key) in tasks {
            if let Some(known) = key.as_ref().and_then(|key| self.keys.get(key)) {
                ids.push((*known, true));
                continue;
            }
            if spec.label.as_deref() == Some("too large") {
                return Err(ApiError::TooLarge { what: "standard input".into(), size: 9, limit: 8 });
            }
            self.tasks.push(execute(spec));
            let id = TaskId(self.tasks.len() as u64);
            self.keys.extend(key.clone().map(|key| (key, id)));
            ids.push((id, false));
        }
        Ok(Response::Submitted(ids))
    }

    fn get(&self, id: TaskId) -> Result<&Task, ApiError> {
        let index = usize::try_from(id.0).unwrap().wrapping_sub(1);
        self.tasks.get(index).ok_or_else(|| ApiError::NotFound { what: "task".into(), id: id.to_string() })
    }

    fn view(&self, id: TaskId) -> Result<TaskView, ApiError> {
        let task = self.get(id)?;
        let mut spec = task.spec.clone();
        let stdin_len = std::mem::take(&mut spec.stdin).len() as u64;
        let attempt = AttemptView {
            attempt: AttemptNumber(1),
            node: NODE,
            fence: Fence { term: Term(3), sequence: id.0 },
            outcome: task.outcome.clone(),
            ended_at: task.outcome.as_ref().map(|_| UnixMillis(1_769_850_308_000)),
            usage: usage(),
        };
        Ok(TaskView {
            task: id,
            state: task.state.clone(),
            spec,
            stdin_len,
            submitted_at: UnixMillis(1_769_850_307_042),
            ended_at: attempt.ended_at,
            attempts: vec![attempt],
            waits: None,
        })
    }

    fn summary(&self, id: TaskId) -> TaskSummary {
        let task = self.get(id).unwrap();
        TaskSummary {
            task: id,
            state: task.state.name().to_owned(),
            group: task.spec.group.clone(),
            attempts: 1,
            node: Some(NODE),
            command: "echo".to_owned(),
            submitted_at: UnixMillis(1_769_850_307_042),
            ended_at: None,
            outcome: task.outcome.as_ref().map(ToString::to_string),
        }
    }

    fn result(&self, id: TaskId) -> Result<Response, ApiError> {
        let task = self.get(id)?;
        if !task.state.is_final() {
            return Err(ApiError::NotEnded(id));
        }
        let captured = |bytes: &[u8]| Captured { tail: Bytes::copy_from_slice(bytes), total: bytes.len() as u64 };
        Ok(Response::Result(Box::new(TaskResult {
            task: id,
            state: task.state.clone(),
            outcome: task.outcome.clone(),
            attempt: AttemptNumber(1),
            node: Some(NODE),
            stdout: captured(&task.stdout),
            stderr: captured(&task.stderr),
            usage: usage(),
        })))
    }

    fn output(&self, id: TaskId, stream: OutputStream, from: u64) -> Result<Response, ApiError> {
        let task = self.get(id)?;
        let all = if stream == OutputStream::Stdout { &task.stdout } else { &task.stderr };
        // Three bytes at a time, so that readers have to ask again.
        let rest = &all[usize::try_from(from).unwrap().min(all.len())..];
        let piece = &rest[..rest.len().min(3)];
        let end = task.state.is_final() && piece.len() == rest.len();
        let bytes = Bytes::copy_from_slice(piece);
        Ok(Response::Output(OutputChunk { from, bytes, attempt: Some(AttemptNumber(1)), fence: None, end }))
    }

    fn named(&self, which: &TaskSelector) -> Vec<TaskId> {
        let all = (1..=self.tasks.len() as u64).map(TaskId);
        match which {
            TaskSelector::Ids(ids) => ids.clone(),
            TaskSelector::Range(first, last) => all.filter(|id| first <= id && id <= last).collect(),
            TaskSelector::Last => all.rev().take(1).collect(),
            TaskSelector::All => all.collect(),
        }
    }

    fn cancel(&mut self, which: &TaskSelector) -> Vec<TaskId> {
        let open: Vec<_> =
            self.named(which).into_iter().filter(|id| self.get(*id).is_ok_and(|task| !task.state.is_final())).collect();
        for id in &open {
            self.tasks[usize::try_from(id.0).unwrap() - 1].state = TaskState::Cancelled;
        }
        open
    }
}

impl Api for Fake {
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Response, ApiError>> {
        let fake = self.clone();
        async move {
            let patience = match &request {
                Request::Events { patience, .. } => *patience,
                _ => Duration::ZERO,
            };
            let grew = fake.inner.grew.notified();
            let answer = fake.state().answer(&request);
            match answer {
                Ok(Response::Events(events)) if events.is_empty() && !patience.is_zero() => {
                    let _ = tokio::time::timeout(patience, grew).await;
                    fake.state().answer(&request)
                }
                answer => answer,
            }
        }
        .boxed()
    }
}

fn usage() -> Usage {
    Usage { wall: Duration::from_millis(1234), cpu: Duration::from_millis(20), memory_peak: 3 << 20, scratch_peak: 0 }
}

pub(crate) fn status(with_leader: bool) -> StatusView {
    let leader =
        LeaderView { node: NODE, name: "pi1".into(), why: "rank 100, 3 of 3 votes".into(), tenure: Duration::from_secs(245) };
    StatusView {
        swarm: Some(SwarmId([7; 16])),
        node: NODE,
        name: "pi1".into(),
        role: "leader".into(),
        leader: with_leader.then_some(leader),
        term: Term(3),
        voters: vec![NODE, NodeId(2), NodeId(3)],
        age: Duration::ZERO,
        tasks: vec![("queued".into(), 2), ("running".into(), 0), ("succeeded".into(), 40)],
        journal_index: 99,
        journal_bytes_written: 2048,
        warnings: vec!["group gpu is served by one node only".into()],
    }
}

pub(crate) fn node() -> NodeView {
    NodeView {
        node: NODE,
        name: "pi1".into(),
        rank: 100,
        state: MemberState::Live,
        role: "leader".into(),
        last_heard: Some(Duration::from_millis(120)),
        pods: vec![PodView { groups: vec![GroupName::default()], slots: 4, running: vec![TaskId(7)] }],
        sandbox: Some(SandboxView { level: Level::Partial, memory_enforced: true, required: Level::ProcessOnly }),
        address: Some("192.168.1.5:7440".into()),
        version: Some("0.1.0".into()),
    }
}
