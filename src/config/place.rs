//! What the process finds around it, taken once, so that the rest can be tested with other surroundings.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The environment's variables, and who and where we are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) is_root: bool,
    pub(crate) host: String,
    pub(crate) cores: u32,
}

impl Surroundings {
    /// Those of this process. Variables that are not Unicode count as absent.
    pub(crate) fn of_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Surroundings {
            variables: variables.collect(),
            is_root: rustix::process::geteuid().is_root(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
        }
    }

    /// A variable, unless it is empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn below_home(&self, variable: &str, usual: &str) -> Option<PathBuf> {
        let own = self.variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        own.or_else(|| self.variable("HOME").map(|home| PathBuf::from(home).join(usual))).map(|path| path.join("dunlin"))
    }

    /// Where the file is written by default.
    pub(crate) fn file_to_write(&self) -> PathBuf {
        let system = PathBuf::from("/etc/dunlin");
        let folder = if self.is_root { system } else { self.below_home("XDG_CONFIG_HOME", ".config").unwrap_or(system) };
        folder.join("dunlin.toml")
    }

    /// The file that is read if none is named: the user's, else the system's, if there is one.
    pub(super) fn usual_file(&self) -> Option<PathBuf> {
        [self.file_to_write(), PathBuf::from("/etc/dunlin/dunlin.toml")].into_iter().find(|path| path.exists())
    }

    /// The data folder by default.
    pub(super) fn data(&self) -> PathBuf {
        let system = PathBuf::from("/var/lib/dunlin");
        if self.is_root { system } else { self.below_home("XDG_DATA_HOME", ".local/share").unwrap_or(system) }
    }
}
