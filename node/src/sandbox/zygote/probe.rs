//! What this machine holds, found out by trying: each layer is really taken on in a child, never guessed from versions.
//!
//! In comes where tasks will work; out come findings: held layers, and missing ones with what the kernel said. The
//! settings of the machine are only read to explain a failure (`remedy.rs`), never to foresee one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use super::TASK_NAMESPACES;
use super::remedy;
use crate::sandbox::kernel::sys::{self, Forked, SingleThreaded};
use crate::sandbox::kernel::{self, Namespaces};
use crate::sandbox::plan::Step;
use crate::sandbox::scratch;
use crate::sandbox::seccomp::{self, Architecture, Key};
use crate::sandbox::shelter::{Birth, Ground, Shelter};
use crate::sandbox::spec::ResolvedLimits;
use crate::sandbox::supervisor::confine::Foundation;
use crate::sandbox::supervisor::surroundings::{Ids, Surroundings};
use crate::sandbox::target;
use crate::sandbox::wire;
use crate::task::{Findings, Layer, Missing, Network};

/// The first user id of slots: of a range that systemd's list of ids leaves to local use.
const FIRST_USERS: [u32; 2] = [1_900_000_000, 60_000];
/// Answer of a child that did what it should.
const DONE: i32 = 0;

/// Where tasks will work.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Question {
    /// A directory made for this; it is removed by whoever asks.
    pub(in crate::sandbox) scratch: PathBuf,
    pub(in crate::sandbox) hidden: Vec<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Probed {
    pub(in crate::sandbox) findings: Findings,
    /// How supervisors are to be born if there are namespaces.
    pub(in crate::sandbox) birth: Birth,
    /// The first id of slots; `None` if tasks run as the node's user.
    pub(in crate::sandbox) first_user: Option<u32>,
    /// Whether these users reach the scratch directory only in a mount namespace.
    pub(in crate::sandbox) users_need_mounts: bool,
}

/// Answers one question on the control line.
///
/// # Errors
/// If the line breaks.
pub(in crate::sandbox) fn answer(alone: &SingleThreaded, ids: Ids, control: OwnedFd) -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
    let mut control = File::from(control);
    let question: Question = wire::read_frame(&mut control)?;
    let mut probe = Probe { alone, ids, question: &question, probed: Probed::default(), held: Vec::new(), missing: Vec::new() };
    probe.namespaces();
    probe.landlock();
    probe.seccomp();
    probe.users();
    probe.held.push(Layer::MemoryPolling);
    let Probe { held, missing, mut probed, .. } = probe;
    probed.findings = Findings::of(held, missing);
    control.write_all(&wire::frame(&probed)?)
}

struct Probe<'a> {
    alone: &'a SingleThreaded,
    ids: Ids,
    question: &'a Question,
    probed: Probed,
    held: Vec<Layer>,
    missing: Vec<Missing>,
}

impl Probe<'_> {
    fn miss(&mut self, layer: Layer, reason: impl Into<String>, remedy: impl Into<String>) {
        self.missing.push(Missing { layer, reason: reason.into(), remedy: remedy.into() });
    }

    /// By privilege first; a user namespace is the ordinary user's way to the others.
    fn namespaces(&mut self) {
        let mut refusal = None;
        for (birth, namespaces) in
            [(Birth::Namespaces, TASK_NAMESPACES), (Birth::UserNamespace, TASK_NAMESPACES.and(Namespaces::USER))]
        {
            let answers =
                self.in_child(|alone| kernel::fork_into(alone, namespaces), |probe, say| probe.surroundings(birth, say));
            match answers.and_then(first_failure) {
                Ok(answers) => return self.namespaces_held(birth, &answers),
                Err(error) => refusal = Some(error),
            }
        }
        let Some(error) = refusal else { return };
        let (reason, remedy) = remedy::of_namespaces(&error);
        for layer in [Layer::PidNamespace, Layer::MountNamespace] {
            self.miss(layer, reason.clone(), remedy.clone());
        }
    }

    fn namespaces_held(&mut self, birth: Birth, answers: &[Answer]) {
        self.probed.birth = birth;
        self.held.extend((birth == Birth::UserNamespace).then_some(Layer::UserNamespace));
        self.held.extend([Layer::PidNamespace, Layer::MountNamespace, Layer::ReadOnlyMounts]);
        self.held.extend([Layer::IpcNamespace, Layer::UtsNamespace]);
        for (step, layer) in [(Step::FreshProc, Layer::FreshProc), (Step::OwnNetwork, Layer::NetworkNamespace)] {
            match answers.iter().find(|answer| answer.step == step.act()).and_then(Answer::error) {
                None => self.held.push(layer),
                Some(error) => {
                    let (reason, remedy) = remedy::of_further_namespaces(layer, &error);
                    self.miss(layer, reason, remedy);
                }
            }
        }
    }

    /// In a child in new namespaces: the very steps of a launch.
    fn surroundings(&self, birth: Birth, say: &mut dyn FnMut(&str, io::Result<()>)) {
        let shelter = Shelter { birth, hidden: self.question.hidden.clone(), ..Shelter::default() };
        let scratch = &self.question.scratch;
        let scratch_root = scratch.parent().unwrap_or(scratch).to_owned();
        let ground = Ground { shelter, scratch_root, shared_memory: 4096, filter: None };
        let mut surroundings = match Surroundings::before(self.alone, self.ids, &ground, Key::new(Default::default())) {
            Ok(surroundings) => surroundings,
            Err(error) => return say("open what the task may reach", Err(error)),
        };
        let mut steps = Vec::new();
        steps.extend((birth == Birth::UserNamespace).then_some(Step::MapUser));
        steps.extend([Step::PrivateMounts, Step::Cover, Step::ReadOnlyMounts]);
        steps.extend([Step::SharedMemory(4096), Step::FreshProc, Step::OwnNetwork]);
        for step in steps {
            say(&step.act(), surroundings.execute(step));
        }
        say(
            &Step::WritableScratch.act(),
            surroundings.workplace(scratch).and_then(|workplace| surroundings.admit(scratch, &workplace, false)),
        );
    }

    /// Already the question for its version is asked in a child: there are filters that kill for an unknown call.
    fn landlock(&mut self) {
        let abi = self.in_child(SingleThreaded::fork, |_, say| match kernel::landlock_abi() {
            Ok(abi) => say(&abi.to_string(), Ok(())),
            Err(error) => say("ask for Landlock", Err(error)),
        });
        let abi = match abi.map(|answers| answers.into_iter().next()) {
            Ok(Some(Answer { step, errno: None })) => step.parse().unwrap_or(0),
            Ok(Some(Answer { errno: Some(errno), .. })) => {
                let (reason, remedy) = remedy::of_landlock(&io::Error::from_raw_os_error(errno));
                return self.miss(Layer::Landlock(1), reason, remedy);
            }
            Ok(None) => 0,
            Err(_) => {
                let killed = io::Error::other("whoever asks for it is killed");
                let (reason, remedy) = remedy::of_landlock(&killed);
                return self.miss(Layer::Landlock(1), reason, remedy);
            }
        };
        let tried = self.in_child(SingleThreaded::fork, |_, say| say("restrict itself", restricted(abi)));
        match tried.and_then(first_failure) {
            Ok(_) => self.held.push(Layer::Landlock(abi)),
            Err(error) => return self.miss(Layer::Landlock(abi), error.to_string(), ""),
        }
        if abi < 6 {
            let reason = format!("this kernel's is {abi}: signals and abstract unix sockets are not kept inside by it");
            self.miss(Layer::Landlock(6), reason, "a kernel of 6.12 or later has it");
        }
    }

    fn seccomp(&mut self) {
        let tried = self.in_child(SingleThreaded::fork, |_, say| say("filter its system calls", filtered()));
        match tried.and_then(first_failure) {
            Ok(_) => self.held.push(Layer::Seccomp),
            Err(error) => self.miss(Layer::Seccomp, error.to_string(), remedy::SECCOMP),
        }
    }

    /// Whether tasks can run as users of their own: become one, work in a directory of it, be killed and cleaned up.
    fn users(&mut self) {
        if !rustix::process::geteuid().is_root() {
            return self.miss(Layer::UidPerSlot, "the node does not run as root", "");
        }
        let mut last = io::Error::from_raw_os_error(libc::EPERM);
        for user in FIRST_USERS {
            match self.try_user(user) {
                Ok(reached) => {
                    if let Some(closed) = closed_to_others(&self.question.scratch).filter(|_| !reached) {
                        let shelter = Shelter { hidden: self.question.hidden.clone(), ..Shelter::default() };
                        if !self.held.contains(&Layer::MountNamespace)
                            || !crate::sandbox::supervisor::surroundings::is_covered(&closed, &shelter)
                        {
                            let (reason, remedy) = remedy::of_closed_folder(&closed);
                            return self.miss(Layer::UidPerSlot, reason, remedy);
                        }
                        self.probed.users_need_mounts = true;
                    }
                    self.probed.first_user = Some(user);
                    return self.held.push(Layer::UidPerSlot);
                }
                Err(error) => last = error,
            }
        }
        self.miss(Layer::UidPerSlot, format!("another user can't be taken on: {last}"), remedy::USERS);
    }

    fn try_user(&self, user: u32) -> io::Result<bool> {
        let folder = &self.question.scratch;
        std::os::unix::fs::chown(folder, Some(user), Some(user))?;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let pid = match self.alone.fork()? {
            Forked::Parent(pid) => pid,
            Forked::Child => {
                let here = std::env::set_current_dir(folder);
                let byte = match here.and_then(|()| Ok(target::become_user(user)?)) {
                    Ok(()) => u8::from(std::fs::metadata(folder).is_ok()),
                    Err(_) => 9,
                };
                let made = std::fs::create_dir("locked")
                    .and_then(|()| std::fs::set_permissions("locked", std::os::unix::fs::PermissionsExt::from_mode(0o000)));
                let byte = if made.is_ok() { byte } else { 9 };
                let _ = rustix::io::write(&write, &[byte]);
                std::thread::sleep(std::time::Duration::from_secs(60)); // It is to be killed.
                sys::exit_now(1)
            }
        };
        drop(write);
        let mut byte = [9];
        let _ = File::from(read).read(&mut byte);
        rustix::process::kill_process(pid, Signal::KILL)?;
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        scratch::remove_path(&folder.join("locked"))?;
        match byte[0] {
            9 => Err(io::Error::from_raw_os_error(libc::EPERM)),
            reached => Ok(reached == 1),
        }
    }

    /// Runs `body` in a child; answers with what it said, in order.
    fn in_child(
        &self,
        fork: impl FnOnce(&SingleThreaded) -> io::Result<Forked>,
        body: impl FnOnce(&Self, &mut dyn FnMut(&str, io::Result<()>)),
    ) -> io::Result<Vec<Answer>> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let pid = match fork(self.alone)? {
            Forked::Parent(pid) => pid,
            Forked::Child => {
                let mut answers = Vec::new();
                body(self, &mut |step, result| {
                    let errno = result.err().map(|error| error.raw_os_error().unwrap_or(libc::EIO));
                    answers.push(Answer { step: step.to_owned(), errno });
                });
                let told = wire::frame(&answers).and_then(|frame| File::from(write).write_all(&frame));
                sys::exit_now(if told.is_ok() { DONE } else { 1 })
            }
        };
        drop(write);
        let answers = wire::read_frame(File::from(read));
        wait_for(pid);
        answers.map_err(|_: io::Error| io::Error::other("the process that tried it was killed"))
    }
}

/// What a child says of one step.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    step: String,
    errno: Option<i32>,
}

impl Answer {
    fn error(&self) -> Option<io::Error> {
        self.errno.map(io::Error::from_raw_os_error)
    }
}

/// The steps without which there is nothing; what may fail is judged by the caller.
fn first_failure(answers: Vec<Answer>) -> io::Result<Vec<Answer>> {
    let optional = [Step::FreshProc.act(), Step::OwnNetwork.act()];
    let failed = answers.iter().filter(|answer| !optional.contains(&answer.step)).find_map(|answer| {
        let error = answer.error()?;
        Some(io::Error::new(error.kind(), remedy::Failed { step: answer.step.clone(), error }))
    });
    failed.map_or(Ok(answers), Err)
}

fn wait_for(pid: Pid) {
    let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
}

/// Takes on a ruleset that grants no folder to write in, and sees whether it holds.
fn restricted(abi: u32) -> io::Result<()> {
    let shelter = Shelter { landlock: abi, network: Network::None, ..Shelter::default() };
    let ruleset = Foundation::lay(&shelter).begin()?.finish(&[])?;
    rustix::thread::set_no_new_privs(true)?;
    kernel::landlock_restrict(ruleset.as_fd())?;
    match std::fs::read_dir("/") {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
    }
}

/// Takes on the strictest filter, and sees whether it holds.
fn filtered() -> io::Result<()> {
    let architecture = Architecture::NATIVE.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))?;
    let policy = Shelter { network: Network::None, ..Shelter::default() }.policy(&ResolvedLimits::default());
    let filter = seccomp::compile(policy, architecture, None)?;
    rustix::thread::set_no_new_privs(true)?;
    kernel::install_filter(&filter)?;
    match std::net::UdpSocket::bind(("127.0.0.1", 0)) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
    }
}

/// The first folder on the way to `path` that other users may not pass.
fn closed_to_others(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let mut ancestors: Vec<&Path> = path.ancestors().skip(1).collect();
    ancestors.reverse();
    let closed = |path: &&&Path| std::fs::metadata(path).is_ok_and(|folder| folder.permissions().mode() & 0o001 == 0);
    ancestors.iter().find(closed).map(|path| path.to_path_buf())
}
