//! What supervisor and target do between the launch and the program's first instruction, as two ordered lists.
//!
//! In come a launch and its shelter; out comes data. The supervisor executes the first list, the target the second, a
//! golden test prints both, and a failed step is named by them. Nothing here touches the machine.

use std::fmt;
use std::time::Duration;

use crate::sandbox::shelter::{Birth, Ground, Shelter};
use crate::sandbox::spec::Launch;
use crate::task::Network;

/// The descriptors that the supervisor holds for its target, in the order in which the node sends them.
pub(in crate::sandbox) const FIRST_CLOSED_FD: i32 = 3;
/// How badly the kernel wants to end a task rather than its node when memory runs out: as badly as it can.
pub(super) const OOM_SCORE_ADJ: i32 = 1000;
/// A task may touch this much more memory than allowed between two looks at it before the kernel refuses.
const MEMORY_HEADROOM: u64 = 256 << 20;
/// Far enough above the limit that the supervisor sees it passed and says so, before the program fails to fork and ends.
const PROCESS_HEADROOM: u64 = 64;

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
    /// Processes and threads of its user.
    Processes,
}

/// One step. They are in the order in which they are done; see [`Plan::for_launch`] for why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Keeps its user's id in the new user namespace.
    MapUser,
    /// Takes a network of its own.
    OwnNetwork,
    /// Cuts its mounts off from the machine's.
    PrivateMounts,
    /// Covers the folders that nothing of the task may see.
    Cover,
    /// Makes every mount read-only.
    ReadOnlyMounts,
    /// Makes the scratch folder and what belongs to it writable again.
    WritableScratch,
    /// Mounts shared memory of its own, of so many bytes at most.
    SharedMemory(u64),
    /// Mounts /proc anew.
    FreshProc,
    /// Enters its cgroup.
    EnterCgroup,
    /// Becomes another user.
    BecomeUser(u32),
    /// Gives up every capability.
    DropCapabilities,
    /// Restricts itself by Landlock's ruleset.
    Landlock(u32),
    /// Filters system calls: the supervisor's own, and so those of every target.
    Seccomp(Network),
    /// Leaves the node's session.
    NewSession,
    /// Ends with its supervisor.
    DieWithSupervisor,
    /// Limits one resource.
    Rlimit(Limited, u64),
    /// Offers the target first when the machine runs out of memory.
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
            Step::MapUser => "keep its user in its own namespace".to_owned(),
            Step::OwnNetwork => "take a network of its own".to_owned(),
            Step::PrivateMounts => "cut its mounts off from the machine's".to_owned(),
            Step::Cover => "cover the folders of the node and of people".to_owned(),
            Step::ReadOnlyMounts => "make every mount read-only".to_owned(),
            Step::WritableScratch => "make the scratch directory writable".to_owned(),
            Step::SharedMemory(bytes) => format!("mount shared memory of its own of {bytes} bytes"),
            Step::FreshProc => "mount /proc anew".to_owned(),
            Step::EnterCgroup => "enter its cgroup".to_owned(),
            Step::BecomeUser(user) => format!("become user {user}"),
            Step::DropCapabilities => "give up every capability".to_owned(),
            Step::Landlock(abi) => format!("restrict itself by Landlock {abi}"),
            Step::Seccomp(network) => format!("filter system calls, network {network}"),
            Step::NewSession => "start a session of its own".to_owned(),
            Step::DieWithSupervisor => "tie itself to its supervisor".to_owned(),
            Step::Rlimit(Limited::Core, bytes) => format!("limit core files to {bytes} bytes"),
            Step::Rlimit(Limited::OpenFiles, count) => format!("limit open files to {count}"),
            Step::Rlimit(Limited::FileSize, bytes) => format!("limit the size of a file to {bytes} bytes"),
            Step::Rlimit(Limited::Cpu, seconds) => format!("limit processor time to {seconds} s a process"),
            Step::Rlimit(Limited::Processes, count) => format!("limit processes and threads to {count}"),
            Step::Rlimit(Limited::Data, bytes) => format!("limit private memory to {bytes} bytes a process"),
            Step::OomScoreAdj(score) => format!("set the out-of-memory score to {score}"),
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
            Step::MapUser => "so that files belong to whom they belonged to; it has to come before every mount",
            Step::OwnNetwork => "so that it reaches nothing, not even services of the machine on loopback",
            Step::PrivateMounts => "so that nothing that follows is seen outside",
            Step::Cover => "so that neither the node's files nor the sockets in /run and /tmp can be named",
            Step::ReadOnlyMounts => "after covering, which needs to make mount points; Landlock lets modes and times be changed",
            Step::WritableScratch => "last, when the task is known; everything else is read-only by then",
            Step::SharedMemory(_) => "so that semaphores and shared memory die with the task",
            Step::FreshProc => "so that it sees no process but its own",
            Step::EnterCgroup => "first, so that all it uses is counted; only the target does, its supervisor is the node's",
            Step::BecomeUser(_) => "so that it owns nothing of the node's; early, because it forgets whom it is tied to",
            Step::DropCapabilities => "so that no privilege of the node or of a namespace is left to the program",
            Step::Landlock(_) => "so that it reads what programs are made of and writes in its scratch directory only",
            Step::Seccomp(_) => {
                "before any task, so that each inherits it ready-made; the supervisor keeps a key to the mounts that it still changes"
            }
            Step::NewSession => "so that Ctrl-C at the node's terminal misses it and its group can be signalled at once",
            Step::DieWithSupervisor => "so that nothing runs unwatched; the supervisor has one thread, so its end is meant",
            Step::Rlimit(Limited::Core, _) => "so that a crash does not fill the disk",
            Step::Rlimit(Limited::OpenFiles, _) => "so that it can't use up the machine's descriptors",
            Step::Rlimit(Limited::FileSize, _) => "so that no file outgrows what was granted",
            Step::Rlimit(Limited::Cpu, _) => "as a backstop; the supervisor adds up the whole tree",
            Step::Rlimit(Limited::Processes, _) => {
                "so that a bomb stops by itself before the supervisor looks; nobody else is this user"
            }
            Step::Rlimit(Limited::Data, _) => "as a backstop; the supervisor looks at the whole tree each 50 ms",
            Step::OomScoreAdj(_) => {
                "so that the kernel ends the task and not the node when memory runs out; the target inherits it, then it is taken back"
            }
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
    /// What the supervisor does, most of it in the namespaces that it was born into, in the order of their execution. All but
    /// the scratch directory and the out-of-memory score is done before the launch is known.
    pub surroundings: Vec<Step>,
    /// What the target does, in the order of their execution.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The steps that `launch` needs in `shelter`.
    #[must_use]
    pub fn for_launch(launch: &Launch, shelter: &Shelter) -> Plan {
        let limits = &launch.limits;
        let mut steps = Vec::from_iter(shelter.memory_counted.then_some(Step::EnterCgroup));
        steps.extend([Step::NewSession, Step::Rlimit(Limited::Core, 0)]);
        steps.push(Step::Rlimit(Limited::OpenFiles, u64::from(limits.open_files)));
        steps.extend(limits.file_size.map(|bytes| Step::Rlimit(Limited::FileSize, bytes)));
        steps.extend(limits.cpu.map(|time| Step::Rlimit(Limited::Cpu, whole_seconds(time))));
        steps.extend(limits.memory.map(|bytes| Step::Rlimit(Limited::Data, memory_backstop(bytes))));
        // The kernel counts by user: where it is also somebody else's, others' processes would count as the task's.
        let counted = shelter.user.is_some() || shelter.birth == Birth::UserNamespace;
        let processes = limits.processes.filter(|_| counted).map(|count| u64::from(count) * 2 + PROCESS_HEADROOM);
        steps.extend(processes.map(|count| Step::Rlimit(Limited::Processes, count)));
        steps.extend([Step::Chdir, Step::Stdio]);
        steps.extend(shelter.user.map(Step::BecomeUser));
        steps.push(Step::DieWithSupervisor);
        steps.extend((!shelter.is_open()).then_some(Step::DropCapabilities));
        steps.extend([Step::ResetSignals, Step::NoNewPrivs]);
        steps.extend((shelter.landlock > 0).then_some(Step::Landlock(shelter.landlock)));
        steps.extend([Step::CloseFds(FIRST_CLOSED_FD), Step::Exec]);
        Plan { surroundings: surroundings(launch, shelter), steps }
    }
}

fn surroundings(launch: &Launch, shelter: &Shelter) -> Vec<Step> {
    let mut steps = prepared(&Ground::of(shelter, &launch.scratch, &launch.limits));
    steps.extend((shelter.birth != Birth::Fork).then_some(Step::WritableScratch));
    steps.push(Step::OomScoreAdj(OOM_SCORE_ADJ));
    steps
}

/// What a supervisor does before a task comes, most of it in its namespaces.
pub(in crate::sandbox) fn prepared(ground: &Ground) -> Vec<Step> {
    let shelter = &ground.shelter;
    let mut steps = Vec::new();
    if shelter.birth != Birth::Fork {
        steps.extend((shelter.birth == Birth::UserNamespace).then_some(Step::MapUser));
        steps.extend((shelter.network == Network::Isolated).then_some(Step::OwnNetwork));
        steps.extend([Step::PrivateMounts, Step::Cover, Step::ReadOnlyMounts, Step::SharedMemory(ground.shared_memory)]);
        steps.extend(shelter.fresh_proc.then_some(Step::FreshProc));
    }
    steps.extend(shelter.seccomp.then_some(Step::Seccomp(shelter.network)));
    steps
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.surroundings
            .iter()
            .chain(&self.steps)
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

    use super::*;
    use crate::sandbox::spec::{Isolation, ResolvedLimits};

    fn launch(limits: ResolvedLimits) -> Launch {
        let argv = vec!["true".to_owned()];
        let isolation = Isolation::default();
        Launch { name: "1-1".to_owned(), argv, env: BTreeMap::new(), scratch: "/scratch/1-1".into(), limits, isolation }
    }

    fn partial() -> Shelter {
        Shelter { landlock: 7, seccomp: true, network: Network::None, ..Shelter::default() }
    }

    fn full() -> Shelter {
        let birth = Birth::UserNamespace;
        Shelter { birth, fresh_proc: true, network: Network::Isolated, ..partial() }
    }

    /// `scripts/bless` writes the file anew.
    #[test]
    fn plan_reads_as_the_golden_page() {
        let plan = |limits, shelter: &Shelter| Plan::for_launch(&launch(limits), shelter);
        let limits = ResolvedLimits {
            cpu: Some(Duration::from_millis(1500)),
            memory: Some(64 << 20),
            processes: Some(100),
            file_size: Some(1 << 20),
            ..ResolvedLimits::default()
        };
        let page = [
            ("Process only, default limits", plan(ResolvedLimits::default(), &Shelter::default())),
            ("Process only, every limit given", plan(limits.clone(), &Shelter::default())),
            ("Partial, without network", plan(ResolvedLimits::default(), &partial())),
            ("Full, with a network of its own, every limit given", plan(limits, &full())),
            (
                "Full, by a node with privileges",
                plan(
                    ResolvedLimits::default(),
                    &Shelter { birth: Birth::Namespaces, user: Some(1_900_000_000), memory_counted: true, ..full() },
                ),
            ),
        ]
        .map(|(name, plan)| format!("{name}\n\n{plan}"))
        .join("\n");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sandbox/plan.golden.txt");
        if std::env::var_os("DUNLIN_BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(page, std::fs::read_to_string(path).unwrap_or_default(), "scripts/bless if this is meant");
    }

    #[test]
    fn closing_and_executing_come_last() {
        for shelter in [Shelter::default(), partial(), full()] {
            let plan = Plan::for_launch(&launch(ResolvedLimits::default()), &shelter);
            assert_eq!(plan.steps[plan.steps.len() - 2..], [Step::CloseFds(3), Step::Exec]);
        }
    }

    #[test]
    fn what_a_step_takes_away_is_not_needed_by_a_later_one() {
        let shelter = Shelter { user: Some(7), ..full() };
        let plan = Plan::for_launch(&launch(ResolvedLimits::default()), &shelter);
        let at = |wanted: fn(&Step) -> bool| plan.steps.iter().position(wanted).unwrap();
        let user = at(|step| matches!(step, Step::BecomeUser(_)));
        // A change of user forgets whom a process is tied to.
        assert!(user < at(|step| *step == Step::DieWithSupervisor));
        assert!(at(|step| *step == Step::NoNewPrivs) < at(|step| matches!(step, Step::Landlock(_))));
        let ground = Ground::of(&shelter, std::path::Path::new("/scratch"), &ResolvedLimits::default());
        let last = [Step::WritableScratch, Step::OomScoreAdj(OOM_SCORE_ADJ)];
        assert_eq!(plan.surroundings, [prepared(&ground), last.to_vec()].concat(), "only the last ones need the launch");
    }
}
