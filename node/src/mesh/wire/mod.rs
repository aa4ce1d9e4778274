//! The mesh over real networks: libp2p with TCP, the swarm's secret, noise and yamux.
//!
//! A [`MeshConfig`] enters, a mesh leaves. One task (`hub`) drives libp2p; each peer has a reader and a writer of its own,
//! so that payloads never pass through that task. Nothing outside this folder names libp2p.

mod address_book;
mod behaviour;
mod carrier;
mod config;
mod dialer;
mod gossip;
mod handle;
mod hub;
mod keys;
mod probe;
mod refusals;
mod streams;
mod transport;

pub use config::{DEFAULT_MAX_CONNECTIONS, MeshConfig, MeshError};
pub use handle::start;
pub use keys::known_id;

/// Reads a broadcast as it travels over others; for the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn gossip_survives(bytes: &[u8]) {
    if let Some(gossip) = gossip::Gossip::decode(bytes.to_vec())
        && let Some(again) = gossip.encode()
    {
        assert_eq!(again, bytes);
    }
}

#[cfg(test)]
mod tests;
