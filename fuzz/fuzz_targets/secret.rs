#![no_main]
//! The swarm's shared secret, which is the join token, as a file holds it.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dunlin_fuzz::secret(bytes));
