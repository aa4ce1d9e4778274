//! Only ids or states, one a line, for shells.

use dunlin_node::api::{EventView, NodeView, StatusView, TaskSummary, TaskView};
use dunlin_node::client::Submitted;
use dunlin_node::task::TaskId;

use super::{Render, plain};
use crate::cli::Diagnosis;

/// See [`super::Format::Quiet`].
pub(crate) struct Quiet;

fn lines(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string() + "\n").collect()
}

impl Render for Quiet {
    fn submitted(&self, tasks: &[Submitted]) -> String {
        lines(tasks.iter().map(|submitted| submitted.task))
    }

    /// The leader's id; nothing if there is none.
    fn status(&self, view: &StatusView) -> String {
        lines(view.leader.iter().map(|leader| leader.node))
    }

    fn nodes(&self, views: &[NodeView]) -> String {
        lines(views.iter().map(|view| view.node))
    }

    fn tasks(&self, tasks: &[TaskSummary]) -> String {
        lines(tasks.iter().map(|task| task.task))
    }

    fn task(&self, view: &TaskView) -> String {
        lines(std::iter::once(view.state.name()))
    }

    /// The sentence; nothing if it does not wait.
    fn waits(&self, view: &TaskView) -> String {
        lines(view.waits.iter().map(|waits| plain(&waits.text)))
    }

    fn applied(&self, _done: &str, tasks: &[TaskId]) -> String {
        lines(tasks.iter())
    }

    fn event(&self, view: &EventView) -> String {
        lines(std::iter::once(view.seq))
    }

    /// The level.
    fn diagnosis(&self, diagnosis: &Diagnosis) -> String {
        lines(std::iter::once(diagnosis.findings.level))
    }
}
