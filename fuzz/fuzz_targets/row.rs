#![no_main]
//! Rows of the ledger: a disk's bytes, or a peer's in a snapshot.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::row(bytes));
