//! A task's standard input, read here and sent along: bounded, because it travels through the journal.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::context::tell;
use crate::exit::Failure;

/// The most a task's standard input may hold in bytes. (A submission of several tasks may hold 2 MiB.)
pub(super) const MAX_STDIN: u64 = 1 << 20;

/// When somebody is told that a command waits for its input's end.
const HINT_AFTER: Duration = Duration::from_secs(2);

/// The most a file of lines, one task each, may hold in bytes: it stays here and travels in pieces.
const MAX_LINES: u64 = 64 << 20;

/// A named file, or `-` for our own standard input.
pub(super) async fn named(path: &Path) -> Result<Bytes, Failure> {
    within(path, MAX_STDIN).await
}

/// A file whose lines become tasks, or `-`.
pub(super) async fn lines_of(path: &Path) -> Result<Bytes, Failure> {
    within(path, MAX_LINES).await
}

async fn within(path: &Path, limit: u64) -> Result<Bytes, Failure> {
    if path == Path::new("-") {
        return own(limit).await;
    }
    let shown = path.display().to_string();
    let failed = |error: io::Error| Failure::error(format!("could not read {shown}")).why(error.to_string());
    let file = File::open(path).map_err(failed)?;
    bounded(file, &shown, limit)
}

/// What is piped into this command; nothing if that is a terminal.
pub(super) async fn piped() -> Result<Bytes, Failure> {
    if io::stdin().is_terminal() { Ok(Bytes::new()) } else { own(MAX_STDIN).await }
}

async fn own(limit: u64) -> Result<Bytes, Failure> {
    let mut reading = tokio::task::spawn_blocking(move || bounded(io::stdin().lock(), "standard input", limit));
    let read = match tokio::time::timeout(HINT_AFTER, &mut reading).await {
        Ok(read) => read,
        Err(_) => {
            tell("dunlin: waiting for the end of standard input (-n runs the command without it)");
            reading.await
        }
    };
    read.map_err(|error| Failure::error("could not read standard input").why(error.to_string()))?
}

fn bounded(source: impl Read, name: &str, limit: u64) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too much" from "just enough" without reading all of it.
    source
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::error(format!("could not read {name}")).why(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::usage(format!("{name} is too large to travel with a task"))
            .why(format!("the limit is {} MiB: it is written to the disks of a majority of nodes", limit >> 20))
            .next("put the data where every node can read it and pass its path or address to the command"));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_taken_up_to_the_limit_and_refused_one_byte_above() {
        let exact = usize::try_from(MAX_STDIN).unwrap();
        assert_eq!(bounded(io::repeat(7).take(MAX_STDIN), "x", MAX_STDIN).unwrap().len(), exact);
        let refused = bounded(io::repeat(7), "standard input", MAX_STDIN).unwrap_err();
        assert_eq!(refused.code, 64);
        assert!(refused.to_string().contains("the limit is 1 MiB"), "{refused}");
    }

    #[tokio::test]
    async fn a_missing_file_is_told_by_name() {
        let refused = named(Path::new("/nowhere/x")).await.unwrap_err();
        assert!(refused.to_string().starts_with("dunlin: could not read /nowhere/x"));
    }
}
