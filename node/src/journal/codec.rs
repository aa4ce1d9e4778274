//! Bytes of entries and messages: CBOR in and out, and an entry put together from facts that are encoded already.
//!
//! Each fact is encoded once, by its caller's task; the batcher only joins the pieces. What can't be read is an error with
//! the decoder's words, never a panic: these bytes come from disks and peers.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{Entry, FORMAT, Fact};
use crate::task::{Term, UnixMillis};

/// Bytes that could not be written or read as CBOR.
#[derive(Debug, thiserror::Error)]
#[error("CBOR: {0}")]
pub struct CodecError(String);

/// Appends a value to `out`.
pub(super) fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    ciborium::into_writer(value, out).map_err(|error| CodecError(error.to_string()))
}

/// A value as CBOR.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(128);
    encode_into(value, &mut out)?;
    Ok(out)
}

/// A value from CBOR.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    ciborium::from_reader(bytes).map_err(|error| CodecError(error.to_string()))
}

/// The facts of one caller, encoded one after the other, without the head of the array that will hold them.
pub(super) fn encode_facts(facts: &[Fact]) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(facts.len() * 160);
    for fact in facts {
        encode_into(fact, &mut out)?;
    }
    Ok(out)
}

/// Joins encoded facts into the bytes that encoding the [`Entry`] as a whole would have given.
pub(super) fn join_entry<'a>(term: Term, at: UnixMillis, count: usize, facts: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    head(&mut out, MAP, 4);
    text(&mut out, "v");
    head(&mut out, UNSIGNED, u64::from(FORMAT));
    text(&mut out, "t");
    head(&mut out, UNSIGNED, term.0);
    text(&mut out, "at");
    head(&mut out, UNSIGNED, at.0);
    text(&mut out, "f");
    head(&mut out, ARRAY, count as u64);
    facts.for_each(|fact| out.extend_from_slice(fact));
    Bytes::from(out)
}

/// Only the part of an entry that says whether the rest can be read.
#[derive(serde::Deserialize)]
struct Version {
    #[serde(rename = "v")]
    format: u16,
}

/// Reads an entry; one of a newer format is told apart from a broken one.
pub(super) fn decode_entry(bytes: &[u8]) -> Result<Entry, EntryError> {
    match decode::<Entry>(bytes) {
        Ok(entry) if entry.format <= FORMAT => Ok(entry),
        Ok(entry) => Err(EntryError::Newer(entry.format)),
        Err(error) => match decode::<Version>(bytes) {
            Ok(version) if version.format > FORMAT => Err(EntryError::Newer(version.format)),
            _ => Err(EntryError::Broken(error)),
        },
    }
}

/// Why an entry can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryError {
    #[error("entry of format {0}; this version knows up to {FORMAT}")]
    Newer(u16),
    #[error(transparent)]
    Broken(CodecError),
}

// CBOR's major types (RFC 8949, section 3.1), in the upper three bits of the first byte.
const UNSIGNED: u8 = 0 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let wide = value.to_be_bytes();
    let (info, width) = match value {
        0..=23 => (wide[7], 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    out.push(major | info);
    out.extend_from_slice(&wide[8 - width..]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{NodeId, TaskId, TaskSpec};

    fn facts() -> Vec<Fact> {
        let mut facts = vec![
            Fact::Opened { leader: NodeId(u64::MAX) },
            Fact::Submitted { spec: Box::new(TaskSpec::command(["true"])), key: Some("k".parse().unwrap()) },
        ];
        facts.extend((0..70_000).step_by(7).map(|n| Fact::Cancelled { task: TaskId(n) }));
        facts
    }

    #[test]
    fn joined_entries_are_byte_for_byte_those_encoded_whole() {
        let facts = facts();
        for count in [0, 1, 2, 24, 300, facts.len()] {
            for number in [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX] {
                let some = facts[..count].to_vec();
                let encoded = encode_facts(&some).unwrap();
                let joined = join_entry(Term(number), UnixMillis(number), count, [&encoded[..]].into_iter());
                let entry = Entry { format: FORMAT, term: Term(number), at: UnixMillis(number), facts: some };
                assert_eq!(joined, encode(&entry).unwrap());
                if number == 0 {
                    assert_eq!(decode_entry(&joined).unwrap(), entry);
                }
            }
        }
    }

    #[test]
    fn an_entry_of_a_newer_format_is_told_apart_from_a_broken_one() {
        #[derive(Serialize)]
        struct Later {
            v: u16,
            something: &'static str,
        }
        let later = encode(&Later { v: FORMAT + 1, something: "else" }).unwrap();
        assert!(matches!(decode_entry(&later), Err(EntryError::Newer(found)) if found == FORMAT + 1));
        assert!(matches!(decode_entry(b"\xff\x00"), Err(EntryError::Broken(_))));
        // Also one that could be read: what it means is not known here.
        let alike = Entry { format: FORMAT + 1, term: Term(1), at: UnixMillis(1), facts: Vec::new() };
        assert!(matches!(decode_entry(&encode(&alike).unwrap()), Err(EntryError::Newer(found)) if found == FORMAT + 1));
    }
}
