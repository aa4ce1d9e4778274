//! The way to a peer and its identity: TCP, the swarm's secret, noise, yamux.
//!
//! The secret is proved in both directions before anything the other side sent is parsed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::io::BufWriter;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{Multiaddr, PeerId, Transport, noise, tcp, yamux};

use super::MeshError;
use super::refusals::Refusals;

/// Getting from a connection to an authenticated one may take this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Said by both sides as soon as the secret's cipher is in place. Who can't read it has another secret.
const PROOF: [u8; 16] = *b"dunlin secret v1";

/// The private network's cipher writes a kilobyte at a time; this gathers what is written between two flushes.
const WRITE_BUFFER: usize = 64 << 10;

pub(super) const NO_COMMON_SECRET: &str = "no common secret: it was started with another secret, or is not a node of this kind";

/// The whole stack.
pub(super) fn transport(
    key: &Keypair,
    network: PreSharedKey,
    refusals: Refusals,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, MeshError> {
    let noise = noise::Config::new(key).map_err(|problem| MeshError::Setup(problem.to_string()))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let private = tcp.and_then(move |socket, endpoint| async move {
        let buffered = BufWriter::with_capacity(WRITE_BUFFER, socket);
        let mut ciphered = PnetConfig::new(network).handshake(buffered).await.map_err(io::Error::other)?;
        let common = prove(&mut ciphered).await?;
        if common {
            return Ok(ciphered);
        }
        let address = socket_address(endpoint.get_remote_address());
        refusals.report(ip_of(address), describe(address), NO_COMMON_SECRET.to_owned());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, NO_COMMON_SECRET))
    });
    Ok(private.upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux::Config::default()).timeout(PATIENCE).boxed())
}

/// Whether the other side reads and writes with the same secret. Both speak at once, so that it costs no round trip.
async fn prove<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<bool> {
    stream.write_all(&PROOF).await?;
    stream.flush().await?;
    let mut theirs = [0; PROOF.len()];
    stream.read_exact(&mut theirs).await?;
    Ok(theirs == PROOF)
}

/// The socket address in a multiaddress that has one.
pub(super) fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::from(ip),
        Protocol::Ip6(ip) => IpAddr::from(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip.to_canonical(), port)),
        _ => None,
    }
}

/// A socket address as libp2p writes it.
pub(super) fn multiaddress(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// An address for people.
pub(super) fn describe(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "unknown address".to_owned(), |address| address.to_string())
}

/// Its host part.
pub(super) fn ip_of(address: Option<SocketAddr>) -> Option<IpAddr> {
    address.map(|address| address.ip())
}
