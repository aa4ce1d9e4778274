//! What every verb that speaks to a node has at hand: the client, the renderer, and the ways out.

use std::io::{self, Write};

use dunlin_node::api::TaskFilter;
use dunlin_node::client::Client;
use dunlin_node::task::TaskId;

use super::Global;
use crate::config::{self, ConfigError, Given, Loaded, Surroundings, Value};
use crate::exit::Failure;
use crate::render::{Format, Render};

/// See the module.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) format: Format,
}

impl Context {
    /// The node that the flags, the variables or the file name.
    pub(super) fn of(global: &Global) -> Result<Self, Failure> {
        // A socket named outright needs no file, so a mistake in the file can't be in its way.
        let path = match &global.socket {
            Some(path) => path.clone(),
            None => global.load(Vec::new())?.config.socket,
        };
        Ok(Context { client: Client::unix(path), format: global.output })
    }

    pub(super) fn render(&self) -> &'static dyn Render {
        self.format.renderer()
    }

    /// The task that an argument names: its number, or `last`.
    pub(super) async fn task_id(&self, text: &str) -> Result<TaskId, Failure> {
        if text == "last" {
            let newest = self.client.tasks(TaskFilter { limit: 1, ..TaskFilter::default() }).await?;
            return newest.first().map(|task| task.task).ok_or_else(|| Failure::error("there is no task yet"));
        }
        text.parse().map(TaskId).map_err(|_| {
            Failure::usage(format!("{text:?} is not a task's id")).next("a number as `dunlin tasks` shows it, or `last`")
        })
    }
}

impl Global {
    /// The settings in force, with the verb's own flags before everything.
    pub(super) fn load(&self, mut flags: Vec<(&'static str, Given)>) -> Result<Loaded, Failure> {
        let path = |path: &std::path::Path| Value::Text(path.display().to_string());
        if let Some(data) = &self.data {
            flags.push(("data", Given::flag("--data", path(data))));
        }
        if let Some(socket) = &self.socket {
            flags.push(("socket", Given::flag("--socket", path(socket))));
        }
        config::load(flags, self.config.clone(), &Surroundings::of_process()).map_err(Failure::from)
    }

    pub(super) fn format(&self) -> Format {
        self.output
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Failure::usage("the settings can't be used").why(error.to_string());
        match error {
            ConfigError::Read { .. } => failure.next("`dunlin config init` writes a file with every setting explained"),
            _ => failure.next("`dunlin config init --print` shows every setting with its meaning"),
        }
    }
}

/// Prints to standard output, at once.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Tells the person something on standard error; if nobody reads it, nothing is lost.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
