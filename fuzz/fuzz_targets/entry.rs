#![no_main]
//! Entries of the journal and the records they are kept in: disks' and peers' bytes.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::entry(bytes));
