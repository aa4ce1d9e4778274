//! What is printed, to the letter.

use std::time::Duration;

use dunlin_node::api::{
    AttemptView, EventKind, EventView, NodeWaitView, Obstacle, SandboxView, TaskSummary, TaskView, WaitCause, WaitView,
};
use dunlin_node::client::Submitted;
use dunlin_node::task::{
    AttemptNumber, DeadWhy, Fence, GroupName, Level, LostWhy, NodeId, Outcome, TaskId, TaskSpec, TaskState, Term, UnixMillis,
    Usage,
};

use super::{Format, compact};
use crate::fake;

fn submitted(task: u64, duplicate: bool) -> Submitted {
    Submitted { task: TaskId(task), duplicate, key: format!("k{task}").parse().unwrap() }
}

fn task() -> TaskView {
    let mut spec = TaskSpec::command(["sh", "-c", "echo it's $X"]);
    spec.env.insert("X".into(), "1".into());
    spec.limits.wall = Some(Duration::from_secs(90));
    let attempt = |number: u32, outcome| AttemptView {
        attempt: AttemptNumber(number),
        node: fake::NODE,
        fence: Fence { term: Term(3), sequence: 1 },
        outcome: Some(outcome),
        ended_at: Some(UnixMillis(1_769_850_308_000)),
        usage: Usage { wall: Duration::from_millis(1500), cpu: Duration::ZERO, memory_peak: 3 << 20, scratch_peak: 0 },
    };
    TaskView {
        task: TaskId(7),
        state: TaskState::Dead(DeadWhy::NotRetried),
        spec,
        stdin_len: 2048,
        submitted_at: UnixMillis(1_769_850_307_042),
        ended_at: Some(UnixMillis(1_769_850_308_000)),
        attempts: vec![attempt(1, Outcome::Lost(LostWhy::MemberLost)), attempt(2, Outcome::Exited(3))],
        waits: None,
    }
}

#[test]
fn ids_are_drawn_together() {
    let ids = |ids: &[u64]| compact(&ids.iter().copied().map(TaskId).collect::<Vec<_>>());
    assert_eq!(ids(&[1, 2, 3, 4, 5, 7, 9, 10]), "1-5,7,9-10");
    assert_eq!(ids(&[5, 4, 6]), "5,4,6");
    assert_eq!(ids(&[u64::MAX]), u64::MAX.to_string());
    assert_eq!(ids(&[]), "");
}

#[test]
fn submissions_print_compactly_for_people_and_one_a_line_for_shells() {
    let tasks = [submitted(1, false), submitted(2, false), submitted(9, true)];
    assert_eq!(Format::Text.renderer().submitted(&tasks), "1-2\n9 (already submitted under this key)\n");
    assert_eq!(Format::Quiet.renderer().submitted(&tasks), "1\n2\n9\n");
    let json = Format::Json.renderer().submitted(&tasks[2..]);
    assert_eq!(json, "{\"tasks\":[{\"duplicate\":true,\"id\":9,\"key\":\"k9\"}]}\n");
}

#[test]
fn a_status_for_people() {
    let expected = "\
swarm    07070707070707070707070707070707
leader   pi1 (01234567) since 4m 05s in term 3: rank 100, 3 of 3 votes
voters   3
answered pi1 (01234567), leader
tasks    2 queued, 40 succeeded
journal  entry 99, 2.0 KiB written by this node since it started
warning  group gpu is served by one node only
";
    assert_eq!(Format::Text.renderer().status(&fake::status(true)), expected);
    let without = Format::Text.renderer().status(&fake::status(false));
    assert!(without.contains("leader   none known in term 3; no work is handed out now\n"), "{without}");
    assert_eq!(Format::Quiet.renderer().status(&fake::status(true)), "0123456789abcdef\n");
    assert_eq!(Format::Quiet.renderer().status(&fake::status(false)), "");
}

#[test]
fn nodes_for_people() {
    let expected = "\
NODE      NAME  STATE  ROLE    RANK  HEARD      BUSY  GROUPS   SANDBOX                   ADDRESS
01234567  pi1   live   leader  100   120ms ago  1/4   default  partial, memory enforced  192.168.1.5:7440
";
    assert_eq!(Format::Text.renderer().nodes(&[fake::node()]), expected);
    let json: serde_json::Value = serde_json::from_str(&Format::Json.renderer().nodes(&[fake::node()])).unwrap();
    let said =
        serde_json::json!({ "level": "partial", "memory_enforced": true, "required": "process-only", "takes_tasks": true });
    assert_eq!(json["nodes"][0]["sandbox"], said);
    let mut short = fake::node();
    short.sandbox = Some(SandboxView { level: Level::Partial, memory_enforced: false, required: Level::Full });
    let text = Format::Text.renderer().nodes(&[short]);
    assert!(text.contains("  -     default  partial: no tasks below full  "), "{text}");
}

#[test]
fn a_task_for_people_shows_every_attempt() {
    let expected = "\
task       7
state      dead (it failed and is not to be retried)
command    sh -c 'echo it'\\''s $X'
group      default
env        X=1
stdin      2.0 KiB
timeout    1m 30s
retry      3 attempts at most
submitted  2026-01-31T09:05:07.042Z
ended      2026-01-31T09:05:08.000Z

ATTEMPT  NODE      OUTCOME                     TOOK  MEMORY
1        01234567  lost: its node went silent  1.5s  3.0 MiB
2        01234567  failed: exit code 3         1.5s  3.0 MiB
";
    assert_eq!(Format::Text.renderer().task(&task()), expected);
    assert_eq!(Format::Quiet.renderer().task(&task()), "dead\n");
}

#[test]
fn why_a_task_waits_is_a_sentence_and_a_table() {
    let sandbox = SandboxView { level: Level::Partial, memory_enforced: false, required: Level::ProcessOnly };
    let node = |number, name: &str, obstacle| NodeWaitView { node: NodeId(number), name: name.into(), obstacle };
    let waits = WaitView {
        cause: WaitCause::Need,
        text: "it needs full; the nodes of group gpu hold: n2 partial".into(),
        nodes: vec![
            node(0x1000_0000_0000_0001, "n2", Obstacle::Lacks(sandbox)),
            node(0x1100_0000_0000_0001, "n1\u{1b}[2J", Obstacle::OtherGroups),
        ],
        more_nodes: 3,
    };
    let queued = TaskView { state: TaskState::Queued, attempts: vec![], ended_at: None, waits: Some(waits), ..task() };
    let expected = "\
task 7 waits: it needs full; the nodes of group gpu hold: n2 partial

0 of 5 nodes could take it now

NODE      NAME    WHY NOT
10000000  n2      holds partial
11000000  n1\u{fffd}[2J  does not serve the group
and 3 more
";
    assert_eq!(Format::Text.renderer().waits(&queued), expected);
    let text = Format::Text.renderer().task(&queued);
    assert!(text.contains("\nwaits      it needs full; the nodes of group gpu hold: n2 partial\n"), "{text}");
    assert_eq!(Format::Quiet.renderer().waits(&queued), "it needs full; the nodes of group gpu hold: n2 partial\n");
    let json: serde_json::Value = serde_json::from_str(&Format::Json.renderer().waits(&queued)).unwrap();
    assert_eq!((&json["waits"]["cause"], &json["waits"]["nodes"][1]["obstacle"]), (&"need".into(), &"other_groups".into()));
    let json: serde_json::Value = serde_json::from_str(&Format::Json.renderer().task(&queued)).unwrap();
    assert_eq!(json["waits"]["nodes"][0]["text"], "holds partial");
    assert_eq!(Format::Text.renderer().waits(&task()), "task 7 has ended: dead\n");
}

#[test]
fn lists_of_tasks_and_what_was_done_to_them() {
    let summary = TaskSummary {
        task: TaskId(12),
        state: "dead".into(),
        group: GroupName::default(),
        attempts: 3,
        node: None,
        command: "printf \u{1b}[2J".into(),
        submitted_at: UnixMillis(1_769_850_307_042),
        ended_at: None,
        outcome: Some("failed: exit code 1".into()),
    };
    let text = Format::Text.renderer().tasks(&[summary]);
    let expected = "\
TASK  STATE  GROUP    ATTEMPTS  NODE  SUBMITTED            COMMAND      OUTCOME
12    dead   default  3         -     2026-01-31T09:05:07  printf \u{fffd}[2J  failed: exit code 1
";
    assert_eq!(text, expected, "a command can't move the terminal's cursor");
    assert_eq!(Format::Text.renderer().tasks(&[]), "no tasks\n");
    assert_eq!(Format::Text.renderer().applied("cancelled", &[TaskId(3)]), "task 3 cancelled\n");
    assert_eq!(Format::Text.renderer().applied("cancelled", &[TaskId(3), TaskId(4)]), "2 tasks cancelled: 3-4\n");
    assert!(Format::Text.renderer().applied("cancelled", &[]).starts_with("no task was cancelled"));
}

#[test]
fn events_print_one_a_line() {
    let event = fake::event(42, "");
    assert_eq!(Format::Text.renderer().event(&event), "    42  09:05:07.042  term 3   task 42 was submitted\n");
    assert_eq!(Format::Quiet.renderer().event(&event), "42\n");
    let dead =
        EventView { kind: EventKind::TaskDead, ..fake::event(43, "no attempt is left; the last one: failed: exit code 3") };
    let told = "    43  09:05:07.042  term 3   task 43 is dead: no attempt is left; the last one: failed: exit code 3\n";
    assert_eq!(Format::Text.renderer().event(&dead), told);
    let led = EventView { kind: EventKind::LeaderElected, task: None, ..fake::event(44, "leads term 3") };
    assert!(Format::Text.renderer().event(&led).contains(" leads term 3\n"), "{}", Format::Text.renderer().event(&led));
    let json: serde_json::Value = serde_json::from_str(&Format::Json.renderer().event(&event)).unwrap();
    assert_eq!((&json["seq"], &json["kind"]), (&serde_json::json!(42), &serde_json::json!("task_submitted")));
}
