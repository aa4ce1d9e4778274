//! What a supervisor does in the namespaces that it was born into, before its target is: ids, mounts, network.
//!
//! In come the steps of the ground, then one scratch directory after the other; afterwards this process and all that
//! descends from it see another machine. What is made here goes with the last process of the namespace; what belongs to one
//! task alone is taken away again before the next.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::workplace::Workplace;
use crate::sandbox::kernel::sys::SingleThreaded;
use crate::sandbox::kernel::{self, Namespaces, Writable};
use crate::sandbox::plan::Step;
use crate::sandbox::seccomp::Key;
use crate::sandbox::shelter::{Ground, Shelter};

/// Folders of people and of services: their sockets are a way out, and Landlock does not control connecting to them.
const COVERED: [&str; 5] = ["/run", "/tmp", "/var/tmp", "/home", "/root"];
/// Where programs put their temporary files whatever they are told.
const TMP: &CStr = c"/tmp";
/// Where the C library puts semaphores and shared memory.
pub(in crate::sandbox) const SHARED_MEMORY: &str = "/dev/shm";
/// Of the folder that covers others: it holds mount points only.
const COVER: &CStr = c"mode=755,size=256k,nr_inodes=1k";
const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Whom a process belonged to before it was born into a namespace that knows nobody yet.
#[derive(Clone, Copy, Debug)]
pub(in crate::sandbox) struct Ids {
    user: u32,
    group: u32,
}

impl Ids {
    /// Those of this process.
    pub(in crate::sandbox) fn own() -> Ids {
        Ids { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() }
    }
}

/// The surroundings while they are made, and afterwards.
pub(in crate::sandbox) struct Surroundings<'a> {
    alone: &'a SingleThreaded,
    ground: &'a Ground,
    ids: Ids,
    /// Of the filter that this process may have taken on.
    key: Key,
    /// The directory of all scratch directories, which is covered later.
    scratch_root: OwnedFd,
    /// What must be seen although it lies in a covered folder, with where it is.
    kept: Vec<(OwnedFd, &'a Path)>,
    /// Whether tasks have a /tmp of their own.
    own_tmp: bool,
    /// The folder of mount points for scratch directories.
    porch: Writable,
    /// The mount point of the present or the last task's scratch directory.
    shown: Option<CString>,
}

impl<'a> Surroundings<'a> {
    /// Opens what will have to be found again.
    pub(in crate::sandbox) fn before(alone: &'a SingleThreaded, ids: Ids, ground: &'a Ground, key: Key) -> io::Result<Self> {
        let shelter = &ground.shelter;
        let scratch_root = open(&ground.scratch_root)?;
        let hidden = |path: &&PathBuf| shelter.hidden.iter().any(|hidden| path.starts_with(hidden));
        let kept = shelter.read.iter().filter(|path| is_covered(path, shelter) && !hidden(path));
        let kept = kept.filter_map(|path| Some((open(path).ok()?, path.as_path()))).collect();
        let own_tmp = own_tmp(&ground.scratch_root);
        Ok(Surroundings { alone, ground, ids, key, scratch_root, kept, own_tmp, porch: Writable::No, shown: None })
    }

    /// Does one step of the ground.
    pub(in crate::sandbox) fn execute(&self, step: Step) -> io::Result<()> {
        match step {
            Step::MapUser => self.map_user(),
            Step::OwnNetwork => {
                kernel::unshare(self.alone, Namespaces::NETWORK)?;
                kernel::loopback_up()
            }
            Step::PrivateMounts => {
                let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                Ok(rustix::mount::mount_change("/", private)?)
            }
            Step::Cover => self.cover(),
            Step::ReadOnlyMounts => {
                kernel::set_writable(c"/", Writable::No, true, self.key)?;
                // The target writes its out-of-memory score there. A /proc that was read-only before stays so.
                let _ = kernel::set_writable(c"/proc", Writable::Yes, false, self.key);
                Ok(())
            }
            Step::SharedMemory(bytes) if Path::new(SHARED_MEMORY).is_dir() => {
                let options = CString::new(format!("mode=1777,size={bytes},nr_inodes=4k"))?;
                let flags = HARMLESS | MountFlags::NOEXEC;
                Ok(rustix::mount::mount("dunlin", SHARED_MEMORY, "tmpfs", flags, options.as_c_str())?)
            }
            Step::FreshProc => Ok(rustix::mount::mount("proc", "/proc", "proc", HARMLESS | MountFlags::NOEXEC, None)?),
            _ => Ok(()), // The target's.
        }
    }

    /// Opens the directories of a task that is to come.
    pub(in crate::sandbox) fn workplace(&self, scratch: &Path) -> io::Result<Workplace> {
        let name = scratch.file_name().ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        Workplace::open(self.scratch_root.as_fd(), Path::new(name), self.own_tmp)
    }

    /// Shows the scratch directory of a task at `scratch`, writable, and its `tmp` as /tmp. If they are `still` those of the
    /// last task, they are there already, under another name.
    pub(in crate::sandbox) fn admit(&mut self, scratch: &Path, workplace: &Workplace, still: bool) -> io::Result<()> {
        let place = c_path(scratch)?;
        let last = if still { self.shown.take() } else { None };
        if last.as_ref() != Some(&place) {
            self.hide()?;
            self.set_porch(Writable::Yes)?;
            std::fs::create_dir(scratch)?;
            if let Some(last) = &last {
                kernel::move_mount(last, &place, self.key)?;
                rustix::fs::rmdir(last.as_c_str())?;
            }
        }
        self.set_porch(Writable::No)?;
        if last.is_none() {
            for (opened, place) in workplace.directories().iter().zip([place.as_c_str(), TMP]) {
                self.show_writable(opened, place)?;
            }
        }
        self.shown = Some(place);
        Ok(())
    }

    /// A mount that lost its right to be written in this namespace may have it back.
    fn show_writable(&self, opened: &OwnedFd, at: &CStr) -> io::Result<()> {
        kernel::bind(&CString::new(format!("/proc/self/fd/{}", opened.as_raw_fd()))?, at, self.key)?;
        kernel::set_writable(at, Writable::Yes, false, self.key)
    }

    /// Takes away what was the last task's. Nothing of it runs any more.
    pub(in crate::sandbox) fn hide(&mut self) -> io::Result<()> {
        let Some(place) = self.shown.take() else { return Ok(()) };
        if self.own_tmp {
            kernel::unmount(TMP, self.key)?;
        }
        kernel::unmount(&place, self.key)?;
        self.set_porch(Writable::Yes)?; // It stays so until the next task has its mount point.
        Ok(rustix::fs::rmdir(place.as_c_str())?)
    }

    /// Lets the folder of mount points for scratch directories be written in; while a task runs nobody may.
    fn set_porch(&mut self, writable: Writable) -> io::Result<()> {
        if self.porch != writable {
            kernel::set_writable(&c_path(&self.ground.scratch_root)?, writable, false, self.key)?;
            self.porch = writable;
        }
        Ok(())
    }

    /// Its own ids are the same inside. The right to change groups is given up: the kernel asks for that.
    fn map_user(&self) -> io::Result<()> {
        let Ids { user, group } = self.ids;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))
    }

    /// One empty folder over all that is hidden, with mount points in it for what must be seen.
    fn cover(&self) -> io::Result<()> {
        let mut first: Option<PathBuf> = None;
        for path in covers(&self.ground.shelter) {
            match (std::fs::symlink_metadata(&path), &first) {
                (Ok(file), Some(cover)) if file.is_dir() => rustix::mount::mount_bind(cover, &path)?,
                (Ok(file), None) if file.is_dir() => {
                    rustix::mount::mount("dunlin", &path, "tmpfs", HARMLESS | MountFlags::NOEXEC, COVER)?;
                    first = Some(path);
                }
                (Ok(file), _) if !file.is_symlink() => rustix::mount::mount_bind("/dev/null", &path)?,
                _ => {} // Nothing is there, or a link to what is covered elsewhere.
            }
        }
        for (opened, path) in &self.kept {
            show_again(opened, path)?;
        }
        // Neither the scratch directories of others are seen, nor those of tasks to come.
        let porch = &self.ground.scratch_root;
        std::fs::create_dir_all(porch)?;
        Ok(rustix::mount::mount("dunlin", porch, "tmpfs", HARMLESS | MountFlags::NOEXEC, COVER)?)
    }
}

fn own_tmp(scratch_root: &Path) -> bool {
    !scratch_root.starts_with(tmp()) && tmp().is_dir()
}

fn tmp() -> &'static Path {
    Path::new(std::ffi::OsStr::from_bytes(TMP.to_bytes()))
}

/// Every folder and file to cover, none below another.
fn covers(shelter: &Shelter) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = COVERED.iter().map(PathBuf::from).chain(shelter.hidden.iter().cloned()).collect();
    all.sort();
    let mut covers: Vec<PathBuf> = Vec::new();
    for path in all {
        if !covers.iter().any(|cover| path.starts_with(cover)) {
            covers.push(path);
        }
    }
    covers
}

/// Whether nothing at this path is seen by a task unless it is shown again.
pub(in crate::sandbox) fn is_covered(path: &Path, shelter: &Shelter) -> bool {
    covers(shelter).iter().any(|cover| path.starts_with(cover))
}

/// Mounts what was opened where it was; in a covered folder the way to it is made first.
fn show_again(opened: &OwnedFd, path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_err() {
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(opened)?.st_mode);
        if kind.is_dir() {
            std::fs::create_dir_all(path)?;
        } else {
            std::fs::create_dir_all(path.parent().unwrap_or(path))?;
            std::fs::write(path, "")?;
        }
    }
    let source = format!("/proc/self/fd/{}", opened.as_raw_fd());
    Ok(rustix::mount::mount_bind(source.as_str(), path)?)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_covered_twice_and_what_only_sounds_alike_is_not() {
        let hidden = ["/home/u/data", "/var/lib/dunlin", "/var/lib/dunlin/keys", "/tmpfiles"].map(PathBuf::from).to_vec();
        let shelter = Shelter { hidden, ..Shelter::default() };
        let covers: Vec<String> = covers(&shelter).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(covers, ["/home", "/root", "/run", "/tmp", "/tmpfiles", "/var/lib/dunlin", "/var/tmp"]);
        assert!(is_covered(Path::new("/var/lib/dunlin/scratch/1-1"), &shelter));
        assert!(!is_covered(Path::new("/var/lib/dunlin2"), &shelter));
        assert!(!is_covered(Path::new("/usr/share"), &shelter));
    }

    #[test]
    fn only_the_first_process_of_a_namespace_may_signal_all_of_it() {
        assert_ne!(rustix::process::getpid(), rustix::process::Pid::INIT);
        let refused = kernel::signal_namespace(rustix::process::Signal::CONT).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }
}
