//! The directories that one task may write in, held open.
//!
//! In comes a path, out come descriptors, and whether they are those of the last task: a directory that is open can't be
//! gone and replaced by another one with its number. Nothing is changed here.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat};

/// A scratch directory and, where tasks have a /tmp of their own, the `tmp` in it.
#[derive(Debug)]
pub(in crate::sandbox) struct Workplace {
    directories: Vec<OwnedFd>,
    seen: Vec<Seen>,
}

/// Which directory it is, and when anything about it changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    number: (u64, u64),
    changed: (i128, i128),
}

impl Workplace {
    /// Opens `scratch`, which is looked for in `root`. No link is followed: what a task left there is not trusted.
    pub(in crate::sandbox) fn open(root: BorrowedFd<'_>, scratch: &Path, with_tmp: bool) -> io::Result<Workplace> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directories = vec![rustix::fs::openat(root, scratch, flags, Mode::empty())?];
        if with_tmp {
            directories.push(rustix::fs::openat(&directories[0], c"tmp", flags, Mode::empty())?);
        }
        let seen = look(&directories)?;
        Ok(Workplace { directories, seen })
    }

    /// The scratch directory, and its `tmp` if that is among them.
    pub(in crate::sandbox) fn directories(&self) -> &[OwnedFd] {
        &self.directories
    }

    /// Whether both are the same directories.
    pub(in crate::sandbox) fn is(&self, other: &Workplace) -> bool {
        self.seen.iter().map(|seen| seen.number).eq(other.seen.iter().map(|seen| seen.number))
    }

    /// Whether a task has probably left them as they were, so that they will come back with the next one. Only the node
    /// looks closely, and keeps them or not.
    pub(in crate::sandbox) fn is_untouched(&self) -> bool {
        look(&self.directories).is_ok_and(|now| now == self.seen)
    }
}

fn look(directories: &[OwnedFd]) -> io::Result<Vec<Seen>> {
    directories.iter().map(|directory| Ok(Seen::of(&rustix::fs::fstat(directory)?))).collect()
}

impl Seen {
    fn of(stat: &Stat) -> Seen {
        #[allow(clippy::unnecessary_cast)] // Their widths differ between architectures.
        let number = (stat.st_dev as u64, stat.st_ino as u64);
        Seen { number, changed: (stat.st_ctime.into(), stat.st_ctime_nsec.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn a_directory_is_known_under_another_name_and_not_taken_for_a_new_one() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("1-1"), root.path().join("2-1"));
        fs::create_dir_all(first.join("tmp")).unwrap();
        let open = |path: &Path| Workplace::open(CWD, path, true).unwrap();
        let before = open(&first);
        assert!(before.is_untouched());
        fs::rename(&first, &second).unwrap();
        assert!(before.is(&open(&second)));
        fs::remove_dir_all(&second).unwrap();
        fs::create_dir_all(second.join("tmp")).unwrap();
        assert!(!before.is(&open(&second)), "it is held open, so that its number is its own");
        fs::remove_dir(second.join("tmp")).unwrap();
        std::os::unix::fs::symlink("/etc", second.join("tmp")).unwrap();
        assert!(Workplace::open(CWD, &second, true).is_err(), "a link is not followed");
    }

    #[test]
    fn what_was_written_to_is_touched() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        let touched = |change: &dyn Fn(&Path)| {
            let before = Workplace::open(CWD, root.path(), true).unwrap();
            // The clock of files may stand still for some milliseconds.
            let old = Workplace { seen: before.seen.iter().map(|seen| Seen { changed: (0, 0), ..*seen }).collect(), ..before };
            change(root.path());
            !old.is_untouched()
        };
        assert!(touched(&|path| fs::write(path.join("tmp/file"), "x").unwrap()));
        assert!(touched(&|path| fs::write(path.join("file"), "x").unwrap()));
    }
}
