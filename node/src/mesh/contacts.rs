//! Who else can be reached where: told to each peer, so that knowing one node of a swarm is enough to find all.
//!
//! Pure codec. A contact is a hint: whoever answers there must still prove its key and say hello.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Service;
use super::frame::{Frame, Kind};
use crate::task::NodeId;

/// Contacts in one frame, so that it stays below the limit of its kind.
const PER_FRAME: usize = 48;

/// A node and where it listens.
pub(crate) type Contact = (NodeId, SocketAddr);

/// Frames that tell all these contacts.
pub(crate) fn frames(contacts: &[Contact]) -> Vec<Frame> {
    contacts.chunks(PER_FRAME).map(frame).collect()
}

fn frame(contacts: &[Contact]) -> Frame {
    let texts: Vec<(u64, String)> = contacts.iter().map(|(node, address)| (node.0, address.to_string())).collect();
    let mut bytes = Vec::new();
    if let Err(problem) = ciborium::into_writer(&texts, &mut bytes) {
        tracing::error!(%problem, "contacts could not be encoded");
    }
    Frame { service: Service::Founding, kind: Kind::Contacts, id: 0, payload: Bytes::from(bytes) }
}

/// Reads what a peer told; what is not an address is left out.
pub(crate) fn decode(bytes: &[u8]) -> Vec<Contact> {
    let texts: Vec<(u64, String)> = ciborium::from_reader(bytes).unwrap_or_default();
    let contacts = texts.into_iter().filter_map(|(node, address)| Some((NodeId(node), address.parse().ok()?)));
    contacts.take(PER_FRAME).collect()
}

#[cfg(test)]
mod tests {
    use super::super::frame::MAX_CONTROL;
    use super::*;

    #[test]
    fn what_is_told_is_heard_in_frames_below_the_limit() {
        let long = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().unwrap();
        let contacts: Vec<Contact> = (0..100).map(|n| (NodeId(u64::MAX - n), long)).collect();
        let frames = frames(&contacts);
        assert!(frames.iter().all(|frame| frame.payload.len() <= MAX_CONTROL));
        let heard: Vec<Contact> = frames.iter().flat_map(|frame| decode(&frame.payload)).collect();
        assert_eq!(heard, contacts);
        assert!(decode(b"\xffnonsense").is_empty());
    }
}
