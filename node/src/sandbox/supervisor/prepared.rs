//! What a supervisor has ready before a task comes, and how it brings the task's program to life with it.
//!
//! In come a ground and then orders; out comes a running target, or why there is none. Whatever needs memory or a library
//! is done here, because the target can only make system calls.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, WaitOptions};
use rustix::rand::GetRandomFlags;

use super::confine::{Begun, Foundation};
use super::surroundings::{Ids, Surroundings};
use super::traces::Traces;
use super::workplace::Workplace;
use crate::sandbox::kernel;
use crate::sandbox::kernel::sys::SingleThreaded;
use crate::sandbox::plan::{self, FIRST_CLOSED_FD, Plan, Step};
use crate::sandbox::program::{self, Program};
use crate::sandbox::scratch::footprint::Footprint;
use crate::sandbox::seccomp::{self, Architecture, Key};
use crate::sandbox::shelter::{Birth, Ground, Shelter};
use crate::sandbox::spec::Launch;
use crate::sandbox::target::{Failure, Stdio, Target};
use crate::sandbox::wire::{Lines, Order};
use crate::task::Outcome;

/// Everything that does not depend on the task.
pub(super) struct Prepared<'a> {
    alone: &'a SingleThreaded,
    ground: &'a Ground,
    /// Where it has namespaces of its own.
    surroundings: Option<Surroundings<'a>>,
    foundation: Option<Foundation>,
    /// The next task's ruleset, as far as it can be made.
    begun: Option<Begun>,
    /// Where the present task works, or the last one did.
    workplace: Option<Workplace>,
    /// Landlock's ruleset for that.
    ruleset: Option<OwnedFd>,
    /// How everything was; where it has namespaces of its own and could look.
    traces: Option<Traces>,
    /// `None` if its file in /proc could not be opened.
    oom_score: Option<OomScore>,
}

/// A task's program, running.
pub(super) struct Born {
    pub(super) target: Pid,
    /// Where the scratch directory has a limit.
    pub(super) footprint: Option<Footprint>,
    /// Its outputs, held open as long as anything of the task may write.
    pub(super) outputs: [OwnedFd; 2],
}

impl<'a> Prepared<'a> {
    /// Prepares all of `ground`; the outcome of every task that is asked for if that fails.
    pub(super) fn lay(alone: &'a SingleThreaded, ids: Ids, ground: &'a Ground) -> Result<Self, Outcome> {
        let key = key().map_err(|e| failed("draw a key".to_owned(), &e))?;
        let (surroundings, foundation, begun, workplace, ruleset, traces, oom_score) = Default::default();
        // Its zygote is closed to others, and so would be its own /proc files, which it and the next steps write to.
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
        let mut prepared = Prepared { alone, ground, surroundings, foundation, begun, workplace, ruleset, traces, oom_score };
        // The filter comes last: it refuses what the others need.
        let filters = |step: &Step| matches!(step, Step::Seccomp(_));
        let (filter, steps): (Vec<Step>, Vec<Step>) = plan::prepared(ground).into_iter().partition(filters);
        if prepared.in_own_namespace() {
            let surroundings = Surroundings::before(alone, ids, ground, key);
            let surroundings = surroundings.map_err(|e| failed("open what the task may reach".to_owned(), &e))?;
            steps.iter().try_for_each(|step| surroundings.execute(*step).map_err(|e| failed(step.act(), &e)))?;
            prepared.surroundings = Some(surroundings);
            prepared.traces = Traces::before().ok();
        }
        // After the mounts: no mount becomes read-only while a file in it is open for writing.
        prepared.oom_score = OomScore::own().ok();
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
        prepared.foundation = (ground.shelter.landlock > 0).then(|| Foundation::lay(&ground.shelter));
        prepared.begin();
        for step in filter {
            take_on_filter(ground, key).map_err(|e| failed(step.act(), &e))?;
        }
        Ok(prepared)
    }

    /// What fails here is tried again, and told, when a task has come.
    fn begin(&mut self) {
        self.begun = self.foundation.as_ref().and_then(|foundation| foundation.begin().ok());
    }

    /// Brings the program of an order to life, or says why there is none.
    pub(super) fn start(&mut self, order: &Order, lines: Lines) -> Result<Born, Outcome> {
        let launch = &order.launch;
        let shelter = Shelter { user: order.user, ..self.ground.shelter.clone() };
        let program = Program::of(launch).map_err(Outcome::NotFound)?;
        let plan = Plan::for_launch(launch, &shelter);
        let scratch = CString::new(launch.scratch.as_os_str().as_bytes())
            .map_err(|e| failed("name the scratch directory".to_owned(), &e.into()))?;
        let still = self.admit(&launch.scratch).map_err(|e| failed(Step::WritableScratch.act(), &e))?;
        let footprint = launch.limits.scratch.map(|_| Footprint::of(&launch.scratch, order.user)).transpose();
        let footprint = footprint.map_err(|e| failed("watch its scratch directory".to_owned(), &e))?;
        let alone = self.alone;
        if !still {
            self.ruleset = self.make_ruleset().map_err(|e| failed("make its ruleset".to_owned(), &e))?;
        }
        let Lines { stdin, stdout, stderr, cgroup } = lines;
        let stdio = Stdio { stdin, stdout, stderr, cgroup };
        let mut target = Target::prepare(&plan, &program, &scratch, (&stdio, self.ruleset.as_ref()));
        let offered = OomScore::offer(self.oom_score.as_ref(), plan::OOM_SCORE_ADJ);
        offered.map_err(|e| failed(Step::OomScoreAdj(plan::OOM_SCORE_ADJ).act(), &e))?;
        let pid = alone.spawn_sharing(Target::run, &mut target);
        self.oom_score.as_ref().map(OomScore::take_back);
        let pid = pid.map_err(|e| failed("start a process".to_owned(), &e))?;
        let Some(failure) = target.failure else {
            let Stdio { stdout, stderr, .. } = stdio;
            return Ok(Born { target: pid, footprint, outputs: [stdout, stderr] });
        };
        // It has ended already; it is taken away so that nothing is left of it.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        Err(explain(launch, &plan, failure))
    }

    /// Lets the task's scratch directory be seen; true if it is the last task's, which was kept for this one.
    fn admit(&mut self, scratch: &Path) -> io::Result<bool> {
        let workplace = match &self.surroundings {
            Some(surroundings) => surroundings.workplace(scratch)?,
            None => Workplace::open(CWD, scratch, false)?,
        };
        let still = self.workplace.as_ref().is_some_and(|last| last.is(&workplace));
        if let Some(surroundings) = &mut self.surroundings {
            surroundings.admit(scratch, &workplace, still)?;
        }
        self.workplace = Some(workplace);
        Ok(still)
    }

    /// Landlock's, for the workplace.
    fn make_ruleset(&mut self) -> io::Result<Option<OwnedFd>> {
        let (Some(foundation), Some(workplace)) = (&self.foundation, &self.workplace) else { return Ok(None) };
        let begun = self.begun.take().map_or_else(|| foundation.begin(), Ok)?;
        // Above the three that the target takes as its standard input and outputs before it needs this one.
        let ruleset = begun.finish(workplace.directories())?;
        Ok(Some(rustix::io::fcntl_dupfd_cloexec(ruleset, FIRST_CLOSED_FD)?))
    }

    /// Whether another task may come after one of `user`, of which nothing runs any more.
    pub(super) fn serves_again(&self, user: Option<u32>) -> bool {
        let clean = !self.in_own_namespace() || self.traces.as_ref().is_some_and(Traces::are_none);
        self.ground.serves_again(user) && clean
    }

    /// Whether the next task may find its workplace where it is: asked before the report, after which the node renames it.
    pub(super) fn workplace_is_untouched(&self) -> bool {
        self.workplace.as_ref().is_some_and(Workplace::is_untouched)
    }

    /// Takes away what was the last task's, and gets ready for the next.
    pub(super) fn dismiss(&mut self) -> io::Result<()> {
        (self.workplace, self.ruleset) = (None, None);
        self.surroundings.as_mut().map_or(Ok(()), Surroundings::hide)?;
        self.begin();
        Ok(())
    }

    /// Whether it is the first process of a pid namespace.
    pub(super) fn in_own_namespace(&self) -> bool {
        self.ground.shelter.birth != Birth::Fork
    }
}

/// This process's out-of-memory score, which a target inherits: cheaper than a file of its own in /proc for each.
struct OomScore {
    file: OwnedFd,
    own: String,
}

impl OomScore {
    /// As it is. Opened while this process is open to itself, and kept: the system's or a fresh /proc, it is the same number.
    fn own() -> io::Result<OomScore> {
        let file = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = [0; 8];
        let length = rustix::io::pread(&file, &mut text, 0)?;
        Ok(OomScore { file, own: String::from_utf8_lossy(&text[..length]).trim().to_owned() })
    }

    /// Gives `score` to whoever is born next.
    fn offer(own: Option<&OomScore>, score: i32) -> io::Result<()> {
        let own = own.ok_or_else(|| io::Error::from_raw_os_error(libc::EACCES))?;
        Ok(rustix::io::pwrite(&own.file, score.to_string().as_bytes(), 0).map(drop)?)
    }

    /// Where that is not allowed, the supervisor stays as likely to be ended as its targets.
    fn take_back(&self) {
        let _ = rustix::io::pwrite(&self.file, self.own.as_bytes(), 0);
    }
}

/// From here on this process and all that descends from it have their calls filtered.
fn take_on_filter(ground: &Ground, key: Key) -> io::Result<()> {
    let Some(policy) = ground.filter else { return Ok(()) };
    let architecture = Architecture::NATIVE.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))?;
    let filter = seccomp::compile(policy, architecture, Some(key))?;
    // The kernel takes filters from privileged processes or from those that gave up becoming so.
    rustix::thread::set_no_new_privs(true)?;
    kernel::install_filter(&filter)
}

fn key() -> io::Result<Key> {
    let mut random = [0; size_of::<usize>()];
    rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
    Ok(Key::new(random))
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
