//! Scratch directories that a task has left exactly as it found them, kept for the next task of the same user.
//!
//! In comes a directory whose task is over, out comes the same one under another name. Making and removing one costs a
//! journalling filesystem several times what renaming costs. Nothing may pass from one task to the next in it: whatever is
//! not as it was when it was made, is not kept.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::look::{self, Look};

/// Directories kept at most, of all users together.
const MAX_KEPT: usize = 64;

/// How a scratch directory and its `tmp` look, as far as a task could change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Looks([Look; 2]);

impl Looks {
    /// Those of the directory `name` in `root`; `None` if it is not as one is made: with something in it, or with
    /// attributes of somebody's own.
    pub(super) fn of(root: &OwnedFd, name: &CStr) -> Option<Looks> {
        let outer = open(root, name).ok()?;
        let inner = open(&outer, c"tmp").ok()?;
        if !look::holds_only(&outer, Some(c"tmp")) || !look::holds_only(&inner, None) {
            return None;
        }
        Some(Looks([Look::of(&outer)?, Look::of(&inner)?]))
    }

    /// The same after the directory was given another name, which is a change to the kernel.
    fn renamed(self, root: &OwnedFd, name: &CStr) -> Looks {
        let Looks([outer, inner]) = self;
        match rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Looks([outer.with(&stat), inner]),
            Err(_) => Looks([outer, inner]),
        }
    }
}

/// The kept ones, in a directory beside that of all scratch directories.
#[derive(Debug)]
pub(super) struct Shelf {
    fd: OwnedFd,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_user: BTreeMap<Option<u32>, Vec<(CString, Looks)>>,
    count: usize,
    named: u64,
}

impl Shelf {
    /// An empty one in `fd`.
    pub(super) fn new(fd: OwnedFd) -> Shelf {
        Shelf { fd, kept: Mutex::default() }
    }

    /// Gives one of `user` the name `name` in `root`; how it looks, or `None` if there is none.
    ///
    /// # Errors
    /// If the name is taken.
    pub(super) fn take(&self, root: &OwnedFd, name: &CStr, user: Option<u32>) -> io::Result<Option<Looks>> {
        let Some((kept, looks)) = self.pop(user) else { return Ok(None) };
        match rustix::fs::renameat_with(&self.fd, &kept, root, name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Some(looks.renamed(root, name))),
            Err(error) => {
                self.push(user, (kept, looks));
                if error == Errno::EXIST { Err(error.into()) } else { Ok(None) }
            }
        }
    }

    /// Keeps the directory `name` of `root`, which looked like this when its task began; false if it is not kept.
    pub(super) fn keep(&self, root: &OwnedFd, name: &CStr, user: Option<u32>, before: &Looks) -> bool {
        if Looks::of(root, name).as_ref() != Some(before) {
            return false;
        }
        let Some(own) = self.name() else { return false };
        let moved = rustix::fs::renameat_with(root, name, &self.fd, &own, RenameFlags::NOREPLACE).is_ok();
        if moved {
            self.push(user, (own, before.clone()));
        }
        moved
    }

    fn name(&self) -> Option<CString> {
        let mut kept = self.lock();
        kept.named += 1;
        if kept.count < MAX_KEPT { CString::new(kept.named.to_string()).ok() } else { None }
    }

    fn pop(&self, user: Option<u32>) -> Option<(CString, Looks)> {
        let mut kept = self.lock();
        let found = kept.by_user.get_mut(&user)?.pop()?;
        kept.count -= 1;
        Some(found)
    }

    fn push(&self, user: Option<u32>, found: (CString, Looks)) {
        let mut kept = self.lock();
        kept.count += 1;
        kept.by_user.entry(user).or_default().push(found);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::super::ScratchRoot;

    fn reused(change: impl FnOnce(&Path)) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let root = ScratchRoot::open(&folder.path().join("scratch")).unwrap();
        let made = root.make(&folder.path().join("scratch/1-1"), None).unwrap();
        change(&made.path);
        root.put_away(&made).unwrap();
        let kept = fs::read_dir(folder.path().join("scratch.ready")).unwrap().count();
        assert!(!made.path.exists() && root.make(&folder.path().join("scratch/2-1/x"), None).is_err());
        let next = root.make(&folder.path().join("scratch/2-1"), None).unwrap();
        assert_eq!(fs::read_dir(&next.path).unwrap().count(), 1);
        assert_eq!(fs::metadata(next.path.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o700);
        assert!(root.make(&folder.path().join("scratch/2-1"), None).is_err(), "a name is used once");
        kept == 1
    }

    #[test]
    fn an_untouched_directory_serves_again() {
        assert!(reused(|_| {}));
        assert!(reused(|path| assert_eq!(fs::read_dir(path).unwrap().count(), 1)));
    }

    #[test]
    fn whatever_a_task_changed_is_not_kept() {
        assert!(!reused(|path| fs::write(path.join("file"), "x").unwrap()));
        assert!(!reused(|path| fs::write(path.join("tmp/file"), "x").unwrap()));
        assert!(!reused(|path| fs::remove_dir(path.join("tmp")).unwrap()));
        assert!(!reused(|path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap()));
        assert!(!reused(|path| fs::set_permissions(path.join("tmp"), Permissions::from_mode(0o711)).unwrap()));
        assert!(!reused(|path| {
            fs::remove_dir(path.join("tmp")).unwrap();
            std::os::unix::fs::symlink("/etc", path.join("tmp")).unwrap();
        }));
        assert!(!reused(|path| {
            let attribute = rustix::fs::setxattr(path, c"user.x", b"1", rustix::fs::XattrFlags::empty());
            if attribute.is_err() {
                fs::write(path.join("file"), "x").unwrap(); // A filesystem without attributes.
            }
        }));
    }

    #[test]
    fn directories_of_one_user_are_not_given_to_another() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can make directories for others");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = ScratchRoot::open(&folder.path().join("scratch")).unwrap();
        let make = |name: &str, user: u32| root.make(&folder.path().join("scratch").join(name), Some(user)).unwrap();
        let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap());
        let first = make("1-1", 70_001);
        root.put_away(&first).unwrap();
        assert_eq!(owner(&make("2-1", 70_002).path), 70_002);
        assert_eq!(owner(&make("3-1", 70_001).path), 70_001);
    }
}
