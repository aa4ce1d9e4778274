//! Packets survive the way through bytes; bytes that are no packet are refused, whatever they are.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use crate::{
    Bid, DecodeError, Draw, Envelope, Hello, Instant, MAX_PACKET, Message, NodeId, Packet, Pledge, Position, Rank, Stage,
    SwarmId, Term,
};

fn hello() -> impl Strategy<Value = Message> {
    let stage =
        prop_oneof![Just(Stage::Looking), Just(Stage::Pledged), any::<[u8; 16]>().prop_map(|id| Stage::Founded(SwarmId(id)))];
    let nodes = prop::collection::btree_map(any::<u64>(), any::<u32>(), 0..129);
    (any::<u8>(), any::<u32>(), stage, nodes).prop_map(|(expect, rank, stage, nodes)| {
        let nodes: BTreeMap<_, _> = nodes.into_iter().map(|(node, rank)| (NodeId(node), Rank(rank))).collect();
        Message::Hello(Hello { expect, rank: Rank(rank), stage, nodes: Pledge(nodes) })
    })
}

fn candidacy() -> impl Strategy<Value = Message> {
    let count = prop::option::of(0..u8::MAX);
    (any::<[u64; 5]>(), any::<u32>(), i32::MIN..=0, count).prop_map(|([target, term, index, node, seq], rank, draw, count)| {
        let position = Position { term: Term(term), index };
        let bid = Bid { position, rank: Rank(rank), draw: Draw::new(draw), node: NodeId(node) };
        Message::Candidacy { target_term: Term(target), bid, seq, count }
    })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<(u64, u64)>().prop_map(|(t, at)| Message::Beat { term: Term(t), sent_at: Instant::from_nanos(at) }),
        any::<(u64, u64)>().prop_map(|(t, at)| Message::Ack { term: Term(t), sent_at: Instant::from_nanos(at) }),
        candidacy(),
        any::<[u64; 3]>().prop_map(|[t, to, seq]| Message::Vote { target_term: Term(t), to: NodeId(to), seq }),
        any::<[u64; 2]>().prop_map(|[t, leader]| Message::Refuse { term: Term(t), leader: NodeId(leader) }),
        any::<u64>().prop_map(|t| Message::Stale { term: Term(t) }),
        Just(Message::Withdraw),
        hello(),
    ]
}

fn packet() -> impl Strategy<Value = Packet> {
    (any::<[u8; 16]>(), any::<[u64; 3]>(), message()).prop_map(|(swarm, [from, boot, seq], message)| Packet {
        envelope: Envelope { swarm: SwarmId(swarm), from: NodeId(from), boot, seq },
        message,
    })
}

proptest! {
    #[test]
    fn a_packet_comes_back_as_it_was(packet in packet()) {
        let bytes = packet.encode();
        prop_assert!(bytes.len() <= MAX_PACKET);
        prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
    }

    #[test]
    fn a_cut_packet_is_refused(packet in packet(), at in any::<prop::sample::Index>()) {
        let bytes = packet.encode();
        prop_assert!(Packet::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn bytes_after_the_end_are_refused(packet in packet(), more in prop::collection::vec(any::<u8>(), 1..9)) {
        let bytes: Vec<u8> = packet.encode().into_iter().chain(more).collect();
        prop_assert!(Packet::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = Packet::decode(&bytes);
    }

    #[test]
    fn any_packet_of_ours_with_a_flipped_byte_has_one_encoding(packet in packet(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut bytes = packet.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = Packet::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}

#[test]
fn another_version_is_named() {
    assert_eq!(Packet::decode(&[9, 0, 0]), Err(DecodeError::Version(9)));
    assert_eq!(Packet::decode(&[]), Err(DecodeError::TooShort));
}
