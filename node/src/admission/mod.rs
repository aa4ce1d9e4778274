//! May it come in: what a task may look like, checked by the node it is handed to and once more by the leader. Pure.
//!
//! Every refusal says what is wrong, what the limit is and what to do.

use std::path::Path;
use std::time::Duration;

use crate::task::{MAX_KEPT_OUTPUT, Program, SandboxSpec, TaskSpec};

/// What may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of a command, the program's name included.
    pub argv_count: usize,
    /// Bytes of a command's arguments together.
    pub argv_bytes: usize,
    /// Bytes of the environment's names and values together.
    pub env_bytes: usize,
    /// Bytes of standard input.
    pub stdin_bytes: usize,
    /// Bytes of a label.
    pub label_bytes: usize,
    /// Paths that a task may ask to read.
    pub read_paths: usize,
    /// Bytes of each of them.
    pub path_bytes: usize,
    /// Tasks of one submission.
    pub tasks: usize,
    /// Bytes of one submission's tasks together.
    pub submission_bytes: usize,
    /// Tasks that have not ended, in the whole swarm.
    pub queue: u64,
    /// Attempts of a task.
    pub attempts: u32,
    /// The longest wall or processor time, and the longest wait before a retry.
    pub longest: Duration,
    /// The longest grace between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Bytes kept of each output.
    pub kept_output: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            argv_count: 4_096,
            argv_bytes: 128 << 10,
            env_bytes: 128 << 10,
            stdin_bytes: 1 << 20,
            label_bytes: 256,
            read_paths: 16,
            path_bytes: 4_096,
            tasks: 1_000,
            submission_bytes: 2 << 20,
            queue: 10_000_000,
            attempts: 100,
            longest: Duration::from_secs(366 * 86_400),
            grace: Duration::from_secs(600),
            kept_output: MAX_KEPT_OUTPUT,
        }
    }
}

/// Why a task does not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// Nothing to run.
    #[error("the command is empty: name a program, as in `dunlin submit -- echo hello`")]
    EmptyCommand,
    /// The program's name is the empty string.
    #[error("the program's name is empty: the first word after `--` must name a program")]
    EmptyProgram,
    /// A zero byte, which the kernel takes as the end.
    #[error("{what} contains a NUL byte, which no program can be given: pass such data on the standard input")]
    Nul {
        /// Where it is.
        what: String,
    },
    /// A variable without a name, or with one that the kernel would cut.
    #[error("the environment variable {name:?} can't be set: a name must not be empty and must not contain '='")]
    EnvironmentName {
        /// The name.
        name: String,
    },
    /// A path that means another place on each node, or none.
    #[error("the path {path:?} can't be read by a task: {why}")]
    Path {
        /// The path.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// A handler in a sandbox.
    #[error("a handler may run inside of its node, where no sandbox stands around it: only a command can ask for one")]
    HandlerInSandbox,
    /// Too many bytes.
    #[error("{what} is {size} bytes; the limit is {limit}: {advice}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
        /// What to do.
        advice: &'static str,
    },
    /// Too many of something.
    #[error("there are {count} {what}; the limit is {limit}: {advice}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
        /// The limit.
        limit: u64,
        /// What to do.
        advice: &'static str,
    },
    /// A number that makes no sense or is over its limit.
    #[error("{what} is {value}; it must be {range}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        range: String,
    },
    /// Nothing was submitted.
    #[error("the submission has no task")]
    NoTask,
    /// The swarm has enough to do.
    #[error("{waiting} tasks have not ended yet; the limit is {limit}: wait until some have, or cancel them")]
    QueueFull {
        /// How many there are.
        waiting: u64,
        /// The limit.
        limit: u64,
    },
}

fn bytes(what: &'static str, size: usize, limit: usize, advice: &'static str) -> Result<(), AdmissionError> {
    let (size, limit) = (size as u64, limit as u64);
    if size <= limit { Ok(()) } else { Err(AdmissionError::TooLarge { what, size, limit, advice }) }
}

fn count(what: &'static str, count: usize, limit: usize, advice: &'static str) -> Result<(), AdmissionError> {
    let (count, limit) = (count as u64, limit as u64);
    if count <= limit { Ok(()) } else { Err(AdmissionError::TooMany { what, count, limit, advice }) }
}

/// Whether a task may come in.
///
/// # Errors
/// See [`AdmissionError`].
pub fn check(spec: &TaskSpec, limits: &Limits) -> Result<(), AdmissionError> {
    if let Program::Command(argv) = &spec.program {
        command(argv, limits)?;
    }
    environment(spec, limits)?;
    bytes(
        "the standard input",
        spec.stdin.len(),
        limits.stdin_bytes,
        "put larger data where the task can fetch it, and pass its address",
    )?;
    bytes("the label", spec.label.as_ref().map_or(0, String::len), limits.label_bytes, "shorten it")?;
    sandbox(spec, limits)?;
    numbers(spec, limits)
}

/// Whether a submission as a whole may come in; each of its tasks is checked too.
///
/// # Errors
/// See [`AdmissionError`].
pub fn check_submission<'a>(
    tasks: impl ExactSizeIterator<Item = &'a TaskSpec>,
    waiting: u64,
    limits: &Limits,
) -> Result<(), AdmissionError> {
    if tasks.len() == 0 {
        return Err(AdmissionError::NoTask);
    }
    count("tasks in one submission", tasks.len(), limits.tasks, "submit them in several parts")?;
    if waiting.saturating_add(tasks.len() as u64) > limits.queue {
        return Err(AdmissionError::QueueFull { waiting, limit: limits.queue });
    }
    let mut size = 0;
    for spec in tasks {
        check(spec, limits)?;
        size += size_of(spec);
    }
    bytes("the submission", size, limits.submission_bytes, "submit it in several parts")
}

/// What a task weighs: the bytes its submitter chose.
#[must_use]
pub fn size_of(spec: &TaskSpec) -> usize {
    let program = match &spec.program {
        Program::Command(argv) => argv.iter().map(|word| word.len() + 1).sum(),
        Program::Handler(name) => name.as_str().len(),
    };
    let env: usize = spec.env.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    let read: usize = spec.sandbox.read.iter().map(|path| path.as_os_str().len() + 1).sum();
    program + env + read + spec.stdin.len() + spec.label.as_ref().map_or(0, String::len)
}

fn command(argv: &[String], limits: &Limits) -> Result<(), AdmissionError> {
    let program = argv.first().ok_or(AdmissionError::EmptyCommand)?;
    if program.is_empty() {
        return Err(AdmissionError::EmptyProgram);
    }
    count("arguments", argv.len(), limits.argv_count, "pass long lists on the standard input")?;
    let size = argv.iter().map(|word| word.len() + 1).sum();
    bytes("the command line", size, limits.argv_bytes, "pass large data on the standard input")?;
    match argv.iter().position(|word| word.contains('\0')) {
        Some(0) => Err(AdmissionError::Nul { what: "the program's name".to_owned() }),
        Some(index) => Err(AdmissionError::Nul { what: format!("argument {index}") }),
        None => Ok(()),
    }
}

fn environment(spec: &TaskSpec, limits: &Limits) -> Result<(), AdmissionError> {
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains('=') {
            return Err(AdmissionError::EnvironmentName { name: name.chars().take(80).collect() });
        }
        if name.contains('\0') || value.contains('\0') {
            let name: String = name.chars().filter(|c| *c != '\0').take(80).collect();
            return Err(AdmissionError::Nul { what: format!("the environment variable {name}") });
        }
    }
    let size = spec.env.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    bytes("the environment", size, limits.env_bytes, "pass large data on the standard input")
}

fn sandbox(spec: &TaskSpec, limits: &Limits) -> Result<(), AdmissionError> {
    // What can't be held must not be promised.
    if matches!(spec.program, Program::Handler(_)) && spec.sandbox != SandboxSpec::default() {
        return Err(AdmissionError::HandlerInSandbox);
    }
    count("paths to read", spec.sandbox.read.len(), limits.read_paths, "name a folder that holds them")?;
    spec.sandbox.read.iter().try_for_each(|path| read_path(path, limits))
}

fn read_path(path: &Path, limits: &Limits) -> Result<(), AdmissionError> {
    bytes("a path to read", path.as_os_str().len(), limits.path_bytes, "no file system has longer ones")?;
    let refused = |why| Err(AdmissionError::Path { path: path.to_string_lossy().chars().take(80).collect(), why });
    match path.to_str() {
        None => refused("it is not UTF-8"),
        Some(text) if text.contains('\0') => refused("it contains a NUL byte"),
        Some(_) if !path.is_absolute() => refused("it must be absolute, since each node has a working directory of its own"),
        Some(_) => Ok(()),
    }
}

fn numbers(spec: &TaskSpec, limits: &Limits) -> Result<(), AdmissionError> {
    let asked = &spec.limits;
    let attempts = u64::from(spec.retry.attempts);
    range("the number of attempts", Some(attempts), 1, u64::from(limits.attempts))?;
    time("the time limit", asked.wall, Duration::from_millis(1), limits.longest)?;
    time("the processor time limit", asked.cpu, Duration::from_millis(1), limits.longest)?;
    time("the grace before the kill", asked.grace, Duration::ZERO, limits.grace)?;
    time("the wait before a retry", Some(spec.retry.backoff), Duration::ZERO, limits.longest)?;
    time("the longest wait before a retry", Some(spec.retry.backoff_max), Duration::ZERO, limits.longest)?;
    range("the memory limit in bytes", asked.memory, 1 << 20, u64::MAX)?;
    range("the limit of processes", asked.processes.map(u64::from), 1, u64::from(u32::MAX))?;
    range("the limit of open files", asked.open_files.map(u64::from), 8, u64::from(u32::MAX))?;
    range("the bytes kept of the standard output", asked.stdout.map(u64::from), 0, u64::from(limits.kept_output))?;
    range("the bytes kept of the standard error", asked.stderr.map(u64::from), 0, u64::from(limits.kept_output))
}

fn range(what: &'static str, value: Option<u64>, least: u64, most: u64) -> Result<(), AdmissionError> {
    match value {
        Some(value) if value < least || value > most => {
            let range = if most >= u64::from(u32::MAX) { format!("at least {least}") } else { format!("from {least} to {most}") };
            Err(AdmissionError::OutOfRange { what, value: value.to_string(), range })
        }
        _ => Ok(()),
    }
}

fn time(what: &'static str, value: Option<Duration>, least: Duration, most: Duration) -> Result<(), AdmissionError> {
    match value {
        Some(value) if value < least || value > most => {
            Err(AdmissionError::OutOfRange { what, value: format!("{value:?}"), range: format!("from {least:?} to {most:?}") })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
