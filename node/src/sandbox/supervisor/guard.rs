//! Guards one task from its start to its end: waits for its processes, looks at what they use, hears the node, and pushes
//! whatever is left.
//!
//! In come a started target and a control line; out comes how it ended. What to do when is decided in `watch.rs`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::process::{Pid, Signal};

use super::tree;
use super::watch::{Act, Measure, Seen, Watch};
use crate::sandbox::kernel;
use crate::sandbox::kernel::sys::{self, Spent, Wake};
use crate::sandbox::scratch::footprint::Footprint;
use crate::sandbox::wire::{CANCEL, Ended, FLOODED};
use crate::task::Usage;

/// One running task and what it has used so far.
pub(super) struct Guard<'a> {
    pub(super) started: Instant,
    pub(super) control: &'a File,
    pub(super) target: Pid,
    /// Whether it is the first process of a pid namespace.
    pub(super) own_namespace: bool,
    pub(super) watch: Watch,
    /// Where the scratch directory has a limit.
    pub(super) footprint: Option<Footprint>,
    /// What those used that were waited for.
    pub(super) spent: Spent,
}

impl Guard<'_> {
    /// Until the task is over; true beside the report if the kernel says that nothing of it is left.
    pub(super) fn run(mut self) -> io::Result<(Ended, bool)> {
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
    fn reap(&mut self) -> Seen {
        let mut leader = None;
        loop {
            match sys::wait_any() {
                Ok(Some((pid, end, spent))) => {
                    self.spent.add(spent);
                    leader = if pid == self.target { Some(end) } else { leader };
                }
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
        Measure { scratch, ..tree::measure(&tree, self.spent.cpu, self.watch.memory_limit()) }
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
        if let Some(footprint) = &mut self.footprint {
            let judged = self.watch.scratch_to_judge().is_some();
            self.watch.left_in_scratch(if judged { footprint.last_look() } else { footprint.glance() });
        }
        let Spent { cpu, memory_peak } = self.spent;
        let usage = Usage {
            wall: self.started.elapsed(),
            cpu,
            memory_peak: memory_peak.max(self.watch.memory_peak()),
            scratch_peak: self.watch.scratch_peak(),
        };
        Ended { outcome: self.watch.outcome(), usage, again: false }
    }
}

/// Signals each process of a picture of a tree. The group is signalled only while a process in the picture belongs to
/// it: that keeps its number from being anybody else's.
pub(in crate::sandbox) fn signal_all(tree: &[tree::Process], group: Option<Pid>, signal: Signal) {
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
