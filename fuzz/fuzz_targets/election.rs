#![no_main]
//! The election's packets: peers' bytes.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::election(bytes));
