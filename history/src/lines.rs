//! Histories as text: one JSON object a line. Empty lines are passed over.

use std::io::{self, BufRead};

use crate::checker::Checker;
use crate::record::Record;

/// The longest line that is read, in bytes: one entry of a journal with its thousand facts fits many times.
const MAX_LINE: u64 = 16 << 20;

/// Why a history can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A line is not a record.
    #[error("line {line} is not a record of a history: {why}")]
    Line {
        /// Which, counted from 1.
        line: u64,
        /// What the reader of JSON says.
        why: String,
    },
    /// A line has no end within bounds.
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    TooLong {
        /// Which, counted from 1.
        line: u64,
    },
    /// The input itself fails.
    #[error("line {line} can't be read")]
    Io {
        /// Which, counted from 1.
        line: u64,
        /// The operating system's words.
        #[source]
        source: io::Error,
    },
}

impl Checker {
    /// Takes every line of a text.
    ///
    /// # Errors
    /// At the first line that is no record; what was taken before it stays taken.
    pub fn read(&mut self, mut text: impl BufRead) -> Result<(), Unreadable> {
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let read = io::Read::take(&mut text, MAX_LINE).read_until(b'\n', &mut bytes);
            match read {
                Ok(0) => break,
                Ok(length) if length as u64 == MAX_LINE && bytes.last() != Some(&b'\n') => {
                    return Err(Unreadable::TooLong { line });
                }
                Ok(_) => {}
                Err(source) => return Err(Unreadable::Io { line, source }),
            }
            if bytes.trim_ascii().is_empty() {
                self.pass_over();
                continue;
            }
            let record: Record =
                serde_json::from_slice(&bytes).map_err(|error| Unreadable::Line { line, why: error.to_string() })?;
            self.take(&record);
        }
        Ok(())
    }
}
