//! How a directory looks, as far as a task could change that, to be compared with how it looked before.
//!
//! In comes a descriptor, out comes what can be compared. Nothing is changed, and nothing is decided here.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{IFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use crate::sandbox::kernel;

/// How one directory looks, without what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Look {
    /// Who owns it, what they may do, how large it is, and when any of it changed last.
    inode: [u64; 10],
    /// Flags as of chattr.
    flags: Option<IFlags>,
    /// Its project and further flags.
    project: Option<[u32; 7]>,
}

impl Look {
    /// `None` if it has attributes of somebody's own, or can't be looked at.
    pub(in crate::sandbox) fn of(directory: &OwnedFd) -> Option<Look> {
        let inode = inode(&rustix::fs::fstat(directory).ok()?);
        match rustix::fs::flistxattr(directory, &mut [0_u8; 0][..]) {
            Ok(0) | Err(Errno::NOTSUP) => {}
            _ => return None,
        }
        Some(Look { inode, flags: rustix::fs::ioctl_getflags(directory).ok(), project: kernel::project(directory) })
    }

    /// The same with what the kernel says of it now: after a change that was ours.
    pub(super) fn with(self, stat: &Stat) -> Look {
        Look { inode: inode(stat), ..self }
    }
}

fn inode(stat: &Stat) -> [u64; 10] {
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)] // Only whether they are the same is asked.
    [
        stat.st_mode as u64,
        stat.st_uid as u64,
        stat.st_gid as u64,
        stat.st_nlink as u64,
        stat.st_size as u64,
        stat.st_blocks as u64,
        stat.st_mtime as u64,
        stat.st_mtime_nsec as u64,
        stat.st_ctime as u64,
        stat.st_ctime_nsec as u64,
    ]
}

/// Whether nothing is in a directory but `expected`, which need not be there. False if it can't be read.
pub(in crate::sandbox) fn holds_only(directory: &OwnedFd, expected: Option<&CStr>) -> bool {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 1024];
    if rustix::fs::seek(directory, SeekFrom::Start(0)).is_err() {
        return false;
    }
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let known = |name: &CStr| [Some(c"."), Some(c".."), expected].contains(&Some(name));
        if !entry.is_ok_and(|entry| known(entry.file_name())) {
            return false;
        }
    }
    true
}
