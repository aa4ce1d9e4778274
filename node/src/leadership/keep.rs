//! What the election keeps on disk: this node's one pledge, the swarm it belongs to, and how often it was started.
//!
//! Small files in the data folder, written aside, synced and renamed: after a power cut there is the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::task::{NodeId, SwarmId};

/// The format of these files.
const FORMAT: u16 = 1;
/// The largest such file in bytes.
const MAX_FILE: u64 = 64 << 10;

/// The founding members of a swarm and the rank of each.
pub(crate) type Members = Vec<(NodeId, u32)>;

/// The swarm that a node belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Belongs {
    /// Which.
    pub(crate) swarm: SwarmId,
    /// Who founded it; only those who were there know.
    pub(crate) founders: Option<Members>,
}

#[derive(Serialize, Deserialize)]
struct Stamped<T> {
    #[serde(rename = "v")]
    format: u16,
    #[serde(rename = "d")]
    data: T,
}

/// Why a file of the election can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The operating system refused.
    #[error("{} can't be {act}", .path.display())]
    Io {
        /// `read` or `written`.
        act: &'static str,
        /// Which file.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        source: io::Error,
    },
    /// The file makes no sense.
    #[error("{} is damaged: {detail}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A newer dunlin wrote it.
    #[error("{} has format {found}; this version knows up to {FORMAT}: use a newer version of dunlin", .path.display())]
    NewerFormat {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u16,
    },
}

/// The election's files in one data folder.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    folder: PathBuf,
}

impl Keep {
    pub(crate) fn new(folder: &Path) -> Self {
        Keep { folder: folder.to_owned() }
    }

    /// Counts this start of the process and answers its number, from 1.
    pub(crate) fn count_boot(&self) -> Result<u64, KeepError> {
        let boot = self.read::<u64>("boot")?.unwrap_or(0) + 1;
        self.write("boot", &boot)?;
        Ok(boot)
    }

    pub(crate) fn pledge(&self) -> Result<Option<Members>, KeepError> {
        self.read("pledge")
    }

    pub(crate) fn write_pledge(&self, pledge: &Members) -> Result<(), KeepError> {
        self.write("pledge", pledge)
    }

    pub(crate) fn belongs(&self) -> Result<Option<Belongs>, KeepError> {
        self.read("swarm")
    }

    pub(crate) fn write_belongs(&self, belongs: &Belongs) -> Result<(), KeepError> {
        self.write("swarm", belongs)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, KeepError> {
        let path = self.folder.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeepError::Io { act: "read", path, source }),
        };
        let damaged = |detail: String| KeepError::Damaged { path: path.clone(), detail };
        let size = file.metadata().map_err(|source| KeepError::Io { act: "read", path: path.clone(), source })?.len();
        if size > MAX_FILE {
            return Err(damaged(format!("it has {size} bytes, more than {MAX_FILE}")));
        }
        let bytes = io::read_to_string(file).map_err(|error| damaged(error.to_string()))?;
        // The number of the format is read first: the rest of a newer file may not be understood.
        let value: serde_json::Value = serde_json::from_str(&bytes).map_err(|error| damaged(error.to_string()))?;
        let found = value.get("v").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found > u64::from(FORMAT) {
            return Err(KeepError::NewerFormat { path, found: u16::try_from(found).unwrap_or(u16::MAX) });
        }
        let stamped: Stamped<T> = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(stamped.data))
    }

    fn write<T: Serialize>(&self, name: &str, data: &T) -> Result<(), KeepError> {
        let path = self.folder.join(name);
        let aside = self.folder.join(format!("{name}.new"));
        let failed = |source| KeepError::Io { act: "written", path: path.clone(), source };
        let bytes = serde_json::to_vec(&Stamped { format: FORMAT, data }).map_err(|error| failed(io::Error::other(error)))?;
        let mut file = File::create(&aside).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&aside, &path).map_err(failed)?;
        // Without this a power cut could forget the new name, and with it a promise.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path());
        assert_eq!(keep.pledge().unwrap(), None);
        let pledge = vec![(NodeId(u64::MAX), 100), (NodeId(7), 3)];
        keep.write_pledge(&pledge).unwrap();
        let belongs = Belongs { swarm: SwarmId([9; 16]), founders: Some(pledge.clone()) };
        keep.write_belongs(&belongs).unwrap();
        let again = Keep::new(folder.path());
        assert_eq!(again.pledge().unwrap(), Some(pledge));
        assert_eq!(again.belongs().unwrap(), Some(belongs));
        assert_eq!((again.count_boot().unwrap(), again.count_boot().unwrap()), (1, 2));
    }

    #[test]
    fn damaged_and_newer_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path());
        fs::write(folder.path().join("pledge"), b"{\"v\":1,\"d\":").unwrap();
        assert!(matches!(keep.pledge(), Err(KeepError::Damaged { .. })));
        fs::write(folder.path().join("pledge"), b"{\"v\":2,\"d\":{}}").unwrap();
        assert!(matches!(keep.pledge(), Err(KeepError::NewerFormat { found: 2, .. })));
    }
}
