//! A node that does not run, looked at from outside: who it is and what its journal holds.
//!
//! A data folder enters; an id and the journal's entries leave, and nothing in the folder is changed. It is held for this
//! process meanwhile, so that the node can't be started under it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::journal::{self, ExportError, Exported};
use crate::mesh::wire::{self, MeshError};
use crate::task::NodeId;

/// The data folder of a node that does not run.
#[derive(Debug)]
pub struct StoppedNode {
    folder: PathBuf,
    id: NodeId,
    _lock: File,
}

/// Why a folder can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum StoppedError {
    /// No node was ever started with it.
    #[error("{} is not the data folder of a node", .0.display())]
    NoNode(PathBuf),
    /// It can't be read.
    #[error("the data folder {} can't be used", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        source: io::Error,
    },
    /// The node runs, or somebody else looks at it.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Its key can't be read.
    #[error(transparent)]
    Key(#[from] MeshError),
    /// Its journal can't be read.
    #[error(transparent)]
    Journal(#[from] ExportError),
}

impl StoppedNode {
    /// Takes the folder for this process.
    ///
    /// # Errors
    /// See [`StoppedError`].
    pub fn open(folder: &Path) -> Result<Self, StoppedError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => StoppedError::NoNode(folder.to_owned()),
            _ => StoppedError::Folder { path: folder.to_owned(), source },
        };
        let lock = File::open(folder.join("lock")).map_err(failed)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoppedError::InUse(folder.to_owned())),
            Err(error) => return Err(failed(error.into())),
        }
        let id = wire::known_id(folder)?.ok_or_else(|| StoppedError::NoNode(folder.to_owned()))?;
        Ok(StoppedNode { folder: folder.to_owned(), id, _lock: lock })
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Tells what its journal holds; see [`journal::export`].
    ///
    /// # Errors
    /// If it can't be read, or whoever is told fails.
    pub fn journal(&self, tell: &mut dyn FnMut(Exported) -> io::Result<()>) -> Result<(), StoppedError> {
        Ok(journal::export(&self.folder, tell)?)
    }
}
