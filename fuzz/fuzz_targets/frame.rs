#![no_main]
//! What a link carries: frames, hellos, contacts, and gossip. Peers' bytes.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_node::fuzzing::frame(bytes));
