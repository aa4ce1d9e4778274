//! The demo's own temporary folder: private, with a short name, removed at the end.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::config::Secret;
use crate::exit::Failure;

/// The longest path to the folder that leaves room for the sockets' names below it.
const MAX_BASE: usize = 60;

/// Removed when dropped, unless it is to be kept.
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    pub(super) fn new(keep: bool) -> Result<Self, Failure> {
        let mut base = std::env::temp_dir();
        if base.as_os_str().len() > MAX_BASE {
            base = PathBuf::from("/tmp");
        }
        let failed = |error: io::Error| Failure::error("the demo's folder can't be made").why(error.to_string());
        let random = Secret::random().map_err(failed)?;
        let suffix: String = random.reveal().chars().take(8).collect();
        let path = base.join(format!("dunlin-demo-{}-{suffix}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let folder = Folder { path, keep };
        Secret::random().and_then(|secret| secret.store(&folder.secret())).map_err(failed)?;
        // An empty file in place of the person's own settings, which are not meant for these nodes.
        std::fs::write(folder.config(), "").map_err(failed)?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The swarm's fresh secret.
    pub(super) fn secret(&self) -> PathBuf {
        self.path.join("secret")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join("dunlin.toml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing better can be done about a folder that does not go than to leave it to the system's own tidying.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
