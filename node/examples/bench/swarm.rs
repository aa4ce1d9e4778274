//! A swarm of node processes: started, told what to do, looked at, killed and started again.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use dunlin_node::node::Secret;

use crate::{Failure, probe};

/// The longest that any order may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers that may wait to be read.
const ANSWERS: usize = 64;

/// One node's process.
pub(crate) struct Member {
    pub(crate) name: String,
    arguments: Vec<String>,
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    next: u64,
}

impl Member {
    fn start(name: String, arguments: Vec<String>) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("node")
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = child.stdout.take().ok_or("no output")?;
        let (sender, answers) = sync_channel(ANSWERS);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if line.map(|line| sender.send(line)).is_err() {
                    return;
                }
            }
        });
        Ok(Member { name, arguments, child, input, answers, next: 0 })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order; the answer is collected by [`Member::answer`].
    pub(crate) fn order(&mut self, order: &str) -> Result<u64, Failure> {
        self.next += 1;
        writeln!(self.input, "{} {order}", self.next)?;
        Ok(self.next)
    }

    /// The answer to an order. Answers to earlier ones that nobody waits for any more are passed over.
    pub(crate) fn answer(&mut self, id: u64) -> Result<String, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line =
                self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|error| match error {
                    RecvTimeoutError::Timeout => format!("{} gave no answer in {PATIENCE:?}", self.name),
                    RecvTimeoutError::Disconnected => format!("the process of {} has ended", self.name),
                })?;
            let mut words = line.splitn(3, ' ');
            if words.next() != Some(id.to_string().as_str()) {
                continue;
            }
            return match (words.next(), words.next()) {
                (Some("ok"), value) => Ok(value.unwrap_or_default().to_owned()),
                (_, why) => Err(format!("{}: {}", self.name, why.unwrap_or_default()).into()),
            };
        }
    }

    pub(crate) fn ask(&mut self, order: &str) -> Result<String, Failure> {
        let id = self.order(order)?;
        self.answer(id)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Result<(), Failure> {
        let pid = rustix::process::Pid::from_child(&self.child);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Ends the process as a power cut would, as far as the process can tell.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn again(&mut self) -> Result<(), Failure> {
        *self = Member::start(self.name.clone(), self.arguments.clone())?;
        self.answer(0).map(drop)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have been stopped or killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a node says of its swarm.
pub(crate) struct State {
    pub(crate) leader: Option<String>,
    pub(crate) ended: usize,
    pub(crate) entries: usize,
    pub(crate) journal_bytes: u64,
    pub(crate) live: usize,
}

pub(crate) struct Swarm {
    pub(crate) members: Vec<Member>,
    pub(crate) folder: PathBuf,
}

impl Swarm {
    /// Starts so many nodes with so many slots each, and waits until every one of them answers.
    pub(crate) fn start(folder: &Path, nodes: usize, slots: u32) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("swarm-").tempdir_in(folder)?.keep();
        let secret = Secret::generate()?;
        // Held until all are known, so that no two nodes get the same.
        let held: Vec<TcpListener> = (0..nodes).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<_, _>>()?;
        let ports: Vec<u16> =
            held.iter().map(|port| port.local_addr().map(|address| address.port())).collect::<Result<_, _>>()?;
        drop(held);
        let mut members = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let name = format!("n{}", index + 1);
            let mut arguments: Vec<String> = vec![folder.join(&name).to_string_lossy().into_owned(), name.clone()];
            arguments.extend([(100 + nodes - index).to_string(), nodes.to_string(), slots.to_string(), port.to_string()]);
            arguments.push(secret.reveal().to_owned());
            arguments.extend(ports.iter().filter(|other| *other != port).map(|other| format!("127.0.0.1:{other}")));
            members.push(Member::start(name, arguments)?);
        }
        for member in &mut members {
            member.answer(0)?;
        }
        Ok(Swarm { members, folder })
    }

    /// Waits until there is a leader that hears everybody, and says which node it is.
    pub(crate) fn settled(&mut self) -> Result<usize, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let count = self.members.len();
            let mut states = Vec::new();
            for index in 0..count {
                states.push(self.state(index)?);
            }
            let leader = states.first().and_then(|state| state.leader.clone());
            if states.iter().all(|state| state.live == count && state.leader == leader)
                && let Some(at) = self.members.iter().position(|member| Some(&member.name) == leader.as_ref())
            {
                return Ok(at);
            }
            if Instant::now() > deadline {
                return Err(format!("the swarm of {count} did not settle in {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn state(&mut self, index: usize) -> Result<State, Failure> {
        let answer = self.members[index].ask("status")?;
        let words: Vec<&str> = answer.split(' ').collect();
        let [leader, ended, entries, journal_bytes, live] = words[..] else {
            return Err(format!("not a status: {answer}").into());
        };
        Ok(State {
            leader: (leader != "-").then(|| leader.to_owned()),
            ended: ended.parse()?,
            entries: entries.parse()?,
            journal_bytes: journal_bytes.parse()?,
            live: live.parse()?,
        })
    }

    /// CPU time of all nodes so far, without the processes of their tasks.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        self.members.iter().map(|member| probe::cpu(member.pid())).sum()
    }

    /// Starts a killed node again, in the same folder at the same port.
    pub(crate) fn revive(&mut self, index: usize) -> Result<(), Failure> {
        self.members[index].again()
    }

    /// Ends the swarm and removes its folder.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        self.members.clear();
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}
