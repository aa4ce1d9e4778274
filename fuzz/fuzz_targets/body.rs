#![no_main]
//! Bodies of HTTP requests in JSON: described tasks, and which tasks to act on.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_fuzz::body(bytes));
