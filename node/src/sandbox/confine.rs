//! The Landlock ruleset of a launch: an allow-list of what a task may read, and its scratch folder to write in.
//!
//! In come paths, out comes a descriptor with which the target restricts itself. Landlock can't take away again what it
//! has granted, so a granted folder that has something hidden below it is granted entry by entry, and never `/`.
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

use super::handlers::THIS_PROGRAM;

/// What programs are made of.
const READABLE: [&str; 10] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/sys"];
/// Devices that hold nothing. A terminal is not among them.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Folders taken apart around what is hidden, one level each; what is deeper is not granted at all.
const MAX_DEPTH: usize = 8;

/// What one launch may reach.
pub(super) struct Grants<'a> {
    /// The version of the kernel's interface.
    pub(super) abi: u32,
    /// Read and write.
    pub(super) writable: &'a [BorrowedFd<'a>],
    /// Read, beside what programs are made of.
    pub(super) read: &'a [PathBuf],
    /// Neither, wherever it lies.
    pub(super) hidden: &'a [PathBuf],
    /// Whether any TCP port may be used.
    pub(super) tcp: bool,
}

/// Makes the ruleset.
///
/// # Errors
/// If the kernel refuses it; a granted path that does not exist is passed over.
pub(super) fn ruleset(grants: &Grants<'_>) -> io::Result<OwnedFd> {
    let abi = known(grants.abi);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .map_err(refused)?;
    if !grants.tcp && !AccessNet::from_all(abi).is_empty() {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi)).map_err(refused)?;
    }
    if !Scope::from_all(abi).is_empty() {
        ruleset = ruleset.scope(Scope::from_all(abi)).map_err(refused)?;
    }
    let mut ruleset = ruleset.create().map_err(refused)?;
    for folder in grants.writable {
        ruleset = allow(ruleset, *folder, AccessFs::from_all(abi))?;
    }
    for device in DEVICES {
        let access = AccessFs::ReadFile | AccessFs::WriteFile | (AccessFs::from_file(abi) & AccessFs::IoctlDev);
        ruleset = allow_path(ruleset, Path::new(device), access)?;
    }
    let system = READABLE.map(PathBuf::from);
    for path in system.iter().chain(grants.read) {
        ruleset = allow_around(ruleset, path, grants.hidden, AccessFs::from_read(abi), MAX_DEPTH)?;
    }
    // A handler is this program again, wherever it lies.
    ruleset = allow_path(ruleset, Path::new(THIS_PROGRAM), AccessFs::ReadFile | AccessFs::Execute)?;
    Option::<OwnedFd>::from(ruleset).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))
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

fn allow_path(ruleset: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
    let Ok(opened) = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { return Ok(ruleset) };
    let is_folder = rustix::fs::fstat(&opened).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
    // Rights that only folders have can't be granted on a file.
    let access = if is_folder {
        access
    } else {
        access & (AccessFs::Execute | AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev)
    };
    allow(ruleset, opened.as_fd(), access)
}

/// Grants `path`, or if something below it is hidden, everything in it beside that.
fn allow_around(
    mut ruleset: RulesetCreated,
    path: &Path,
    hidden: &[PathBuf],
    access: BitFlags<AccessFs>,
    depth: usize,
) -> io::Result<RulesetCreated> {
    if hidden.iter().any(|hidden| path.starts_with(hidden)) {
        return Ok(ruleset);
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(path)) {
        return allow_path(ruleset, path, access);
    }
    if depth > 0 {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            ruleset = allow_around(ruleset, &entry.path(), hidden, access, depth - 1)?;
        }
    }
    Ok(ruleset)
}
