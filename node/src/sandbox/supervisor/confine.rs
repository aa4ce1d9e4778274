//! The Landlock ruleset of a launch: an allow-list of what a task may read, and its scratch folder to write in.
//!
//! In comes what a task may reach, out comes a descriptor for each launch with which its target restricts itself. What does
//! not depend on the launch is looked up and opened once. Landlock can't take away again what it has granted, so a granted
//! folder that has something hidden below it is granted entry by entry, and never `/`.
//!
//! Source: `Documentation/userspace-api/landlock.rst` of Linux.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{Mode, OFlags};

use super::surroundings::SHARED_MEMORY;
use crate::sandbox::program::THIS_PROGRAM;
use crate::sandbox::shelter::{Birth, Shelter};
use crate::task::Network;

/// What programs are made of.
const READABLE: [&str; 10] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/sys"];
/// Devices that hold nothing. A terminal is not among them.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Folders taken apart around what is hidden, one level each; what is deeper is not granted at all.
const MAX_DEPTH: usize = 8;

/// Paths held open for the next launches; further ones are opened for each.
const MAX_OPEN: usize = 128;

/// What every launch on one ground is granted.
#[derive(Debug)]
pub(in crate::sandbox) struct Foundation {
    abi: ABI,
    /// Whether any TCP port may be used.
    tcp: bool,
    granted: Vec<Granted>,
}

#[derive(Debug)]
struct Granted {
    path: PathBuf,
    opened: Option<OwnedFd>,
    access: BitFlags<AccessFs>,
}

impl Foundation {
    /// Looks up all that there is. A path that does not exist is passed over.
    pub(in crate::sandbox) fn lay(shelter: &Shelter) -> Foundation {
        let abi = known(shelter.landlock);
        let mut foundation = Foundation { abi, tcp: shelter.network != Network::None, granted: Vec::new() };
        for device in DEVICES {
            let access = AccessFs::ReadFile | AccessFs::WriteFile | (AccessFs::from_file(abi) & AccessFs::IoctlDev);
            foundation.grant(Path::new(device), access);
        }
        let asked = shelter.read.iter().map(PathBuf::as_path);
        foundation.grant_readable(READABLE.iter().map(Path::new).chain(asked), &shelter.hidden);
        if shelter.birth != Birth::Fork {
            // Mounted for this supervisor's tasks alone.
            foundation.grant(Path::new(SHARED_MEMORY), AccessFs::from_all(abi));
        }
        // A handler is this program again, wherever it lies.
        foundation.grant(Path::new(THIS_PROGRAM), AccessFs::ReadFile | AccessFs::Execute);
        foundation
    }

    /// Links are followed first: what is granted and what is hidden are compared by where they really are. Of two names
    /// for one folder (`/bin`, and `/usr/bin` in `/usr`) the second adds nothing.
    fn grant_readable<'a>(&mut self, paths: impl Iterator<Item = &'a Path>, hidden: &[PathBuf]) {
        let mut done: Vec<PathBuf> = Vec::new();
        for path in paths.filter_map(|path| std::fs::canonicalize(path).ok()) {
            if !done.iter().any(|done| path.starts_with(done)) {
                self.grant_around(&path, hidden, MAX_DEPTH);
                done.push(path);
            }
        }
    }

    fn grant(&mut self, path: &Path, access: BitFlags<AccessFs>) {
        let Some(opened) = open(path) else { return };
        let is_folder = rustix::fs::fstat(&opened).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
        // Rights that only folders have can't be granted on a file.
        let of_files = AccessFs::Execute | AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
        let access = if is_folder { access } else { access & of_files };
        let opened = Some(opened).filter(|_| self.granted.len() < MAX_OPEN);
        self.granted.push(Granted { path: path.to_owned(), opened, access });
    }

    /// Grants `path`, or if something below it is hidden, everything in it beside that. A link in it is passed over: what it
    /// leads to is granted where it is, or not at all.
    fn grant_around(&mut self, path: &Path, hidden: &[PathBuf], depth: usize) {
        if hidden.iter().any(|hidden| path.starts_with(hidden)) {
            return;
        }
        if !hidden.iter().any(|hidden| hidden.starts_with(path)) {
            return self.grant(path, AccessFs::from_read(self.abi));
        }
        if depth > 0 {
            let is_link = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| !is_link(entry)) {
                self.grant_around(&entry.path(), hidden, depth - 1);
            }
        }
    }

    /// Makes the ruleset of one launch, up to what only that launch is granted.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub(in crate::sandbox) fn begin(&self) -> io::Result<Begun> {
        let abi = self.abi;
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(abi))
            .map_err(refused)?;
        if !self.tcp && !AccessNet::from_all(abi).is_empty() {
            ruleset = ruleset.handle_access(AccessNet::from_all(abi)).map_err(refused)?;
        }
        if !Scope::from_all(abi).is_empty() {
            ruleset = ruleset.scope(Scope::from_all(abi)).map_err(refused)?;
        }
        let mut ruleset = ruleset.create().map_err(refused)?;
        for Granted { path, opened, access } in &self.granted {
            ruleset = match opened {
                Some(opened) => allow(ruleset, opened.as_fd(), *access)?,
                None => match open(path) {
                    Some(opened) => allow(ruleset, opened.as_fd(), *access)?,
                    None => ruleset,
                },
            };
        }
        Ok(Begun { abi, ruleset })
    }
}

/// A ruleset that lacks what may be written in. It serves one scratch folder only: a rule can't be taken back.
#[derive(Debug)]
pub(in crate::sandbox) struct Begun {
    abi: ABI,
    ruleset: RulesetCreated,
}

impl Begun {
    /// Adds the folders to write in.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub(in crate::sandbox) fn finish(self, writable: &[OwnedFd]) -> io::Result<OwnedFd> {
        let Begun { abi, mut ruleset } = self;
        for folder in writable {
            ruleset = allow(ruleset, folder.as_fd(), AccessFs::from_all(abi))?;
        }
        Option::<OwnedFd>::from(ruleset).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))
    }
}

fn open(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Of a kernel newer than the library, what the library knows.
fn known(abi: u32) -> ABI {
    ABI::from(i32::try_from(abi).unwrap_or(i32::MAX))
}

fn refused(error: RulesetError) -> io::Error {
    io::Error::other(error.to_string())
}

fn allow(ruleset: RulesetCreated, path: BorrowedFd<'_>, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
    ruleset.add_rule(PathBeneath::new(path, access)).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(paths: &[&Path], hidden: &[PathBuf]) -> Vec<PathBuf> {
        let mut foundation = Foundation { abi: ABI::V1, tcp: false, granted: Vec::new() };
        foundation.grant_readable(paths.iter().copied(), hidden);
        foundation.granted.into_iter().map(|granted| granted.path).collect()
    }

    #[test]
    fn a_link_to_a_folder_does_not_lead_around_what_is_hidden_in_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (usr, lib) = (root.join("usr"), root.join("lib"));
        std::fs::create_dir_all(usr.join("lib/dunlin")).unwrap();
        std::fs::create_dir_all(usr.join("lib/python")).unwrap();
        std::os::unix::fs::symlink("usr/lib", &lib).unwrap();
        assert_eq!(granted(&[&usr, &lib], &[]), std::slice::from_ref(&usr), "one rule is enough");
        let hidden = [usr.join("lib/dunlin")];
        assert_eq!(granted(&[&usr, &lib], &hidden), [usr.join("lib/python")]);
        assert_eq!(granted(&[&lib], &hidden), [usr.join("lib/python")]);
        // As some systems have it: `/usr/lib64` leads to `/usr/lib`.
        std::os::unix::fs::symlink("lib", usr.join("lib64")).unwrap();
        assert_eq!(granted(&[&usr, &lib], &hidden), [usr.join("lib/python")]);
        assert_eq!(granted(&[&root.join("nothing")], &[]), Vec::<PathBuf>::new());
    }
}
