//! Every setting there is, once.

/// What a setting's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
    List,
    Pods,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name in the file; a dot stands for a table.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it is for, a sentence a line.
    pub(super) doc: &'static [&'static str],
    /// The default as the template shows it (TOML).
    pub(super) example: &'static str,
}

impl Key {
    /// The environment's name for it: `tasks.timeout` is `DUNLIN_TASKS_TIMEOUT`.
    pub(super) fn variable(&self) -> String {
        format!("DUNLIN_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

const fn key(name: &'static str, kind: Kind, example: &'static str, doc: &'static [&'static str]) -> Key {
    Key { name, kind, doc, example }
}

/// All settings, in the order of the template.
pub(super) const KEYS: &[Key] = &[
    key("name", Kind::Text, "\"(the host's name)\"", &["What this node calls itself in lists and messages."]),
    key(
        "data",
        Kind::Text,
        "\"/var/lib/dunlin\"",
        &[
            "The node's folder: its key, its journal, its socket. Wiping it makes a new node.",
            "Default: /var/lib/dunlin for root, else ~/.local/share/dunlin.",
        ],
    ),
    key("listen", Kind::Text, "\"0.0.0.0:7440\"", &["Where it listens for other nodes (TCP); port 0 means any free one."]),
    key(
        "peers",
        Kind::List,
        "[]",
        &["Nodes to try, as \"host:port\"; a name may resolve to several addresses. One that answers is enough."],
    ),
    key(
        "secret",
        Kind::Text,
        "\"\"",
        &[
            "The swarm's shared secret, at least 16 characters. Better kept in a file: see secret_file.",
            "If neither is set: the file `secret` in the data folder, which a swarm of one makes at its first start.",
        ],
    ),
    key("secret_file", Kind::Text, "\"/etc/dunlin/secret\"", &["A file that holds the secret, readable by its owner only."]),
    key(
        "expect",
        Kind::Number,
        "1",
        &[
            "How many nodes found the swarm together, the same number on each of them.",
            "1: found a swarm of one at once, which others join; or join the one that the peers belong to.",
            "0: only join a swarm, found by its peers or by multicast; never found one.",
        ],
    ),
    key("rank", Kind::Number, "100", &["Who leads: among nodes with equal journals the highest rank. 0 to 1000."]),
    key("mdns", Kind::Bool, "true", &["Whether to look for nodes with the same secret by multicast on the local network."]),
    key("socket", Kind::Text, "\"(data)/dunlin.sock\"", &["Where its API listens; only its owner can use it."]),
    key(
        "log",
        Kind::Text,
        "\"info\"",
        &["What is logged: error, warn, info, debug, trace, or per module as in \"info,dunlin_node::mesh=debug\"."],
    ),
    key("tasks.timeout", Kind::Text, "\"1h\"", &["How long an attempt may run if its task does not say; \"none\" is no limit."]),
    key("tasks.grace", Kind::Text, "\"2s\"", &["Between SIGTERM and SIGKILL."]),
    key(
        "tasks.stdout",
        Kind::Text,
        "\"256KiB\"",
        &["How much of a task's standard output is kept (the end of it), at most 512KiB."],
    ),
    key("tasks.stderr", Kind::Text, "\"256KiB\"", &["The same for standard error."]),
    key("tasks.memory", Kind::Text, "\"none\"", &["Memory of a task's whole process tree."]),
    key("tasks.processes", Kind::Text, "\"none\"", &["Processes and threads of a task at once."]),
    key(
        "tasks.scratch",
        Kind::Text,
        "\"none\"",
        &["Disk that a task's scratch folder may take, as `du` counts it; looked at about every 50 ms."],
    ),
    key("tasks.output", Kind::Text, "\"none\"", &["How much a task may write to its two outputs together, kept or not."]),
    key("tasks.open_files", Kind::Number, "1024", &["Open files of each of a task's processes."]),
    key(
        "sandbox.level",
        Kind::Text,
        "\"full\"",
        &[
            "The most that is used of what this machine holds against tasks: full, partial or process-only.",
            "With process-only a task can read and write whatever the node's user can: for commands that work on this machine's",
            "own files, from people whom you trust as you trust that user. `dunlin doctor` says what the machine holds.",
        ],
    ),
    key(
        "sandbox.require",
        Kind::Text,
        "\"process-only\"",
        &[
            "The least that the machine must hold. Below it the node starts, says what is missing, votes and leads, and takes no",
            "tasks.",
        ],
    ),
    key(
        "sandbox.read",
        Kind::List,
        "[]",
        &["Paths outside of /usr, /etc, /opt and the like that tasks may ask to read (`--read`), and what lies below."],
    ),
    key("sandbox.hide", Kind::List, "[]", &["Paths that no task may see, beside this node's own folder."]),
    key(
        "sandbox.cgroups",
        Kind::Bool,
        "false",
        &[
            "Whether the kernel itself counts what tasks use. The node must have a cgroup (version 2) of its own for that: in a",
            "service of systemd with Delegate=yes. Otherwise memory is added up every 50 ms.",
        ],
    ),
    key(
        "pods",
        Kind::Pods,
        "[[pods]]\n# groups = [\"default\"]\n# slots = 4",
        &[
            "What this node runs: each pod takes tasks of its groups, as many at once as it has slots.",
            "With one slot: strictly one task at a time over all its groups. Default: group `default`, a slot for each core.",
        ],
    ),
];

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known name nearest to a misspelt one, if any is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let near = |candidate: &&str| distance(&name, candidate) <= 1 + candidate.len() / 4;
    known.filter(near).min_by_key(|candidate| distance(&name, candidate))
}

/// How many letters must be changed, added, left out or swapped with their neighbour (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().take(40).collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for row in 1..=from.len() {
        let mut now = vec![row];
        for column in 1..=to.len() {
            let same = from[row - 1] == to[column - 1];
            let mut best = rows[row - 1][column - 1] + usize::from(!same);
            best = best.min(rows[row - 1][column] + 1).min(now[column - 1] + 1);
            if row > 1 && column > 1 && from[row - 1] == to[column - 2] && from[row - 2] == to[column - 1] {
                best = best.min(rows[row - 2][column - 2] + 1);
            }
            now.push(best);
        }
        rows.push(now);
    }
    rows[from.len()][to.len()]
}
