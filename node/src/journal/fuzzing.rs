//! This room's decoders for the fuzz targets: any bytes are an error or a value that survives being written and read again.

use super::log_writer::{checksum, decode_record, encode_record};
use super::network::{Answer, Ask};
use super::{codec, ledger, machine};

/// An entry, and a record of the log whose checksum is right.
pub(crate) fn entry(bytes: &[u8]) {
    if let Ok(entry) = codec::decode_entry(bytes) {
        let again = codec::encode(&entry).expect("what was read can be written");
        assert_eq!(codec::decode_entry(&again).ok(), Some(entry));
    }
    let _ = decode_record(1, bytes);
    let mut record = checksum(bytes).to_le_bytes().to_vec();
    record.extend_from_slice(bytes);
    if let Ok(entry) = decode_record(1, &record) {
        let mut again = Vec::new();
        encode_record(&entry, &mut again).expect("what was read can be written");
        let mut twice = Vec::new();
        let read = decode_record(1, &again).expect("what was written can be read");
        encode_record(&read, &mut twice).expect("what was read can be written");
        assert_eq!(again, twice);
        let _ = machine::change(entry);
    }
}

/// Rows of the ledger.
pub(crate) fn row(bytes: &[u8]) {
    ledger::row_survives(bytes);
}

/// A snapshot's file.
pub(crate) fn snapshot(bytes: &[u8]) {
    let _ = ledger::read_snapshot(bytes);
}

/// What the engines of two nodes say to each other.
pub(crate) fn raft(bytes: &[u8]) {
    let _ = codec::decode::<Answer>(bytes);
    if let Ok(Ask::Append(request)) = codec::decode::<Ask>(bytes) {
        for entry in request.entries {
            let _ = machine::change(entry);
        }
    }
}

#[cfg(test)]
pub(crate) mod samples;
