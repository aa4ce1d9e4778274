//! Any request, answer and refusal, for property tests and for the fuzz target to begin with.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::sandbox::OutputStream;
use crate::task::strategies::*;
use crate::task::{Need, NodeId, SwarmId, TaskId, Term};

/// Requests keep seconds and nanoseconds apart: any duration there is.
fn patience() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn stream() -> impl Strategy<Value = OutputStream> {
    prop_oneof![Just(OutputStream::Stdout), Just(OutputStream::Stderr)]
}

fn selector() -> impl Strategy<Value = TaskSelector> {
    prop_oneof![
        prop::collection::vec(task(), 0..4).prop_map(TaskSelector::Ids),
        (task(), task()).prop_map(|(from, to)| TaskSelector::Range(from, to)),
        Just(TaskSelector::Last),
        Just(TaskSelector::All),
    ]
}

fn filter() -> impl Strategy<Value = TaskFilter> {
    (prop::option::of(text()), prop::option::of(group()), any::<(Option<u64>, u32)>())
        .prop_map(|(state, group, (before, limit))| TaskFilter { state, group, before: before.map(TaskId), limit })
}

fn request() -> impl Strategy<Value = Request> {
    let tasks = prop::collection::vec((spec(), prop::option::of(key())), 0..3);
    prop_oneof![
        3 => tasks.prop_map(|tasks| Request::Submit { tasks }),
        1 => Just(Request::Status),
        1 => Just(Request::Nodes),
        1 => filter().prop_map(Request::Tasks),
        1 => task().prop_map(Request::Task),
        1 => task().prop_map(Request::Result),
        1 => (task(), patience()).prop_map(|(task, patience)| Request::Wait { task, patience }),
        1 => (task(), stream(), any::<u64>(), patience())
            .prop_map(|(task, stream, from, patience)| Request::Output { task, stream, from, patience }),
        1 => selector().prop_map(Request::Cancel),
        1 => selector().prop_map(Request::Retry),
        1 => (any::<(u64, u32)>(), patience())
            .prop_map(|((from, limit), patience)| Request::Events { from, limit, patience }),
        1 => node().prop_map(Request::Drain),
    ]
}

fn status() -> impl Strategy<Value = StatusView> {
    let leader =
        (node(), text(), text(), patience()).prop_map(|(node, name, why, tenure)| LeaderView { node, name, why, tenure });
    let lists = (prop::collection::vec((text(), any::<u64>()), 0..3), prop::collection::vec(text(), 0..3));
    let numbers = any::<(Option<[u8; 16]>, u64, u64, u64, Vec<u64>)>();
    (numbers, [text(), text()], node(), prop::option::of(leader), lists, patience()).prop_map(
        |((swarm, term, journal_index, journal_bytes_written, voters), [name, role], node, leader, (tasks, warnings), age)| {
            StatusView {
                swarm: swarm.map(SwarmId),
                node,
                name,
                role,
                leader,
                term: Term(term),
                voters: voters.into_iter().take(5).map(NodeId).collect(),
                age,
                tasks,
                journal_index,
                journal_bytes_written,
                warnings,
            }
        },
    )
}

fn sandbox() -> impl Strategy<Value = SandboxView> {
    (need(), level()).prop_map(|(Need { level, memory_enforced }, required)| SandboxView { level, memory_enforced, required })
}

fn member() -> impl Strategy<Value = NodeView> {
    let state = prop::sample::select(vec![MemberState::Live, MemberState::Draining, MemberState::Lost, MemberState::Unknown]);
    let pod = (prop::collection::vec(group(), 0..2), any::<u32>(), prop::collection::vec(task(), 0..2));
    let pod = pod.prop_map(|(groups, slots, running)| PodView { groups, slots, running });
    let texts = (text(), text(), prop::option::of(text()), prop::option::of(text()));
    let offers = (prop::collection::vec(pod, 0..2), prop::option::of(sandbox()));
    (node(), texts, any::<u32>(), state, prop::option::of(patience()), offers).prop_map(
        |(node, (name, role, address, version), rank, state, last_heard, (pods, sandbox))| NodeView {
            node,
            name,
            rank,
            state,
            role,
            last_heard,
            pods,
            sandbox,
            address,
            version,
        },
    )
}

fn waits() -> impl Strategy<Value = WaitView> {
    let lost = (patience(), any::<bool>(), prop::option::of(need()));
    let obstacle = prop_oneof![
        Just(Obstacle::Nothing),
        (any::<u64>(), prop::collection::vec(task(), 0..3)).prop_map(|(slots, tasks)| Obstacle::Busy { slots, tasks }),
        prop::sample::select(vec![Obstacle::Paused, Obstacle::Draining, Obstacle::OtherGroups, Obstacle::NotHeard]),
        sandbox().prop_map(Obstacle::Short),
        sandbox().prop_map(Obstacle::Lacks),
        lost.prop_map(|(since, served, held)| Obstacle::Lost { since, served, held }),
    ];
    let node = (node(), text(), obstacle).prop_map(|(node, name, obstacle)| NodeWaitView { node, name, obstacle });
    let cause = prop::sample::select(vec![
        WaitCause::Pause,
        WaitCause::Group,
        WaitCause::Need,
        WaitCause::Open,
        WaitCause::Slot,
        WaitCause::Announcements,
        WaitCause::Journal,
        WaitCause::Turn,
    ]);
    (cause, text(), prop::collection::vec(node, 0..3), any::<u64>()).prop_map(|(cause, text, nodes, more_nodes)| WaitView {
        cause,
        text,
        nodes,
        more_nodes,
    })
}

fn whole_task() -> impl Strategy<Value = TaskView> {
    let tried = (attempt(), node(), fence(), prop::option::of(outcome()), prop::option::of(millis()), usage()).prop_map(
        |(attempt, node, fence, outcome, ended_at, usage)| AttemptView { attempt, node, fence, outcome, ended_at, usage },
    );
    let times = (millis(), prop::option::of(millis()));
    let tried = (prop::collection::vec(tried, 0..3), prop::option::of(waits()));
    (task(), state(), spec(), any::<u64>(), times, tried).prop_map(
        |(task, state, spec, stdin_len, (submitted_at, ended_at), (attempts, waits))| TaskView {
            task,
            state,
            spec,
            stdin_len,
            submitted_at,
            ended_at,
            attempts,
            waits,
        },
    )
}

fn result() -> impl Strategy<Value = TaskResult> {
    let ended = (prop::option::of(outcome()), attempt(), prop::option::of(node()));
    (task(), state(), ended, captured(), captured(), usage()).prop_map(
        |(task, state, (outcome, attempt, node), stdout, stderr, usage)| TaskResult {
            task,
            state,
            outcome,
            attempt,
            node,
            stdout,
            stderr,
            usage,
        },
    )
}

fn summary() -> impl Strategy<Value = TaskSummary> {
    let texts = (text(), text(), prop::option::of(text()));
    (task(), texts, group(), any::<u32>(), prop::option::of(node()), millis(), prop::option::of(millis())).prop_map(
        |(task, (state, command, outcome), group, attempts, node, submitted_at, ended_at)| TaskSummary {
            task,
            state,
            group,
            attempts,
            node,
            command,
            submitted_at,
            ended_at,
            outcome,
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    let event = (any::<(u64, u64)>(), millis(), prop::option::of(task()), prop::option::of(attempt()), text()).prop_map(
        |((seq, term), at, task, attempt, text)| EventView {
            seq,
            at,
            term: Term(term),
            kind: EventKind::AttemptEnded,
            task,
            node: None,
            attempt,
            text,
        },
    );
    let chunk = (any::<(u64, bool)>(), bytes(), prop::option::of(attempt()), prop::option::of(fence()))
        .prop_map(|((from, end), bytes, attempt, fence)| OutputChunk { from, bytes, attempt, fence, end });
    prop_oneof![
        prop::collection::vec((task(), any::<bool>()), 0..4).prop_map(Response::Submitted),
        status().prop_map(|status| Response::Status(Box::new(status))),
        prop::collection::vec(member(), 0..3).prop_map(Response::Nodes),
        prop::collection::vec(summary(), 0..3).prop_map(Response::Tasks),
        whole_task().prop_map(|task| Response::Task(Box::new(task))),
        result().prop_map(|result| Response::Result(Box::new(result))),
        chunk.prop_map(Response::Output),
        prop::collection::vec(task(), 0..4).prop_map(Response::Applied),
        prop::collection::vec(event, 0..3).prop_map(Response::Events),
        Just(Response::Done),
    ]
}

fn refusal() -> impl Strategy<Value = ApiError> {
    prop_oneof![
        (patience(), text()).prop_map(|(waited, detail)| ApiError::NoLeader { waited, detail }),
        (text(), text()).prop_map(|(what, id)| ApiError::NotFound { what, id }),
        text().prop_map(ApiError::Invalid),
        (text(), any::<(u64, u64)>()).prop_map(|(what, (size, limit))| ApiError::TooLarge { what, size, limit }),
        text().prop_map(ApiError::Overloaded),
        task().prop_map(ApiError::NotEnded),
        text().prop_map(ApiError::Internal),
    ]
}

/// One of the three, as bytes.
pub(crate) fn messages() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        request().prop_map(|request| wire::encode_request(&request)),
        response().prop_map(|response| wire::encode_response(&response)),
        refusal().prop_map(|refusal| wire::encode_error(&refusal)),
    ]
}

proptest! {
    #[test]
    fn a_request_comes_back_as_it_was(request in request()) {
        prop_assert_eq!(wire::decode_request(&wire::encode_request(&request)).unwrap(), request);
    }

    #[test]
    fn an_answer_comes_back_as_it_was(response in response()) {
        prop_assert_eq!(wire::decode_response(&wire::encode_response(&response)).unwrap(), response);
    }

    #[test]
    fn a_refusal_comes_back_as_it_was(refusal in refusal()) {
        prop_assert_eq!(wire::decode_error(&wire::encode_error(&refusal)).unwrap(), refusal);
    }
}
