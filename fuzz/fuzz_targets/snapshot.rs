#![no_main]
//! Snapshots of the ledger: a disk's bytes or a peer's.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::snapshot(bytes));
