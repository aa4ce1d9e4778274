//! For people.

use std::fmt::Write;

use dunlin_node::api::{
    AttemptView, EventKind, EventView, MemberState, NodeView, Obstacle, SandboxView, StatusView, TaskSummary, TaskView,
};
use dunlin_node::client::Submitted;
use dunlin_node::task::{Need, Network, NodeId, Program, TaskId, TaskSpec};

use super::{Render, Table, compact, plain};
use crate::cli::Diagnosis;
use crate::quantity::{show_duration, show_size, show_time};

/// See [`super::Format::Text`].
pub(crate) struct Text;

/// Eight digits tell nodes of one swarm apart well enough for people.
fn short(node: NodeId) -> String {
    node.to_string().chars().take(8).collect()
}

fn dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Live => "live",
        MemberState::Draining => "draining",
        MemberState::Lost => "lost",
        MemberState::Unknown => "not heard yet",
    }
}

/// What a node's sandbox holds, and what it lacks if its owner asks for more.
fn sandbox_name(view: &SandboxView) -> String {
    let holds = view.holds();
    if view.is_enough() { holds.to_string() } else { format!("{holds}: no tasks below {}", view.required) }
}

fn program(spec: &TaskSpec) -> String {
    match &spec.program {
        Program::Command(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        Program::Handler(name) => format!("handler {name}"),
    }
}

/// A word as it would be typed into a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn attempt_line(view: &AttemptView) -> [String; 5] {
    let ended = view.outcome.as_ref();
    [
        view.attempt.to_string(),
        short(view.node),
        ended.map_or_else(|| "running".to_owned(), |outcome| plain(&outcome.to_string())),
        dash(ended.map(|_| show_duration(view.usage.wall))),
        dash(ended.map(|_| show_size(view.usage.memory_peak))),
    ]
}

impl Render for Text {
    fn submitted(&self, tasks: &[Submitted]) -> String {
        let ids = |wanted: bool| -> Vec<TaskId> {
            tasks.iter().filter(|submitted| submitted.duplicate == wanted).map(|submitted| submitted.task).collect()
        };
        let (new, old) = (ids(false), ids(true));
        let mut text = String::new();
        if !new.is_empty() {
            let _ = writeln!(text, "{}", compact(&new));
        }
        if !old.is_empty() {
            let _ = writeln!(text, "{} (already submitted under this key)", compact(&old));
        }
        text
    }

    fn status(&self, view: &StatusView) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<8} {value}");
        };
        match view.swarm {
            Some(swarm) => line("swarm", swarm.to_string()),
            None => line("swarm", "not founded yet".to_owned()),
        }
        match &view.leader {
            Some(leader) => line(
                "leader",
                format!(
                    "{} ({}) since {} in term {}{}",
                    plain(&leader.name),
                    short(leader.node),
                    show_duration(leader.tenure),
                    view.term,
                    if leader.why.is_empty() { String::new() } else { format!(": {}", plain(&leader.why)) }
                ),
            ),
            None => line("leader", format!("none known in term {}; no work is handed out now", view.term)),
        }
        line("voters", format!("{}", view.voters.len()));
        let age = if view.age.is_zero() { String::new() } else { format!(", its view is {} old", show_duration(view.age)) };
        line("answered", format!("{} ({}), {}{age}", plain(&view.name), short(view.node), view.role));
        let counts: Vec<_> = view.tasks.iter().filter(|(_, count)| *count > 0).map(|(state, n)| format!("{n} {state}")).collect();
        line("tasks", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") });
        let written = show_size(view.journal_bytes_written);
        line("journal", format!("entry {}, {written} written by this node since it started", view.journal_index));
        for warning in &view.warnings {
            line("warning", plain(warning));
        }
        text
    }

    fn nodes(&self, views: &[NodeView]) -> String {
        let mut table = Table::new(["NODE", "NAME", "STATE", "ROLE", "RANK", "HEARD", "BUSY", "GROUPS", "SANDBOX", "ADDRESS"]);
        for view in views {
            let (running, slots) =
                view.pods.iter().fold((0, 0), |(running, slots), pod| (running + pod.running.len(), slots + pod.slots));
            let pods = view.pods.iter().map(|pod| pod.groups.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"));
            table.row([
                short(view.node),
                plain(&view.name),
                state_name(view.state).to_owned(),
                view.role.clone(),
                view.rank.to_string(),
                dash(view.last_heard.map(|age| format!("{} ago", show_duration(age)))),
                if view.sandbox.is_none_or(|sandbox| sandbox.is_enough()) {
                    format!("{running}/{slots}")
                } else {
                    "-".to_owned()
                },
                dash(Some(pods.collect::<Vec<_>>().join(" ")).filter(|groups| !groups.is_empty())),
                dash(view.sandbox.as_ref().map(sandbox_name)),
                dash(view.address.clone()),
            ]);
        }
        table.text()
    }

    fn tasks(&self, tasks: &[TaskSummary]) -> String {
        let mut table = Table::new(["TASK", "STATE", "GROUP", "ATTEMPTS", "NODE", "SUBMITTED", "COMMAND", "OUTCOME"]);
        for task in tasks {
            table.row([
                task.task.to_string(),
                task.state.clone(),
                task.group.to_string(),
                task.attempts.to_string(),
                dash(task.node.map(short)),
                show_time(task.submitted_at.0).chars().take(19).collect(),
                plain(&task.command).chars().take(60).collect(),
                task.outcome.as_deref().map(plain).unwrap_or_default(),
            ]);
        }
        if table.is_empty() { "no tasks\n".to_owned() } else { table.text() }
    }

    fn task(&self, view: &TaskView) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<10} {value}");
        };
        let running = view.attempts.last().is_some_and(|last| last.outcome.is_none());
        let state = if running && !view.state.is_final() { "running" } else { view.state.name() };
        let detail = crate::json::state_detail(&view.state).map(|detail| format!(" ({detail})")).unwrap_or_default();
        line("task", view.task.to_string());
        line("state", format!("{state}{detail}"));
        if let Some(waits) = &view.waits {
            line("waits", plain(&waits.text));
        }
        line("command", plain(&program(&view.spec)));
        line("group", view.spec.group.to_string());
        if let Some(label) = &view.spec.label {
            line("label", plain(label));
        }
        for (name, value) in &view.spec.env {
            line("env", plain(&format!("{name}={value}")));
        }
        if view.stdin_len > 0 {
            line("stdin", show_size(view.stdin_len));
        }
        if let Some(limit) = view.spec.limits.wall {
            line("timeout", show_duration(limit));
        }
        let sandbox = &view.spec.sandbox;
        if sandbox.need != Need::default() {
            line("needs", sandbox.need.to_string());
        }
        if sandbox.network != Network::Host {
            line("network", sandbox.network.to_string());
        }
        for path in &sandbox.read {
            line("reads", plain(&path.display().to_string()));
        }
        line("retry", format!("{} attempts at most", view.spec.retry.attempts));
        line("submitted", show_time(view.submitted_at.0));
        if let Some(at) = view.ended_at {
            line("ended", show_time(at.0));
        }
        let scratch = view.attempts.iter().map(|attempt| attempt.usage.scratch_peak).max().unwrap_or(0);
        if scratch > 0 {
            line("scratch", format!("{} at most", show_size(scratch)));
        }
        if !view.attempts.is_empty() {
            let mut table = Table::new(["ATTEMPT", "NODE", "OUTCOME", "TOOK", "MEMORY"]);
            view.attempts.iter().for_each(|attempt| table.row(attempt_line(attempt)));
            text.push('\n');
            text.push_str(&table.text());
        }
        text
    }

    fn waits(&self, view: &TaskView) -> String {
        let task = view.task;
        let Some(waits) = &view.waits else {
            return match view.attempts.last() {
                _ if view.state.is_final() => format!("task {task} has ended: {}\n", view.state.name()),
                Some(last) if last.outcome.is_none() => format!("task {task} does not wait: it runs on {}\n", short(last.node)),
                _ => format!("task {task} waits for a moment: its last attempt has ended and is being written down\n"),
            };
        };
        let mut text = format!("task {task} waits: {}\n", plain(&waits.text));
        if waits.nodes.is_empty() {
            return text;
        }
        let free = waits.nodes.iter().filter(|node| node.obstacle == Obstacle::Nothing).count();
        let all = waits.nodes.len() as u64 + waits.more_nodes;
        let _ = writeln!(text, "\n{free} of {all} nodes could take it now\n");
        let mut table = Table::new(["NODE", "NAME", "WHY NOT"]);
        for node in &waits.nodes {
            table.row([short(node.node), plain(&node.name), plain(&node.obstacle.to_string())]);
        }
        text.push_str(&table.text());
        if waits.more_nodes > 0 {
            let _ = writeln!(text, "and {} more", waits.more_nodes);
        }
        text
    }

    fn applied(&self, done: &str, tasks: &[TaskId]) -> String {
        match tasks.len() {
            0 => format!("no task was {done}: none is in a state in which it could be (`dunlin task ID` shows it)\n"),
            1 => format!("task {} {done}\n", compact(tasks)),
            count => format!("{count} tasks {done}: {}\n", compact(tasks)),
        }
    }

    fn diagnosis(&self, diagnosis: &Diagnosis) -> String {
        let Diagnosis { findings, too_weak, settings, plan } = diagnosis;
        let mut text = format!("sandbox: {}\n", findings.level);
        let held: Vec<String> = findings.held.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  holds: {}", if held.is_empty() { "nothing but limits".to_owned() } else { held.join(", ") });
        for missing in &findings.missing {
            let _ = writeln!(text, "  lacks {}: {}", missing.layer, plain(&missing.reason));
            if !missing.remedy.is_empty() {
                let _ = writeln!(text, "    {}", plain(&missing.remedy));
            }
        }
        let memory = if findings.memory_enforced { "by the kernel, at once" } else { "by adding it up every 50 ms" };
        let _ = writeln!(text, "  memory limits are held {memory}");
        settings.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        if *too_weak {
            text.push_str("  that is less than `sandbox.require` asks for: a node would take no tasks\n");
        }
        if let Some(plan) = plan {
            let _ = write!(text, "\nBefore a task's first instruction:\n\n{plan}");
        }
        text
    }

    fn event(&self, view: &EventView) -> String {
        let time = show_time(view.at.0);
        let clock: String = time.chars().skip(11).take(12).collect();
        format!("{:>6}  {clock}  term {:<3} {}\n", view.seq, view.term.to_string(), happened(view))
    }
}

/// An event as a sentence: its kind says what, its text only what the kind can't.
fn happened(view: &EventView) -> String {
    let task = view.task.map_or_else(|| "a task".to_owned(), |task| format!("task {task}"));
    let attempt = view.attempt.map_or_else(|| "an attempt".to_owned(), |attempt| format!("attempt {attempt}"));
    let node = view.node.map_or_else(|| "a node".to_owned(), |node| format!("node {}", short(node)));
    let what = match view.kind {
        EventKind::Founded => "founded".to_owned(),
        EventKind::LeaderElected => node,
        EventKind::Challenged => format!("{node} challenged the leader"),
        EventKind::NodeJoined => format!("{node} joined"),
        EventKind::NodeLeft => format!("{node} left"),
        EventKind::TaskSubmitted => format!("{task} was submitted"),
        EventKind::AttemptEnded => format!("{task}, {attempt} on {node}"),
        EventKind::ReportRefused => format!("{task}: the report of {attempt} from {node} was refused"),
        EventKind::TaskSucceeded => format!("{task} succeeded: {attempt} on {node}"),
        EventKind::TaskDead => format!("{task} is dead"),
        EventKind::TaskCancelled => format!("{task} was cancelled"),
        EventKind::TaskRetried => format!("{task} was queued again"),
    };
    if view.text.is_empty() {
        return what;
    }
    let joint = if matches!(view.kind, EventKind::LeaderElected) { " " } else { ": " };
    format!("{what}{joint}{}", plain(&view.text))
}
