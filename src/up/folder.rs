//! The data folder: made if it is missing, and closed to others.
//!
//! A node of root lets other users pass through it, though not list it: where mounts can't be made, its tasks reach their
//! scratch folders in it as users of their own. What the node itself keeps in it is its owner's alone; whatever else lies
//! there is somebody's, who may have named the wrong folder.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::config::Config;
use crate::exit::{Failure, code};

/// What a node keeps in its data folder. An older one left some of it readable, behind a folder that was closed then.
const KEPT: [&str; 9] = ["boot", "ledger.redb", "lock", "log.redb", "node.key", "peers.json", "pledge", "secret", "swarm"];
/// How the names of its snapshots end.
const SNAPSHOT: &str = "snapshot";
/// What nobody but the owner may do.
const OTHERS: u32 = 0o077;

/// Makes the folder, and sees to it that what is made in it from now on is private.
pub(super) fn make(config: &Config) -> Result<(), Failure> {
    let root = rustix::process::geteuid().is_root();
    make_at(&config.data, root).map_err(|error| {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { code::NOT_AUTHORISED } else { code::ERROR };
        Failure::new(code, format!("the data folder {} can't be made", config.data.display()))
            .why(error.to_string())
            .next("name another one with --data DIR")
    })?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(OTHERS));
    Ok(())
}

/// A folder that is there keeps its own mode: it may have been closed on purpose.
fn make_at(folder: &Path, root: bool) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(if root { 0o711 } else { 0o700 }).create(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_kept(&entry.path()) || !entry.file_type()?.is_file() {
            continue;
        }
        let mode = entry.metadata()?.permissions().mode();
        if mode & OTHERS != 0 {
            fs::set_permissions(entry.path(), Permissions::from_mode(mode & 0o7700))?;
        }
    }
    Ok(())
}

fn is_kept(path: &Path) -> bool {
    path.file_name().is_some_and(|name| KEPT.iter().any(|kept| name == *kept))
        || path.extension().is_some_and(|end| end == SNAPSHOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn others_may_pass_roots_folder_and_open_nothing_of_the_nodes() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("data");
        make_at(&folder, true).unwrap();
        assert_eq!(mode(&folder), 0o711);
        // As an older node left it, and what its owner has there.
        fs::create_dir(folder.join("scratch")).unwrap();
        fs::create_dir(folder.join("www")).unwrap();
        for name in ["log.redb", "7-9.snapshot", "index.html"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        let names = ["scratch", "www", "log.redb", "7-9.snapshot", "index.html"];
        for (name, mode) in names.iter().zip([0o711, 0o755, 0o644, 0o644, 0o644]) {
            fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
        }
        make_at(&folder, true).unwrap();
        assert_eq!(mode(&folder), 0o711);
        assert_eq!(names.map(|name| mode(&folder.join(name))), [0o711, 0o755, 0o600, 0o600, 0o644]);
    }

    #[test]
    fn anybody_elses_folder_is_closed_and_one_that_is_there_keeps_its_mode() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("data");
        make_at(&folder, false).unwrap();
        assert_eq!(mode(&folder), 0o700);
        make_at(&folder, true).unwrap();
        assert_eq!(mode(&folder), 0o700);
    }
}
