//! The node's key on disk, the node id that follows from it, and the key that follows from the swarm's secret.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p::pnet::PreSharedKey;
use sha2::{Digest, Sha256};

use super::MeshError;
use crate::task::NodeId;

/// The key's file in the data folder.
const FILE: &str = "node.key";

/// The longest file that is read as a key, in bytes.
const MAX_FILE: u64 = 1024;

/// The id of the node that has this data folder, if it was ever started.
///
/// # Errors
/// If its key can't be read.
pub fn known_id(data: &Path) -> Result<Option<NodeId>, MeshError> {
    Ok(load(data)?.map(|key| node_id(&key.public().to_peer_id())))
}

/// The key in the data folder, if there is one.
fn load(data: &Path) -> Result<Option<Keypair>, MeshError> {
    let path = data.join(FILE);
    let failed = |source| MeshError::Key { path: path.clone(), source };
    let bad = |why: String| MeshError::BadKey { path: path.clone(), why };
    match fs::metadata(&path) {
        Ok(found) if found.len() > MAX_FILE => Err(bad(format!("it has {} bytes", found.len()))),
        Ok(found) => {
            if found.permissions().mode() & 0o077 != 0 {
                tracing::warn!(path = %path.display(), "the node's key can be read by others; make it mode 0600");
            }
            let bytes = fs::read(&path).map_err(failed)?;
            Keypair::from_protobuf_encoding(&bytes).map(Some).map_err(|problem| bad(problem.to_string()))
        }
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(failed(problem)),
    }
}

/// The key in the data folder; made at the first start.
pub(super) fn load_or_create(data: &Path) -> Result<Keypair, MeshError> {
    if let Some(key) = load(data)? {
        return Ok(key);
    }
    let path = data.join(FILE);
    let failed = |source| MeshError::Key { path: path.clone(), source };
    let bad = |why: String| MeshError::BadKey { path: path.clone(), why };
    let key = Keypair::generate_ed25519();
    let bytes = key.to_protobuf_encoding().map_err(|problem| bad(problem.to_string()))?;
    write_durably(data, &path, &bytes).map_err(failed)?;
    Ok(key)
}

/// The file appears whole or not at all, and is on disk before the node is known by this key.
fn write_durably(data: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let half = path.with_extension("key.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    fs::File::open(data)?.sync_all()
}

/// The node that has this key: the first eight bytes of its id's hash.
pub(super) fn node_id(peer: &PeerId) -> NodeId {
    let hash = Sha256::digest(peer.to_bytes());
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash);
    NodeId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// The key of the private network.
pub(super) fn network_key(secret: &str) -> PreSharedKey {
    let mut hash = Sha256::new();
    hash.update(b"dunlin private network v1\0");
    hash.update(secret.as_bytes());
    PreSharedKey::new(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_the_owner_only() {
        let data = tempfile::tempdir().unwrap();
        let first = load_or_create(data.path()).unwrap().public().to_peer_id();
        let second = load_or_create(data.path()).unwrap().public().to_peer_id();
        assert_eq!(first, second);
        assert_eq!(node_id(&first), node_id(&second));
        let mode = fs::metadata(data.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_refused_with_its_path_and_not_replaced() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE);
        fs::write(&path, b"not a key").unwrap();
        let refused = load_or_create(data.path()).unwrap_err().to_string();
        assert!(refused.contains("node.key is not a node's key"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"not a key");
    }

    #[test]
    fn secrets_make_different_networks() {
        assert_eq!(network_key("a"), network_key("a"));
        assert_ne!(network_key("a"), network_key("b"));
    }
}
