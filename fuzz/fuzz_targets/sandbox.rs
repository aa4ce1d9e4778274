#![no_main]
//! What node and supervisor say to each other about an attempt.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::sandbox(bytes));
