//! One node's process: started, listened to, and certainly ended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use dunlin_node::task::NodeId;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::folder::Folder;

/// What a child gets to end by itself once its standard input has ended.
const GRACE: Duration = Duration::from_secs(1);

/// The longest line that is taken from a child.
const MAX_LINE: u64 = 64 << 10;

/// A line of `up -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line {
    /// It can be reached.
    Ready {
        /// Its id.
        node: String,
        /// Its real addresses.
        listen: Vec<String>,
    },
    /// Something happened.
    Narration {
        /// Whom it is about.
        node: String,
        /// What, as a word.
        kind: String,
        /// What, in words.
        text: String,
    },
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Which child said what; `None` when it has ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) child: usize,
    /// In which of its lives; the first is 1.
    pub(super) life: u32,
    pub(super) line: Option<Line>,
}

/// What a child is started with.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) rank: u32,
    pub(super) expect: u32,
    pub(super) data: PathBuf,
}

/// What differs between its starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) life: u32,
    pub(super) listen: &'a str,
    pub(super) peers: &'a [String],
}

/// A running child. Dropping it ends the process.
pub(super) struct Child {
    process: Process,
    stdin: Option<ChildStdin>,
    log: PathBuf,
    pub(super) node: Option<NodeId>,
    pub(super) address: Option<String>,
}

impl Child {
    /// Starts `dunlin up` and a thread that reads what it says.
    pub(super) fn start(role: &Role, start: &Start<'_>, folder: &Folder, said: mpsc::Sender<Said>) -> io::Result<Self> {
        std::fs::create_dir_all(&role.data)?;
        let log = role.data.with_extension("log");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["up", "--output", "json", "--no-mdns", "--until-stdin-ends", "--listen", start.listen])
            .args(["--name", &role.name, "--rank", &role.rank.to_string(), "--expect", &role.expect.to_string()])
            .args(["--pod", "default=2"])
            .arg("--config")
            .arg(folder.config())
            .arg("--secret-file")
            .arg(folder.secret())
            .arg("--data")
            .arg(&role.data);
        command.args(start.peers.iter().flat_map(|peer| ["--peer", peer]));
        // The person's variables are not meant for these nodes.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUNLIN_")) {
            command.env_remove(name);
        }
        // A group of its own, so that Ctrl-C reaches us alone and we end the children in order.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        command.stderr(File::options().create(true).append(true).open(&log)?);
        let mut process = command.spawn()?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let child = Child { process, stdin, log, node: None, address: None };
        if let Some(stdout) = stdout {
            let (index, life) = (role.index, start.life);
            std::thread::Builder::new().name(role.name.clone()).spawn(move || listen_to(index, life, stdout, &said))?;
        }
        Ok(child)
    }

    /// SIGKILL, by the id of the process that was started here; answers when it is gone.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The end of its log, for when it did not start.
    pub(super) fn last_words(&self) -> String {
        last_words(&self.log)
    }

    /// Lets it know that it shall end.
    pub(super) fn dismiss(&mut self) {
        self.stdin = None;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.dismiss();
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        let _ = self.kill();
    }
}

fn listen_to(child: usize, life: u32, stdout: ChildStdout, said: &mpsc::Sender<Said>) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let Ok(line) = serde_json::from_slice(&line) else { continue };
        if said.blocking_send(Said { child, life, line: Some(line) }).is_err() {
            return;
        }
    }
    let _ = said.blocking_send(Said { child, life, line: None });
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(4)..];
    if last.is_empty() { "it said nothing".to_owned() } else { last.join("\n           ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_up_are_understood_and_unknown_ones_pass() {
        let read = |text: &str| serde_json::from_str::<Line>(text).unwrap();
        let ready = read(
            r#"{"event":"ready","node":"00ff","name":"n1","swarm":null,"listen":["127.0.0.1:4"],"socket":"/s","data":"/d"}"#,
        );
        assert_eq!(ready, Line::Ready { node: "00ff".into(), listen: vec!["127.0.0.1:4".into()] });
        let told = read(r#"{"event":"narration","at":"x","at_ms":1,"node":"00ff","kind":"vote","text":"votes for n2"}"#);
        assert_eq!(told, Line::Narration { node: "00ff".into(), kind: "vote".into(), text: "votes for n2".into() });
        assert_eq!(read(r#"{"event":"draining"}"#), Line::Other);
    }
}
