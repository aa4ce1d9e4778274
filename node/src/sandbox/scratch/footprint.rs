//! How much of the disk a task's scratch directory takes, looked at while its task writes into it.
//!
//! In comes the directory, out come bytes as `du` counts them. Whatever is in it is hostile: no link is followed, a look
//! ends after a number of entries and the next one goes on from there, and the depth is bounded. Nothing is decided here.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::sandbox::kernel;
use crate::sandbox::supervisor::tree::Process;

/// Entries that one look takes in; some milliseconds.
const ENTRIES_A_LOOK: usize = 4_096;
/// Descriptors of the task that one look takes in.
const DESCRIPTORS_A_LOOK: usize = 4_096;
/// Looks in a row that make up the last one, after the task has ended.
const LAST_LOOKS: usize = 64;
/// Directories in one another; no path is long enough to name twice as many, and they are all held open.
const MAX_DEPTH: usize = 512;
/// What any entry costs at least: its name and its inode. It bounds how many entries there can be below a limit.
const LEAST: u64 = 1 << 10;
/// Bytes of a block as the kernel counts them, whatever the filesystem's own are.
const BLOCK: u64 = 512;
/// Filesystems that are told apart.
const MAX_DEVICES: usize = 64;

/// One scratch directory under watch.
#[derive(Debug)]
pub(in crate::sandbox) struct Footprint {
    root: OwnedFd,
    /// The directories on the way to where the look stands; empty before a pass over all of it begins.
    open: Vec<Dir>,
    /// What this pass has found so far.
    found: u64,
    /// Whose the task's processes are, if not this one's.
    user: Option<u32>,
    /// Where the task's files lie.
    devices: BTreeSet<u64>,
    looks: usize,
}

impl Footprint {
    /// Begins to watch `scratch`.
    pub(in crate::sandbox) fn of(scratch: &Path, user: Option<u32>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(scratch, flags, Mode::empty())?;
        let devices = BTreeSet::from([rustix::fs::fstat(&root)?.st_dev]);
        Ok(Footprint { root, open: Vec::new(), found: 0, user, devices, looks: 0 })
    }

    /// Looks at the next part of it, and at files of the tree that have no name any more. Answers with what there is at
    /// least, in bytes; with the largest number where it can't be added up.
    pub(in crate::sandbox) fn look(&mut self, tree: &[Process]) -> u64 {
        self.looks = self.looks.wrapping_add(1);
        // Others' descriptors are shown to who is the same user; a container's root may lack the right to see all.
        let nameless = kernel::with_files_of(self.user, || nameless(tree, &self.devices, self.looks));
        self.walk(ENTRIES_A_LOOK);
        self.found.saturating_add(nameless)
    }

    /// All of it, now that nobody changes it any more.
    pub(in crate::sandbox) fn last_look(&mut self) -> u64 {
        self.open.clear();
        let mut most = 0;
        for _ in 0..LAST_LOOKS {
            let done = self.walk(ENTRIES_A_LOOK);
            most = most.max(self.found);
            if done {
                break;
            }
        }
        most
    }

    /// As much of it as one look takes in, from the beginning.
    pub(in crate::sandbox) fn glance(&mut self) -> u64 {
        self.open.clear();
        self.walk(ENTRIES_A_LOOK);
        self.found
    }

    /// Goes on with a pass; true if it came to its end.
    fn walk(&mut self, entries: usize) -> bool {
        if self.open.is_empty() {
            self.found = 0;
            match open_directory(self.root.as_fd(), c".") {
                Ok(root) => self.open.push(root),
                Err(_) => return true, // Nobody but the node can have taken it away.
            }
        }
        for _ in 0..entries {
            let Some(here) = self.open.last_mut() else { return true };
            match here.read() {
                Some(Ok(entry)) => self.count(entry.file_name()),
                // One that can't be read on has been removed meanwhile.
                Some(Err(_)) | None => drop(self.open.pop()),
            }
        }
        self.open.is_empty()
    }

    fn count(&mut self, name: &CStr) {
        if name == c"." || name == c".." {
            return;
        }
        let depth = self.open.len();
        let Some(here) = self.open.last().and_then(|here| here.fd().ok()) else { return };
        let Ok(stat) = rustix::fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
        // Ours, and there before anything was written.
        let ours = depth == 1 && is_directory && name == c"tmp";
        self.found = self.found.saturating_add(if ours { 0 } else { share(&stat, is_directory).max(LEAST) });
        if !is_directory {
            return;
        }
        if self.devices.len() < MAX_DEVICES {
            self.devices.insert(stat.st_dev);
        }
        if depth >= MAX_DEPTH {
            self.found = u64::MAX;
            return;
        }
        match open_directory(here, name) {
            Err(Errno::MFILE) => self.found = u64::MAX,
            Ok(directory) => self.open.push(directory),
            Err(_) => {} // Removed or replaced since it was listed.
        }
    }
}

/// What one name of a file stands for: with two names each is half of it, however many of them are here.
fn share(stat: &Stat, is_directory: bool) -> u64 {
    let bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK);
    #[allow(clippy::useless_conversion)] // It is narrower on other architectures.
    let names = u64::from(stat.st_nlink).max(1);
    if is_directory { bytes } else { bytes / names }
}

/// Opens the directory `name`, never through a link. One that its owner may not list is made listable: otherwise it would
/// hide what is in it, where this process is no more than its owner.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<Dir, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(opened) if rustix::fs::accessat(&opened, c".", Access::EXEC_OK, AtFlags::EACCESS).is_ok() => Dir::new(opened),
        Ok(_) | Err(Errno::ACCESS) => {
            let path = rustix::fs::openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            let mode = Mode::from_raw_mode(rustix::fs::fstat(&path)?.st_mode) | Mode::RUSR | Mode::XUSR;
            // Through the descriptor, so that what was looked at is what is changed.
            rustix::fs::chmodat(CWD, format!("/proc/self/fd/{}", path.as_raw_fd()), mode, AtFlags::empty())?;
            Dir::new(rustix::fs::openat(&path, c".", flags, Mode::empty())?)
        }
        Err(error) => Err(error),
    }
}

/// Bytes of files on `devices` that processes of `tree` hold open and that have no name any more. When there are more
/// descriptors than one look takes in, the next look begins with another process.
fn nameless(tree: &[Process], devices: &BTreeSet<u64>, round: usize) -> u64 {
    let mut counted = BTreeSet::new();
    let mut bytes: u64 = 0;
    let mut left = DESCRIPTORS_A_LOOK;
    let (before, after) = tree.split_at(if tree.is_empty() { 0 } else { round % tree.len() });
    for process in after.iter().chain(before) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(folder) = rustix::fs::open(format!("/proc/{}/fd", process.pid), flags, Mode::empty()) else { continue };
        let Ok(names) = Dir::read_from(&folder) else { continue };
        for name in names.flatten() {
            if left == 0 {
                return bytes;
            }
            left -= 1;
            let Ok(stat) = rustix::fs::statat(&folder, name.file_name(), AtFlags::empty()) else { continue };
            let nameless = stat.st_nlink == 0 && FileType::from_raw_mode(stat.st_mode).is_file();
            if nameless && devices.contains(&stat.st_dev) && counted.insert((stat.st_dev, stat.st_ino)) {
                bytes = bytes.saturating_add(share(&stat, false));
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    const MIB: usize = 1 << 20;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        fs::create_dir_all(scratch.join("tmp")).unwrap();
        (folder, scratch)
    }

    fn near(found: u64, expected: usize) {
        let expected = expected as u64;
        // Filesystems keep books of their own beside the data.
        assert!((expected..expected + (64 << 10)).contains(&found), "{found} is not about {expected}");
    }

    #[test]
    fn an_untouched_directory_takes_nothing() {
        let (_folder, scratch) = scratch();
        assert_eq!(Footprint::of(&scratch, None).unwrap().look(&[]), 0);
    }

    #[test]
    fn data_counts_and_links_and_holes_do_not() {
        let (folder, scratch) = scratch();
        fs::write(folder.path().join("outside"), vec![1; 4 * MIB]).unwrap();
        fs::write(scratch.join("tmp/a"), vec![1; MIB]).unwrap();
        symlink(folder.path().join("outside"), scratch.join("link")).unwrap();
        symlink(folder.path(), scratch.join("tmp/up")).unwrap();
        fs::File::create(scratch.join("hole")).unwrap().set_len(1 << 40).unwrap();
        let mut footprint = Footprint::of(&scratch, None).unwrap();
        near(footprint.look(&[]), MIB);
        // Two names of one file are one file.
        fs::hard_link(scratch.join("tmp/a"), scratch.join("b")).unwrap();
        near(footprint.look(&[]), MIB);
        near(footprint.last_look(), MIB);
    }

    #[test]
    fn a_look_is_bounded_and_the_next_one_goes_on() {
        let (_folder, scratch) = scratch();
        for n in 0..100 {
            fs::write(scratch.join(format!("tmp/{n}")), "x").unwrap();
        }
        let mut footprint = Footprint::of(&scratch, None).unwrap();
        assert!(!footprint.walk(40));
        let first = footprint.found;
        assert!(first < 40 * 4096 && first > 0);
        while !footprint.walk(40) {}
        assert!(footprint.found >= 100 * LEAST, "{}", footprint.found);
        assert_eq!(footprint.last_look(), footprint.found);
    }

    #[test]
    fn empty_files_cost_something_too() {
        let (_folder, scratch) = scratch();
        (0..50).for_each(|n| drop(fs::File::create(scratch.join(n.to_string())).unwrap()));
        assert!(Footprint::of(&scratch, None).unwrap().look(&[]) >= 50 * LEAST);
    }

    #[test]
    fn closed_folders_hide_nothing() {
        let (_folder, scratch) = scratch();
        fs::create_dir(scratch.join("closed")).unwrap();
        fs::write(scratch.join("closed/data"), vec![1; MIB]).unwrap();
        fs::set_permissions(scratch.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        near(Footprint::of(&scratch, None).unwrap().look(&[]), MIB);
    }

    #[test]
    fn what_is_deeper_than_any_path_counts_as_too_much() {
        let (_folder, scratch) = scratch();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut here = rustix::fs::open(&scratch, flags, Mode::empty()).unwrap();
        for _ in 0..MAX_DEPTH + 1 {
            rustix::fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
            here = rustix::fs::openat(&here, c"d", flags, Mode::empty()).unwrap();
        }
        assert_eq!(Footprint::of(&scratch, None).unwrap().look(&[]), u64::MAX);
    }

    #[test]
    fn files_without_a_name_count_while_they_are_open() {
        let (_folder, scratch) = scratch();
        let mut file = fs::File::create(scratch.join("x")).unwrap();
        file.write_all(&vec![1; 2 * MIB]).unwrap();
        fs::remove_file(scratch.join("x")).unwrap();
        let device = rustix::fs::fstat(&file).unwrap().st_dev;
        let own = crate::sandbox::supervisor::tree::own();
        let _twice = file.try_clone().unwrap();
        near(nameless(&[own, own], &BTreeSet::from([device]), 1), 2 * MIB);
        assert_eq!(nameless(&[own], &BTreeSet::new(), 1), 0);
        assert_eq!(nameless(&[], &BTreeSet::from([device]), 1), 0);
    }
}
