//! The decoders of peers', clients' and disks' bytes, one function each, for the fuzz targets in `fuzz/`.
//!
//! Bytes enter; nothing leaves but a panic where there is a bug. Beside "no panic" each claims that what can be read can be
//! written and is then read the same. Compiled for this crate's own tests and under the feature `fuzzing` only: no part of
//! the library's interface, which is why the rooms' decoders stay private. What a value means is not tried here.

use crate::api::wire;
use crate::roster::Heartbeat;
use crate::task::TaskSpec;
use crate::worker::protocol::{self, ToLeader, ToMember};
use crate::{journal, mesh, node, sandbox};

/// One decoder: any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name: that of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 10] = [
    ("entry", entry),
    ("row", row),
    ("snapshot", snapshot),
    ("raft", raft),
    ("frame", frame),
    ("work", work),
    ("heartbeat", heartbeat),
    ("request", request),
    ("election", election),
    ("sandbox", sandbox),
];

/// An entry of the journal, and the record that holds it.
pub fn entry(bytes: &[u8]) {
    journal::fuzzing::entry(bytes);
}

/// A row of the ledger.
pub fn row(bytes: &[u8]) {
    journal::fuzzing::row(bytes);
}

/// A snapshot of the ledger.
pub fn snapshot(bytes: &[u8]) {
    journal::fuzzing::snapshot(bytes);
}

/// What the replication engines say to each other.
pub fn raft(bytes: &[u8]) {
    journal::fuzzing::raft(bytes);
}

/// What a link carries, and gossip.
pub fn frame(bytes: &[u8]) {
    mesh::fuzzing::frame(bytes);
}

/// Hand-outs and reports.
pub fn work(bytes: &[u8]) {
    if let Ok(messages) = protocol::unpack::<ToMember>(bytes) {
        for message in &messages {
            if let ToMember::Assign(assignment) = message {
                let _ = ciborium::from_reader::<TaskSpec, _>(&assignment.spec[..]);
            }
        }
        let again = protocol::pack(&messages);
        let read = again.iter().flat_map(|frame| protocol::unpack::<ToMember>(frame).expect("what was written can be read"));
        assert_eq!(read.collect::<Vec<_>>(), messages);
    }
    if let Ok(messages) = protocol::unpack::<ToLeader>(bytes) {
        let again = protocol::pack(&messages);
        let read = again.iter().flat_map(|frame| protocol::unpack::<ToLeader>(frame).expect("what was written can be read"));
        assert_eq!(read.collect::<Vec<_>>(), messages);
    }
}

/// A member's heartbeat.
pub fn heartbeat(bytes: &[u8]) {
    if let Ok(beat) = Heartbeat::decode(bytes) {
        assert_eq!(Heartbeat::decode(&beat.encode()).ok(), Some(beat));
    }
}

/// Typed requests, answers and refusals, from clients and between nodes.
pub fn request(bytes: &[u8]) {
    if let Ok(request) = wire::decode_request(bytes) {
        assert_eq!(wire::decode_request(&wire::encode_request(&request)).ok(), Some(request));
    }
    if let Ok(answer) = wire::decode_response(bytes) {
        assert_eq!(wire::decode_response(&wire::encode_response(&answer)).ok(), Some(answer));
    }
    if let Ok(refusal) = wire::decode_error(bytes) {
        assert_eq!(wire::decode_error(&wire::encode_error(&refusal)).ok(), Some(refusal));
    }
    node::survives(bytes);
}

/// The election's packets: what can be read has no other encoding.
pub fn election(bytes: &[u8]) {
    if let Ok(packet) = dunlin_election::Packet::decode(bytes) {
        assert_eq!(packet.encode(), bytes);
    }
}

/// What node and supervisor say to each other.
pub fn sandbox(bytes: &[u8]) {
    sandbox::survives(bytes);
}

#[cfg(test)]
mod tests;
