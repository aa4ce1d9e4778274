//! How requests and answers travel as bytes between a library client and a node's HTTP face: CBOR, one to one.
//!
//! Values enter and bytes leave, and the other way round. Connections, paths' meaning and limits on time are not here.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ApiError, Request, Response};

/// Where a typed request is posted.
pub const CALL_PATH: &str = "/v1/call";

/// The media type of typed requests and answers.
pub const CBOR: &str = "application/cbor";

/// The largest typed request in bytes: a full batch of submissions (2 MiB) with room for what is around it.
pub const MAX_REQUEST: usize = 4 << 20;

/// The largest typed answer in bytes.
pub const MAX_ANSWER: usize = 64 << 20;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// They are not CBOR, or not of this type.
    #[error("the bytes are not a valid {what}: {why}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// The decoder's words.
        why: String,
    },
    /// Bytes follow the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

/// A request as bytes.
#[must_use]
pub fn encode_request(request: &Request) -> Vec<u8> {
    encode(request)
}

/// An answer as bytes.
#[must_use]
pub fn encode_response(response: &Response) -> Vec<u8> {
    encode(response)
}

/// A refusal as bytes.
#[must_use]
pub fn encode_error(error: &ApiError) -> Vec<u8> {
    encode(error)
}

/// Reads a request.
///
/// # Errors
/// See [`WireError`].
pub fn decode_request(bytes: &[u8]) -> Result<Request, WireError> {
    decode("request", bytes)
}

/// Reads an answer.
///
/// # Errors
/// See [`WireError`].
pub fn decode_response(bytes: &[u8]) -> Result<Response, WireError> {
    decode("answer", bytes)
}

/// Reads a refusal.
///
/// # Errors
/// See [`WireError`].
pub fn decode_error(bytes: &[u8]) -> Result<ApiError, WireError> {
    decode("refusal", bytes)
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    // Writing to memory can't fail and the api's types have no unserialisable part; an empty body would be refused as
    // malformed by the reader, so even a defect here can't be mistaken for an answer.
    if ciborium::into_writer(value, &mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

fn decode<T: DeserializeOwned>(what: &'static str, mut bytes: &[u8]) -> Result<T, WireError> {
    let value = ciborium::from_reader(&mut bytes).map_err(|error| WireError::Malformed { what, why: error.to_string() })?;
    match bytes.len() {
        0 => Ok(value),
        left => Err(WireError::Trailing(left)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::task::{Captured, TaskId, TaskSpec};

    #[test]
    fn every_byte_of_a_payload_survives_the_way_there() {
        let mut spec = TaskSpec::command(["sha256sum"]);
        spec.stdin = (0..=255u8).cycle().take(300_000).collect::<Vec<_>>().into();
        let request = Request::Submit { tasks: vec![(spec, Some("k".parse().unwrap()))] };
        let bytes = encode_request(&request);
        assert!(bytes.len() < 301_000, "payloads travel as byte strings, not as {} bytes of numbers", bytes.len());
        assert_eq!(decode_request(&bytes).unwrap(), request);
    }

    #[test]
    fn answers_and_refusals_read_back_the_same() {
        let response = Response::Applied(vec![TaskId(7)]);
        assert_eq!(decode_response(&encode_response(&response)).unwrap(), response);
        let error = ApiError::NoLeader { waited: Duration::from_millis(1500), detail: "1 of 3".into() };
        assert_eq!(decode_error(&encode_error(&error)).unwrap(), error);
        let captured = Captured { tail: Bytes::from_static(&[0xff, 0]), total: 9 };
        assert_eq!(decode::<Captured>("x", &encode(&captured)).unwrap(), captured);
    }

    #[test]
    fn torn_and_trailing_bytes_are_refused() {
        let mut bytes = encode_request(&Request::Status);
        bytes.push(0);
        assert!(matches!(decode_request(&bytes), Err(WireError::Trailing(1))));
        assert!(matches!(decode_request(&[]), Err(WireError::Malformed { .. })));
        assert!(matches!(decode_request(&[0xff, 0x00, 0x13]), Err(WireError::Malformed { .. })));
        // A length prefix of 1 EiB must be refused without allocating it.
        assert!(decode_request(&[0x7b, 0x10, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
