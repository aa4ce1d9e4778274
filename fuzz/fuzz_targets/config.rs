#![no_main]
//! The configuration file, written by people.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_fuzz::config(bytes));
