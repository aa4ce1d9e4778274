//! The supervisor: one process for each task, between the zygote and the target.
//!
//! In come a launch, a cancellation or the node's end on the control socket; out goes one report. It adopts every
//! orphan of its task (child subreaper), so that "no child left" is the kernel's word for "nothing is left running".
//! What to do when is decided in `watch.rs`.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus};

use super::confine::{self, Grants};
use super::footprint::Footprint;
use super::kernel;
use super::plan::{FIRST_CLOSED_FD, Plan, Step};
use super::program::{self, Program};
use super::seccomp::{self, Architecture};
use super::shelter::{Birth, Shelter};
use super::spec::Launch;
use super::surroundings::{self, Ids, Surroundings};
use super::sys::{self, SingleThreaded, Wake};
use super::target::{Failure, Locks, Stdio, Target};
use super::tree;
use super::watch::{Act, End, Measure, Seen, Watch};
use super::wire::{self, CANCEL, Ended, FLOODED, Lines, Order};
use crate::task::{Network, Outcome, Usage};

/// Supervises one task from its launch to its report.
///
/// # Errors
/// If the control socket breaks or the launch can't be read (the node then sees an end without a report), or if
/// something outlived every SIGKILL (the zygote then goes on).
pub(super) fn supervise(alone: &SingleThreaded, ids: Ids, lines: Lines) -> io::Result<()> {
    let started = Instant::now();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Its zygote is closed to others, and so would be its own /proc files, which the next steps write to.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    let mut control = File::from(lines.control);
    let Order { launch, shelter } = wire::read_frame(&mut control)?;
    let Lines { stdin, stdout, stderr, cgroup, .. } = lines;
    let stdio = Stdio { stdin, stdout, stderr, cgroup };
    let born = Birthplace { alone, launch: &launch, shelter: &shelter }.start(ids, &stdio);
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    drop(stdio); // Otherwise the pipes would never end.
    let (ended, alone) = match born {
        Ok((target, footprint)) => {
            let watch = Watch::new(launch.limits);
            let own_namespace = shelter.birth != Birth::Fork;
            Supervisor { started, control: &control, target, own_namespace, watch, footprint }.run()?
        }
        Err(outcome) => (Ended { outcome, usage: Usage { wall: started.elapsed(), ..Usage::default() } }, true),
    };
    control.write_all(&wire::frame(&ended)?)?;
    if alone { Ok(()) } else { Err(io::Error::other("something outlived SIGKILL")) }
}

/// Where a target comes to life.
struct Birthplace<'a> {
    alone: &'a SingleThreaded,
    launch: &'a Launch,
    shelter: &'a Shelter,
}

impl Birthplace<'_> {
    /// Brings the target to life, or says why there is none.
    fn start(&self, ids: Ids, stdio: &Stdio) -> Result<(Pid, Option<Footprint>), Outcome> {
        let program = Program::of(self.launch).map_err(Outcome::NotFound)?;
        let plan = Plan::for_launch(self.launch, self.shelter);
        let scratch = CString::new(self.launch.scratch.as_os_str().as_bytes())
            .map_err(|e| failed("name the scratch directory".to_owned(), &e.into()))?;
        self.surround(ids, &plan)?;
        let footprint = self.launch.limits.scratch.map(|_| Footprint::of(&self.launch.scratch, self.shelter.user)).transpose();
        let footprint = footprint.map_err(|e| failed("watch its scratch directory".to_owned(), &e))?;
        let locks = self.locks().map_err(|e| failed("make its locks".to_owned(), &e))?;
        let mut target = Target::prepare(&plan, &program, &scratch, (stdio, &locks));
        let pid = self.alone.spawn_sharing(Target::run, &mut target);
        let pid = pid.map_err(|e| failed("start a process".to_owned(), &e))?;
        let Some(failure) = target.failure else { return Ok((pid, footprint)) };
        // It has ended already; it is taken away so that nothing is left of it.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        Err(explain(self.launch, &plan, failure))
    }

    fn surround(&self, ids: Ids, plan: &Plan) -> Result<(), Outcome> {
        if plan.surroundings.is_empty() {
            return Ok(());
        }
        let surroundings = Surroundings::before(self.alone, ids, self.launch, self.shelter);
        let surroundings = surroundings.map_err(|e| failed("open what the task may reach".to_owned(), &e))?;
        let mut steps = plan.surroundings.iter();
        steps.try_for_each(|step| surroundings.execute(*step).map_err(|e| failed(step.act(), &e)))
    }

    fn locks(&self) -> io::Result<Locks> {
        let Birthplace { launch, shelter, .. } = self;
        let mut locks = Locks::default();
        if shelter.landlock > 0 {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let scratch = rustix::fs::open(&launch.scratch, flags, Mode::empty())?;
            let own = if shelter.birth == Birth::Fork { Vec::new() } else { surroundings::further_writable(launch) };
            let writable: Vec<_> = std::iter::once(&scratch).chain(&own).map(AsFd::as_fd).collect();
            let tcp = shelter.network != Network::None;
            let (read, hidden) = (&shelter.read[..], &shelter.hidden[..]);
            let grants = Grants { abi: shelter.landlock, writable: &writable, read, hidden, tcp };
            // Above the three that the target takes as its standard input and outputs before it needs this one.
            locks.ruleset = Some(rustix::io::fcntl_dupfd_cloexec(confine::ruleset(&grants)?, FIRST_CLOSED_FD)?);
        }
        if shelter.seccomp {
            let architecture = Architecture::NATIVE.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))?;
            locks.filter = seccomp::compile(shelter.policy(&launch.limits), architecture)?;
        }
        Ok(locks)
    }
}

fn explain(launch: &Launch, plan: &Plan, failure: Failure) -> Outcome {
    let step = plan.steps.get(failure.step);
    let words = step.filter(|step| **step == Step::Exec).and_then(|_| program::words(launch, failure.errno));
    match words {
        Some(words) => Outcome::NotFound(words),
        None => failed(step.map(Step::act).unwrap_or_default(), &io::Error::from_raw_os_error(failure.errno)),
    }
}

fn failed(step: String, error: &io::Error) -> Outcome {
    Outcome::SetupFailed { step, error: error.to_string() }
}

struct Supervisor<'a> {
    started: Instant,
    control: &'a File,
    target: Pid,
    /// Whether it is the first process of a pid namespace.
    own_namespace: bool,
    watch: Watch,
    /// Where the scratch directory has a limit.
    footprint: Option<Footprint>,
}

impl Supervisor<'_> {
    /// Until the task is over; true beside the report if the kernel says that nothing of it is left.
    fn run(mut self) -> io::Result<(Ended, bool)> {
        let mut node_listens = true;
        loop {
            let seen = match self.wait(node_listens)? {
                Wake::Signal => self.reap(),
                Wake::Time => Seen::Time,
                Wake::Readable => match self.hear() {
                    Seen::NodeGone => {
                        node_listens = false; // A closed socket stays readable; it would never let us sleep.
                        Seen::NodeGone
                    }
                    seen => seen,
                },
            };
            if self.act_on(seen) {
                return Ok((self.ended(), matches!(seen, Seen::Reaped { alone: true, .. })));
            }
        }
    }

    fn wait(&self, node_listens: bool) -> io::Result<Wake> {
        let limit = self.watch.deadline().map(|at| at.saturating_sub(self.started.elapsed()));
        if node_listens {
            return sys::wait_readable(Some(self.control.as_fd()), limit);
        }
        sys::wait_readable(None, limit)
    }

    /// Does what follows from `seen`, and what follows from that; true when the task is over.
    fn act_on(&mut self, seen: Seen) -> bool {
        let mut next = Some(seen);
        while let Some(seen) = next.take() {
            for act in self.watch.step(self.started.elapsed(), seen) {
                match act {
                    Act::Terminate => self.signal_tree(Signal::TERM),
                    Act::Kill => self.signal_tree(Signal::KILL),
                    Act::Measure => next = Some(Seen::Measured(self.measure())),
                    Act::Finish => return true,
                }
            }
        }
        false
    }

    /// Waits for every child that has ended.
    fn reap(&self) -> Seen {
        let mut leader = None;
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.target => leader = end_of(status),
                Ok(Some(_)) => {}
                Ok(None) => return Seen::Reaped { leader, alone: false },
                Err(_) => return Seen::Reaped { leader, alone: true },
            }
        }
    }

    /// Reads what the node says. The byte is read even though it says nothing else: a socket that is closed with
    /// unread bytes loses the report.
    fn hear(&self) -> Seen {
        let mut byte = [0];
        let mut control = self.control;
        match control.read(&mut byte) {
            Ok(1) if byte[0] == CANCEL => Seen::Cancelled,
            Ok(1) if byte[0] == FLOODED => Seen::Flooded,
            Ok(_) | Err(_) => Seen::NodeGone,
        }
    }

    fn measure(&mut self) -> Measure {
        let tree = tree::descendants(tree::own_pid(), &BTreeSet::new());
        let scratch = self.footprint.as_mut().map_or(0, |footprint| footprint.look(&tree));
        Measure { scratch, ..tree::measure(&tree, sys::usage_of_children().0, self.watch.memory_limit()) }
    }

    /// Signals everybody in the namespace at once; without one the target's group, so that a fork can't slip through, and
    /// everybody who left the group.
    fn signal_tree(&self, signal: Signal) {
        if self.own_namespace {
            // That nobody is left is no fault.
            let _ = kernel::signal_namespace(signal);
            if signal == Signal::TERM {
                let _ = kernel::signal_namespace(Signal::CONT);
            }
            return;
        }
        signal_all(&tree::descendants(rustix::process::getpid(), &BTreeSet::new()), Some(self.target), signal);
    }

    fn ended(&mut self) -> Ended {
        if let Some(footprint) = self.footprint.as_mut().filter(|_| self.watch.scratch_to_judge().is_some()) {
            self.watch.left_in_scratch(footprint.last_look());
        }
        let (cpu, peak) = sys::usage_of_children();
        let usage = Usage { wall: self.started.elapsed(), cpu, memory_peak: peak.max(self.watch.memory_peak()) };
        Ended { outcome: self.watch.outcome(), usage }
    }
}

/// Signals each process of a picture of a tree. The group is signalled only while a process in the picture belongs to
/// it: that keeps its number from being anybody else's.
pub(super) fn signal_all(tree: &[tree::Process], group: Option<Pid>, signal: Signal) {
    if let Some(group) = group.filter(|group| tree.iter().any(|process| process.group == group.as_raw_pid())) {
        let _ = rustix::process::kill_process_group(group, signal);
    }
    for pid in tree.iter().filter_map(|process| Pid::from_raw(process.pid)) {
        let _ = rustix::process::kill_process(pid, signal);
        if signal == Signal::TERM {
            // A stopped process would not see it before it is continued.
            let _ = rustix::process::kill_process(pid, Signal::CONT);
        }
    }
}

fn end_of(status: WaitStatus) -> Option<End> {
    status.exit_status().map(End::Exited).or_else(|| status.terminating_signal().map(End::Signaled))
}

/// How long a supervisor may take from the end of the wall time to its report; the node waits no longer.
pub(super) fn patience(grace: Duration) -> Duration {
    grace.saturating_add(super::watch::KILL_PATIENCE).saturating_add(Duration::from_secs(10))
}
