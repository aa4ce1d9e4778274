//! What stands between one task and its node: the layers that the machine holds and the owner wants, for one launch.
//!
//! In come findings, settings and a launch; out comes plain data that travels with the launch to its supervisor, which
//! decides nothing any more. Pure.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sandbox::seccomp::Policy;
use crate::sandbox::spec::{Isolation, ResolvedLimits};
use crate::task::{Findings, Layer, Level, Missing, Network};

/// Bytes of a task's own /dev/shm, which nobody adds up.
const MAX_SHARED_MEMORY: u64 = 64 << 20;
/// The first Landlock that keeps abstract unix sockets inside.
const LANDLOCK_SCOPES: u32 = 6;

/// How a supervisor comes to life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Birth {
    /// As a plain fork: it sees what its node sees.
    #[default]
    Fork,
    /// Into namespaces of its own, by privilege.
    Namespaces,
    /// Into a user namespace that gives it the right to the others.
    UserNamespace,
}

/// The layers around one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelter {
    /// How its supervisor is born.
    pub birth: Birth,
    /// Whether /proc is mounted anew.
    pub fresh_proc: bool,
    /// Version of Landlock's interface; 0 is none.
    pub landlock: u32,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// The user that the task runs as; `None` is the node's own.
    pub user: Option<u32>,
    /// Its network.
    pub network: Network,
    /// Whether a cgroup counts its memory.
    pub memory_counted: bool,
    /// Absolute paths that nothing of it may see.
    pub hidden: Vec<PathBuf>,
    /// Absolute paths that it may read.
    pub read: Vec<PathBuf>,
}

/// What can be prepared for a task before it comes: alike for all that reach the same things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Ground {
    /// The layers; the user is each task's own and not among them.
    pub(in crate::sandbox) shelter: Shelter,
    /// The directory of all scratch directories.
    pub(in crate::sandbox) scratch_root: PathBuf,
    /// Bytes of the shared memory that it may use.
    pub(in crate::sandbox) shared_memory: u64,
    /// What the filter for system calls grants, if there is one.
    pub(in crate::sandbox) filter: Option<Policy>,
}

impl Ground {
    /// That of a launch.
    pub(in crate::sandbox) fn of(shelter: &Shelter, scratch_root: &Path, limits: &ResolvedLimits) -> Ground {
        let shared_memory = limits.memory.map_or(MAX_SHARED_MEMORY, |bytes| bytes.min(MAX_SHARED_MEMORY));
        let shelter = Shelter { user: None, ..shelter.clone() };
        let filter = shelter.seccomp.then(|| shelter.policy(limits));
        Ground { shelter, scratch_root: scratch_root.to_owned(), shared_memory, filter }
    }

    /// Whether it is worth to be prepared before anybody asks: what a task names by itself may be another thing by then.
    pub(in crate::sandbox) fn keeps(&self) -> bool {
        self.shelter.read.is_empty() && self.shelter.network != Network::Isolated
    }

    /// Whether its supervisor may take another task after one of `user`.
    ///
    /// In namespaces of its own the supervisor is the only process that a task sees beside itself. A task of the same user
    /// can change its limits, which is seen afterwards, and its files in /proc, unless Landlock forbids that. Without namespaces a task of the same user reaches the zygote and the node in the same way, so that nothing is
    /// lost.
    pub(in crate::sandbox) fn serves_again(&self, user: Option<u32>) -> bool {
        let shelter = &self.shelter;
        self.keeps() && (shelter.birth == Birth::Fork || user.is_some() || shelter.landlock > 0)
    }
}

/// What the node's owner settled.
#[derive(Clone, Copy, Debug)]
pub(in crate::sandbox) struct Settled<'a> {
    pub(in crate::sandbox) hidden: &'a [PathBuf],
    pub(in crate::sandbox) readable: &'a [PathBuf],
}

impl Shelter {
    /// All that `findings` hold, around a launch with this isolation.
    ///
    /// # Errors
    /// In words, if the network that it asks for can't be given.
    pub(in crate::sandbox) fn of(
        findings: &Findings,
        birth: Birth,
        settled: Settled<'_>,
        isolation: &Isolation,
    ) -> Result<Shelter, &'static str> {
        let seccomp = findings.holds(Layer::Seccomp);
        match isolation.network {
            Network::None if !seccomp => return Err("this node can't keep a task off the network"),
            Network::Isolated if !findings.holds(Layer::NetworkNamespace) => {
                return Err("this node can't make a network of its own for a task");
            }
            _ => {}
        }
        let allowed = |path: &&PathBuf| is_plain(path) && settled.readable.iter().any(|folder| path.starts_with(folder));
        Ok(Shelter {
            birth: if findings.holds(Layer::PidNamespace) { birth } else { Birth::Fork },
            fresh_proc: findings.holds(Layer::FreshProc),
            landlock: findings.landlock(),
            seccomp,
            user: None,
            network: isolation.network,
            memory_counted: findings.holds(Layer::CgroupMemory),
            hidden: settled.hidden.to_vec(),
            read: isolation.read.iter().filter(allowed).cloned().collect(),
        })
    }

    /// Whether anything stands around the task at all.
    pub(in crate::sandbox) fn is_open(&self) -> bool {
        self.birth == Birth::Fork && self.landlock == 0 && !self.seccomp && self.user.is_none()
    }

    /// What the filter for system calls must know.
    pub(in crate::sandbox) fn policy(&self, limits: &ResolvedLimits) -> Policy {
        let alone = self.birth != Birth::Fork;
        Policy {
            network: self.network,
            // Covered folders keep its paths from the machine's sockets, and a scope or a network of its own their names.
            unix_sockets: alone && (self.landlock >= LANDLOCK_SCOPES || self.network == Network::Isolated),
            hidden_memory: self.memory_counted || limits.memory.is_none(),
            sees_only_itself: alone,
            own_ipc: alone,
        }
    }
}

/// A path that says where it leads: absolute, and nowhere up again.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == std::path::Component::ParentDir)
}

/// `findings` as far as the owner wants them used: what only a higher level needs counts as missing.
pub(in crate::sandbox) fn at_most(findings: Findings, level: Level) -> Findings {
    let kept = |layer: &Layer| match layer {
        Layer::MemoryPolling | Layer::CgroupMemory | Layer::CgroupPids => true,
        Layer::Landlock(_) | Layer::Seccomp | Layer::UidPerSlot => level >= Level::Partial,
        _ => level >= Level::Full,
    };
    let off = |layer: &Layer| Missing {
        layer: *layer,
        reason: "switched off by this node's settings".to_owned(),
        remedy: String::new(),
    };
    let Findings { held, mut missing, .. } = findings;
    missing.extend(held.iter().filter(|layer| !kept(layer)).map(off));
    Findings::of(held.into_iter().filter(kept).collect(), missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLED: Settled<'static> = Settled { hidden: &[], readable: &[] };

    fn everything() -> Findings {
        use Layer::{FreshProc, Landlock, MountNamespace, NetworkNamespace, PidNamespace, ReadOnlyMounts, Seccomp, UidPerSlot};
        let held = [FreshProc, Landlock(7), MountNamespace, NetworkNamespace, PidNamespace, ReadOnlyMounts, Seccomp, UidPerSlot];
        Findings::of(held.to_vec(), Vec::new())
    }

    fn shelter(findings: &Findings, isolation: &Isolation) -> Result<Shelter, &'static str> {
        Shelter::of(findings, Birth::UserNamespace, SETTLED, isolation)
    }

    #[test]
    fn an_owner_may_want_less_than_the_machine_holds() {
        assert_eq!(everything().level, Level::Full);
        for level in Level::ALL {
            let findings = at_most(everything(), level);
            assert_eq!(findings.level, level);
            assert_eq!(findings.held.len() + findings.missing.len(), everything().held.len());
            let shelter = shelter(&findings, &Isolation::default()).unwrap();
            assert_eq!(shelter.birth == Birth::Fork, level < Level::Full);
            assert_eq!(shelter.is_open(), level == Level::ProcessOnly);
        }
    }

    #[test]
    fn a_network_that_can_not_be_given_is_refused_and_not_replaced() {
        let with = |network| Isolation { network, ..Isolation::default() };
        let partial = at_most(everything(), Level::Partial);
        assert!(shelter(&partial, &with(Network::Isolated)).is_err());
        assert!(shelter(&partial, &with(Network::None)).is_ok());
        let open = at_most(everything(), Level::ProcessOnly);
        assert!(shelter(&open, &with(Network::None)).is_err());
        assert!(shelter(&open, &with(Network::Host)).is_ok());
        assert!(shelter(&everything(), &with(Network::Isolated)).is_ok());
    }

    #[test]
    fn unix_sockets_are_granted_only_where_none_of_the_machines_is_in_reach() {
        let limits = ResolvedLimits::default();
        let unix = |findings: &Findings| shelter(findings, &Isolation::default()).unwrap().policy(&limits).unix_sockets;
        assert!(unix(&everything()));
        assert!(!unix(&at_most(everything(), Level::Partial)));
        let old = everything().held.into_iter().map(|layer| if layer == Layer::Landlock(7) { Layer::Landlock(5) } else { layer });
        let old = Findings::of(old.collect(), Vec::new());
        assert!(!unix(&old), "abstract names are in reach");
        let isolated = Isolation { network: Network::Isolated, ..Isolation::default() };
        assert!(shelter(&old, &isolated).unwrap().policy(&limits).unix_sockets);
    }

    #[test]
    fn paths_that_the_owner_does_not_allow_are_passed_over() {
        let settled = Settled { hidden: &[], readable: &["/data/in".into()] };
        let read = ["/data/in/a", "/data/input", "/data/in/../keys", "data/in", "/etc"].map(PathBuf::from).to_vec();
        let isolation = Isolation { read, ..Isolation::default() };
        let shelter = Shelter::of(&everything(), Birth::Namespaces, settled, &isolation).unwrap();
        assert_eq!(shelter.read, [PathBuf::from("/data/in/a")]);
    }

    #[test]
    fn only_what_no_task_could_change_serves_another_one() {
        let with = |landlock: u32, birth: Birth, isolation: &Isolation| {
            let read = isolation.read.clone();
            let shelter = Shelter { birth, network: isolation.network, read, landlock, ..Shelter::default() };
            Ground::of(&shelter, Path::new("/s"), &ResolvedLimits::default())
        };
        let ground = |birth: Birth, isolation: &Isolation| with(0, birth, isolation);
        let plain = Isolation::default();
        assert!(ground(Birth::Namespaces, &plain).serves_again(Some(7)));
        assert!(!ground(Birth::Namespaces, &plain).serves_again(None), "it would be the task's own user, with all of /proc");
        assert!(!ground(Birth::UserNamespace, &plain).serves_again(None));
        assert!(with(1, Birth::UserNamespace, &plain).serves_again(None));
        assert!(ground(Birth::Fork, &plain).serves_again(None));
        let isolated = Isolation { network: Network::Isolated, ..Isolation::default() };
        let reading = Isolation { read: vec!["/srv".into()], ..Isolation::default() };
        for asked in [isolated, reading] {
            assert!(!ground(Birth::Namespaces, &asked).serves_again(Some(7)) && !ground(Birth::Fork, &asked).keeps());
        }
    }

    #[test]
    fn memory_that_belongs_to_no_process_is_refused_while_it_is_polled() {
        let shelter = shelter(&everything(), &Isolation::default()).unwrap();
        let limited = ResolvedLimits { memory: Some(1), ..ResolvedLimits::default() };
        assert!(!shelter.policy(&limited).hidden_memory);
        assert!(shelter.policy(&ResolvedLimits::default()).hidden_memory);
        assert!(Shelter { memory_counted: true, ..shelter }.policy(&limited).hidden_memory);
    }
}
