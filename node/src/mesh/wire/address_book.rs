//! Where peers were found, kept in the data folder, so that a node finds its swarm again without being told.
//!
//! A hint, never a truth: a lost or damaged book is an empty one. Written whole, by rename, and only when it has changed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::task::NodeId;

/// The book's file in the data folder.
const FILE: &str = "peers.json";

/// Peers that are kept.
const MAX_PEERS: usize = 256;

/// The largest book that is read, in bytes.
const MAX_FILE: u64 = 256 << 10;

#[derive(Debug)]
pub(super) struct AddressBook {
    path: PathBuf,
    peers: BTreeMap<NodeId, SocketAddr>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Line {
    node: String,
    address: SocketAddr,
}

impl AddressBook {
    /// Reads the book in the data folder.
    pub(super) fn load(data: &Path) -> AddressBook {
        let path = data.join(FILE);
        let peers = read(&path).unwrap_or_else(|problem| {
            if problem.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %problem, "the address book can't be read; starting with an empty one");
            }
            BTreeMap::new()
        });
        AddressBook { path, peers, changed: false }
    }

    /// Everybody in it.
    pub(super) fn peers(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        self.peers.iter().map(|(node, address)| (*node, *address))
    }

    /// A peer was found there.
    pub(super) fn record(&mut self, node: NodeId, address: SocketAddr) {
        if self.peers.get(&node) == Some(&address) || (self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&node)) {
            return;
        }
        // A node that moved in where another one was has taken its place.
        self.peers.retain(|_, taken| *taken != address);
        self.peers.insert(node, address);
        self.changed = true;
    }

    /// Writing it, if it has changed; to be run where blocking is allowed.
    pub(super) fn save(&mut self) -> Option<impl FnOnce() + Send + 'static> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let (path, lines) = (self.path.clone(), lines(&self.peers));
        Some(move || {
            if let Err(problem) = write(&path, &lines) {
                tracing::warn!(path = %path.display(), %problem, "the address book can't be written");
            }
        })
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<NodeId, SocketAddr>> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    let lines: Vec<Line> = serde_json::from_slice(&fs::read(path)?)?;
    let peers = lines.into_iter().filter_map(|line| Some((line.node.parse().ok()?, line.address)));
    Ok(peers.take(MAX_PEERS).collect())
}

fn lines(peers: &BTreeMap<NodeId, SocketAddr>) -> Vec<Line> {
    peers.iter().map(|(node, address)| Line { node: node.to_string(), address: *address }).collect()
}

fn write(path: &Path, lines: &[Line]) -> io::Result<()> {
    let half = path.with_extension("json.new");
    let mut file = fs::File::create(&half)?;
    serde_json::to_writer_pretty(&mut file, lines)?;
    file.write_all(b"\n")?;
    file.sync_data()?;
    fs::rename(&half, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_back_and_nothing_is_written_twice() {
        let data = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 4000));
        let mut book = AddressBook::load(data.path());
        assert!(book.save().is_none());
        book.record(NodeId(7), address);
        book.save().unwrap()();
        book.record(NodeId(7), address);
        assert!(book.save().is_none());
        assert_eq!(AddressBook::load(data.path()).peers().collect::<Vec<_>>(), [(NodeId(7), address)]);
    }

    #[test]
    fn a_damaged_book_is_an_empty_one() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(FILE), b"{half").unwrap();
        assert_eq!(AddressBook::load(data.path()).peers().count(), 0);
    }

    #[test]
    fn the_book_is_bounded() {
        let data = tempfile::tempdir().unwrap();
        let mut book = AddressBook::load(data.path());
        for n in 0..1000u16 {
            book.record(NodeId(n.into()), SocketAddr::from(([127, 0, 0, 1], n + 1)));
        }
        assert_eq!(book.peers().count(), MAX_PEERS);
    }
}
