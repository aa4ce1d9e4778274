#![no_main]
//! Typed requests and answers in CBOR, from clients and forwarded between nodes.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::request(bytes));
