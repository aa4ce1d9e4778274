//! Identifiers and names: newtypes, so that no bare number crosses a boundary.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A task's number in this swarm: 1, 2, 3 … in the order of the journal. Given by the ledger's fold.
    TaskId(u64)
}

number! {
    /// Which execution of a task: the first is 1.
    AttemptNumber(u32)
}

number! {
    /// A leadership's number: Raft's term, which is also the fencing token.
    Term(u64)
}

number! {
    /// Milliseconds since the Unix epoch as some node's wall clock had them. For people only: nothing is decided by it
    /// but the time of a retry, which the leader alone reads against its own clock.
    UnixMillis(u64)
}

/// A node: the first eight bytes of the hash of its public key, shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        u64::from_str_radix(text, 16)
            .map(NodeId)
            .map_err(|_| InvalidName::new("node id", text, "is not a number of up to 16 hexadecimal digits"))
    }
}

/// A swarm: the hash of its founding charter. Two swarms never talk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SwarmId(pub [u8; 16]);

impl fmt::Display for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What makes one hand-out unlike every other: the leader's term and a number that grows within it.
///
/// Compared in that order. A report that carries another fence than the task's current lease is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The term of the leader that handed the attempt out.
    pub term: Term,
    /// Counts that leader's hand-outs from 1.
    pub sequence: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}

/// A name that breaks its rule; the message says which name, which rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} {rule}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, name: &str, rule: &'static str) -> Self {
        InvalidName { what, name: name.chars().take(80).collect(), rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $accepts:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $name {
            /// The longest such name, in bytes.
            pub const MAX_LEN: usize = $max;

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                let accepts: fn(&str) -> bool = $accepts;
                if text.is_empty() || text.len() > $max || !accepts(&text) {
                    return Err(InvalidName::new($what, &text, $rule));
                }
                Ok($name(text))
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_plain_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
}

name! {
    /// A consumer group: who may run a task.
    GroupName, "group name", 64, is_plain_name,
    "must be 1 to 64 of a-z, 0-9, '-', '_' and '.', and start with a letter or digit"
}

impl Default for GroupName {
    fn default() -> Self {
        GroupName("default".to_owned())
    }
}

name! {
    /// The name under which a node registered a handler.
    HandlerName, "handler name", 64, is_plain_name,
    "must be 1 to 64 of a-z, 0-9, '-', '_' and '.', and start with a letter or digit"
}

name! {
    /// A submitter's own name for one submission: the same key never makes a second task.
    IdempotencyKey, "idempotency key", 128, |text| text.bytes().all(|b| b.is_ascii_graphic()),
    "must be 1 to 128 printable ASCII characters without spaces"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names_with_odd_characters_are_refused_with_the_rule() {
        for bad in ["", "Big", "a b", "-a", "a/b", "ä", &"x".repeat(65)] {
            let refused = bad.parse::<GroupName>().unwrap_err().to_string();
            assert!(refused.contains("must be 1 to 64"), "{refused}");
        }
        for good in ["default", "gpu-0", "a.b_c", "7"] {
            assert_eq!(good.parse::<GroupName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn fences_grow_by_term_before_sequence() {
        let fence = |term, sequence| Fence { term: Term(term), sequence };
        assert!(fence(1, 900) < fence(2, 1));
        assert!(fence(2, 1) < fence(2, 2));
    }

    #[test]
    fn node_ids_read_back_what_they_print() {
        let id = NodeId(0x00ab_cdef_0123_4567);
        assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
        assert!("xyz".parse::<NodeId>().is_err());
    }
}
