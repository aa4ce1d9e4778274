//! Rows come back as they were, whole or not at all, and announce nothing that is not there.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;
use crate::task::strategies::*;

fn state_row() -> impl Strategy<Value = StateRow> {
    (
        record(),
        (group(), need()),
        any::<(u32, bool)>(),
        [any_duration(), any_duration()],
        any::<Option<[u8; 16]>>(),
        any::<Option<u64>>(),
    )
        .prop_map(|(record, (group, need), (attempts, on_failure), [backoff, backoff_max], key, finished)| {
            let retry = RetryPolicy { attempts, on_failure, backoff, backoff_max };
            StateRow { record, group, need, retry, key, finished }
        })
}

/// Rows keep seconds and nanoseconds apart: any duration there is.
fn any_duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn events_row() -> impl Strategy<Value = EventsRow> {
    let kind = prop::sample::select(KINDS.to_vec());
    let event = (any::<u16>(), kind, any::<(Option<u64>, Option<u64>, Option<u32>)>(), text());
    let event = event.prop_map(|(offset, kind, (task, node, attempt), text)| EventRow {
        offset,
        kind,
        task: task.map(TaskId),
        node: node.map(NodeId),
        attempt: attempt.map(AttemptNumber),
        text,
    });
    (millis(), any::<u64>(), prop::collection::vec(event, 0..4)).prop_map(|(at, term, events)| EventsRow {
        at,
        term: Term(term),
        events,
    })
}

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

/// Rows of both kinds, as bytes.
pub(in crate::journal) fn samples() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        state_row().prop_map(|row| encoded(|out| row.encode(out))),
        events_row().prop_map(|row| encoded(|out| row.encode(out))),
    ]
}

proptest! {
    #[test]
    fn a_tasks_row_comes_back_as_it_was_and_not_in_part(row in state_row()) {
        let bytes = encoded(|out| row.encode(out));
        for cut in 0..bytes.len() {
            prop_assert!(StateRow::decode(row.record.task, &bytes[..cut]).is_err(), "cut at {}", cut);
        }
        prop_assert_eq!(StateRow::decode(row.record.task, &bytes), Ok(row));
    }

    #[test]
    fn a_row_of_events_comes_back_as_it_was_and_not_in_part(row in events_row()) {
        let bytes = encoded(|out| row.encode(out));
        for cut in 0..bytes.len() {
            prop_assert!(EventsRow::decode(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
        prop_assert_eq!(EventsRow::decode(&bytes), Ok(row));
    }
}

#[test]
fn a_row_that_announces_more_than_it_holds_is_refused_at_once() {
    let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let mut events = vec![VERSION, 0, 0];
    events.extend_from_slice(&endless);
    assert_eq!(EventsRow::decode(&events), Err(BadRow("too short")));
    let row = [&[VERSION, 0, 0, 0, 0][..], &endless].concat();
    assert_eq!(StateRow::decode(TaskId(1), &row), Err(BadRow("too short")));
}

#[test]
fn rows_of_the_first_version_are_read() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut row = proptest::strategy::Strategy::new_tree(&state_row(), &mut runner).unwrap().current();
    let usage = Usage { memory_peak: 7, ..Usage::default() };
    row.record.attempts = vec![AttemptRecord {
        attempt: AttemptNumber(1),
        fence: Fence { term: Term(1), sequence: 1 },
        node: NodeId(1),
        ended_at: UnixMillis(1),
        usage,
        outcome: Outcome::Exited(0),
    }];
    let mut bytes = encoded(|out| row.encode(out));
    let scratch = bytes.len() - 2; // Behind it stands an outcome of one byte.
    assert_eq!((bytes[0], bytes.remove(scratch)), (VERSION, 0));
    bytes[0] = 1;
    assert_eq!(StateRow::decode(row.record.task, &bytes), Ok(row));
    bytes[0] = VERSION + 1;
    assert_eq!(StateRow::decode(TaskId(1), &bytes), Err(BadRow("version")));
}
