//! What a node found out about itself by trying: which layers of the sandbox its machine holds, which it does not and
//! why, and what follows from that.
//!
//! In come layers, out comes a level, computed from properties and not from mechanisms: two machines with different
//! layers can hold the same promise. Small and bounded, because it travels with heartbeats.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::level::Level;

/// Layers in one list at most: more than there are.
pub const MAX_LAYERS: usize = 24;
/// Bytes of a reason or of a remedy at most.
pub const MAX_WORDS: usize = 200;

/// The first Landlock that refuses to truncate files; before it a task could empty what it may not write.
const LANDLOCK_TRUNCATE: u32 = 3;
/// The first Landlock that keeps signals and abstract sockets inside.
const LANDLOCK_SCOPES: u32 = 6;

/// One mechanism of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// A user namespace, without which an ordinary user gets no other.
    UserNamespace,
    /// A pid namespace: the task sees and signals only itself, and dies whole with its first process.
    PidNamespace,
    /// A mount namespace: folders of the node are covered.
    MountNamespace,
    /// Everything but the scratch folder is mounted read-only.
    ReadOnlyMounts,
    /// A namespace for System V queues and shared memory.
    IpcNamespace,
    /// A namespace for the machine's name.
    UtsNamespace,
    /// A network of its own on request.
    NetworkNamespace,
    /// A /proc that shows the task's processes only.
    FreshProc,
    /// Landlock of this version of its interface.
    Landlock(u32),
    /// A filter for system calls.
    Seccomp,
    /// A user id for each running task.
    UidPerSlot,
    /// The kernel counts and limits the memory of the whole tree.
    CgroupMemory,
    /// The kernel counts and limits the processes of the whole tree.
    CgroupPids,
    /// Memory of the tree is added up every 50 ms.
    MemoryPolling,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::UserNamespace => f.write_str("user namespace"),
            Layer::PidNamespace => f.write_str("pid namespace"),
            Layer::MountNamespace => f.write_str("mount namespace"),
            Layer::ReadOnlyMounts => f.write_str("read-only mounts"),
            Layer::IpcNamespace => f.write_str("ipc namespace"),
            Layer::UtsNamespace => f.write_str("uts namespace"),
            Layer::NetworkNamespace => f.write_str("network namespace"),
            Layer::FreshProc => f.write_str("fresh /proc"),
            Layer::Landlock(abi) => write!(f, "Landlock {abi}"),
            Layer::Seccomp => f.write_str("seccomp"),
            Layer::UidPerSlot => f.write_str("uid per slot"),
            Layer::CgroupMemory => f.write_str("cgroup memory"),
            Layer::CgroupPids => f.write_str("cgroup pids"),
            Layer::MemoryPolling => f.write_str("memory polling"),
        }
    }
}

/// What a sandbox is for. A level is a set of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// The task can't kill or signal its node.
    NodeUnreachable,
    /// The task can't read what belongs to the node.
    SecretsHidden,
    /// The task can't write outside of its scratch folder.
    WritesConfined,
    /// The task can't change modes, owners and times of files outside of it either, which Landlock does not control.
    ModesConfined,
    /// The task gets the network that it was granted and no other.
    NetworkControlled,
    /// Everything that the task started dies with it, also when node and zygote are killed.
    TreeDies,
}

impl Property {
    /// Every property.
    pub const ALL: [Property; 6] = [
        Property::NodeUnreachable,
        Property::SecretsHidden,
        Property::WritesConfined,
        Property::ModesConfined,
        Property::NetworkControlled,
        Property::TreeDies,
    ];

    /// Whether a machine that holds these layers has it.
    #[must_use]
    pub fn follows_from(self, held: &[Layer]) -> bool {
        let has = |layer| held.contains(&layer);
        let landlock =
            held.iter().find_map(|layer| if let Layer::Landlock(abi) = layer { Some(*abi) } else { None }).unwrap_or(0);
        match self {
            Property::NodeUnreachable => has(Layer::PidNamespace) || has(Layer::UidPerSlot) || landlock >= LANDLOCK_SCOPES,
            // Landlock also refuses to trace or to look into processes that are not restricted as the task is.
            Property::SecretsHidden => landlock > 0,
            Property::WritesConfined => landlock >= LANDLOCK_TRUNCATE,
            Property::ModesConfined => has(Layer::ReadOnlyMounts) || has(Layer::UidPerSlot),
            Property::NetworkControlled => has(Layer::Seccomp),
            Property::TreeDies => has(Layer::PidNamespace),
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Property::NodeUnreachable => "the node can't be killed",
            Property::SecretsHidden => "the node's secrets can't be read",
            Property::WritesConfined => "writes stay in the scratch folder",
            Property::ModesConfined => "modes and times of other files can't be changed",
            Property::NetworkControlled => "the network is what was granted",
            Property::TreeDies => "the whole tree dies",
        })
    }
}

/// A layer that this machine does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Which.
    pub layer: Layer,
    /// What was tried and what the kernel said.
    pub reason: String,
    /// What the machine's owner can do about it, in one line; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.reason)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// What a node's machine holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// What follows from the layers.
    pub level: Level,
    /// What was tried and worked.
    #[serde(default)]
    pub held: Vec<Layer>,
    /// What was tried and did not.
    #[serde(default)]
    pub missing: Vec<Missing>,
    /// Whether the kernel itself enforces a task's memory limit, without a moment in between.
    #[serde(default)]
    pub memory_enforced: bool,
}

impl Findings {
    /// What follows from these layers; lists and texts are cut to their bounds.
    #[must_use]
    pub fn of(mut held: Vec<Layer>, mut missing: Vec<Missing>) -> Findings {
        held.sort_unstable();
        held.dedup();
        held.truncate(MAX_LAYERS);
        missing.truncate(MAX_LAYERS);
        for one in &mut missing {
            cut(&mut one.reason);
            cut(&mut one.remedy);
        }
        let holds = |property: Property| property.follows_from(&held);
        let level = if Property::ALL.into_iter().all(holds) {
            Level::Full
        } else if [Property::SecretsHidden, Property::WritesConfined, Property::NetworkControlled].into_iter().all(holds) {
            Level::Partial
        } else {
            Level::ProcessOnly
        };
        let memory_enforced = held.contains(&Layer::CgroupMemory);
        Findings { level, held, missing, memory_enforced }
    }

    /// Whether this layer was tried and worked; any version of Landlock counts for every other.
    #[must_use]
    pub fn holds(&self, layer: Layer) -> bool {
        match layer {
            Layer::Landlock(_) => self.landlock() > 0,
            layer => self.held.contains(&layer),
        }
    }

    /// The version of Landlock's interface; 0 is none.
    #[must_use]
    pub fn landlock(&self) -> u32 {
        self.held.iter().find_map(|layer| if let Layer::Landlock(abi) = layer { Some(*abi) } else { None }).unwrap_or(0)
    }

    /// The properties that the layers do not give.
    pub fn lacking(&self) -> impl Iterator<Item = Property> {
        Property::ALL.into_iter().filter(|property| !property.follows_from(&self.held))
    }
}

fn cut(text: &mut String) {
    let end = (0..=MAX_WORDS.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(held: &[Layer]) -> Level {
        Findings::of(held.to_vec(), Vec::new()).level
    }

    #[test]
    fn a_level_follows_from_what_holds_and_not_from_how() {
        use Layer::{Landlock, PidNamespace, ReadOnlyMounts, Seccomp, UidPerSlot};
        assert_eq!(level(&[PidNamespace, ReadOnlyMounts, Landlock(7), Seccomp]), Level::Full);
        // Signals are kept inside, but with node and zygote killed nobody is left to end the tree.
        assert_eq!(level(&[Landlock(7), Seccomp]), Level::Partial);
        assert_eq!(level(&[Landlock(7), Seccomp, UidPerSlot]), Level::Partial);
        assert_eq!(level(&[PidNamespace, UidPerSlot, Landlock(3), Seccomp]), Level::Full);
        // A task of the node's own user could take away the node's right to its own files.
        assert_eq!(level(&[PidNamespace, Landlock(7), Seccomp]), Level::Partial);
        // A task could empty files that it may not write.
        assert_eq!(level(&[PidNamespace, Landlock(2), Seccomp]), Level::ProcessOnly);
        assert_eq!(level(&[PidNamespace, ReadOnlyMounts, Seccomp]), Level::ProcessOnly);
        assert_eq!(level(&[PidNamespace, Landlock(7)]), Level::ProcessOnly);
        assert_eq!(level(&[]), Level::ProcessOnly);
    }

    #[test]
    fn each_layer_that_is_taken_away_never_raises_the_level() {
        use Layer::{Landlock, PidNamespace, ReadOnlyMounts, Seccomp, UidPerSlot};
        let all = [PidNamespace, Landlock(7), Seccomp, UidPerSlot, ReadOnlyMounts];
        for mask in 0..32_usize {
            let some: Vec<Layer> = (0..5).filter(|bit| mask >> bit & 1 == 1).map(|bit| all[bit]).collect();
            for without in &some {
                let fewer: Vec<Layer> = some.iter().copied().filter(|layer| layer != without).collect();
                assert!(level(&fewer) <= level(&some), "{some:?} without {without}");
            }
        }
    }

    #[test]
    fn what_is_lacking_is_said_and_bounded() {
        let long = Missing { layer: Layer::Seccomp, reason: "ä".repeat(500), remedy: String::new() };
        let findings = Findings::of(vec![Layer::Landlock(7); 99], vec![long; 99]);
        assert_eq!((findings.held.len(), findings.missing.len()), (1, MAX_LAYERS));
        assert!(findings.missing.iter().all(|missing| missing.reason.len() <= MAX_WORDS));
        assert_eq!(
            Vec::from_iter(findings.lacking()),
            [Property::ModesConfined, Property::NetworkControlled, Property::TreeDies]
        );
        let bytes = serde_json::to_vec(&findings).unwrap();
        assert_eq!(serde_json::from_slice::<Findings>(&bytes).unwrap(), findings);
    }

    #[test]
    fn the_kernel_enforces_memory_only_by_a_cgroup() {
        assert!(!Findings::of(vec![Layer::MemoryPolling], Vec::new()).memory_enforced);
        assert!(Findings::of(vec![Layer::CgroupMemory], Vec::new()).memory_enforced);
    }
}
