//! The demo's last word: a table, and whether all was right.

use std::collections::BTreeMap;
use std::io::Write;

use dunlin_node::api::EventKind;
use dunlin_node::task::{NodeId, Outcome, TaskId};
use serde_json::json;

use super::swarm::Swarm;
use super::takeover::Takeover;
use super::work::{Checked, Work};
use crate::exit::Failure;
use crate::render::{Format, Table};

/// Tasks that the history says were accepted more than once: the events of the journal, not what clients remember.
pub(super) async fn accepted_twice(swarm: &Swarm<'_>, work: &Work) -> Result<Vec<TaskId>, Failure> {
    let mut accepted: BTreeMap<TaskId, u32> = BTreeMap::new();
    let mut last = Failure::error("no node answers with the history");
    for client in work.clients().iter().take(swarm.nodes().len()) {
        let mut events = client.events(0).until_now();
        accepted.clear();
        let read = loop {
            match events.next().await {
                Ok(Some(event)) if event.kind == EventKind::TaskSucceeded => {
                    *accepted.entry(event.task.unwrap_or_default()).or_default() += 1;
                }
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match read {
            Ok(()) => return Ok(accepted.into_iter().filter(|(_, times)| *times > 1).map(|(task, _)| task).collect()),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// What the demo has shown.
#[derive(Debug)]
pub(super) struct Report {
    tasks: usize,
    attempts: usize,
    lost_attempts: usize,
    wrong: Vec<String>,
    unfinished: usize,
    accepted_twice: usize,
    per_node: Vec<(String, usize)>,
    takeover: Option<Takeover>,
}

impl Report {
    pub(super) fn new(swarm: &Swarm<'_>, results: Vec<Checked>, doubles: Vec<TaskId>, takeover: Option<Takeover>) -> Self {
        let nodes = swarm.nodes();
        Report::of(&nodes, &results, doubles.len(), takeover)
    }

    fn of(nodes: &[(NodeId, String)], results: &[Checked], doubles: usize, takeover: Option<Takeover>) -> Self {
        let ends = |wanted: fn(&Outcome) -> bool| -> usize {
            let all = results.iter().flat_map(|checked| &checked.view.attempts);
            all.filter(|attempt| attempt.outcome.as_ref().is_some_and(wanted)).count()
        };
        let succeeded_on = |node: NodeId| {
            let last = results.iter().filter_map(|checked| checked.view.attempts.last());
            last.filter(|attempt| attempt.node == node && attempt.outcome.as_ref().is_some_and(Outcome::is_success)).count()
        };
        let successes = |checked: &Checked| {
            checked.view.attempts.iter().filter(|attempt| attempt.outcome.as_ref().is_some_and(Outcome::is_success)).count()
        };
        Report {
            tasks: results.len(),
            attempts: results.iter().map(|checked| checked.view.attempts.len()).sum(),
            lost_attempts: ends(|outcome| matches!(outcome, Outcome::Lost(_))),
            wrong: results.iter().filter(|checked| !checked.right).map(|checked| checked.file.clone()).collect(),
            unfinished: results.iter().filter(|checked| !checked.view.state.is_final()).count(),
            accepted_twice: doubles.max(results.iter().filter(|checked| successes(checked) > 1).count()),
            per_node: nodes.iter().map(|(node, name)| (name.clone(), succeeded_on(*node))).collect(),
            takeover,
        }
    }

    /// Whether every digest was right, nothing was lost and nothing was accepted twice.
    pub(super) fn is_right(&self) -> bool {
        self.tasks > 0 && self.wrong.is_empty() && self.unfinished == 0 && self.accepted_twice == 0
    }

    pub(super) fn print(&self, format: Format) -> Result<(), Failure> {
        let text = match format {
            Format::Text => self.text(),
            Format::Json => self.json(),
            Format::Quiet => String::new(),
        };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    fn text(&self) -> String {
        let mut table = Table::bare();
        let mut row = |name: &str, value: String, words: String| table.row([name.to_owned(), value, words]);
        let digests = match self.wrong.len() {
            0 => "every digest is the one computed here".to_owned(),
            count => format!("{count} WRONG digests: {}", self.wrong.iter().take(5).cloned().collect::<Vec<_>>().join(", ")),
        };
        row("tasks", self.tasks.to_string(), digests);
        let lost = match self.lost_attempts {
            0 => String::new(),
            count => format!("{count} of them lost with their node, and run again"),
        };
        row("attempts", self.attempts.to_string(), lost);
        for (name, tasks) in &self.per_node {
            row(&format!("  on {name}"), tasks.to_string(), String::new());
        }
        row("lost", self.unfinished.to_string(), String::new());
        row("accepted twice", self.accepted_twice.to_string(), String::new());
        if let Some(seen) = &self.takeover {
            let words = format!("{} was killed; {} leads in term {}", seen.killed, seen.leads, seen.term);
            row("failover", format!("{:.2} s", seen.failover.as_secs_f64()), words);
            row("caught up", format!("{:.2} s", seen.catch_up.as_secs_f64()), format!("after {} was started again", seen.killed));
        }
        let verdict = if self.is_right() { "All right." } else { "NOT all right." };
        format!("{}{verdict}\n", table.text())
    }

    fn json(&self) -> String {
        let takeover = self.takeover.as_ref().map(|seen| {
            json!({
                "killed": seen.killed,
                "leads": seen.leads,
                "term": seen.term,
                "failover_seconds": seen.failover.as_secs_f64(),
                "catch_up_seconds": seen.catch_up.as_secs_f64(),
            })
        });
        let per_node: serde_json::Map<_, _> = self.per_node.iter().map(|(name, tasks)| (name.clone(), json!(tasks))).collect();
        let report = json!({
            "right": self.is_right(),
            "tasks": self.tasks,
            "attempts": self.attempts,
            "lost_attempts": self.lost_attempts,
            "wrong": self.wrong,
            "lost": self.unfinished,
            "accepted_twice": self.accepted_twice,
            "tasks_per_node": per_node,
            "takeover": takeover,
        });
        format!("{report}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dunlin_node::api::{AttemptView, TaskView};
    use dunlin_node::task::{AttemptNumber, DeadWhy, Fence, LostWhy, TaskSpec, TaskState, UnixMillis, Usage};

    use super::*;

    fn checked(task: u64, right: bool, outcomes: Vec<(u64, Outcome)>) -> Checked {
        let attempt = |(index, (node, outcome)): (usize, (u64, Outcome))| AttemptView {
            attempt: AttemptNumber(u32::try_from(index).unwrap() + 1),
            node: NodeId(node),
            fence: Fence::default(),
            outcome: Some(outcome),
            ended_at: None,
            usage: Usage::default(),
        };
        let state = if right { TaskState::Succeeded } else { TaskState::Dead(DeadWhy::AttemptsExhausted) };
        let view = TaskView {
            task: TaskId(task),
            state,
            spec: TaskSpec::command(["sha256sum"]),
            stdin_len: 1,
            submitted_at: UnixMillis(0),
            ended_at: None,
            attempts: outcomes.into_iter().enumerate().map(attempt).collect(),
            waits: None,
        };
        Checked { file: format!("file-{task}"), view, right }
    }

    fn nodes() -> Vec<(NodeId, String)> {
        (1..=2).map(|number| (NodeId(number), format!("n{number}"))).collect()
    }

    fn takeover() -> Takeover {
        let (failover, catch_up) = (Duration::from_millis(840), Duration::from_millis(410));
        Takeover { killed: "n2".into(), leads: "n1".into(), term: 2, failover, catch_up }
    }

    #[test]
    fn a_good_end_is_printed_in_full() {
        let results = [
            checked(1, true, vec![(1, Outcome::Exited(0))]),
            checked(2, true, vec![(2, Outcome::Lost(LostWhy::MemberLost)), (1, Outcome::Exited(0))]),
        ];
        let report = Report::of(&nodes(), &results, 0, Some(takeover()));
        assert!(report.is_right());
        let expected = "\
tasks           2       every digest is the one computed here
attempts        3       1 of them lost with their node, and run again
  on n1         2
  on n2         0
lost            0
accepted twice  0
failover        0.84 s  n2 was killed; n1 leads in term 2
caught up       0.41 s  after n2 was started again
All right.
";
        assert_eq!(report.text(), expected);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["right"], &json["tasks_per_node"]["n1"]), (&json!(true), &json!(2)));
    }

    #[test]
    fn every_kind_of_wrong_is_seen() {
        let good = || checked(1, true, vec![(1, Outcome::Exited(0))]);
        assert!(Report::of(&nodes(), &[good()], 0, None).is_right());
        assert!(!Report::of(&nodes(), &[], 0, None).is_right(), "nothing was shown");
        assert!(!Report::of(&nodes(), &[good()], 1, None).is_right(), "the history has a task accepted twice");
        let twice = checked(2, true, vec![(1, Outcome::Exited(0)), (2, Outcome::Exited(0))]);
        assert!(!Report::of(&nodes(), &[twice], 0, None).is_right());
        let wrong = Report::of(&nodes(), &[good(), checked(3, false, vec![(1, Outcome::Exited(1))])], 0, None);
        assert!(!wrong.is_right());
        assert!(wrong.text().contains("1 WRONG digests: file-3") && wrong.text().ends_with("NOT all right.\n"));
    }
}
