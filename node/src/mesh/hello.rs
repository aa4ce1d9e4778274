//! The first frame in both directions: who speaks, of which swarm, in which version.
//!
//! Pure: a hello and what we know of ourselves go in, a verdict comes out. Sent again when a node enters a swarm.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::task::{NodeId, SwarmId};

/// The version of everything that is said on a link. Another one is refused.
pub(crate) const PROTOCOL: u16 = 1;

/// The longest name of a node that is taken over from a peer, in characters.
const MAX_NAME: usize = 64;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    #[serde(rename = "p")]
    pub(crate) protocol: u16,
    #[serde(rename = "n")]
    pub(crate) node: NodeId,
    /// Counts its process starts.
    #[serde(rename = "b")]
    pub(crate) boot: u64,
    #[serde(rename = "m")]
    pub(crate) name: String,
    #[serde(rename = "s")]
    pub(crate) swarm: Option<SwarmId>,
    /// The version of its binary, for people.
    #[serde(rename = "v")]
    pub(crate) version: String,
    /// The port it listens on; with the address it came from this is where it can be dialled.
    #[serde(rename = "l")]
    pub(crate) port: Option<u16>,
    /// Where it says it can be reached, if it was told so.
    #[serde(rename = "a")]
    pub(crate) announce: Option<SocketAddr>,
}

/// Why a peer is turned away, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Objection {
    #[error("its hello can't be read: {0}")]
    Unreadable(String),
    #[error("it speaks version {theirs} of the protocol, this node speaks {PROTOCOL} (its binary is {version})")]
    Version { theirs: u16, version: String },
    #[error("it says it is node {said}, but its key makes it node {is}")]
    Impostor { said: NodeId, is: NodeId },
    #[error("it belongs to swarm {theirs}, this node to swarm {ours}")]
    OtherSwarm { theirs: SwarmId, ours: SwarmId },
    #[error("its node id {0} is this node's own, with another key")]
    Collision(NodeId),
}

impl Hello {
    /// As bytes; always far below the limit, since a name is cut.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(128);
        if let Err(problem) = ciborium::into_writer(self, &mut bytes) {
            tracing::error!(%problem, "a hello could not be encoded");
        }
        bytes.into()
    }

    /// Reads what a peer said.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Hello, Objection> {
        let mut hello: Hello = ciborium::from_reader(bytes).map_err(|problem| Objection::Unreadable(problem.to_string()))?;
        hello.name = plain(&hello.name);
        hello.version = plain(&hello.version);
        Ok(hello)
    }

    /// Judges it: `authenticated` is the node whose key the connection proved, `local` and `ours` are this node.
    pub(crate) fn judge(&self, authenticated: NodeId, local: NodeId, ours: Option<SwarmId>) -> Result<(), Objection> {
        if self.protocol != PROTOCOL {
            return Err(Objection::Version { theirs: self.protocol, version: self.version.clone() });
        }
        if self.node != authenticated {
            return Err(Objection::Impostor { said: self.node, is: authenticated });
        }
        if self.node == local {
            return Err(Objection::Collision(local));
        }
        match (self.swarm, ours) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(Objection::OtherSwarm { theirs, ours }),
            _ => Ok(()),
        }
    }
}

/// A peer's text, fit to be printed: cut, and without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            protocol: PROTOCOL,
            node: NodeId(7),
            boot: 3,
            name: "den".to_owned(),
            swarm: Some(SwarmId([1; 16])),
            version: "0.1.0".to_owned(),
            port: Some(4000),
            announce: None,
        }
    }

    #[test]
    fn what_is_said_is_heard() {
        assert_eq!(Hello::decode(&hello().encode()).unwrap(), hello());
        assert!(matches!(Hello::decode(b"\xffnonsense"), Err(Objection::Unreadable(_))));
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        let loud = Hello { name: "a\u{1b}[31m".repeat(100), ..hello() };
        let heard = Hello::decode(&loud.encode()).unwrap();
        assert_eq!(heard.name.chars().count(), MAX_NAME);
        assert!(!heard.name.contains('\u{1b}'));
    }

    #[test]
    fn each_objection_is_told_apart() {
        let (local, peer, ours) = (NodeId(1), NodeId(7), Some(SwarmId([1; 16])));
        assert_eq!(hello().judge(peer, local, ours), Ok(()));
        assert_eq!(hello().judge(peer, local, None), Ok(()));
        assert_eq!(Hello { swarm: None, ..hello() }.judge(peer, local, ours), Ok(()));
        let other = hello().judge(peer, local, Some(SwarmId([2; 16]))).unwrap_err();
        assert!(other.to_string().contains("belongs to swarm 0101"), "{other}");
        assert!(matches!(hello().judge(NodeId(8), local, ours), Err(Objection::Impostor { .. })));
        assert_eq!(hello().judge(peer, peer, ours), Err(Objection::Collision(peer)));
        let newer = Hello { protocol: 2, ..hello() };
        assert!(matches!(newer.judge(peer, local, ours), Err(Objection::Version { theirs: 2, .. })));
    }
}
