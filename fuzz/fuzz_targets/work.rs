#![no_main]
//! Hand-outs and reports between leader and members: peers' bytes.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::work(bytes));
