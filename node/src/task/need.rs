//! What a task needs of the machine that runs it, what its sandbox is to let through, and the queue it therefore waits in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::encoding::is_default;
use super::id::GroupName;
use super::level::{Level, Network};

/// What a node must hold to be given a task. The default needs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Need {
    /// The least level of its sandbox.
    #[serde(skip_serializing_if = "is_default")]
    pub level: Level,
    /// Whether the kernel itself must enforce the memory limit; polling it is not enough then.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_enforced: bool,
}

impl Need {
    /// Every need, in the order of their codes.
    pub const ALL: [Need; 6] = [
        Need { level: Level::ProcessOnly, memory_enforced: false },
        Need { level: Level::ProcessOnly, memory_enforced: true },
        Need { level: Level::Partial, memory_enforced: false },
        Need { level: Level::Partial, memory_enforced: true },
        Need { level: Level::Full, memory_enforced: false },
        Need { level: Level::Full, memory_enforced: true },
    ];

    /// Whether a node that holds this may be given the task.
    #[must_use]
    pub const fn is_met_by(self, level: Level, memory_enforced: bool) -> bool {
        self.level as u8 <= level as u8 && (memory_enforced || !self.memory_enforced)
    }

    /// Its number in keys and rows, 0 to 5; 0 needs nothing.
    #[must_use]
    pub const fn code(self) -> u8 {
        let level = match self.level {
            Level::ProcessOnly => 0,
            Level::Partial => 2,
            Level::Full => 4,
        };
        level + self.memory_enforced as u8
    }

    /// The need of this number, if it is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Need> {
        Need::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.level.fmt(f)?;
        if self.memory_enforced { f.write_str(", memory enforced") } else { Ok(()) }
    }
}

/// What a task asks of the sandbox around it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxSpec {
    /// Where it may run at all: without such a node it waits.
    #[serde(skip_serializing_if = "is_default")]
    pub need: Need,
    /// Which network it gets.
    #[serde(skip_serializing_if = "is_default")]
    pub network: Network,
    /// Absolute paths that it may read beside what programs are made of, as far as the node's owner allows them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<PathBuf>,
}

/// Where a task waits: with those of its group that need the same, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    /// Their group.
    pub group: Arc<GroupName>,
    /// What they need.
    pub need: Need,
}

impl Queue {
    /// The queue of a group's tasks that need this.
    #[must_use]
    pub fn new(group: impl Into<Arc<GroupName>>, need: Need) -> Self {
        Queue { group: group.into(), need }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_for_needs_and_nothing_else_does() {
        for (code, need) in (0..).zip(Need::ALL) {
            assert_eq!((need.code(), Need::from_code(code)), (code, Some(need)));
        }
        assert_eq!((Need::from_code(0), Need::from_code(6)), (Some(Need::default()), None));
        let mut sorted = Need::ALL;
        sorted.sort_unstable();
        assert_eq!(sorted, Need::ALL, "codes are in the order of needs");
    }

    #[test]
    fn a_need_is_met_by_as_much_or_more() {
        let meets = |need: Need, held: Need| need.is_met_by(held.level, held.memory_enforced);
        for held in Need::ALL {
            assert!(meets(Need::default(), held) && meets(held, held));
        }
        let full = Need { level: Level::Full, memory_enforced: false };
        let memory = Need { level: Level::ProcessOnly, memory_enforced: true };
        assert!(!meets(full, memory) && !meets(memory, full));
        assert!(!meets(full, Need { level: Level::Partial, memory_enforced: true }));
        assert!(meets(memory, Need { level: Level::Full, memory_enforced: true }));
        assert_eq!(Need { level: Level::Full, memory_enforced: true }.to_string(), "full, memory enforced");
    }
}
