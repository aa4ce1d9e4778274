//! The work: regular files, each with the digest that the swarm must come to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::exit::Failure;

/// The most files, and the most bytes of one.
const MAX_FILES: usize = 200;
const MAX_BYTES: u64 = 256 << 10;

/// Folders that hold what was made rather than written.
const LEFT_OUT: [&str; 2] = [".git", "target"];

/// How many folders deep is looked.
const MAX_DEPTH: u32 = 32;

/// One file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
    /// SHA-256 in hexadecimal, computed here.
    pub(super) digest: String,
}

/// Reads what was named, or what is below the current folder.
pub(super) fn files(named: &[PathBuf]) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for path in named {
        let failed =
            |error: io::Error| Failure::usage(format!("{} can't be used as input", path.display())).why(error.to_string());
        let kind = fs::metadata(path).map_err(failed)?;
        if kind.is_dir() {
            walk(path, 0, &mut files);
        } else if !kind.is_file() {
            return Err(Failure::usage(format!("{} is neither a file nor a folder", path.display())));
        } else if kind.len() > MAX_BYTES {
            return Err(Failure::usage(format!("{} is too large for the demo", path.display()))
                .why(format!("it is {} bytes; the limit is {MAX_BYTES}", kind.len())));
        } else if files.len() < MAX_FILES {
            files.push(read(path).map_err(failed)?);
        }
    }
    if named.is_empty() {
        walk(Path::new("."), 0, &mut files);
    }
    if files.is_empty() {
        return Err(Failure::usage("there is no file to work on")
            .why(format!("only regular files of at most {} KiB count, outside .git and target", MAX_BYTES >> 10))
            .next("--input PATH with some file or folder"));
    }
    Ok(files)
}

fn read(path: &Path) -> io::Result<File> {
    let bytes = Bytes::from(fs::read(path)?);
    let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(File { path: path.to_owned(), bytes, digest })
}

/// Files first, then folders, each in the order of their names; what can't be read is left out, links are not followed.
fn walk(folder: &Path, depth: u32, files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(|entry| (entry.file_type().is_ok_and(|kind| kind.is_dir()), entry.file_name()));
    for entry in entries {
        if files.len() == MAX_FILES {
            return;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < MAX_DEPTH && !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            walk(&entry.path(), depth + 1, files);
        } else if kind.is_file() && entry.metadata().is_ok_and(|metadata| metadata.len() <= MAX_BYTES) {
            files.extend(read(&entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_regular_files_outside_git_and_target_are_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for inner in ["a", ".git", "target"] {
            fs::create_dir(at(inner)).unwrap();
            fs::write(at(inner).join("x"), inner).unwrap();
        }
        fs::write(at("abc"), "abc").unwrap();
        fs::write(at("large"), vec![0; 256 * 1024 + 1]).unwrap();
        fs::write(at("just"), vec![0; 256 * 1024]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        let files = files(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["abc", "just", "a/x"]);
        // FIPS 180-2, appendix B.1.
        assert_eq!(files[0].digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn at_most_two_hundred_and_never_none() {
        let folder = tempfile::tempdir().unwrap();
        let empty = files(&[folder.path().to_owned()]).err().unwrap();
        assert_eq!(empty.code, 64);
        (0..250).for_each(|number| fs::write(folder.path().join(number.to_string()), "x").unwrap());
        assert_eq!(files(&[folder.path().to_owned()]).unwrap().len(), 200);
        assert_eq!(files(&["/nowhere/x".into()]).err().unwrap().code, 64);
    }
}
