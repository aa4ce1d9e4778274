//! `dunlin up`: a running node, its socket, its story, and its end.
//!
//! A checked configuration enters. What leaves: on standard output who the node is and (with `-o json`, one object a
//! line) what happens to it; the log on standard error; the API on the unix socket. Deliberately not here: how a node is
//! put together ([`start`], and behind it the library).

mod folder;
mod limits;
mod log;
mod start;
mod tell;

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, SecretFrom};
use crate::exit::{Failure, code};
use crate::http::{ListenError, Server};
use crate::render::Format;
use start::{StartError, Started};
use tell::Teller;

/// How `up` behaves, beside what the node is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) format: Format,
    pub(crate) until_stdin_ends: bool,
}

/// Runs a node until it is told to stop or fails.
pub(crate) async fn up(config: Config, options: Options) -> Result<u8, Failure> {
    // Watched for first: a SIGTERM during the start must not be missed.
    let mut stop = StopSignals::new(options.until_stdin_ends)?;
    log::start(&config.log);
    limits::raise();
    folder::make(&config)?;
    let bound = Server::bind(&config.socket)?;
    let (started, secret_from) = match start_or_stop(&config, &mut stop).await {
        Ok(Some(started)) => started,
        other => {
            bound.discard();
            return other.map(|_| code::OK);
        }
    };
    let server = bound.serve(started.api.clone());
    let teller = Teller::new(options.format, &started);
    teller.ready(&config, &secret_from)?;
    let ended = attend(started, &mut stop, &teller).await;
    server.stop().await;
    teller.stopped()?;
    ended
}

/// Starts the node; `None` if the person changed their mind meanwhile.
async fn start_or_stop(config: &Config, stop: &mut StopSignals) -> Result<Option<(Started, SecretFrom)>, Failure> {
    let (secret, secret_from) = config.secret_or_new()?;
    tokio::select! {
        started = start::start_node(config, &secret) => Ok(Some((started?, secret_from))),
        () = stop.next() => Ok(None),
    }
}

/// Tells the node's story until it ends: by a signal, by a second one, or by itself.
async fn attend(mut started: Started, stop: &mut StopSignals, teller: &Teller) -> Result<u8, Failure> {
    let node = started.node_handle.clone();
    let failed = node.failed();
    tokio::pin!(failed);
    let mut drained = None;
    loop {
        tokio::select! {
            biased;
            () = stop.next() => {
                if drained.is_some() || stop.at_once() {
                    node.stop().await;
                    return Ok(code::OK);
                }
                teller.draining()?;
                drained = Some(node.drain());
            }
            () = async { match &mut drained { Some(drained) => drained.await, None => std::future::pending().await } } => {
                node.stop().await;
                return Ok(code::OK);
            }
            why = &mut failed => {
                return Err(Failure::error("the node has stopped").why(why).next("the log above says more; what was acknowledged is safe"));
            }
            Some(narration) = started.narration.recv() => teller.narrate(&narration)?,
        }
    }
}

/// SIGTERM, SIGINT, and the end of standard input where a parent asked for it.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    stdin_ended: Option<tokio::task::JoinHandle<()>>,
    at_once: bool,
}

impl StopSignals {
    fn new(until_stdin_ends: bool) -> io::Result<Self> {
        let read_to_end = || {
            // A thread that outlives the runtime's end; the process ends with it still reading.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        };
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin_ended: until_stdin_ends.then(|| tokio::task::spawn_blocking(read_to_end)),
            at_once: false,
        })
    }

    /// Waits for the next reason to stop; safe to be dropped and called again.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = async { match &mut self.stdin_ended { Some(ended) => drop(ended.await), None => std::future::pending().await } } => {
                self.stdin_ended = None;
                self.at_once = true;
            }
        }
    }

    /// Whether the last reason leaves no time for draining: whoever started this node is gone.
    fn at_once(&self) -> bool {
        self.at_once
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let failure = Failure::error(error.to_string());
        match error {
            ListenError::InUse(_) => failure
                .why("one data folder is one node")
                .next("`dunlin status` asks that node; a second one on this machine needs --data DIR and --listen ADDR:PORT"),
            ListenError::NotASocket(_) => failure.next("move it away, or name another path with --socket"),
            ListenError::PathTooLong(_) => failure.next("name a shorter one with --socket"),
            ListenError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Failure { code: code::NOT_AUTHORISED, ..failure }
                    .next("run it as the folder's owner, or name another one with --data DIR")
            }
            ListenError::Io { .. } => failure,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let failure = Failure::error(error.to_string());
        match error {
            StartError::DataInUse(_) => failure.next("stop the other process, or name another folder with --data DIR"),
            StartError::DataUnusable { .. } => {
                failure.next("check the folder's owner and free space, or name another one with --data DIR")
            }
            StartError::NewerFormat(_) => failure.next("use the newer version of dunlin that wrote it"),
            StartError::PortTaken { .. } => failure.next("name another port with --listen ADDR:PORT (0 for any free one)"),
            StartError::Refused(_) => Failure { code: code::USAGE, ..failure },
            StartError::Failed(_) => failure,
        }
    }
}
