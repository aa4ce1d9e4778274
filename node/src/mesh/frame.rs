//! How messages of all services share one stream of bytes: a fixed header, then the payload.
//!
//! Pure: bytes in, frames out. The length is judged before anything is allocated for it. What a frame means, and who may
//! send it, is decided elsewhere.

use bytes::{BufMut, Bytes, BytesMut};

use super::{MAX_MESSAGE, Service};

/// Bytes before the payload: length (4), service (1), kind (1), id (8); numbers big endian.
pub(crate) const HEADER: usize = 14;

/// The largest frame that links send for themselves (hellos, contacts), in bytes.
pub(crate) const MAX_CONTROL: usize = 4 << 10;

/// What kind of frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// No answer is expected. An id other than 0 marks one copy of a broadcast.
    Message = 0,
    /// The id is the asker's number of the question.
    Request = 1,
    /// The answer to the question of that id.
    Response = 2,
    /// There will be no answer to the question of that id.
    Refusal = 3,
    /// Who speaks, and of which swarm.
    Hello = 4,
    /// Nothing to say, still here.
    Ping = 5,
    /// Who else can be reached where.
    Contacts = 6,
}

/// A frame that breaks the rules; its sender is not talked to any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes, more than the limit of {MAX_MESSAGE}")]
    TooLarge(u32),
    #[error("a hello or list of contacts of {0} bytes, more than the limit of {MAX_CONTROL}")]
    ControlTooLarge(u32),
    #[error("a frame for the unknown service {0}")]
    UnknownService(u8),
    #[error("a frame of the unknown kind {0}")]
    UnknownKind(u8),
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: usize,
    pub(crate) service: Service,
    pub(crate) kind: Kind,
    pub(crate) id: u64,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) service: Service,
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    pub(crate) payload: Bytes,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Message, Kind::Request, Kind::Response, Kind::Refusal, Kind::Hello, Kind::Ping, Kind::Contacts]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

impl Service {
    fn from_byte(byte: u8) -> Option<Service> {
        Service::ALL.get(usize::from(byte)).copied()
    }
}

impl Header {
    /// Reads and judges a header.
    pub(crate) fn parse(bytes: &[u8; HEADER]) -> Result<Header, FrameError> {
        let [a, b, c, d, service, kind, id @ ..] = *bytes;
        let length = u32::from_be_bytes([a, b, c, d]);
        let service = Service::from_byte(service).ok_or(FrameError::UnknownService(service))?;
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > MAX_MESSAGE {
            return Err(FrameError::TooLarge(length));
        }
        if matches!(kind, Kind::Hello | Kind::Ping | Kind::Contacts) && size > MAX_CONTROL {
            return Err(FrameError::ControlTooLarge(length));
        }
        Ok(Header { length: size, service, kind, id: u64::from_be_bytes(id) })
    }
}

impl Frame {
    /// A frame without a payload.
    pub(crate) fn bare(service: Service, kind: Kind, id: u64) -> Frame {
        Frame { service, kind, id, payload: Bytes::new() }
    }

    /// Writes the header alone; the payload may follow by itself if it is too large to be worth copying.
    pub(crate) fn put_header(&self, buffer: &mut BytesMut) {
        buffer.reserve(HEADER);
        buffer.put_u32(u32::try_from(self.payload.len()).unwrap_or(u32::MAX));
        buffer.put_u8(self.service as u8);
        buffer.put_u8(self.kind as u8);
        buffer.put_u64(self.id);
    }

    /// Writes all of it.
    pub(crate) fn put(&self, buffer: &mut BytesMut) {
        buffer.reserve(HEADER + self.payload.len());
        self.put_header(buffer);
        buffer.put_slice(&self.payload);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(length: u32, service: u8, kind: u8) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[4] = service;
        bytes[5] = kind;
        bytes
    }

    #[test]
    fn frames_over_the_limit_and_of_unknown_kind_are_refused() {
        let limit = u32::try_from(MAX_MESSAGE).unwrap();
        assert!(Header::parse(&header(limit, 2, 0)).is_ok());
        assert_eq!(Header::parse(&header(limit + 1, 2, 0)), Err(FrameError::TooLarge(limit + 1)));
        assert_eq!(Header::parse(&header(u32::MAX, 2, 0)), Err(FrameError::TooLarge(u32::MAX)));
        assert_eq!(Header::parse(&header(5000, 0, 4)), Err(FrameError::ControlTooLarge(5000)));
        assert_eq!(Header::parse(&header(0, 6, 0)), Err(FrameError::UnknownService(6)));
        assert_eq!(Header::parse(&header(0, 0, 7)), Err(FrameError::UnknownKind(7)));
    }

    #[test]
    fn services_are_numbered_as_they_are_listed() {
        for service in Service::ALL {
            assert_eq!(Service::from_byte(service as u8), Some(service));
        }
    }

    proptest! {
        #[test]
        fn what_is_put_is_parsed(service in 0usize..6, kind in 0u8..4, id: u64, payload in proptest::collection::vec(any::<u8>(), 0..100)) {
            let frame = Frame { service: Service::ALL[service], kind: Kind::from_byte(kind).unwrap(), id, payload: payload.into() };
            let mut buffer = BytesMut::new();
            frame.put(&mut buffer);
            let head: [u8; HEADER] = buffer[..HEADER].try_into().unwrap();
            let expected = Header { length: frame.payload.len(), service: frame.service, kind: frame.kind, id };
            prop_assert_eq!(Header::parse(&head).unwrap(), expected);
            prop_assert_eq!(&buffer[HEADER..], &frame.payload[..]);
        }

        #[test]
        fn no_header_panics(bytes: [u8; HEADER]) {
            let _ = Header::parse(&bytes);
        }
    }
}
