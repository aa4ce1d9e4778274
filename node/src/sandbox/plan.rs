//! What the target does between its birth and its program's first instruction, as an ordered list.
//!
//! In come a launch and what this machine can hold; out comes data. The target executes it, a golden test prints it,
//! and a failed step is named by it. Nothing here touches the machine.

use std::fmt;
use std::time::Duration;

use super::spec::Launch;

/// The descriptors that the supervisor holds for its target, in the order in which the node sends them.
pub(super) const FIRST_CLOSED_FD: i32 = 3;
/// How badly the kernel wants to end a task rather than its node when memory runs out: as badly as it can.
const OOM_SCORE_ADJ: i32 = 1000;
/// A task may touch this much more memory than allowed between two looks at it before the kernel refuses.
const MEMORY_HEADROOM: u64 = 256 << 20;

/// What the sandbox can hold on this machine. The layers that isolate come on top of `ProcessOnly` as further levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// Own session, resource limits and the end of the whole tree; the file system and the network are open.
    ProcessOnly,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::ProcessOnly => f.write_str("process-only"),
        }
    }
}

/// A resource that the kernel limits for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Bytes of a core file.
    Core,
    /// Open files.
    OpenFiles,
    /// Bytes of a file.
    FileSize,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of private writable memory.
    Data,
}

/// One step. They are in the order in which they are done; see [`Plan::for_launch`] for why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Leaves the node's session.
    NewSession,
    /// Ends with its supervisor.
    DieWithSupervisor,
    /// Limits one resource.
    Rlimit(Limited, u64),
    /// Offers itself first when the machine runs out of memory.
    OomScoreAdj(i32),
    /// Enters the scratch directory.
    Chdir,
    /// Puts the three pipes at 0, 1 and 2.
    Stdio,
    /// Lets every signal through again.
    ResetSignals,
    /// Gives up gaining privileges.
    NoNewPrivs,
    /// Closes every descriptor from this one on.
    CloseFds(i32),
    /// Becomes the program.
    Exec,
}

impl Step {
    /// What it does, as the verb of "could not …".
    #[must_use]
    pub fn act(&self) -> String {
        match self {
            Step::NewSession => "start a session of its own".to_owned(),
            Step::DieWithSupervisor => "tie itself to its supervisor".to_owned(),
            Step::Rlimit(Limited::Core, bytes) => format!("limit core files to {bytes} bytes"),
            Step::Rlimit(Limited::OpenFiles, count) => format!("limit open files to {count}"),
            Step::Rlimit(Limited::FileSize, bytes) => format!("limit the size of a file to {bytes} bytes"),
            Step::Rlimit(Limited::Cpu, seconds) => format!("limit processor time to {seconds} s a process"),
            Step::Rlimit(Limited::Data, bytes) => format!("limit private memory to {bytes} bytes a process"),
            Step::OomScoreAdj(score) => format!("set its out-of-memory score to {score}"),
            Step::Chdir => "enter the scratch directory".to_owned(),
            Step::Stdio => "take its standard input and outputs".to_owned(),
            Step::ResetSignals => "let every signal through".to_owned(),
            Step::NoNewPrivs => "give up gaining privileges".to_owned(),
            Step::CloseFds(first) => format!("close descriptors from {first} on"),
            Step::Exec => "start the program".to_owned(),
        }
    }

    /// Why it is there, and there in the order.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Step::NewSession => "so that Ctrl-C at the node's terminal misses it and its group can be signalled at once",
            Step::DieWithSupervisor => "so that nothing runs unwatched; the supervisor has one thread, so its end is meant",
            Step::Rlimit(Limited::Core, _) => "so that a crash does not fill the disk",
            Step::Rlimit(Limited::OpenFiles, _) => "so that it can't use up the machine's descriptors",
            Step::Rlimit(Limited::FileSize, _) => "so that no file outgrows what was granted",
            Step::Rlimit(Limited::Cpu, _) => "as a backstop; the supervisor adds up the whole tree",
            Step::Rlimit(Limited::Data, _) => "as a backstop; the supervisor looks at the whole tree each 50 ms",
            Step::OomScoreAdj(_) => "so that the kernel ends the task and not the node when memory runs out",
            Step::Chdir => "so that relative paths stay inside what is removed afterwards",
            Step::Stdio => "before the rest is closed, because the pipes are among the rest",
            Step::ResetSignals => "late, so that no signal meets a half-made target",
            Step::NoNewPrivs => "so that no set-user-id program makes it more than its node",
            Step::CloseFds(_) => "last before exec: nothing of the node's is inherited",
            Step::Exec => "with exactly the launch's arguments and environment",
        }
    }
}

/// The ordered steps of one launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order of their execution.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The steps that `launch` needs at `level`.
    #[must_use]
    pub fn for_launch(launch: &Launch, level: &Level) -> Plan {
        let limits = &launch.limits;
        let mut steps = vec![Step::NewSession, Step::DieWithSupervisor, Step::Rlimit(Limited::Core, 0)];
        steps.push(Step::Rlimit(Limited::OpenFiles, u64::from(limits.open_files)));
        steps.extend(limits.file_size.map(|bytes| Step::Rlimit(Limited::FileSize, bytes)));
        steps.extend(limits.cpu.map(|time| Step::Rlimit(Limited::Cpu, whole_seconds(time))));
        steps.extend(limits.memory.map(|bytes| Step::Rlimit(Limited::Data, memory_backstop(bytes))));
        steps.extend([Step::OomScoreAdj(OOM_SCORE_ADJ), Step::Chdir, Step::Stdio]);
        match level {
            Level::ProcessOnly => {} // Landlock and seccomp stand here, around the loss of privileges, one day.
        }
        steps.extend([Step::ResetSignals, Step::NoNewPrivs, Step::CloseFds(FIRST_CLOSED_FD), Step::Exec]);
        Plan { steps }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps
            .iter()
            .enumerate()
            .try_for_each(|(at, step)| writeln!(f, "{:>2}. {}\n      {}", at + 1, step.act(), step.reason()))
    }
}

/// The kernel counts whole seconds; one more than asked leaves the exact limit to the supervisor.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(1 + u64::from(time.subsec_nanos() > 0))
}

fn memory_backstop(limit: u64) -> u64 {
    limit.saturating_mul(2).max(limit.saturating_add(MEMORY_HEADROOM))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::spec::ResolvedLimits;
    use super::*;

    fn launch(limits: ResolvedLimits) -> Launch {
        let argv = vec!["true".to_owned()];
        Launch { name: "1-1".to_owned(), argv, env: BTreeMap::new(), scratch: "/scratch/1-1".into(), limits }
    }

    /// `BLESS=1 cargo test` writes the file anew.
    #[test]
    fn plan_reads_as_the_golden_page() {
        let bare = Plan::for_launch(&launch(ResolvedLimits::default()), &Level::ProcessOnly);
        let limits = ResolvedLimits {
            cpu: Some(Duration::from_millis(1500)),
            memory: Some(64 << 20),
            file_size: Some(1 << 20),
            ..ResolvedLimits::default()
        };
        let full = Plan::for_launch(&launch(limits), &Level::ProcessOnly);
        let page = format!("Default limits\n\n{bare}\nEvery limit given\n\n{full}");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sandbox/plan.golden.txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(page, std::fs::read_to_string(path).unwrap_or_default(), "run with BLESS=1 if this is meant");
    }

    #[test]
    fn closing_and_executing_come_last() {
        let plan = Plan::for_launch(&launch(ResolvedLimits::default()), &Level::ProcessOnly);
        assert_eq!(plan.steps[plan.steps.len() - 2..], [Step::CloseFds(3), Step::Exec]);
    }
}
