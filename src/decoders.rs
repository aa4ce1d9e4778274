//! The decoders of what people and clients write, one function each, for the fuzz targets in `fuzz/` and for the tests.
//!
//! Bytes enter; nothing leaves but a panic where there is a bug. Not part of the binary: `fuzz/src/lib.rs` takes this file
//! and the rooms it reads by their paths.

use std::path::Path;

use crate::config::{Secret, Surroundings, load_text_alone, shown};
use crate::json;

/// A configuration file. What can be read can be shown, and never with the secret.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let around = Surroundings { host: "host-1".to_owned(), cores: 4, ..Surroundings::default() };
    let Ok(loaded) = load_text_alone(Path::new("dunlin.toml"), text, &around) else { return };
    let (text, _) = shown(&loaded);
    let hidden = |line: &str| line.starts_with("secret = \"(set, not shown)\"");
    assert_eq!(text.lines().any(hidden), loaded.config.secret.is_some(), "{text}");
}

/// The shared secret, which is the join token, as a file holds it.
pub(crate) fn secret(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(secret) = Secret::checked(text) {
        assert_eq!(secret.reveal(), secret.reveal().trim());
        assert_eq!(Secret::checked(&format!("{}\n", secret.reveal())), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(not shown)");
    }
}

/// Bodies of HTTP requests in JSON.
pub(crate) fn body(bytes: &[u8]) {
    let _ = json::tasks_from_json(bytes);
    let _ = json::selector_from_json(bytes);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    type Decoder = fn(&[u8]);
    const TARGETS: [(&str, Decoder); 3] = [("config", config), ("secret", secret), ("body", body)];

    #[test]
    fn every_file_of_the_fuzz_corpora_is_read_without_a_panic() {
        for (name, target) in TARGETS {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let mut fed = 0;
            for file in files {
                target(&fs::read(file.unwrap().path()).unwrap());
                fed += 1;
            }
            assert!(fed > 0, "{} is empty", folder.display());
        }
    }
}
