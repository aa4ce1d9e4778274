#![no_main]
//! What a member says of itself: peers' bytes.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::heartbeat(bytes));
