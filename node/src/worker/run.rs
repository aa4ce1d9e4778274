//! From a task's spec to one execution of it: the runner's face, limits with defaults, the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::output::LiveOutput;
use super::protocol::DeclineWhy;
use crate::sandbox::{Isolation, Launch, Report, ResolvedLimits};
use crate::task::{AttemptNumber, Fence, Level, Limits, MAX_KEPT_OUTPUT, Need, NodeId, Pod, TaskId, TaskSpec};

/// Whatever executes a process tree for one attempt: the sandbox, or a stand-in for it.
pub trait Runner: Send + Sync + 'static {
    /// Runs it to its end. Everything that can go wrong is an outcome in the report. What it writes also goes to `live` as
    /// it comes.
    fn run(&self, launch: Launch, stdin: Bytes, cancel: Cancel, live: Arc<LiveOutput>) -> BoxFuture<'static, Report>;
}

/// Somebody wants an attempt to end. Clones are one signal; dropping one is no signal.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<CancelState>);

#[derive(Debug, Default)]
struct CancelState {
    set: AtomicBool,
    wake: Notify,
}

impl Cancel {
    /// Not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on it is.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        self.0.wake.notify_waiters();
    }

    /// Whether it is.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    /// Waits until it is.
    pub async fn cancelled(&self) {
        loop {
            let woken = self.0.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            woken.await;
        }
    }
}

/// What a worker is told about its node.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The node.
    pub node: NodeId,
    /// Its name, which tasks see as `DUNLIN_NODE`.
    pub name: String,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// The limits of tasks that ask for none.
    pub defaults: ResolvedLimits,
    /// Where attempts get their directories.
    pub scratch_root: PathBuf,
    /// The dunlin binary, which tasks see as `DUNLIN`.
    pub binary: PathBuf,
    /// The `PATH` of tasks.
    pub path: String,
    /// What stands around its tasks: the greatest need that it meets.
    pub holds: Need,
    /// The least level that its owner asks for: below it, every hand-out is declined.
    pub requires: Level,
}

impl WorkerConfig {
    /// Why a task is declined for what stands around it here.
    pub(super) fn declines(&self, need: Need) -> Option<DeclineWhy> {
        if self.holds.level < self.requires {
            Some(DeclineWhy::Withheld)
        } else {
            (!need.is_met_by(self.holds.level, self.holds.memory_enforced)).then_some(DeclineWhy::Unmet)
        }
    }
}

/// The `PATH` of tasks if the owner gives none.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// A task's limits with the node's defaults filled in. Kept outputs are cut to what a report may carry.
#[must_use]
pub fn resolve(asked: &Limits, defaults: &ResolvedLimits) -> ResolvedLimits {
    ResolvedLimits {
        wall: asked.wall.or(defaults.wall),
        cpu: asked.cpu.or(defaults.cpu),
        memory: asked.memory.or(defaults.memory),
        processes: asked.processes.or(defaults.processes),
        open_files: asked.open_files.unwrap_or(defaults.open_files),
        file_size: asked.file_size.or(defaults.file_size),
        scratch: asked.scratch.or(defaults.scratch),
        output: asked.output.or(defaults.output),
        stdout: asked.stdout.unwrap_or(defaults.stdout).min(MAX_KEPT_OUTPUT),
        stderr: asked.stderr.unwrap_or(defaults.stderr).min(MAX_KEPT_OUTPUT),
        grace: asked.grace.unwrap_or(defaults.grace),
    }
}

/// What the sandbox is asked for one attempt.
pub(super) fn launch(
    config: &WorkerConfig,
    (task, attempt, fence): (TaskId, AttemptNumber, Fence),
    spec: &TaskSpec,
    argv: Vec<String>,
) -> Launch {
    let name = format!("{task}-{attempt}-{fence}");
    let scratch = config.scratch_root.join(&name);
    let env = environment(config, (task, attempt, fence), spec, &scratch);
    let asked = &spec.sandbox;
    let isolation = Isolation { network: asked.network, require: asked.need.level, read: asked.read.clone() };
    Launch { name, argv, env, scratch, limits: resolve(&spec.limits, &config.defaults), isolation }
}

/// The complete environment. The submitter's variables replace ours, but not those named `DUNLIN_…` that we set.
fn environment(
    config: &WorkerConfig,
    (task, attempt, fence): (TaskId, AttemptNumber, Fence),
    spec: &TaskSpec,
    scratch: &Path,
) -> BTreeMap<String, String> {
    let dir = scratch.to_string_lossy().into_owned();
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), config.path.clone()),
        ("HOME".to_owned(), dir.clone()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("TMPDIR".to_owned(), scratch.join("tmp").to_string_lossy().into_owned()),
    ]);
    env.extend(spec.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    env.extend([
        ("DUNLIN".to_owned(), config.binary.to_string_lossy().into_owned()),
        ("DUNLIN_TASK_ID".to_owned(), task.to_string()),
        ("DUNLIN_ATTEMPT".to_owned(), attempt.to_string()),
        ("DUNLIN_GROUP".to_owned(), spec.group.to_string()),
        ("DUNLIN_NODE".to_owned(), config.name.clone()),
        ("DUNLIN_TERM".to_owned(), fence.term.to_string()),
        ("DUNLIN_TASK_DIR".to_owned(), dir),
    ]);
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Term;

    fn config() -> WorkerConfig {
        WorkerConfig {
            node: NodeId(7),
            name: "pi-7".to_owned(),
            pods: vec![],
            defaults: ResolvedLimits::default(),
            scratch_root: PathBuf::from("/scratch"),
            binary: PathBuf::from("/bin/dunlin"),
            path: DEFAULT_PATH.to_owned(),
            holds: Need::default(),
            requires: Level::ProcessOnly,
        }
    }

    #[test]
    fn a_hand_out_is_declined_for_what_the_task_needs_or_the_owner_requires() {
        let partial = Need { level: Level::Partial, memory_enforced: false };
        let memory = Need { memory_enforced: true, ..Need::default() };
        assert_eq!((config().declines(Need::default()), config().declines(memory)), (None, Some(DeclineWhy::Unmet)));
        let weak = WorkerConfig { requires: Level::Partial, ..config() };
        assert_eq!(weak.declines(Need::default()), Some(DeclineWhy::Withheld));
        let enough = WorkerConfig { holds: partial, ..weak };
        assert_eq!((enough.declines(partial), enough.declines(memory)), (None, Some(DeclineWhy::Unmet)));
    }

    #[test]
    fn what_a_task_asks_of_its_sandbox_reaches_the_sandbox() {
        use crate::task::{Network, SandboxSpec};
        let mut spec = TaskSpec::command(["true"]);
        let key = (TaskId(1), AttemptNumber(1), Fence::default());
        assert_eq!(launch(&config(), key, &spec, vec![]).isolation, Isolation::default());
        let need = Need { level: Level::Partial, memory_enforced: true };
        spec.sandbox = SandboxSpec { need, network: Network::Isolated, read: vec!["/srv".into()] };
        let isolation = launch(&config(), key, &spec, vec![]).isolation;
        assert_eq!((isolation.network, isolation.require), (Network::Isolated, Level::Partial));
        assert_eq!(isolation.read, [PathBuf::from("/srv")]);
    }

    #[test]
    fn a_task_sees_only_what_was_set_for_it_and_cannot_pose_as_another() {
        let mut spec = TaskSpec::command(["true"]);
        spec.env = BTreeMap::from([("DUNLIN_TASK_ID".into(), "1".into()), ("LANG".into(), "de_DE".into())]);
        let fence = Fence { term: Term(3), sequence: 9 };
        let launch = launch(&config(), (TaskId(39), AttemptNumber(2), fence), &spec, vec!["true".into()]);
        let keys: Vec<&str> = launch.env.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "DUNLIN",
                "DUNLIN_ATTEMPT",
                "DUNLIN_GROUP",
                "DUNLIN_NODE",
                "DUNLIN_TASK_DIR",
                "DUNLIN_TASK_ID",
                "DUNLIN_TERM",
                "HOME",
                "LANG",
                "PATH",
                "TMPDIR"
            ]
        );
        assert_eq!(launch.env["DUNLIN_TASK_ID"], "39");
        assert_eq!(launch.env["LANG"], "de_DE");
        assert_eq!(launch.env["TMPDIR"], "/scratch/39-2-3.9/tmp");
        assert!(launch.limits.stdout <= MAX_KEPT_OUTPUT);
    }

    #[tokio::test]
    async fn a_cancel_is_seen_before_and_after_the_wait_began() {
        let cancel = Cancel::new();
        let waiter = cancel.clone();
        tokio::join!(waiter.cancelled(), async { cancel.cancel() });
        cancel.cancelled().await;
        assert!(waiter.is_cancelled());
    }
}
