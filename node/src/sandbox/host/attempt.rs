//! One launch from the node's side: its directory, its pipes, its supervisor, its report.
//!
//! In come a launch, its input and a cancellation; out comes a report. Reading and writing never wait for one another,
//! so no program can stall the node by not reading, not writing or writing for ever.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::pipe::PipeFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Sender;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::Shared;
use super::capture::{Capture, Meter};
use super::cgroup::{Account, Group};
use super::crew::Ordered;
use crate::sandbox::shelter::Shelter;
use crate::sandbox::spec::{Launch, Output, OutputStream, Report};
use crate::sandbox::supervisor;
use crate::sandbox::wire::{self, CANCEL, Ended, FLOODED, Lines, Order};
use crate::task::{Captured, LostWhy, Outcome, Usage};

/// After the tree is dead its pipes can only be open if somebody outside of it was given them; nobody waits for that.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);
/// A launch without a wall limit may take as long as it likes.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Everything about one run.
pub(super) struct Attempt {
    pub(super) shared: Arc<Shared>,
    pub(super) launch: Launch,
    pub(super) stdin: Bytes,
    pub(super) cancel: watch::Receiver<bool>,
    /// Closed when nobody waits for the report any more.
    pub(super) dropped: oneshot::Receiver<()>,
    pub(super) live: Option<mpsc::Sender<Output>>,
    /// Whether the supervisor was told to end it.
    pub(super) told: bool,
}

/// The node's ends.
struct Ends {
    feed: Feed,
    stdout: Capture,
    stderr: Capture,
    meter: Arc<Meter>,
}

impl Report {
    pub(super) fn without_outputs(outcome: Outcome) -> Report {
        let nothing = Captured::default();
        Report { outcome, stdout: nothing.clone(), stderr: nothing, usage: Usage::default() }
    }
}

fn fault(step: &str) -> impl FnOnce(io::Error) -> Outcome + '_ {
    move |error| Outcome::SetupFailed { step: step.to_owned(), error: error.to_string() }
}

impl Attempt {
    pub(super) async fn run(mut self) -> Report {
        if *self.cancel.borrow() {
            return Report::without_outputs(Outcome::Cancelled);
        }
        let shared = Arc::clone(&self.shared);
        let shelter = match shared.shelter(&self.launch.isolation) {
            Ok(shelter) => shelter,
            Err(refused) => return Report::without_outputs(refused),
        };
        // Until everything of this task is gone nobody else is its user.
        let slot = shared.slots.take();
        let shelter = Shelter { user: slot.user(), ..shelter };
        let group = match shared.account.as_ref().map(|account| limited(account, &self.launch)).transpose() {
            Ok(group) => group,
            Err(error) => return Report::without_outputs(fault("make a cgroup")(error)),
        };
        let scratch = match shared.scratch.make(&self.launch.scratch, shelter.user).map_err(fault("make the scratch directory")) {
            Ok(scratch) => {
                self.launch.scratch.clone_from(&scratch.path); // Absolute: the zygote stands elsewhere.
                scratch
            }
            Err(outcome) => {
                if let Some(group) = group {
                    group.remove();
                }
                return Report::without_outputs(outcome);
            }
        };
        let limit = self.launch.limits.memory;
        let mut report = self.run_in_scratch(shelter, group.as_ref()).await.unwrap_or_else(Report::without_outputs);
        if let Some(group) = group {
            counted(&mut report, &group, limit);
            let _ = tokio::task::spawn_blocking(move || group.remove()).await;
        }
        if !shared.scratch.put_away_quickly(&scratch) {
            let removed = tokio::task::spawn_blocking(move || shared.scratch.put_away(&scratch)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(%error, "a scratch directory could not be removed");
            }
        }
        report
    }

    async fn run_in_scratch(mut self, shelter: Shelter, group: Option<&Group>) -> Result<Report, Outcome> {
        let (mut ends, lines) = self.open(group).map_err(fault("open its pipes"))?;
        let order = Order { launch: self.launch.clone(), user: shelter.user };
        let frame = wire::frame(&order).map_err(fault("describe the launch"))?;
        let ground = self.shared.ground(&shelter, &self.launch.limits);
        let ordered = self.shared.order(&ground, &frame, &lines).await;
        let Ordered { mut hand, sent } = ordered.map_err(fault("start a supervisor"))?;
        drop(lines); // Otherwise the pipes would never end.

        let (mut from, mut to) = hand.control.split();
        let ended = self.until_ended(&mut ends, (&mut from, &mut to), &frame[sent.min(frame.len())..]).await;
        let lost = || Ended { outcome: Outcome::Lost(LostWhy::SupervisorDied), usage: Usage::default(), again: false };
        let Ended { outcome, usage, again } = ended.unwrap_or_else(lost);
        // One that was told something may find that on its line where the next order should be.
        if again && !self.told {
            hand.rest();
        }
        Ok(Report { outcome, stdout: ends.stdout.finish(), stderr: ends.stderr.finish(), usage })
    }

    /// Feeds, reads and listens until the supervisor has reported and the outputs have ended.
    async fn until_ended(
        &mut self,
        ends: &mut Ends,
        (from, to): (&mut ReadHalf<'_>, &mut WriteHalf<'_>),
        rest: &[u8],
    ) -> Option<Ended> {
        let wait_for = self.longest();
        let control = timeout(wait_for, self.converse(from, to, (rest, &ends.meter)));
        let pumps = async { tokio::join!(ends.feed.pump(), ends.stdout.pump(), ends.stderr.pump()) };
        tokio::pin!(control, pumps);
        let mut drained = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut control => break ended.ok().flatten(),
                _ = &mut pumps, if !drained => drained = true,
            }
        };
        if !drained {
            let _ = timeout(DRAIN_PATIENCE, &mut pumps).await;
        }
        ended
    }

    /// Tells the supervisor the rest of its order and, if it comes to that, to end it; `None` if it ends without a report.
    async fn converse(
        &mut self,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        (rest, meter): (&[u8], &Meter),
    ) -> Option<Ended> {
        let reading = read_ended(from);
        let telling = async {
            // A supervisor that is gone can't be told; its end is seen by the reader.
            let _ = to.write_all(rest).await;
            let cancelled = async {
                if self.cancel.wait_for(|cancelled| *cancelled).await.is_err() {
                    std::future::pending::<()>().await; // Whoever could cancel is gone.
                }
            };
            let word = tokio::select! {
                () = cancelled => CANCEL,
                _ = &mut self.dropped => CANCEL,
                () = meter.passed() => FLOODED,
            };
            self.told = true;
            let _ = to.write_all(&[word]).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            ended = reading => ended.ok(),
            () = telling => None,
        }
    }

    /// Beyond this a supervisor is stuck; closing its socket makes it kill its tree.
    fn longest(&self) -> Duration {
        let limits = &self.launch.limits;
        limits.wall.map_or(FOR_EVER, |wall| wall.saturating_add(supervisor::patience(limits.grace)).min(FOR_EVER))
    }

    fn open(&mut self, group: Option<&Group>) -> io::Result<(Ends, Lines)> {
        let (feed, stdin) = Feed::open(std::mem::take(&mut self.stdin), &self.shared)?;
        let (stdout_read, stdout) = pipe()?;
        let (stderr_read, stderr) = pipe()?;
        nonblocking(&stdout_read)?;
        nonblocking(&stderr_read)?;
        let limits = &self.launch.limits;
        let meter = Meter::new(limits.output);
        let ends = Ends {
            feed,
            stdout: Capture::new(stdout_read, (OutputStream::Stdout, limits.stdout), &meter, self.live.clone())?,
            stderr: Capture::new(stderr_read, (OutputStream::Stderr, limits.stderr), &meter, self.live.clone())?,
            meter,
        };
        let cgroup = group.map(Group::entrance).transpose()?;
        Ok((ends, Lines { stdin, stdout, stderr, cgroup }))
    }
}

/// The group of this launch, with its limits.
fn limited(account: &Account, launch: &Launch) -> io::Result<Group> {
    let group = account.group(&launch.name)?;
    match group.limit(&launch.limits) {
        Ok(()) => Ok(group),
        Err(error) => {
            group.remove();
            Err(error)
        }
    }
}

/// What the kernel's account adds to a report: how much it was, and that it was too much.
fn counted(report: &mut Report, group: &Group, limit: Option<u64>) {
    let peak = group.peak().unwrap_or(0).max(report.usage.memory_peak);
    report.usage.memory_peak = peak;
    if let (Some(limit), Outcome::Signaled(_) | Outcome::Exited(_)) = (limit, &report.outcome)
        && !report.outcome.is_success()
        && group.ran_out()
    {
        report.outcome = Outcome::OutOfMemory { limit, peak };
    }
}

async fn read_ended(from: &mut ReadHalf<'_>) -> io::Result<Ended> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let mut body = vec![0; wire::announced(head)?];
    from.read_exact(&mut body).await?;
    wire::parse(&body)
}

/// What is still to be written to a task's standard input.
struct Feed {
    rest: Bytes,
    pipe: Option<Sender>,
}

impl Feed {
    /// What fits into the pipe is in it before the task starts; most inputs never need more.
    fn open(mut rest: Bytes, shared: &Shared) -> io::Result<(Feed, OwnedFd)> {
        if rest.is_empty() {
            return Ok((Feed { rest, pipe: None }, shared.nothing.as_fd().try_clone_to_owned()?));
        }
        let (read, write) = pipe()?;
        nonblocking(&write)?;
        let written = rustix::io::write(&write, &rest).or_else(|error| match error {
            rustix::io::Errno::AGAIN => Ok(0),
            error => Err(error),
        })?;
        drop(rest.split_to(written));
        let pipe = if rest.is_empty() { None } else { Some(Sender::from_owned_fd_unchecked(write)?) };
        Ok((Feed { rest, pipe }, read))
    }

    /// Writes the rest as the task takes it, then closes. A task that does not want it is no fault.
    async fn pump(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all_buf(&mut self.rest).await;
        }
        self.rest = Bytes::new();
    }
}

fn pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
}

fn nonblocking(fd: &OwnedFd) -> rustix::io::Result<()> {
    rustix::io::ioctl_fionbio(fd, true)
}
