//! What a supervisor decides: when a task must end, how hard it is pushed, and what its end is called.
//!
//! In come what was seen (an end, a measurement, a cancellation, time), out come acts. Pure: no process is touched here
//! and the time since the start is an input.

use std::time::Duration;

use crate::sandbox::kernel::sys::End;
use crate::sandbox::spec::ResolvedLimits;
use crate::task::Outcome;

/// Between two looks at the tree's memory, processor time and number of threads.
pub(super) const MEASURE_EVERY: Duration = Duration::from_millis(50);
/// A measurement that takes long is followed by this many times as long a rest: a large tree, or many files, must not make
/// the watch cost more than a fifth of a processor.
const REST: u32 = 4;
/// Between two rounds of SIGKILL while something is left.
const KILL_AGAIN: Duration = Duration::from_millis(5);
/// How long SIGKILL may take to work before the supervisor reports and leaves the rest to the zygote.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What the tree uses at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) cpu: Duration,
    pub(super) memory: u64,
    pub(super) threads: u32,
    /// Bytes of the scratch directory, as far as it was looked at.
    pub(super) scratch: u64,
}

/// What the supervisor saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Children were waited for; `leader` if the program itself was among them, `alone` if none is left.
    Reaped { leader: Option<End>, alone: bool },
    /// The node asked for the end.
    Cancelled,
    /// The node says that more was written to the outputs than is allowed.
    Flooded,
    /// The node's end of the control socket is closed.
    NodeGone,
    /// An answer to [`Act::Measure`].
    Measured(Measure),
    /// Nothing but time passed.
    Time,
}

/// What the supervisor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// SIGTERM to the whole tree.
    Terminate,
    /// SIGKILL to the whole tree.
    Kill,
    /// Look at the tree.
    Measure,
    /// Report and end.
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Terminating { kill_at: Duration },
    Killing { again_at: Duration, give_up_at: Duration },
}

/// The state of one task under watch.
#[derive(Debug)]
pub(super) struct Watch {
    limits: ResolvedLimits,
    phase: Phase,
    measure_at: Option<Duration>,
    /// When the measurement that is under way was asked for.
    asked_at: Duration,
    /// The most that was measured of each.
    memory_peak: u64,
    scratch_peak: u64,
    leader: Option<End>,
    cause: Option<Outcome>,
}

impl Watch {
    pub(super) fn new(limits: ResolvedLimits) -> Self {
        let ResolvedLimits { cpu, memory, processes, scratch, .. } = &limits;
        let measured = cpu.is_some() || memory.is_some() || processes.is_some() || scratch.is_some();
        let measure_at = measured.then_some(MEASURE_EVERY);
        Watch {
            limits,
            phase: Phase::Running,
            measure_at,
            asked_at: Duration::ZERO,
            memory_peak: 0,
            scratch_peak: 0,
            leader: None,
            cause: None,
        }
    }

    /// When the next step is due even if nothing is seen; times count from the start of the task.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Running => self.limits.wall.into_iter().chain(self.measure_at).min(),
            Phase::Terminating { kill_at } => Some(kill_at),
            Phase::Killing { again_at, give_up_at } => Some(again_at.min(give_up_at)),
        }
    }

    /// Takes one thing seen at `now` and answers with what is to be done, in order.
    #[must_use]
    pub(super) fn step(&mut self, now: Duration, seen: Seen) -> Vec<Act> {
        match seen {
            Seen::Reaped { leader, alone } => self.reaped(now, leader, alone),
            Seen::Cancelled => self.terminate(now, Outcome::Cancelled),
            Seen::Flooded => self.flooded(now),
            Seen::NodeGone => {
                self.cause.get_or_insert(Outcome::Cancelled);
                self.kill(now)
            }
            Seen::Measured(measure) => self.measured(now, measure),
            Seen::Time => self.time(now),
        }
    }

    /// The most memory that was measured, in bytes; 0 if it was not measured.
    pub(super) fn memory_peak(&self) -> u64 {
        self.memory_peak
    }

    /// The most that the scratch directory took, in bytes; 0 if nobody looked.
    pub(super) fn scratch_peak(&self) -> u64 {
        self.scratch_peak
    }

    /// What the tree may use, in bytes.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.limits.memory
    }

    /// The limit of the scratch directory, if the task failed by itself and may have met it unseen: a full disk's or a
    /// quota's end looks like any other failure.
    pub(super) fn scratch_to_judge(&self) -> Option<u64> {
        let failed = !matches!(self.leader, Some(End::Exited(0)));
        self.limits.scratch.filter(|_| failed && self.cause.is_none())
    }

    /// What was in the scratch directory when all was over.
    pub(super) fn left_in_scratch(&mut self, used: u64) {
        self.scratch_peak = self.scratch_peak.max(used);
        if let Some(limit) = self.scratch_to_judge().filter(|limit| used > *limit) {
            self.cause = Some(Outcome::ScratchLimit { limit, used });
        }
    }

    /// What the end is called.
    pub(super) fn outcome(&self) -> Outcome {
        if let Some(cause) = &self.cause {
            return cause.clone();
        }
        match (self.leader, self.limits.file_size, self.limits.cpu) {
            (Some(End::Signaled(libc::SIGXFSZ)), Some(limit), _) => Outcome::FileTooLarge { limit },
            (Some(End::Signaled(libc::SIGXCPU)), _, Some(limit)) => Outcome::CpuLimit { limit },
            (Some(End::Signaled(signal)), ..) => Outcome::Signaled(signal),
            (Some(End::Exited(code)), ..) => Outcome::Exited(code),
            (None, ..) => Outcome::Signaled(libc::SIGKILL),
        }
    }

    fn reaped(&mut self, now: Duration, leader: Option<End>, alone: bool) -> Vec<Act> {
        self.leader = self.leader.or(leader);
        match self.phase {
            _ if alone => vec![Act::Finish],
            // What the program left behind was not asked for. It gets no grace: the task has ended by its own word.
            Phase::Running if self.leader.is_some() => self.kill(now),
            // A round of kills is seldom not enough. The next one has its time: one for each death of a large tree
            // would cost its square.
            Phase::Running | Phase::Terminating { .. } | Phase::Killing { .. } => Vec::new(),
        }
    }

    fn measured(&mut self, now: Duration, measure: Measure) -> Vec<Act> {
        self.memory_peak = self.memory_peak.max(measure.memory);
        self.scratch_peak = self.scratch_peak.max(measure.scratch);
        let took = now.saturating_sub(self.asked_at);
        self.measure_at = self.measure_at.map(|_| now + MEASURE_EVERY.max(took.saturating_mul(REST)));
        let ResolvedLimits { memory, processes, scratch, cpu, .. } = self.limits;
        let cause = match (memory, processes, scratch, cpu) {
            (Some(limit), ..) if measure.memory > limit => Outcome::OutOfMemory { limit, peak: measure.memory },
            (_, Some(limit), ..) if measure.threads > limit => Outcome::TooManyProcesses { limit },
            (_, _, Some(limit), _) if measure.scratch > limit => Outcome::ScratchLimit { limit, used: measure.scratch },
            (.., Some(limit)) if measure.cpu > limit => return self.terminate(now, Outcome::CpuLimit { limit }),
            _ => return Vec::new(),
        };
        self.end_at_once(now, cause)
    }

    fn flooded(&mut self, now: Duration) -> Vec<Act> {
        match self.limits.output {
            Some(limit) => self.end_at_once(now, Outcome::OutputLimit { limit }),
            None => Vec::new(),
        }
    }

    /// For what each moment of grace would make worse.
    fn end_at_once(&mut self, now: Duration, cause: Outcome) -> Vec<Act> {
        if self.phase != Phase::Running {
            return Vec::new();
        }
        self.cause = Some(cause);
        self.kill(now)
    }

    fn time(&mut self, now: Duration) -> Vec<Act> {
        match self.phase {
            Phase::Running => {
                if let Some(limit) = self.limits.wall.filter(|limit| now >= *limit) {
                    return self.terminate(now, Outcome::TimedOut { limit });
                }
                match self.measure_at {
                    Some(at) if now >= at => {
                        self.measure_at = Some(now + MEASURE_EVERY);
                        self.asked_at = now;
                        vec![Act::Measure]
                    }
                    _ => Vec::new(),
                }
            }
            Phase::Terminating { kill_at } if now >= kill_at => self.kill(now),
            Phase::Killing { give_up_at, .. } if now >= give_up_at => vec![Act::Finish],
            Phase::Killing { again_at, give_up_at } if now >= again_at => {
                self.phase = Phase::Killing { again_at: now + KILL_AGAIN, give_up_at };
                vec![Act::Kill]
            }
            Phase::Terminating { .. } | Phase::Killing { .. } => Vec::new(),
        }
    }

    fn terminate(&mut self, now: Duration, cause: Outcome) -> Vec<Act> {
        if self.phase != Phase::Running {
            return Vec::new();
        }
        self.cause = Some(cause);
        self.phase = Phase::Terminating { kill_at: now.saturating_add(self.limits.grace) };
        vec![Act::Terminate]
    }

    fn kill(&mut self, now: Duration) -> Vec<Act> {
        if !matches!(self.phase, Phase::Killing { .. }) {
            self.phase = Phase::Killing { again_at: now + KILL_AGAIN, give_up_at: now + KILL_PATIENCE };
        }
        vec![Act::Kill]
    }
}

#[cfg(test)]
mod tests;
