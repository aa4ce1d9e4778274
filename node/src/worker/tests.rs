//! The worker with a stand-in runner and real threads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::protocol::{Assignment, DeclineWhy, ProtocolError, ToLeader, ToMember, pack, unpack};
use super::*;
use crate::sandbox::{Launch, Output, OutputStream, Report, ResolvedLimits};
use crate::task::Denial;
use crate::task::{
    AttemptEnd, AttemptNumber, Captured, Fence, HandlerName, Level, Need, NodeId, Outcome, Pod, PodId, TaskId, TaskSpec, Term,
    Usage,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Writes its argument to its output, then runs until it is cancelled if the argument is `wait`.
struct Echo;

impl Runner for Echo {
    fn run(&self, launch: Launch, stdin: Bytes, cancel: Cancel, live: Arc<LiveOutput>) -> BoxFuture<'static, Report> {
        async move {
            let text = Bytes::from(format!("{} {}", launch.argv.join(" "), String::from_utf8_lossy(&stdin)));
            live.push(&Output { stream: OutputStream::Stdout, bytes: text.clone() });
            let mut outcome = Outcome::Exited(0);
            match launch.argv[0].as_str() {
                "wait" => {
                    cancel.cancelled().await;
                    outcome = Outcome::Cancelled;
                }
                "panic" => panic!("the runner broke"),
                _ => {}
            }
            let total = text.len() as u64;
            Report { outcome, stdout: Captured { tail: text, total }, stderr: Captured::default(), usage: Usage::default() }
        }
        .boxed()
    }
}

fn worker(slots: u32, handlers: Handlers) -> WorkerHandle {
    let config = WorkerConfig {
        node: NodeId(7),
        name: "pi-7".to_owned(),
        pods: vec![Pod { groups: vec!["default".parse().unwrap()], slots }],
        defaults: ResolvedLimits::default(),
        scratch_root: PathBuf::from("/scratch"),
        binary: PathBuf::from("/bin/dunlin"),
        path: DEFAULT_PATH.to_owned(),
        holds: Need { level: Level::Partial, memory_enforced: false },
        requires: Level::ProcessOnly,
    };
    Worker::start(config, Arc::new(Echo), handlers)
}

fn fence(sequence: u64) -> Fence {
    Fence { term: Term(1), sequence }
}

fn assignment(number: u64, spec: &TaskSpec) -> Assignment {
    let mut bytes = Vec::new();
    ciborium::into_writer(spec, &mut bytes).unwrap();
    Assignment { fence: fence(number), task: TaskId(number), attempt: AttemptNumber(1), pod: PodId(0), spec: bytes.into() }
}

fn verdict(number: u64) -> ToMember {
    ToMember::Verdict { task: TaskId(number), attempt: AttemptNumber(1), fence: fence(number), denied: None }
}

fn handler(name: &str) -> HandlerName {
    name.parse().unwrap()
}

async fn next(worker: &WorkerHandle) -> Vec<ToLeader> {
    tokio::time::timeout(PATIENCE, worker.outgoing()).await.unwrap()
}

async fn end(worker: &WorkerHandle) -> AttemptEnd {
    match next(worker).await.pop() {
        Some(ToLeader::Report { end, .. }) => *end,
        other => panic!("no report but {other:?}"),
    }
}

#[tokio::test]
async fn a_command_is_run_and_reported_until_answered() {
    let worker = worker(1, Handlers::new());
    let mut spec = TaskSpec::command(["echo", "hello"]);
    spec.stdin = Bytes::from_static(b"input");
    worker.receive(vec![ToMember::Assign(assignment(1, &spec))]);
    let first = end(&worker).await;
    assert_eq!((first.task, first.node, &first.outcome), (TaskId(1), NodeId(7), &Outcome::Exited(0)));
    assert_eq!(&first.stdout.tail[..], b"echo hello input");
    assert_eq!(worker.try_outgoing(), []);
    // The slot is free, the report is not answered.
    let holding = worker.holding();
    assert!(holding.held[0].ended && !holding.held[0].takes_slot);
    worker.resend();
    assert_eq!(end(&worker).await, first);
    let (attempt, _, chunk) = worker.output(TaskId(1), OutputStream::Stdout, 5, PATIENCE).await.unwrap();
    assert_eq!((attempt, &chunk.bytes[..], chunk.end), (AttemptNumber(1), &b"hello input"[..], true));
    worker.receive(vec![verdict(1)]);
    assert_eq!(worker.holding().held, []);
    assert_eq!(worker.output(TaskId(1), OutputStream::Stdout, 0, PATIENCE).await, None);
}

#[tokio::test]
async fn a_cancel_ends_a_command_and_drain_waits_for_the_answer() {
    let worker = worker(2, Handlers::new());
    worker.assign(assignment(1, &TaskSpec::command(["wait"])));
    worker.drain();
    worker.assign(assignment(2, &TaskSpec::command(["echo"])));
    let declined = next(&worker).await;
    assert!(matches!(declined[..], [ToLeader::Decline { why: DeclineWhy::Draining, .. }]), "{declined:?}");
    assert_eq!(worker.holding().processed, fence(2));
    worker.receive(vec![ToMember::Cancel { task: TaskId(1), attempt: AttemptNumber(1), fence: fence(1) }]);
    assert_eq!(end(&worker).await.outcome, Outcome::Cancelled);
    assert!(worker.idle().now_or_never().is_none());
    worker.receive(vec![verdict(1)]);
    tokio::time::timeout(PATIENCE, worker.idle()).await.unwrap();
}

#[tokio::test]
async fn what_needs_more_than_the_node_holds_is_declined_before_it_begins_and_takes_no_slot() {
    let worker = worker(1, Handlers::new());
    let mut spec = TaskSpec::command(["echo"]);
    spec.sandbox.need.level = Level::Full;
    worker.assign(assignment(1, &spec));
    let declined = next(&worker).await;
    assert!(matches!(declined[..], [ToLeader::Decline { why: DeclineWhy::Unmet, .. }]), "{declined:?}");
    assert_eq!((worker.holding().held, worker.holding().processed), (vec![], fence(1)));
    spec.sandbox.need.level = Level::Partial;
    worker.assign(assignment(2, &spec));
    assert_eq!(end(&worker).await.outcome, Outcome::Exited(0));
}

#[tokio::test]
async fn broken_specs_unknown_handlers_and_a_broken_runner_are_reported_in_words() {
    let mut handlers = Handlers::new();
    handlers.local(handler("known"), |_| Ok(Bytes::new()));
    let worker = worker(9, handlers);
    let mut broken = assignment(1, &TaskSpec::command(["echo"]));
    broken.spec = Bytes::from_static(b"\xff\xff");
    worker.assign(broken);
    assert!(matches!(end(&worker).await.outcome, Outcome::SetupFailed { .. }));
    worker.assign(assignment(2, &TaskSpec::handler(handler("unknown"), vec![])));
    let said = end(&worker).await.outcome.to_string();
    assert!(said.contains("node pi-7 has no handler unknown; it has: known"), "{said}");
    worker.assign(assignment(3, &TaskSpec::command(["panic"])));
    let said = end(&worker).await.outcome.to_string();
    assert!(said.contains("the runner broke"), "{said}");
}

#[tokio::test]
async fn handlers_return_bytes_errors_and_survive_their_panics() {
    let mut handlers = Handlers::new();
    handlers.local(handler("upper"), |input| Ok(input.input.to_ascii_uppercase().into()));
    handlers.local(handler("fail"), |_| Err("no disk".to_owned()));
    handlers.local(handler("panic"), |_| panic!("oh no"));
    handlers.forked(handler("fork"), |name| vec!["dunlin".to_owned(), "handler".to_owned(), name.to_string()]);
    let worker = worker(1, handlers);
    worker.assign(assignment(1, &TaskSpec::handler(handler("upper"), "abc")));
    let upper = end(&worker).await;
    assert_eq!((&upper.stdout.tail[..], upper.outcome), (&b"ABC"[..], Outcome::Exited(0)));
    worker.assign(assignment(2, &TaskSpec::handler(handler("fail"), "")));
    assert_eq!(end(&worker).await.outcome, Outcome::HandlerFailed("no disk".to_owned()));
    worker.assign(assignment(3, &TaskSpec::handler(handler("panic"), "")));
    assert_eq!(end(&worker).await.outcome, Outcome::HandlerFailed("the handler panicked: oh no".to_owned()));
    worker.assign(assignment(4, &TaskSpec::handler(handler("fork"), "input")));
    assert_eq!(&end(&worker).await.stdout.tail[..], b"dunlin handler fork input");
}

#[tokio::test]
async fn a_handler_that_outlives_its_time_is_reported_and_keeps_its_slot_until_it_returns() {
    let (release, blocked) = sync_channel::<()>(0);
    let blocked = std::sync::Mutex::new(blocked);
    let mut handlers = Handlers::new();
    handlers.local(handler("stuck"), move |input| {
        let waited = blocked.lock().unwrap().recv_timeout(PATIENCE);
        assert!(waited.is_ok() && input.cancel.is_cancelled());
        Ok(Bytes::new())
    });
    let worker = worker(1, handlers);
    let mut spec = TaskSpec::handler(handler("stuck"), "");
    spec.limits.wall = Some(Duration::from_millis(5));
    worker.assign(assignment(1, &spec));
    let reported = next(&worker).await;
    assert!(
        matches!(&reported[..], [ToLeader::Report { end, slot_free: false }] if end.outcome.exit_code() == 124),
        "{reported:?}"
    );
    worker.receive(vec![verdict(1)]);
    assert!(worker.holding().held[0].takes_slot);
    worker.assign(assignment(2, &TaskSpec::command(["echo"])));
    assert!(matches!(next(&worker).await[..], [ToLeader::Decline { why: DeclineWhy::NoFreeSlot, .. }]));
    release.send(()).unwrap();
    tokio::time::timeout(PATIENCE, worker.idle()).await.unwrap();
    worker.assign(assignment(3, &TaskSpec::command(["echo"])));
    assert_eq!(end(&worker).await.task, TaskId(3));
}

#[tokio::test]
async fn a_thousand_handlers_run_once_each_and_never_more_than_the_slots() {
    let most = Arc::new(std::sync::Mutex::new((0_u32, 0_u32)));
    let seen = Arc::clone(&most);
    let mut handlers = Handlers::new();
    handlers.local(handler("count"), move |input| {
        let now = |by: i32| {
            let mut seen = seen.lock().unwrap();
            seen.0 = seen.0.saturating_add_signed(by);
            seen.1 = seen.1.max(seen.0);
        };
        now(1);
        std::thread::yield_now();
        now(-1);
        Ok(input.task.to_string().into())
    });
    let worker = worker(4, handlers);
    let mut waiting: Vec<u64> = (1..=1_000).collect();
    let mut fence_of = 0;
    let mut done = BTreeMap::new();
    while done.len() < 1_000 {
        for task in waiting.drain(..waiting.len().min(6)) {
            fence_of += 1;
            let spec = TaskSpec::handler(handler("count"), "");
            worker.assign(Assignment { fence: fence(fence_of), task: TaskId(task), ..assignment(1, &spec) });
        }
        for message in next(&worker).await {
            match message {
                ToLeader::Report { end, .. } => {
                    worker.receive(vec![ToMember::Verdict {
                        task: end.task,
                        attempt: end.attempt,
                        fence: end.fence,
                        denied: Some(Denial::AlreadyEnded),
                    }]);
                    assert_eq!(done.insert(end.task, end.stdout.tail), None);
                }
                ToLeader::Decline { task, why, .. } => {
                    assert_eq!(why, DeclineWhy::NoFreeSlot);
                    waiting.push(task.0);
                }
            }
        }
    }
    assert!(most.lock().unwrap().1 <= 4);
    assert_eq!(worker.holding().held, []);
}

#[test]
fn old_terms_unknown_pods_and_too_many_reports_are_declined() {
    let mut slots = Slots::new(&[Pod { groups: vec![], slots: 1 }]);
    let one = AttemptNumber(1);
    let at = |term, sequence| Fence { term: Term(term), sequence };
    let take = |slots: &mut Slots, fence, pod| slots.take(TaskId(1), one, fence, PodId(pod));
    assert_eq!(take(&mut slots, at(2, 1), 0), Taken::Start);
    assert_eq!(take(&mut slots, at(2, 1), 0), Taken::Known);
    assert_eq!(take(&mut slots, at(1, 9), 0), Taken::Declined(DeclineWhy::Fenced));
    assert_eq!(take(&mut slots, at(2, 2), 0), Taken::Declined(DeclineWhy::NoFreeSlot));
    assert_eq!(take(&mut slots, at(2, 3), 5), Taken::Declined(DeclineWhy::NoSuchPod));
    assert_eq!(slots.take_unsent(9, 9).len(), 3);
    let mut sequence = 3;
    let mut fence = at(2, 1);
    loop {
        let (outcome, usage) = (Outcome::Exited(0), Usage::default());
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let end = AttemptEnd { task: TaskId(1), attempt: one, fence, node: NodeId(7), outcome, stdout, stderr, usage };
        assert!(slots.ended(end.clone(), true));
        assert!(!slots.ended(end, true));
        sequence += 1;
        fence = at(2, sequence);
        match take(&mut slots, fence, 0) {
            Taken::Start => {}
            other => break assert_eq!(other, Taken::Declined(DeclineWhy::TooManyReports)),
        }
    }
    assert_eq!(slots.held().len(), MAX_REPORTS + 4);
    assert!(slots.is_busy());
    assert!(slots.answered(at(2, 1)) && !slots.answered(at(2, 1)));
    assert_eq!(take(&mut slots, at(3, 1), 0), Taken::Start);
}

#[test]
fn frames_carry_many_messages_in_order_and_any_bytes_are_an_answer() {
    let spec = TaskSpec::command(["echo"]);
    let messages: Vec<ToMember> = (1..=2_500).flat_map(|n| [ToMember::Assign(assignment(n, &spec)), verdict(n)]).collect();
    let frames = pack(&messages);
    assert_eq!(frames.len(), 5);
    let back: Vec<ToMember> = frames.iter().flat_map(|frame| unpack::<ToMember>(frame).unwrap()).collect();
    assert_eq!(back, messages);
    let many: Vec<u8> = frames.iter().flatten().copied().collect();
    assert!(matches!(unpack::<ToMember>(&many), Err(ProtocolError::TooMany(_))));
    assert!(matches!(unpack::<ToMember>(&vec![0; super::protocol::MAX_FRAME + 1]), Err(ProtocolError::TooLarge(_))));
    assert!(matches!(unpack::<ToLeader>(&frames[0]), Err(ProtocolError::Malformed(_))));
    assert!(unpack::<ToMember>(&[]).unwrap().is_empty());
    let mut heavy = assignment(1, &spec);
    heavy.spec = vec![0; 2 << 20].into();
    let frames = pack(&[ToMember::Assign(heavy), verdict(1)]);
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|frame| frame.len() < super::protocol::MAX_FRAME));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = unpack::<ToMember>(&bytes);
        let _ = unpack::<ToLeader>(&bytes);
        let _ = crate::roster::Heartbeat::decode(&bytes);
    }
}
