#![no_main]
//! The replication engine's requests and answers: peers' bytes.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::raft(bytes));
