//! `config init|show|validate`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Global;
use super::context::print;
use crate::config::{self, Surroundings};
use crate::exit::{Failure, code};
use crate::render::Format;

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Write a file with every setting, each line commented
    Init {
        /// Where (default: ~/.config/dunlin/dunlin.toml, for root /etc/dunlin/dunlin.toml)
        file: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
        /// Only print it
        #[arg(long, conflicts_with_all = ["file", "force"])]
        print: bool,
    },
    /// The settings in force and where each comes from
    Show,
    /// Check a file
    Validate {
        /// Which
        file: PathBuf,
    },
}

pub(super) fn config(global: &Global, args: &ConfigArgs) -> Result<u8, Failure> {
    match &args.verb {
        ConfigVerb::Init { print: true, .. } => print(&config::template())?,
        ConfigVerb::Init { file, force, .. } => init(global, file.clone(), *force)?,
        ConfigVerb::Show => {
            let (text, json) = config::shown(&global.load(Vec::new())?);
            match global.format() {
                Format::Json => print(&format!("{json}\n"))?,
                Format::Text | Format::Quiet => print(&text)?,
            }
        }
        ConfigVerb::Validate { file } => {
            config::load_file_alone(file, &Surroundings::of_process())?;
            match global.format() {
                Format::Text => print(&format!("{} is valid\n", file.display()))?,
                Format::Json => print(&format!("{}\n", serde_json::json!({ "valid": true })))?,
                Format::Quiet => {}
            }
        }
    }
    Ok(code::OK)
}

fn init(global: &Global, file: Option<PathBuf>, force: bool) -> Result<(), Failure> {
    let path = file.or_else(|| global.config.clone()).unwrap_or_else(|| Surroundings::of_process().file_to_write());
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::error(format!("{} is already there", path.display()))
            .next("--force replaces it, --print only shows what would be written"),
        io::ErrorKind::PermissionDenied => {
            Failure::new(code::NOT_AUTHORISED, format!("{} can't be written", path.display())).next("name another FILE")
        }
        _ => Failure::error(format!("{} can't be written", path.display())).why(error.to_string()),
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    // It may come to hold the secret, so nobody else may read it from the beginning.
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(&path).and_then(|mut file| file.write_all(config::template().as_bytes())).map_err(failed)?;
    print(&format!("{}\n", path.display()))
}
