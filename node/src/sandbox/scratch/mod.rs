//! Makes and removes the directories in which tasks work.
//!
//! What a task leaves is hostile: links to elsewhere, directories nobody may read, trees deeper than any path may be.
//! So every step goes through the descriptor of a directory that is known, never follows a link, and a deep tree is
//! taken apart at its top, in constant depth.

pub(in crate::sandbox) mod footprint;
pub(in crate::sandbox) mod look;
mod shelf;

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use shelf::{Looks, Shelf};

/// Only the owner.
const PRIVATE: Mode = Mode::RWXU;
/// Rounds over one directory before it is given up: something keeps writing into it.
const MAX_ROUNDS: usize = 1 << 20;

/// The directory that holds every task's scratch directory, and nothing else.
#[derive(Debug)]
pub(in crate::sandbox) struct ScratchRoot {
    path: PathBuf,
    fd: OwnedFd,
    /// Directories that can be used again, where one can be made beside this.
    shelf: Option<Shelf>,
}

/// One task's directory.
#[derive(Debug)]
pub(in crate::sandbox) struct Made {
    name: CString,
    /// Absolute.
    pub(in crate::sandbox) path: PathBuf,
    user: Option<u32>,
    /// `None` if nobody could look at it.
    looks: Option<Looks>,
}

impl ScratchRoot {
    /// Makes it if it is missing and empties it: what is there belonged to a node that is gone.
    pub(in crate::sandbox) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // Tasks that run as users of their own must pass it; each one's own directory is closed to the others.
        let passed = if rustix::process::geteuid().is_root() { PRIVATE | Mode::XGRP | Mode::XOTH } else { PRIVATE };
        rustix::fs::fchmod(&fd, passed)?;
        empty(&fd)?;
        let path = std::fs::canonicalize(path)?;
        let shelf = beside(&path).inspect_err(|error| tracing::info!(%error, "no scratch directory will be used twice"));
        Ok(ScratchRoot { path, fd, shelf: shelf.ok() })
    }

    /// Where it is, without links in its path.
    pub(in crate::sandbox) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory `path`, which must stand right in this one, with its own `tmp`, for `user` if it is not the
    /// node's own.
    pub(in crate::sandbox) fn make(&self, path: &Path, user: Option<u32>) -> io::Result<Made> {
        let name = path.file_name().filter(|_| self.holds(path)).ok_or_else(|| {
            let root = self.path.display();
            io::Error::new(io::ErrorKind::InvalidInput, format!("{} does not stand right in {root}", path.display()))
        })?;
        let path = self.path.join(name);
        let name = CString::new(name.as_bytes())?;
        let again = self.shelf.as_ref().map_or(Ok(None), |shelf| shelf.take(&self.fd, &name, user))?;
        let looks = match again {
            Some(looks) => Some(looks),
            None => {
                self.make_new(&name, user)?;
                self.shelf.as_ref().and_then(|_| Looks::of(&self.fd, &name))
            }
        };
        Ok(Made { name, path, user, looks })
    }

    fn make_new(&self, name: &CStr, user: Option<u32>) -> io::Result<()> {
        rustix::fs::mkdirat(&self.fd, name, PRIVATE)?;
        let tmp = OsString::from_vec([name.to_bytes(), b"/tmp"].concat());
        rustix::fs::mkdirat(&self.fd, &tmp, PRIVATE)?;
        if let Some(user) = user {
            let (uid, gid) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
            // The inner one first: afterwards the outer one is somebody else's, who could put a link there.
            rustix::fs::chownat(&self.fd, &tmp, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            rustix::fs::chownat(&self.fd, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn holds(&self, path: &Path) -> bool {
        let parent = path.parent();
        parent == Some(&self.path) || parent.and_then(|parent| parent.canonicalize().ok()).as_ref() == Some(&self.path)
    }

    /// Takes a directory away at the cost of a few calls if its task left nothing in it: keeps it for the next one, or
    /// removes it. False if it is more work than that.
    pub(in crate::sandbox) fn put_away_quickly(&self, made: &Made) -> bool {
        let Made { name, user, looks, .. } = made;
        if let (Some(shelf), Some(looks)) = (&self.shelf, looks)
            && shelf.keep(&self.fd, name, *user, looks)
        {
            return true;
        }
        let tmp = [name.to_bytes(), b"/tmp"].concat();
        let _ = rustix::fs::unlinkat(&self.fd, OsString::from_vec(tmp), AtFlags::REMOVEDIR);
        matches!(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR), Ok(()) | Err(Errno::NOENT))
    }

    /// Takes a directory away with everything in it. May take long.
    pub(in crate::sandbox) fn put_away(&self, made: &Made) -> io::Result<()> {
        if self.put_away_quickly(made) { Ok(()) } else { remove(&self.fd, &made.name) }
    }
}

/// The shelf of the directory `path`: `path.ready`, emptied of what a node left that is gone.
fn beside(path: &Path) -> io::Result<Shelf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".ready");
    let path = path.with_file_name(name);
    match std::fs::DirBuilder::new().mode(PRIVATE.bits()).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&path, flags, Mode::empty())?;
    rustix::fs::fchmod(&fd, PRIVATE)?;
    empty(&fd)?;
    Ok(Shelf::new(fd))
}

fn empty(directory: &OwnedFd) -> io::Result<()> {
    names(directory)?.iter().try_for_each(|left| remove(directory, left))
}

/// Removes what is at `path`, whatever it is.
pub(in crate::sandbox) fn remove_path(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    remove(&rustix::fs::open(parent, flags, Mode::empty())?, &CString::new(name.as_bytes())?)
}

/// Removes `name` in `parent`, whatever it is.
fn remove(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let top = open_directory(parent, name)?;
    let mut moved = 0;
    for _ in 0..MAX_ROUNDS {
        let entries = names(&top)?;
        if entries.is_empty() {
            match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY) => continue,
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        for entry in entries {
            remove_entry(&top, &entry, &mut moved)?;
        }
    }
    Err(io::Error::other("something keeps writing into it"))
}

/// Removes one entry of `top`. A directory's own directories are moved up into `top` for a later round, so that depth
/// never grows.
fn remove_entry(top: &OwnedFd, name: &CStr, moved: &mut u64) -> io::Result<()> {
    match rustix::fs::unlinkat(top, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let directory = open_directory(top, name)?;
    for inner in names(&directory)? {
        match rustix::fs::unlinkat(&directory, &inner, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => lift(&directory, &inner, top, moved)?,
            Err(error) => return Err(error.into()),
        }
    }
    match rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Moves the directory `name` from `from` up into `top`, under a name that is free there.
fn lift(from: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    if rustix::fs::unlinkat(from, name, AtFlags::REMOVEDIR).is_ok() {
        return Ok(());
    }
    drop(open_directory(from, name)?); // Moving a directory needs the right to write into it.
    loop {
        *moved += 1;
        let free = CString::new(format!(".dunlin-removed-{moved}"))?;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(from, name, top, &free, flags) {
            Err(Errno::EXIST) => {}
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens the directory `name` in `parent`, never through a link; one that its owner may not read is made readable.
fn open_directory(parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let common = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = rustix::fs::openat(parent, name, common | OFlags::PATH, Mode::empty())?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&path)?.st_mode);
    if !mode.contains(PRIVATE) {
        // Through the descriptor, so that what was looked at is what is changed.
        rustix::fs::chmodat(CWD, format!("/proc/self/fd/{}", path.as_raw_fd()), PRIVATE, AtFlags::empty())?;
    }
    Ok(rustix::fs::openat(&path, c".", OFlags::RDONLY | common, Mode::empty())?)
}

fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn root() -> (tempfile::TempDir, ScratchRoot) {
        let folder = tempfile::tempdir().unwrap();
        let root = ScratchRoot::open(&folder.path().join("scratch")).unwrap();
        (folder, root)
    }

    #[test]
    fn directories_are_private_and_stand_right_in_the_root() {
        let (folder, root) = root();
        let path = folder.path().join("scratch/1-1");
        let made = root.make(&path, None).unwrap();
        assert_eq!(std::fs::metadata(path.join("tmp")).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(root.make(&path, None).is_err(), "a name is used once");
        assert!(root.make(folder.path(), None).is_err());
        assert!(root.make(&folder.path().join("scratch/a/b"), None).is_err());
        assert!(root.make(&folder.path().join("scratch/.."), None).is_err());
        assert!(root.put_away_quickly(&made));
        assert!(!path.exists());
    }

    #[test]
    fn hostile_content_is_removed_and_nothing_outside_of_it() {
        let (folder, root) = root();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("precious"), "x").unwrap();
        let path = folder.path().join("scratch/1-1");
        let made = root.make(&path, None).unwrap();
        symlink(&outside, path.join("link")).unwrap();
        symlink("/nowhere", path.join("dangling")).unwrap();
        std::fs::create_dir_all(path.join("a/locked/inner")).unwrap();
        symlink(&outside, path.join("a/locked/inner/link")).unwrap();
        std::fs::write(path.join("a/locked/file"), "x").unwrap();
        std::fs::write(path.join(".dunlin-removed-1"), "in the way").unwrap();
        std::fs::set_permissions(path.join("a/locked"), std::fs::Permissions::from_mode(0o000)).unwrap();
        std::fs::set_permissions(path.join("a"), std::fs::Permissions::from_mode(0o000)).unwrap();
        assert!(!root.put_away_quickly(&made));
        root.put_away(&made).unwrap();
        assert!(!path.exists());
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn trees_deeper_than_a_path_are_removed() {
        let (folder, root) = root();
        let path = folder.path().join("scratch/1-1");
        let made = root.make(&path, None).unwrap();
        let mut here = open_directory(&root.fd, &made.name).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, c"deep", PRIVATE).unwrap();
            here = open_directory(&here, c"deep").unwrap();
        }
        drop(here);
        root.put_away(&made).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_crashed_nodes_left_overs_go_when_the_root_is_opened() {
        let (folder, first) = root();
        first.make(&folder.path().join("scratch/1-1"), None).unwrap();
        std::fs::write(folder.path().join("scratch/1-1/file"), "x").unwrap();
        std::fs::write(folder.path().join("scratch/stray"), "x").unwrap();
        drop(first);
        ScratchRoot::open(&folder.path().join("scratch")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
    }
}
