//! Well-formed bytes of this room for the fuzz targets to begin with, and that each is read as what was written.

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::frame::{Frame, Kind};
use super::super::hello::{Hello, plain};
use super::super::{Service, contacts};
use crate::task::strategies;
use crate::task::{NodeId, SwarmId};

/// Neither a scope nor a flow is told to others: they mean something on one machine only.
fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn hello() -> impl Strategy<Value = Hello> {
    let told = (any::<Option<u16>>(), prop::option::of(address()));
    (any::<(u16, u64, u64)>(), [strategies::text(), strategies::text()], any::<Option<[u8; 16]>>(), told).prop_map(
        |((protocol, node, boot), [name, version], swarm, (port, announce))| {
            let swarm = swarm.map(SwarmId);
            Hello { protocol, node: NodeId(node), boot, name, swarm, version, port, announce }
        },
    )
}

fn told() -> impl Strategy<Value = Vec<contacts::Contact>> {
    prop::collection::vec((strategies::node(), address()), 1..4)
}

fn frame() -> impl Strategy<Value = Frame> {
    let service = prop::sample::select(Service::ALL.to_vec());
    let kind = prop::sample::select(vec![Kind::Message, Kind::Request, Kind::Response, Kind::Refusal, Kind::Ping]);
    let any_frame = (service, kind, any::<u64>(), strategies::bytes());
    prop_oneof![
        2 => any_frame.prop_map(|(service, kind, id, payload)| Frame { service, kind, id, payload }),
        1 => hello().prop_map(|hello| Frame { service: Service::Founding, kind: Kind::Hello, id: 0, payload: hello.encode() }),
        1 => told().prop_map(|told| contacts::frames(&told).remove(0)),
    ]
}

/// Streams of frames, and broadcasts.
pub(crate) fn streams() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop::collection::vec(frame(), 1..4).prop_map(|frames| {
        let mut buffer = BytesMut::new();
        frames.iter().for_each(|frame| frame.put(&mut buffer));
        buffer.to_vec()
    });
    let gossip = (any::<[u8; 16]>(), 0..6_u8, any::<u64>(), strategies::bytes())
        .prop_map(|(swarm, service, id, payload)| [&swarm[..], &[service], &id.to_be_bytes(), &payload].concat());
    prop_oneof![3 => stream, 1 => gossip]
}

proptest! {
    #[test]
    fn a_hello_comes_back_with_its_texts_made_plain(hello in hello()) {
        let read = Hello::decode(&hello.encode()).unwrap();
        prop_assert_eq!(read, Hello { name: plain(&hello.name), version: plain(&hello.version), ..hello });
    }

    #[test]
    fn contacts_come_back_as_they_were(told in told()) {
        let read: Vec<_> = contacts::frames(&told).iter().flat_map(|frame| contacts::decode(&frame.payload)).collect();
        prop_assert_eq!(read, told);
    }
}
