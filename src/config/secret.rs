//! The swarm's shared secret: where it comes from, how it is made and kept. It never appears in logs or messages.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Config;

/// The shortest secret in characters.
const MIN: usize = 16;

/// The longest, so that a wrongly named file is not taken for one.
const MAX: usize = 1024;

/// The swarm's secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

impl Secret {
    /// Takes a text as a secret, without the white space around it.
    pub(crate) fn checked(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.chars().count() {
            MIN..=MAX => Ok(Secret(text.to_owned())),
            // The text itself is not repeated, only its length.
            length => Err(format!("a secret has {MIN} to {MAX} characters, not {length}")),
        }
    }

    /// A fresh one of 256 random bits.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0u8; 32];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Secret(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The secret itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Writes it to a new file that only its owner can read.
    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", self.0)?;
        file.sync_all()
    }
}

/// Where the secret came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretFrom {
    /// Given directly.
    Setting,
    /// Read from this file.
    File(PathBuf),
    /// Made now and stored in this file.
    Made(PathBuf),
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("this node is to join or found a swarm with others, but has no secret")]
    Missing,
    #[error("there is no secret yet in {}", .0.display())]
    NotMade(PathBuf),
    #[error("could not {act} the secret file {}: {source}", path.display())]
    Io { act: &'static str, path: PathBuf, source: io::Error },
    #[error("the secret file {}: {why}", path.display())]
    Bad { path: PathBuf, why: String },
    #[error("the secret file {} can be read by others (mode {mode:04o})", path.display())]
    Open { path: PathBuf, mode: u32 },
}

impl Config {
    /// The secret, if there is one already.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub(crate) fn existing_secret(&self) -> Result<(Secret, SecretFrom), SecretError> {
        if let Some(secret) = &self.secret {
            return Ok((secret.clone(), SecretFrom::Setting));
        }
        let path = self.secret_file.clone().unwrap_or_else(|| self.own_secret_file());
        match read(&path) {
            Err(SecretError::Io { source, path, .. })
                if source.kind() == io::ErrorKind::NotFound && self.secret_file.is_none() =>
            {
                Err(SecretError::NotMade(path))
            }
            secret => Ok((secret?, SecretFrom::File(path))),
        }
    }

    /// The secret; a node that starts a swarm of one makes its own at the first start.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub(crate) fn secret_or_new(&self) -> Result<(Secret, SecretFrom), SecretError> {
        match self.existing_secret() {
            Err(SecretError::NotMade(_)) if self.expect != 1 || !self.peers.is_empty() => Err(SecretError::Missing),
            Err(SecretError::NotMade(path)) => {
                let made = Secret::random().and_then(|secret| secret.store(&path).map(|()| secret));
                let failed = |source| SecretError::Io { act: "write", path: path.clone(), source };
                Ok((made.map_err(failed)?, SecretFrom::Made(path)))
            }
            other => other,
        }
    }

    /// Where a swarm of one keeps the secret it has made.
    pub(crate) fn own_secret_file(&self) -> PathBuf {
        self.data.join("secret")
    }
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let failed = |act| move |source| SecretError::Io { act, path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed("open"))?;
    let mode = file.metadata().map_err(failed("look at"))?.permissions().mode() & 0o7777;
    // Files mounted into containers are often owned by root and readable by a group; only "everybody" is refused.
    if mode & 0o007 != 0 {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX as u64 * 4 + 64).read_to_string(&mut text).map_err(failed("read"))?;
    Secret::checked(&text).map_err(|why| SecretError::Bad { path: path.to_owned(), why })
}
