//! How a node's story is printed: a few lines and a log for people, one JSON object a line for programs.

use std::io::{self, Write};
use std::net::SocketAddr;

use dunlin_node::task::{Level, NodeId};
use serde_json::{Value, json};

use super::start::{Narration, Started};
use crate::config::{Config, SecretFrom};
use crate::quantity::show_time;
use crate::render::Format;

/// Prints for one node.
pub(super) struct Teller {
    format: Format,
    node: NodeId,
    swarm: Option<String>,
    listen: Vec<SocketAddr>,
    sandbox: Level,
    takes_tasks: bool,
}

impl Teller {
    pub(super) fn new(format: Format, started: &Started) -> Self {
        let swarm = started.swarm.map(|swarm| swarm.to_string());
        Teller {
            format,
            node: started.node,
            swarm,
            listen: started.listen.clone(),
            sandbox: started.sandbox,
            takes_tasks: started.takes_tasks,
        }
    }

    /// The node is reachable.
    pub(super) fn ready(&self, config: &Config, secret: &SecretFrom) -> io::Result<()> {
        match self.format {
            Format::Json => print(&line(&json!({
                "event": "ready",
                "node": self.node.to_string(),
                "name": config.name,
                "swarm": self.swarm,
                "listen": self.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "socket": config.socket,
                "data": config.data,
                "sandbox": self.sandbox,
                "takes_tasks": self.takes_tasks,
            }))),
            Format::Quiet => print(&format!("{}\n", self.node)),
            Format::Text => print(&self.banner(config, secret)),
        }
    }

    fn banner(&self, config: &Config, secret: &SecretFrom) -> String {
        let listen = self.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let swarm = match (&self.swarm, config.expect) {
            (Some(swarm), _) => swarm.clone(),
            (None, 0) => "being joined as soon as a node of it is found".to_owned(),
            (None, 1) => "being founded or joined".to_owned(),
            (None, expect) => format!("being founded: waiting until {expect} nodes see each other"),
        };
        let known = || self.listen.iter().filter(|address| !address.ip().is_unspecified());
        let reachable = known().find(|address| !address.ip().is_loopback()).or_else(|| known().next());
        let port = self.listen.first().map_or(0, SocketAddr::port);
        let peer = reachable.map_or_else(|| format!("{}:{port}", config.name), ToString::to_string);
        let secret = match secret {
            SecretFrom::Setting => "the secret this node was given".to_owned(),
            SecretFrom::File(path) => format!("a copy of {}", path.display()),
            SecretFrom::Made(path) => format!("a copy of {}, made just now", path.display()),
        };
        format!(
            "dunlin {}: node {} ({}) listens on {listen}\n  swarm   {swarm}\n  socket  {}\n  sandbox {}\n  join    dunlin up --peer {peer} \
             --secret-file secret.txt\n          secret.txt: {secret}\n  stop    Ctrl-C finishes what runs and leaves; twice stops at \
             once\n",
            env!("CARGO_PKG_VERSION"),
            config.name,
            self.node,
            config.socket.display(),
            self.sandbox_line(config),
        )
    }

    fn sandbox_line(&self, config: &Config) -> String {
        match self.sandbox {
            less if !self.takes_tasks => format!(
                "{less}, and `sandbox.require` asks for {}: THIS NODE TAKES NO TASKS\n          mend what the log names, or set \
                 `sandbox.require` lower, and start it again; `dunlin doctor` tries it all",
                config.sandbox.require
            ),
            Level::Full => Level::Full.to_string(),
            less => format!("{less}; `dunlin doctor` says what is missing"),
        }
    }

    /// Something happened.
    pub(super) fn narrate(&self, narration: &Narration) -> io::Result<()> {
        if self.format == Format::Json {
            return print(&line(&json!({
                "event": "narration",
                "at": show_time(narration.at.0),
                "at_ms": narration.at,
                "node": narration.node.to_string(),
                "kind": narration.kind,
                "text": narration.text,
            })));
        }
        // The words say it all; the kind is for programs (`-o json`).
        if narration.kind == "warning" {
            tracing::warn!("{}", narration.text);
        } else {
            tracing::info!("{}", narration.text);
        }
        Ok(())
    }

    /// It finishes what it has.
    pub(super) fn draining(&self) -> io::Result<()> {
        match self.format {
            Format::Json => print(&line(&json!({ "event": "draining" }))),
            Format::Text => print("finishing what runs, then leaving; Ctrl-C again stops at once\n"),
            Format::Quiet => Ok(()),
        }
    }

    /// It is gone.
    pub(super) fn stopped(&self) -> io::Result<()> {
        match self.format {
            Format::Json => print(&line(&json!({ "event": "stopped" }))),
            Format::Text => print("left\n"),
            Format::Quiet => Ok(()),
        }
    }
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// A reader that has gone does not stop the node.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
