//! The command line as a person uses it: words enter, an exit code and two texts leave, within a time.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The longest that a command may take if the test does not say otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// The binary without anything that this process's own surroundings would tell it, and no file of settings but an empty one.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("DUNLIN_CONFIG", "/dev/null");
    command.stdin(Stdio::null());
    command
}

/// A command of dunlin that runs or has ended.
pub(crate) struct Run {
    child: Child,
    outputs: TempDir,
    words: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    words: String,
}

impl Run {
    /// Starts it; its outputs go to files, so that it never waits for a reader.
    pub(crate) fn start(mut command: Command) -> Self {
        let outputs = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(outputs.path().join(name)).unwrap();
        command.stdout(file("stdout")).stderr(file("stderr"));
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().chars().take(60).collect::<String>()).collect();
        let child = command.spawn().unwrap();
        Run { child, outputs, words: words.join(" ") }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard output so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.outputs.path().join("stdout"))
    }

    /// What it has written to its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.outputs.path().join("stderr"))
    }

    /// Waits for its end.
    pub(crate) fn ended(self) -> Ended {
        self.ended_within(LIMIT)
    }

    /// Waits for its end, at most this long.
    pub(crate) fn ended_within(mut self, limit: Duration) -> Ended {
        let until = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < until,
                "`dunlin {}` did not end within {limit:?}\n{}\n{}",
                self.words,
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        Ended { code: status.code(), stdout: self.stdout(), stderr: self.stderr(), words: std::mem::take(&mut self.words) }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file that holds these bytes and is nowhere to be found: a command's standard input.
pub(crate) fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

impl Ended {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "`dunlin {}`\nstdout: {}\nstderr: {}", self.words, self.stdout, self.stderr);
        self
    }

    /// Checks that standard error holds these words.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for wanted in words {
            assert!(self.stderr.contains(wanted), "`dunlin {}` does not say {wanted:?}:\n{}", self.words, self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "`dunlin {}` panicked:\n{}", self.words, self.stderr);
        self
    }

    /// The one object of JSON that it printed.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("`dunlin {}`: {error}: {}", self.words, self.stdout))
    }
}
