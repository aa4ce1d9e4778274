//! What a member tells the leader of itself, several times a second, on the roster's lane.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::api::SandboxView;
use crate::task::{Fence, HeldAttempt, Level, MemberRole, Pod};

/// The largest heartbeat in bytes; a longer one is refused before it is parsed.
pub const MAX_HEARTBEAT: usize = 1 << 20;
/// The most attempts in one heartbeat.
pub const MAX_HELD: usize = 16_384;
const MAX_TEXT: usize = 128;

/// A member's word about itself. The sender is the connection's authenticated peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Counts the member's process starts.
    pub boot: u64,
    /// Counts its heartbeats since then.
    pub seq: u64,
    /// What it calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The rank its owner gave it.
    pub rank: u32,
    /// Whether it may hold the journal and vote.
    pub role: MemberRole,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Every attempt it holds, until its report has been answered.
    pub held: Vec<HeldAttempt>,
    /// The highest fence among the hand-outs it has taken or declined.
    pub processed: Fence,
    /// It finishes what it has and takes nothing new.
    pub draining: bool,
    /// It takes nothing new for the moment: too many of its reports wait for an answer.
    pub busy: bool,
    /// What its sandbox holds.
    #[serde(default)]
    pub level: Level,
    /// Whether the kernel itself enforces its tasks' memory limits.
    #[serde(default)]
    pub memory_enforced: bool,
    /// The least level that its owner asks for: below it, it takes no tasks.
    #[serde(default)]
    pub requires: Level,
}

/// Why bytes are not a heartbeat.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// Over a limit.
    #[error("a heartbeat's {what} is {size}; the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Not a heartbeat.
    #[error("a heartbeat could not be read: {0}")]
    Malformed(String),
}

impl Heartbeat {
    /// What its sandbox holds.
    #[must_use]
    pub fn sandbox(&self) -> SandboxView {
        SandboxView { level: self.level, memory_enforced: self.memory_enforced, required: self.requires }
    }

    /// Whether it takes anything new now.
    #[must_use]
    pub fn accepts(&self) -> bool {
        !self.draining && !self.busy && self.sandbox().is_enough()
    }

    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(256);
        // Writing to memory can't fail, and every field is of a kind that CBOR has.
        let written = ciborium::into_writer(self, &mut bytes);
        debug_assert!(written.is_ok());
        Bytes::from(bytes)
    }

    /// From bytes, checked against every limit.
    ///
    /// # Errors
    /// See [`HeartbeatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeartbeatError> {
        let within = |what, size, limit| {
            if size > limit { Err(HeartbeatError::TooLarge { what, size, limit }) } else { Ok(()) }
        };
        within("size in bytes", bytes.len(), MAX_HEARTBEAT)?;
        let beat: Heartbeat = ciborium::from_reader(bytes).map_err(|error| HeartbeatError::Malformed(error.to_string()))?;
        within("name in bytes", beat.name.len(), MAX_TEXT)?;
        within("version in bytes", beat.version.len(), MAX_TEXT)?;
        within("number of pods", beat.pods.len(), Pod::MAX_PODS)?;
        within("number of attempts", beat.held.len(), MAX_HELD)?;
        for pod in &beat.pods {
            within("number of groups", pod.groups.len(), Pod::MAX_GROUPS)?;
            within("number of slots", usize::try_from(pod.slots).unwrap_or(usize::MAX), Pod::MAX_SLOTS as usize)?;
        }
        Ok(beat)
    }
}

#[cfg(test)]
mod tests {
    use ciborium::Value;

    use super::*;

    #[test]
    fn a_heartbeat_that_does_not_say_what_its_sandbox_holds_is_one_of_a_node_that_holds_nothing() {
        let beat = Heartbeat {
            boot: 1,
            seq: 2,
            name: "a".to_owned(),
            version: "1".to_owned(),
            rank: 0,
            role: MemberRole::Worker,
            pods: vec![],
            held: vec![],
            processed: Fence::default(),
            draining: false,
            busy: false,
            level: Level::Full,
            memory_enforced: true,
            requires: Level::Full,
        };
        assert!(beat.accepts());
        assert_eq!(Heartbeat::decode(&beat.encode()).unwrap(), beat);
        let Value::Map(mut fields) = Value::serialized(&beat).unwrap() else { panic!("not a map") };
        fields.retain(|(name, _)| !matches!(name.as_text(), Some("level" | "memory_enforced" | "requires")));
        let mut bytes = Vec::new();
        ciborium::into_writer(&Value::Map(fields), &mut bytes).unwrap();
        let (level, requires) = (Level::ProcessOnly, Level::ProcessOnly);
        let silent = Heartbeat { level, memory_enforced: false, requires, ..beat };
        assert_eq!(Heartbeat::decode(&bytes).unwrap(), silent);
        assert!(silent.accepts());
        let short = Heartbeat { level: Level::Partial, requires: Level::Full, ..silent.clone() };
        assert!(!short.accepts() && !Heartbeat { busy: true, ..silent }.accepts());
    }
}
