//! The binary's decoders for the fuzz targets. A binary can't be a dependency, so its rooms are taken by their paths; those
//! of the library come from `dunlin_node::fuzzing`.

#![allow(dead_code, unused_imports, missing_docs)]

#[path = "../../src/config/mod.rs"]
mod config;
#[path = "../../src/decoders.rs"]
mod decoders;
#[path = "../../src/json/mod.rs"]
mod json;
#[path = "../../src/quantity.rs"]
mod quantity;

/// Of the HTTP face the configuration only needs to know how long a socket's path may be.
#[path = "."]
mod http {
    pub(crate) use listen::MAX_PATH as MAX_SOCKET_PATH;

    #[path = "../../src/http/listen.rs"]
    mod listen;
}

/// The configuration file.
pub fn config(bytes: &[u8]) {
    decoders::config(bytes);
}

/// The shared secret.
pub fn secret(bytes: &[u8]) {
    decoders::secret(bytes);
}

/// Bodies of HTTP requests in JSON.
pub fn body(bytes: &[u8]) {
    decoders::body(bytes);
}
