//! Answers as they are printed: for people, for programs, or only the bare essentials.
//!
//! Typed views enter, text leaves. The three renderers are siblings; nothing is asked or decided here, and nothing is
//! written anywhere: that is [`crate::cli`]'s business.

mod ids;
mod json;
mod quiet;
mod table;
#[cfg(test)]
mod tests;
mod text;

use dunlin_node::api::{EventView, NodeView, StatusView, TaskSummary, TaskView};
use dunlin_node::client::Submitted;
use dunlin_node::task::TaskId;

use crate::cli::Diagnosis;

pub(crate) use ids::compact;
pub(crate) use json::Json;
pub(crate) use quiet::Quiet;
pub(crate) use table::Table;
pub(crate) use text::Text;

/// What could move a terminal's cursor is shown as a mark: names and commands come from others.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON value, or one a line where it goes on
    Json,
    /// Only ids or states, one a line
    Quiet,
}

impl Format {
    /// The renderer.
    pub(crate) fn renderer(self) -> &'static dyn Render {
        match self {
            Format::Text => &Text,
            Format::Json => &Json,
            Format::Quiet => &Quiet,
        }
    }
}

/// One way to print; every text ends with a line's end or is empty.
pub(crate) trait Render: Sync {
    fn submitted(&self, tasks: &[Submitted]) -> String;
    fn status(&self, view: &StatusView) -> String;
    fn nodes(&self, views: &[NodeView]) -> String;
    fn tasks(&self, tasks: &[TaskSummary]) -> String;
    fn task(&self, view: &TaskView) -> String;
    /// Why it is not running.
    fn waits(&self, view: &TaskView) -> String;
    /// `done` is the act in the past tense: `cancelled`, `queued again`.
    fn applied(&self, done: &str, tasks: &[TaskId]) -> String;
    fn event(&self, view: &EventView) -> String;
    fn diagnosis(&self, diagnosis: &Diagnosis) -> String;
}
