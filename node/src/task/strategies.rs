//! Any value of each noun, for property tests of whatever writes them down. Texts are short: their length proves nothing.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// The same cases each time, so that a change is what turns a test red. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` make it
/// look elsewhere and further: `scripts/check-slow` does.
pub(crate) fn repeatable(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    let rng_seed = match given.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        named => named,
    };
    ProptestConfig { cases: given.cases.max(cases), rng_seed, failure_persistence: None, ..given }
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[a-z ]{0,8}", 1 => "\\PC{0,6}", 1 => Just("\u{0}\u{1b}[31m\n".to_owned())]
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

/// As long as a number of nanoseconds holds.
pub(crate) fn duration() -> impl Strategy<Value = Duration> {
    let nanos = prop_oneof![Just(0), 0..5_000_000_000_u64, any::<u64>(), Just(u64::MAX)];
    nanos.prop_map(Duration::from_nanos)
}

pub(crate) fn group() -> impl Strategy<Value = GroupName> {
    "[a-z0-9][a-z0-9._-]{0,8}".prop_map(|name| name.parse().unwrap())
}

pub(crate) fn key() -> impl Strategy<Value = IdempotencyKey> {
    prop_oneof!["[!-~]{1,40}", "[0-9a-f]{32}"].prop_map(|key| key.parse().unwrap())
}

pub(crate) fn task() -> impl Strategy<Value = TaskId> {
    prop_oneof![0..300_u64, any::<u64>()].prop_map(TaskId)
}

pub(crate) fn node() -> impl Strategy<Value = NodeId> {
    any::<u64>().prop_map(NodeId)
}

pub(crate) fn attempt() -> impl Strategy<Value = AttemptNumber> {
    prop_oneof![1..4_u32, any::<u32>()].prop_map(AttemptNumber)
}

pub(crate) fn fence() -> impl Strategy<Value = Fence> {
    any::<(u64, u64)>().prop_map(|(term, sequence)| Fence { term: Term(term), sequence })
}

pub(crate) fn millis() -> impl Strategy<Value = UnixMillis> {
    any::<u64>().prop_map(UnixMillis)
}

pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let times = [prop::option::of(duration()), prop::option::of(duration()), prop::option::of(duration())];
    (times, any::<([Option<u64>; 4], [Option<u32>; 4])>()).prop_map(
        |([wall, cpu, grace], ([memory, file_size, scratch, output], [processes, open_files, stdout, stderr]))| Limits {
            wall,
            cpu,
            memory,
            processes,
            open_files,
            file_size,
            scratch,
            output,
            stdout,
            stderr,
            grace,
        },
    )
}

pub(crate) fn retry() -> impl Strategy<Value = RetryPolicy> {
    let any = (any::<u32>(), any::<bool>(), duration(), duration());
    let any =
        any.prop_map(|(attempts, on_failure, backoff, backoff_max)| RetryPolicy { attempts, on_failure, backoff, backoff_max });
    prop_oneof![Just(RetryPolicy::default()), any]
}

pub(crate) fn spec() -> impl Strategy<Value = TaskSpec> {
    let handler = "[a-z][a-z0-9-]{0,8}".prop_map(|name| Program::Handler(name.parse().unwrap()));
    let program = prop_oneof![prop::collection::vec(text(), 0..4).prop_map(Program::Command), handler];
    let limits = prop_oneof![Just(Limits::default()), limits()];
    let env = prop::collection::btree_map(text(), text(), 0..3);
    let asked = (limits, prop_oneof![Just(SandboxSpec::default()), sandbox()], retry());
    let spec = (group(), program, env, bytes(), asked, prop::option::of(text())).prop_map(
        |(group, program, env, stdin, (limits, sandbox, retry), label)| TaskSpec {
            group,
            program,
            env,
            stdin,
            limits,
            sandbox,
            retry,
            label,
        },
    );
    // On the heap: samples of whole messages hold several of these, and a test's stack is small.
    spec.boxed()
}

pub(crate) fn need() -> impl Strategy<Value = Need> {
    prop::sample::select(Need::ALL.to_vec())
}

pub(crate) fn sandbox() -> impl Strategy<Value = SandboxSpec> {
    let read = prop::collection::vec(text().prop_map(|name| format!("/{name}").into()), 0..3);
    (need(), prop::sample::select(Network::ALL.to_vec()), read).prop_map(|(need, network, read)| SandboxSpec {
        need,
        network,
        read,
    })
}

pub(crate) fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(Level::ALL.to_vec())
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    let lost =
        prop::sample::select(vec![LostWhy::MemberLost, LostWhy::MemberRestarted, LostWhy::SupervisorDied, LostWhy::MemberLeft]);
    prop_oneof![
        Just(Outcome::Exited(0)),
        any::<i32>().prop_map(Outcome::Exited),
        any::<i32>().prop_map(Outcome::Signaled),
        duration().prop_map(|limit| Outcome::TimedOut { limit }),
        duration().prop_map(|limit| Outcome::CpuLimit { limit }),
        any::<(u64, u64)>().prop_map(|(limit, peak)| Outcome::OutOfMemory { limit, peak }),
        any::<u32>().prop_map(|limit| Outcome::TooManyProcesses { limit }),
        any::<u64>().prop_map(|limit| Outcome::FileTooLarge { limit }),
        any::<(u64, u64)>().prop_map(|(limit, used)| Outcome::ScratchLimit { limit, used }),
        any::<u64>().prop_map(|limit| Outcome::OutputLimit { limit }),
        Just(Outcome::Cancelled),
        text().prop_map(Outcome::NotFound),
        (text(), text()).prop_map(|(step, error)| Outcome::SetupFailed { step, error }),
        (level(), level(), text()).prop_map(|(required, found, why)| Outcome::LevelRefused { required, found, why }),
        text().prop_map(Outcome::HandlerFailed),
        lost.prop_map(Outcome::Lost),
    ]
}

pub(crate) fn captured() -> impl Strategy<Value = Captured> {
    (bytes(), any::<u64>()).prop_map(|(tail, total)| Captured { tail, total })
}

pub(crate) fn usage() -> impl Strategy<Value = Usage> {
    (duration(), duration(), any::<u64>(), any::<u64>()).prop_map(|(wall, cpu, memory_peak, scratch_peak)| Usage {
        wall,
        cpu,
        memory_peak,
        scratch_peak,
    })
}

pub(crate) fn end() -> impl Strategy<Value = AttemptEnd> {
    let captured = || prop_oneof![Just(Captured::default()), captured()];
    (task(), attempt(), fence(), node(), outcome(), captured(), captured(), usage()).prop_map(
        |(task, attempt, fence, node, outcome, stdout, stderr, usage)| AttemptEnd {
            task,
            attempt,
            fence,
            node,
            outcome,
            stdout,
            stderr,
            usage,
        },
    )
}

pub(crate) fn denial() -> impl Strategy<Value = Denial> {
    prop::sample::select(vec![Denial::Fenced, Denial::UnknownTask, Denial::AlreadyEnded, Denial::StaleAttempt, Denial::NotEnded])
}

pub(crate) fn state() -> impl Strategy<Value = TaskState> {
    prop_oneof![
        Just(TaskState::Queued),
        millis().prop_map(|until| TaskState::Delayed { until }),
        Just(TaskState::Succeeded),
        Just(TaskState::Dead(DeadWhy::AttemptsExhausted)),
        Just(TaskState::Dead(DeadWhy::NotRetried)),
        Just(TaskState::Cancelled),
    ]
}

pub(crate) fn ended_attempt() -> impl Strategy<Value = AttemptRecord> {
    (attempt(), fence(), node(), outcome(), millis(), usage()).prop_map(|(attempt, fence, node, outcome, ended_at, usage)| {
        AttemptRecord { attempt, fence, node, outcome, ended_at, usage }
    })
}

pub(crate) fn record() -> impl Strategy<Value = TaskRecord> {
    let attempts = prop::collection::vec(ended_attempt(), 0..4);
    (task(), state(), millis(), prop::option::of(millis()), attempts, any::<u32>()).prop_map(
        |(task, state, submitted_at, ended_at, attempts, forgiven)| TaskRecord {
            task,
            state,
            submitted_at,
            ended_at,
            attempts,
            forgiven,
        },
    )
}

pub(crate) fn pod() -> impl Strategy<Value = Pod> {
    (prop::collection::vec(group(), 0..3), 0..=Pod::MAX_SLOTS).prop_map(|(groups, slots)| Pod { groups, slots })
}

pub(crate) fn held() -> impl Strategy<Value = HeldAttempt> {
    (task(), attempt(), fence(), any::<(u16, bool, bool)>()).prop_map(|(task, attempt, fence, (pod, takes_slot, ended))| {
        HeldAttempt { task, attempt, fence, pod: PodId(pod), takes_slot, ended }
    })
}
