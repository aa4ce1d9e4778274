//! This room's decoders for the fuzz targets: any bytes are an error or a value that survives being written and read again.

use bytes::{Bytes, BytesMut};

use super::frame::{Frame, HEADER, Header, Kind};
use super::hello::Hello;
use super::{contacts, wire};

/// A stream of frames as a link carries it, and a broadcast as it travels over others.
pub(crate) fn frame(mut bytes: &[u8]) {
    wire::gossip_survives(bytes);
    while let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() {
        let Ok(header) = Header::parse(head) else { return };
        let Some((payload, rest)) = rest.split_at_checked(header.length) else { return };
        let Header { service, kind, id, .. } = header;
        let frame = Frame { service, kind, id, payload: Bytes::copy_from_slice(payload) };
        let mut again = BytesMut::new();
        frame.put(&mut again);
        assert_eq!(&again[..], &bytes[..HEADER + payload.len()]);
        match kind {
            Kind::Hello => hello(payload),
            Kind::Contacts => told(payload),
            _ => {}
        }
        bytes = rest;
    }
}

fn hello(payload: &[u8]) {
    if let Ok(hello) = Hello::decode(payload) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
}

fn told(payload: &[u8]) {
    let heard = contacts::decode(payload);
    let again: Vec<_> = contacts::frames(&heard).iter().flat_map(|frame| contacts::decode(&frame.payload)).collect();
    assert_eq!(again, heard);
}

#[cfg(test)]
pub(crate) mod samples;
