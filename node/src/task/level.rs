//! How much a node holds against its tasks, and what network a task gets: two words that people type and nodes compare.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a node's sandbox holds against a task. Ordered: a higher level holds everything that a lower one does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Own session, resource limits and the end of the whole tree; the file system and the network are open.
    #[default]
    ProcessOnly,
    /// Secrets of the node can't be read, writes stay in the scratch folder, and the network is what was asked for.
    Partial,
    /// Also: the node can't be killed or signalled, and nothing of the task outlives it even if the node is killed.
    Full,
}

impl Level {
    /// Every level, the weakest first.
    pub const ALL: [Level; 3] = [Level::ProcessOnly, Level::Partial, Level::Full];

    /// The word for it in files and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::ProcessOnly => "process-only",
            Level::Partial => "partial",
            Level::Full => "full",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Level::ALL.into_iter().find(|level| level.as_str() == word);
        found.ok_or_else(|| UnknownWord { what: "level", word: word.to_owned(), known: "process-only, partial, full" })
    }
}

/// Which network a task gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// No socket of any network.
    None,
    /// The network of the node's machine.
    #[default]
    Host,
    /// A network of its own with a loopback interface and nothing else.
    Isolated,
}

impl Network {
    /// Every kind.
    pub const ALL: [Network; 3] = [Network::None, Network::Host, Network::Isolated];

    /// The word for it in files and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Network::None => "none",
            Network::Host => "host",
            Network::Isolated => "isolated",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Network {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Network::ALL.into_iter().find(|network| network.as_str() == word);
        found.ok_or_else(|| UnknownWord { what: "network", word: word.to_owned(), known: "none, host, isolated" })
    }
}

/// A word that stands for nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no {what}: it is one of {known}")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
    known: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_what_they_stand_for() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(serde_json::to_string(&level).unwrap(), format!("\"{level}\""));
        }
        for network in Network::ALL {
            assert_eq!(network.to_string().parse(), Ok(network));
            assert_eq!(serde_json::to_string(&network).unwrap(), format!("\"{network}\""));
        }
        let wrong = "Full".parse::<Level>().unwrap_err();
        assert_eq!(wrong.to_string(), "`Full` is no level: it is one of process-only, partial, full");
    }

    #[test]
    fn levels_are_ordered() {
        assert!(Level::ProcessOnly < Level::Partial && Level::Partial < Level::Full);
    }
}
