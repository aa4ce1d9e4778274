//! The fold's rules, one by one, and that folding again gives the same rows.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::api::EventKind;
use crate::journal::engine::log_id;
use crate::journal::entry::{Denial, FORMAT, Fact, Member, MemberRole};
use crate::task::*;

struct Bench {
    ledger: Ledger,
    next: u64,
    _folder: tempfile::TempDir,
}

const NODE: NodeId = NodeId(7);

impl Bench {
    fn new() -> Self {
        Self::keeping(RETENTION)
    }

    fn keeping(retention: Retention) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = JournalConfig::new(folder.path(), || UnixMillis(0));
        let ledger = Ledger::open(&config, retention, &Written::default()).unwrap();
        Bench { ledger, next: 1, _folder: folder }
    }

    fn opened(term: u64) -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.fold(term, 0, vec![Fact::Opened { leader: NODE }]), [Reply::Done]);
        bench
    }

    fn fold(&mut self, term: u64, at: u64, facts: Vec<Fact>) -> Vec<Reply> {
        let entry = Entry { format: FORMAT, term: Term(term), at: UnixMillis(at), facts };
        let change = (log_id(term, self.next), Change::Facts(Arc::new(entry)));
        self.next += 1;
        self.ledger.fold(&[change], 100).unwrap().remove(0)
    }

    fn one(&mut self, fact: Fact) -> Reply {
        self.fold(1, 1_000, vec![fact]).remove(0)
    }

    fn submit(&mut self, retry: RetryPolicy) -> TaskId {
        let mut spec = TaskSpec::command(["x"]);
        spec.retry = retry;
        match self.one(Fact::Submitted { spec: Box::new(spec), key: None }) {
            Reply::Submitted { task, duplicate: false } => task,
            other => panic!("{other:?}"),
        }
    }

    fn state(&self, task: TaskId) -> TaskState {
        self.ledger.task(task).unwrap().unwrap().state
    }

    fn count(&self, name: &str) -> u64 {
        self.ledger.counts().unwrap().iter().filter(|(_, state, _)| *state == name).map(|(_, _, count)| count).sum()
    }

    fn rows(&self) -> Vec<u8> {
        let path = self._folder.path().join("rows");
        self.ledger.export(&path).unwrap();
        std::fs::read(path).unwrap()
    }
}

fn ended(task: TaskId, attempt: u32, outcome: Outcome) -> Fact {
    Fact::AttemptEnded(Box::new(AttemptEnd {
        task,
        attempt: AttemptNumber(attempt),
        fence: Fence { term: Term(1), sequence: 1 },
        node: NODE,
        outcome,
        stdout: Captured::default(),
        stderr: Captured::default(),
        usage: Usage::default(),
    }))
}

fn lost() -> Outcome {
    Outcome::Lost(LostWhy::MemberLost)
}

#[test]
fn ids_count_from_one_and_a_known_key_gives_the_first_task() {
    let mut bench = Bench::opened(1);
    let keyed = |key: &str| Fact::Submitted { spec: Box::new(TaskSpec::command(["x"])), key: Some(key.parse().unwrap()) };
    assert_eq!(bench.one(keyed("a")), Reply::Submitted { task: TaskId(1), duplicate: false });
    assert_eq!(bench.one(keyed("b")), Reply::Submitted { task: TaskId(2), duplicate: false });
    assert_eq!(bench.one(keyed("a")), Reply::Submitted { task: TaskId(1), duplicate: true });
    let twice = bench.fold(1, 0, vec![keyed("c"), keyed("c")]);
    assert_eq!(twice[1], Reply::Submitted { task: TaskId(3), duplicate: true });
    assert_eq!(bench.count("queued"), 3);
}

#[test]
fn facts_of_another_term_than_the_opened_one_do_not_count() {
    let mut bench = Bench::opened(3);
    let submit = || Fact::Submitted { spec: Box::new(TaskSpec::command(["x"])), key: None };
    let fenced = [Reply::Denied(Denial::Fenced)];
    assert_eq!(bench.fold(2, 0, vec![submit()]), fenced);
    assert_eq!(bench.fold(4, 0, vec![submit()]), fenced);
    assert_eq!(bench.fold(2, 0, vec![Fact::Opened { leader: NODE }]), fenced);
    assert_eq!(bench.fold(3, 0, vec![Fact::Reclaimed { leader: NODE }]), [Reply::Done]);
    let both = bench.fold(4, 0, vec![Fact::Opened { leader: NodeId(9) }, submit()]);
    assert_eq!(both[1], Reply::Submitted { task: TaskId(1), duplicate: false });
    assert_eq!(bench.ledger.opened().unwrap(), Some((Term(4), NodeId(9))));
    assert_eq!(bench.fold(3, 0, vec![ended(TaskId(1), 1, Outcome::Exited(0))]), fenced);
    let last = bench.ledger.events(0, 100).unwrap().pop().unwrap();
    assert_eq!((last.kind, last.task), (EventKind::ReportRefused, Some(TaskId(1))));
}

#[test]
fn a_success_ends_the_task_and_nothing_else_counts_after_it() {
    let mut bench = Bench::opened(1);
    let task = bench.submit(RetryPolicy::default());
    assert_eq!(bench.one(ended(task, 2, Outcome::Exited(0))), Reply::Denied(Denial::StaleAttempt));
    assert_eq!(bench.one(ended(task, 1, Outcome::Exited(0))), Reply::Ended { state: TaskState::Succeeded });
    for late in [ended(task, 1, lost()), ended(task, 2, Outcome::Exited(0)), Fact::Cancelled { task }] {
        assert_eq!(bench.one(late), Reply::Denied(Denial::AlreadyEnded));
    }
    assert_eq!(bench.one(Fact::Retried { task }), Reply::Denied(Denial::NotEnded));
    assert_eq!(bench.one(ended(TaskId(99), 1, lost())), Reply::Denied(Denial::UnknownTask));
    assert_eq!((bench.count("queued"), bench.count("succeeded")), (0, 1));
    assert_eq!(bench.ledger.queues_with_ready().unwrap(), []);
    assert_eq!(bench.ledger.task(task).unwrap().unwrap().ended_at, Some(UnixMillis(1_000)));
}

#[test]
fn failures_wait_longer_each_time_until_the_task_is_dead() {
    let mut bench = Bench::opened(1);
    let task = bench.submit(RetryPolicy::default());
    bench.one(ended(task, 1, Outcome::Exited(1)));
    assert_eq!(bench.state(task), TaskState::Delayed { until: UnixMillis(2_000) });
    assert_eq!(bench.ledger.due(UnixMillis(1_999), 10).unwrap(), []);
    assert_eq!(bench.ledger.next_due().unwrap(), Some(UnixMillis(2_000)));
    assert_eq!(bench.ledger.due(UnixMillis(2_000), 10).unwrap()[0].attempt, AttemptNumber(2));
    // The leader hands a due task out without writing that down; its end counts all the same.
    bench.one(ended(task, 2, Outcome::Signaled(9)));
    assert_eq!(bench.state(task), TaskState::Delayed { until: UnixMillis(3_000) });
    bench.one(ended(task, 3, Outcome::NotFound("x".to_owned())));
    assert_eq!(bench.state(task), TaskState::Dead(DeadWhy::AttemptsExhausted));
    assert_eq!(bench.ledger.next_due().unwrap(), None);
    assert_eq!(bench.count("dead"), 1);
    let query = TaskQuery { state: Some("dead".to_owned()), limit: 10, ..TaskQuery::default() };
    assert_eq!(bench.ledger.tasks(&query).unwrap().len(), 1);

    assert_eq!(bench.one(Fact::Retried { task }), Reply::Done);
    let record = bench.ledger.task(task).unwrap().unwrap();
    assert_eq!((record.state.clone(), record.forgiven, record.next_attempt()), (TaskState::Queued, 3, AttemptNumber(4)));
    bench.one(ended(task, 4, Outcome::Exited(1)));
    assert!(matches!(bench.state(task), TaskState::Delayed { .. }));
}

#[test]
fn what_is_not_to_be_retried_dies_at_once_unless_the_node_was_to_blame() {
    let mut bench = Bench::opened(1);
    let once = RetryPolicy { on_failure: false, ..RetryPolicy::default() };
    let task = bench.submit(once);
    bench.one(ended(task, 1, Outcome::Exited(1)));
    assert_eq!(bench.state(task), TaskState::Dead(DeadWhy::NotRetried));
    let task = bench.submit(once);
    bench.one(ended(task, 1, lost()));
    assert_eq!(bench.state(task), TaskState::Queued);
    bench.one(ended(task, 2, Outcome::SetupFailed { step: "fork".to_owned(), error: "EAGAIN".to_owned() }));
    assert!(matches!(bench.state(task), TaskState::Delayed { .. }));
}

#[test]
fn a_lost_attempt_keeps_the_tasks_place_but_counts() {
    let mut bench = Bench::opened(1);
    let first = bench.submit(RetryPolicy { attempts: 2, ..RetryPolicy::default() });
    let second = bench.submit(RetryPolicy::default());
    bench.one(ended(first, 1, lost()));
    let ready = bench.ledger.ready(&Queue::default(), None, 10).unwrap();
    assert_eq!(ready.iter().map(|task| (task.task, task.attempt.0)).collect::<Vec<_>>(), [(first, 2), (second, 1)]);
    assert_eq!(bench.ledger.ready(&Queue::default(), Some(first), 10).unwrap().len(), 1);
    bench.one(ended(first, 2, lost()));
    assert_eq!(bench.state(first), TaskState::Dead(DeadWhy::AttemptsExhausted));
}

#[test]
fn only_the_last_attempts_output_is_kept() {
    let mut bench = Bench::opened(1);
    let task = bench.submit(RetryPolicy::default());
    let with = |attempt, text: &'static str| {
        let Fact::AttemptEnded(mut end) = ended(task, attempt, lost()) else { unreachable!() };
        end.stdout = Captured { tail: Bytes::from_static(text.as_bytes()), total: 100 };
        Fact::AttemptEnded(end)
    };
    bench.one(with(1, "one"));
    bench.one(with(2, "two"));
    let output = bench.ledger.output(task).unwrap();
    assert_eq!((&output.stdout.tail[..], output.stdout.total), (&b"two"[..], 100));
    bench.one(ended(task, 3, Outcome::Exited(0)));
    assert_eq!(bench.ledger.output(task).unwrap(), Output::default());
}

#[test]
fn groups_are_told_apart_in_the_index_and_the_counts() {
    let mut bench = Bench::opened(1);
    for group in ["b", "a", "b", "a-1"] {
        let mut spec = TaskSpec::command(["x"]);
        spec.group = group.parse().unwrap();
        bench.one(Fact::Submitted { spec: Box::new(spec), key: None });
    }
    let queues = bench.ledger.queues_with_ready().unwrap();
    let seen: Vec<(&str, u64)> = queues.iter().map(|(queue, task)| (queue.group.as_str(), task.0)).collect();
    assert_eq!(seen, [("a", 2), ("a-1", 4), ("b", 1)]);
    let query = TaskQuery { group: Some("b".parse().unwrap()), state: Some("queued".to_owned()), limit: 1, before: None };
    assert_eq!(bench.ledger.tasks(&query).unwrap()[0].0.task, TaskId(3));
    let query = TaskQuery { before: Some(TaskId(3)), limit: 10, ..TaskQuery::default() };
    assert_eq!(bench.ledger.tasks(&query).unwrap().len(), 2);
    assert_eq!(bench.ledger.unfinished(Some(TaskId(1)), 2).unwrap(), [TaskId(2), TaskId(3)]);
}

const FULL: Need = Need { level: Level::Full, memory_enforced: false };

fn needing(need: Need) -> Fact {
    let mut spec = TaskSpec::command(["x"]);
    spec.sandbox.need = need;
    spec.retry.attempts = 2;
    Fact::Submitted { spec: Box::new(spec), key: None }
}

#[test]
fn tasks_of_one_group_that_need_different_things_wait_in_different_queues() {
    let mut bench = Bench::opened(1);
    for need in [Need::default(), FULL, Need::default(), FULL] {
        bench.one(needing(need));
    }
    let full = Queue { need: FULL, ..Queue::default() };
    let queues = [(Queue::default(), TaskId(1)), (full.clone(), TaskId(2))];
    assert_eq!(bench.ledger.queues_with_ready().unwrap(), queues);
    let tasks = |queue: &Queue, after| -> Vec<u64> {
        bench.ledger.ready(queue, after, 10).unwrap().iter().map(|ready| ready.task.0).collect()
    };
    assert_eq!((tasks(&Queue::default(), None), tasks(&full, None)), (vec![1, 3], vec![2, 4]));
    assert_eq!(tasks(&full, Some(TaskId(2))), [4]);
    // Who lists a group's tasks need not know of queues.
    let group = Some(GroupName::default());
    let query = TaskQuery { group, state: Some("queued".to_owned()), limit: 3, before: Some(TaskId(4)) };
    let listed: Vec<u64> = bench.ledger.tasks(&query).unwrap().iter().map(|(record, _)| record.task.0).collect();
    assert_eq!(listed, [3, 2, 1]);
}

#[test]
fn a_task_keeps_its_need_through_a_failure_a_loss_and_a_retry_by_hand() {
    let mut bench = Bench::opened(1);
    let full = Queue { need: FULL, ..Queue::default() };
    bench.one(needing(FULL));
    bench.one(ended(TaskId(1), 1, Outcome::Exited(1)));
    let delayed = bench.ledger.delayed((UnixMillis(0), TaskId(0)), 10).unwrap();
    assert_eq!((delayed[0].task.queue.clone(), bench.ledger.queue(TaskId(1)).unwrap()), (full.clone(), Some(full.clone())));
    assert_eq!(bench.ledger.due(UnixMillis(1 << 40), 10).unwrap()[0].queue, full);
    bench.one(ended(TaskId(1), 2, Outcome::Exited(1)));
    assert_eq!(bench.state(TaskId(1)), TaskState::Dead(DeadWhy::AttemptsExhausted));
    for fact in [Fact::Retried { task: TaskId(1) }, ended(TaskId(1), 3, lost())] {
        bench.one(fact);
        assert_eq!(bench.ledger.queues_with_ready().unwrap(), [(full.clone(), TaskId(1))]);
    }
    bench.one(Fact::Cancelled { task: TaskId(1) });
    assert_eq!(bench.ledger.queues_with_ready().unwrap(), []);
}

#[test]
fn members_come_and_go() {
    let mut bench = Bench::new();
    let member = |id, name: &str| Member { node: NodeId(id), name: name.to_owned(), rank: 1, role: MemberRole::Voter };
    let swarm = SwarmId([1; 16]);
    let founded = |swarm| Fact::Founded { swarm, members: vec![member(1, "a"), member(2, "b")] };
    assert_eq!(bench.fold(1, 0, vec![founded(swarm)]), [Reply::Done]);
    assert_eq!(bench.fold(1, 0, vec![founded(swarm)]), [Reply::Done]);
    assert_eq!(bench.fold(1, 0, vec![founded(SwarmId([2; 16]))]), [Reply::Denied(Denial::Fenced)]);
    bench.fold(1, 0, vec![Fact::Opened { leader: NODE }, Fact::Joined(member(3, "c")), Fact::Left { node: NodeId(1) }]);
    let names: Vec<String> = bench.ledger.members().unwrap().into_iter().map(|member| member.name).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(bench.ledger.swarm().unwrap(), Some(swarm));
}

#[test]
fn finished_tasks_and_events_are_kept_up_to_their_bounds() {
    let mut bench = Bench::keeping(Retention { finished: 3, events: 5 });
    bench.fold(1, 0, vec![Fact::Opened { leader: NODE }]);
    let keyed =
        |n: u64| Fact::Submitted { spec: Box::new(TaskSpec::command(["x"])), key: Some(format!("k{n}").parse().unwrap()) };
    for n in 1..=10 {
        bench.fold(1, 0, vec![keyed(n), ended(TaskId(n), 1, Outcome::Exited(0))]);
    }
    let left = bench.ledger.tasks(&TaskQuery { limit: 100, ..TaskQuery::default() }).unwrap();
    assert_eq!(left.iter().map(|(record, _)| record.task.0).collect::<Vec<_>>(), [10, 9, 8]);
    assert_eq!(bench.count("succeeded"), 3);
    assert_eq!(bench.ledger.spec(TaskId(7)).unwrap(), None);
    assert_eq!(bench.one(keyed(7)), Reply::Submitted { task: TaskId(11), duplicate: false });
    let events = bench.ledger.events(0, 100).unwrap();
    assert_eq!(events.iter().map(|event| event.seq >> 10).collect::<std::collections::BTreeSet<_>>().len(), 5);
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert_eq!(bench.ledger.events(events[2].seq, 1).unwrap(), events[2..3]);
}

#[test]
fn a_snapshot_holds_every_row_and_a_damaged_one_changes_nothing() {
    let mut bench = Bench::opened(1);
    let task = bench.submit(RetryPolicy::default());
    bench.one(ended(task, 1, Outcome::Exited(3)));
    let rows = bench.rows();
    let path = bench._folder.path().join("rows");
    let mut other = Bench::opened(9);
    let before = other.rows();
    for position in [0, 9, 30, rows.len() / 2, rows.len() - 1] {
        let mut broken = rows.clone();
        broken[position] ^= 0x10;
        std::fs::write(&path, &broken).unwrap();
        other.ledger.import(&path).unwrap_err();
        std::fs::write(&path, &rows[..position]).unwrap();
        other.ledger.import(&path).unwrap_err();
    }
    assert_eq!(other.rows(), before);
    std::fs::write(&path, &rows).unwrap();
    other.ledger.import(&path).unwrap();
    assert_eq!(other.rows(), rows);
    other.next = 100;
    assert_eq!(other.submit(RetryPolicy::default()), TaskId(2));
}

/// A snapshot of the ledger that these entries add up to.
pub(in crate::journal) fn snapshot_of(entries: Vec<Vec<Fact>>) -> Vec<u8> {
    let mut bench = Bench::opened(1);
    for facts in entries {
        bench.fold(1, 5, facts);
    }
    bench.rows()
}

/// A snapshot of these rows, with a right checksum: what a peer can make without knowing what a row is.
fn forged(rows: &[(u8, &[u8], &[u8])]) -> Vec<u8> {
    snapshot::forged(rows)
}

#[test]
fn a_snapshots_row_that_no_table_can_hold_is_refused_without_a_panic() {
    let mut bench = Bench::opened(1);
    let before = bench.rows();
    let path = bench._folder.path().join("forged");
    let bad: [(u8, &[u8], &[u8]); 7] = [
        (0, b"\xff", b""),
        (1, &[0; 7], b""),
        (3, &[0; 8], &[0; 15]),
        (4, &[9, 1], &[0; 12]),
        (5, &[0; 16], &[0; 11]),
        (6, &[0; 15], &[0; 8]),
        (12, b"", b""),
    ];
    for (number, key, value) in bad {
        std::fs::write(&path, forged(&[(number, key, value)])).unwrap();
        let refused = bench.ledger.import(&path).unwrap_err();
        assert!(matches!(refused, LedgerError::Snapshot(_)), "table {number}: {refused}");
    }
    assert_eq!(bench.rows(), before);
    assert_eq!(bench.submit(RetryPolicy::default()), TaskId(1), "the ledger goes on");
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let task = (1_u64..8).prop_map(TaskId);
    let outcome = prop_oneof![Just(Outcome::Exited(0)), Just(Outcome::Exited(1)), Just(lost()), Just(Outcome::Cancelled)];
    prop_oneof![
        3 => (any::<bool>(), 0_u8..5).prop_map(|(on_failure, key)| {
            let mut spec = TaskSpec::command(["x"]);
            spec.retry = RetryPolicy { on_failure, attempts: 2, backoff: Duration::from_millis(5), ..RetryPolicy::default() };
            Fact::Submitted { spec: Box::new(spec), key: (key > 0).then(|| format!("k{key}").parse().unwrap()) }
        }),
        4 => (task.clone(), 1_u32..4, outcome).prop_map(|(task, attempt, outcome)| ended(task, attempt, outcome)),
        1 => task.clone().prop_map(|task| Fact::Cancelled { task }),
        1 => task.prop_map(|task| Fact::Retried { task }),
        1 => Just(Fact::Opened { leader: NODE }),
        1 => Just(Fact::Challenged { candidate: NODE }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_entries_give_the_same_rows_however_they_are_batched(
        entries in prop::collection::vec((1_u64..3, prop::collection::vec(any_fact(), 1..6)), 1..20),
        batch in 1_usize..7,
    ) {
        let small = Retention { finished: 3, events: 4 };
        let mut live = Bench::keeping(small);
        let mut changes = Vec::new();
        for (index, (term, facts)) in entries.into_iter().enumerate() {
            live.fold(term, index as u64, facts.clone());
            let entry = Entry { format: FORMAT, term: Term(term), at: UnixMillis(index as u64), facts };
            changes.push((log_id(term, index as u64 + 1), Change::Facts(Arc::new(entry))));
        }
        let again = Bench::keeping(small);
        for some in changes.chunks(batch) {
            again.ledger.fold(some, 0).unwrap();
        }
        prop_assert_eq!(live.rows(), again.rows());
        // The counts, kept by difference, are those of the states.
        let all = live.ledger.tasks(&TaskQuery { limit: 1_000, ..TaskQuery::default() }).unwrap();
        for state in ["queued", "delayed", "succeeded", "dead", "cancelled"] {
            let counted = all.iter().filter(|(record, _)| record.state.name() == state).count() as u64;
            prop_assert_eq!(live.count(state), counted, "{}", state);
        }
        let queued = live.count("queued");
        prop_assert_eq!(live.ledger.ready(&Queue::default(), None, 1_000).unwrap().len() as u64, queued);
    }
}
