//! What this machine holds against tasks, as a node finds it out when it starts.
//!
//! In come a zygote, which tries the layers, and what the owner wants; out come findings and, where the kernel counts what
//! tasks use, the place where it does. What can't be found out is taken to be missing, and that is said.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::SandboxConfig;
use super::cgroup::{Account, Refused};
use super::crew::Zygote;
use crate::sandbox::scratch::ScratchRoot;
use crate::sandbox::shelter;
use crate::sandbox::wire::{self, Wanted};
use crate::sandbox::zygote::probe::{Probed, Question};
use crate::task::{Findings, Layer, Level, Missing};

/// How long the machine may take to be tried out.
const PROBED_WITHIN: Duration = Duration::from_secs(10);

/// Finds it out; takes a few milliseconds.
pub(super) fn of(zygote: &Zygote, config: &SandboxConfig, scratch: &ScratchRoot) -> (Probed, Option<Account>) {
    let probed = probe(zygote, config, scratch).unwrap_or_else(unknown);
    let (probed, account) = with_account(probed, zygote, config);
    (used(probed, config.at_most), account)
}

/// The kernel's account of tasks is the node's to open: it is the node's cgroup that is taken over.
fn with_account(probed: Probed, zygote: &Zygote, config: &SandboxConfig) -> (Probed, Option<Account>) {
    let off = || Refused { reason: "switched off by this node's settings".to_owned(), remedy: String::new() };
    let opened = if config.cgroups { Account::open(zygote.pid) } else { Err(off()) };
    let Findings { mut held, mut missing, .. } = probed.findings;
    match &opened {
        Ok(_) => held.extend([Layer::CgroupMemory, Layer::CgroupPids]),
        Err(Refused { reason, remedy }) => missing.extend([Layer::CgroupMemory, Layer::CgroupPids].map(|layer| Missing {
            layer,
            reason: reason.clone(),
            remedy: remedy.clone(),
        })),
    }
    (Probed { findings: Findings::of(held, missing), ..probed }, opened.ok())
}

/// A machine that can't be tried out is taken to hold nothing, and says so.
fn unknown(error: io::Error) -> Probed {
    tracing::warn!(%error, "what this machine holds against tasks could not be found out");
    let reason = format!("the machine could not be tried out: {error}");
    let missing = [Layer::PidNamespace, Layer::Landlock(1), Layer::Seccomp].map(|layer| Missing {
        layer,
        reason: reason.clone(),
        remedy: String::new(),
    });
    Probed { findings: Findings::of(Vec::new(), missing.to_vec()), ..Probed::default() }
}

/// Has the zygote try out the machine.
fn probe(zygote: &Zygote, config: &SandboxConfig, scratch: &ScratchRoot) -> io::Result<Probed> {
    let made = scratch.make(&config.scratch_root.join("probe"), None)?;
    let answer = ask(zygote, &Question { scratch: made.path.clone(), hidden: config.hidden.clone() });
    scratch.put_away(&made)?;
    answer
}

fn ask(zygote: &Zygote, question: &Question) -> io::Result<Probed> {
    let (mut ours, theirs) = UnixStream::pair()?;
    zygote.ask(Wanted::Probe, theirs.as_fd())?;
    drop(theirs);
    ours.set_read_timeout(Some(PROBED_WITHIN))?;
    io::Write::write_all(&mut ours, &wire::frame(question)?)?;
    wire::read_frame(ours)
}

/// What the owner wants used of what was found.
fn used(probed: Probed, at_most: Level) -> Probed {
    let mut findings = shelter::at_most(probed.findings, at_most);
    let unreached = probed.users_need_mounts && !findings.holds(Layer::MountNamespace);
    if unreached && findings.holds(Layer::UidPerSlot) {
        let reason = "its users would not reach the scratch directories without mounts of their own".to_owned();
        let lost = Missing { layer: Layer::UidPerSlot, reason, remedy: "chmod o+x the folders above them".to_owned() };
        let held = findings.held.iter().copied().filter(|layer| *layer != Layer::UidPerSlot).collect();
        findings.missing.push(lost);
        findings = Findings::of(held, findings.missing);
    }
    let first_user = probed.first_user.filter(|_| findings.holds(Layer::UidPerSlot));
    Probed { findings, first_user, ..probed }
}
