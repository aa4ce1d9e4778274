//! The law of the house, read from the page that explains it: `docs/architecture.md` says which room may import which,
//! and this test holds every source file to it, so that the page and the code can't part.
//!
//! Enters: the tree's text. Leaves: a list of breaches, each with its file, its line and the rule. Nothing is compiled
//! here and no macro is expanded: a reader's view, with comments and strings taken out first. What clippy already
//! checks (length of functions, `dbg!`, `unwrap`) is left to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use code::{code_of, house_names, is_word, line_of, without_tests, words};

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/links.rs"]
mod links;

/// Lines that a file may have without its tests.
const MAX_LINES: usize = 500;
/// What is built, fetched, found by a fuzzer, or somebody else's text.
const NOT_READ: [&str; 8] =
    ["target", ".git", "Cargo.lock", "LICENSE", "fuzz/target", "fuzz/Cargo.lock", "fuzz/corpus", "fuzz/artifacts"];
/// Names of rooms that say nothing about what is in them.
const EMPTY_NAMES: [&str; 6] = ["common", "util", "utils", "helper", "helpers", "misc"];
/// Marks of unfinished work, cut in two here so that this file passes its own rule.
const UNFINISHED: [&str; 7] = [
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("<<<<", "<<<"),
    concat!(">>>>", ">>>"),
    concat!("lorem", " ipsum"),
];
/// The only hosts that a page or a comment may point to: a link is a promise that somebody keeps.
const HOSTS: [&str; 16] = [
    "rustup.rs",
    "github.com/dunlin-swarm",
    "keepachangelog.com",
    "semver.org",
    "www.apache.org",
    "www.w3.org",
    "www.rfc-editor.org",
    "raft.github.io",
    "docs.rs",
    "doc.rust-lang.org",
    "man7.org",
    "docs.kernel.org",
    "localhost",
    "127.0.0.1",
    "example.org",
    "example.com",
];
/// Who alone may name a crate, or write a keyword: (the word, the folder, the reason).
const OWNERS: [(&str, &str, &str); 6] = [
    ("libp2p", "node/src/mesh", "nobody but mesh names libp2p"),
    ("libp2p_stream", "node/src/mesh", "nobody but mesh names libp2p"),
    ("libp2p_swarm_test", "node/src/mesh", "nobody but mesh names libp2p"),
    ("openraft", "node/src/journal", "nobody but journal names openraft"),
    ("redb", "node/src/journal", "nobody but journal names redb"),
    ("unsafe", "node/src/sandbox/kernel", "nobody but the sandbox's kernel calls is unsafe"),
];

/// One breach, ready to be read.
fn breach(file: &str, line: usize, rule: &str) -> String {
    format!("{file}:{line}: {rule}")
}

// ---- the rules ------------------------------------------------------------------------------------------------------

/// What each room may import; `None` is everything.
type Rooms = BTreeMap<String, Option<BTreeSet<String>>>;

/// Reads the table headed `| room | may import |`.
fn rooms_of(page: &str) -> Rooms {
    let mut lines = page.lines().skip_while(|l| !l.starts_with("| room | may import |")).skip(2);
    let mut rooms = Rooms::new();
    for row in lines.by_ref().take_while(|l| l.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let may = match cells[2] {
            "everything" => None,
            list => Some(list.split('`').skip(1).step_by(2).map(str::to_owned).collect()),
        };
        rooms.insert(cells[1].trim_matches('`').to_owned(), may);
    }
    rooms
}

/// The room that a file of `node/src` belongs to; `None` for the crate's own root.
fn room_of(file: &str) -> Option<&str> {
    let first = file.strip_prefix("node/src/")?.split('/').next()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (room != "lib").then_some(room)
}

/// Whether a file is compiled for tests only: a room's tests may lean on any other room.
fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/") || file.starts_with("tests/")
}

fn import_breaches(rooms: &Rooms, file: &str, code: &str) -> Vec<String> {
    let Some(room) = room_of(file).filter(|_| !is_test(file)) else { return Vec::new() };
    let Some(may) = rooms.get(room) else {
        return vec![breach(file, 1, &format!("room `{room}` is not in the table of docs/architecture.md"))];
    };
    let Some(may) = may else { return Vec::new() };
    house_names(code)
        .into_iter()
        .filter(|(_, name)| name != room && !may.contains(name))
        .map(|(line, name)| {
            let allowed = if may.is_empty() { "nothing".to_owned() } else { Vec::from_iter(may.clone()).join(", ") };
            breach(file, line, &format!("room `{room}` imports `{name}`; docs/architecture.md lets it import {allowed}"))
        })
        .chain(climbing(rooms, file, room, code))
        .collect()
}

/// `super::other_room` would get round the table: other rooms are named from the crate's root.
fn climbing(rooms: &Rooms, file: &str, room: &str, code: &str) -> Vec<String> {
    let found: Vec<(usize, &str)> = words(code).collect();
    found
        .windows(2)
        .filter(|pair| pair[0].1 == "super" && pair[1].1 != room && rooms.contains_key(pair[1].1))
        .filter(|pair| code[pair[0].0 + 5..pair[1].0].trim() == "::")
        .filter(|pair| {
            !code.contains(&format!("mod {};", pair[1].1))
                && !Path::new(file).with_file_name(format!("{}.rs", pair[1].1)).exists()
        })
        .map(|pair| {
            breach(file, line_of(code, pair[0].0), &format!("name the room `{}` as `crate::{0}`, not by `super`", pair[1].1))
        })
        .collect()
}

fn owner_breaches(file: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        let word = if word == "unsafe_code" { "unsafe" } else { word };
        for (owned, folder, rule) in OWNERS {
            // What redb alone can do is a limit that the benchmark measures beside the swarm.
            let limit = owned == "redb" && file == "node/examples/bench/limits.rs";
            if word == owned && !limit && !file.starts_with(&format!("{folder}/")) {
                found.push(breach(file, line_of(code, at), rule));
            }
        }
        let judges = is_test(file) || ["history/", "node/examples/", "node/src/sim"].iter().any(|place| file.starts_with(place));
        if word == "dunlin_history" && !judges {
            found.push(breach(
                file,
                line_of(code, at),
                "the history checker judges from outside: only tests and simulators name it",
            ));
        }
        if word == "dunlin_election" && (file.starts_with("src/") || file.starts_with("tests/")) {
            found.push(breach(file, line_of(code, at), "the binary talks to dunlin_node's public face only"));
        }
        if (word == concat!("to", "do") || word == "unimplemented") && code[at + word.len()..].starts_with('!') {
            found.push(breach(file, line_of(code, at), "nothing unfinished is committed"));
        }
    }
    found
}

/// The election crate is pure: no std, no other crate, outside its simulator and tests.
fn election_breaches(file: &str, code: &str) -> Vec<String> {
    let in_core = file.starts_with("election/src/") && !file.starts_with("election/src/sim") && !is_test(file);
    if !in_core {
        return Vec::new();
    }
    let core = without_tests(code, true);
    words(&core)
        .filter(|(at, w)| *w == "std" && (core[at + 3..].starts_with("::") || core[..*at].trim_end().ends_with("crate")))
        .map(|(at, _)| breach(file, line_of(&core, at), "election names no std outside its simulator and tests"))
        .collect()
}

fn shape_breaches(file: &str, text: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let opening = text.lines().find(|l| !l.is_empty() && !l.starts_with("#!")).unwrap_or_default();
    if opening.strip_prefix("//!").is_none_or(|said| said.trim().is_empty()) {
        found.push(breach(file, 1, "every file opens with `//!`: what it is, what enters, what leaves"));
    }
    let blank = |s: &str| s.lines().filter(|l| l.trim().is_empty()).count();
    let only_tests = blank(&without_tests(code, false)) - blank(code);
    let lines = text.lines().count() - only_tests;
    if !is_test(file) && lines > MAX_LINES {
        found.push(breach(file, lines, &format!("{lines} lines without tests; the most is {MAX_LINES}")));
    }
    found
}

fn name_breaches(file: &str) -> Vec<String> {
    let parts = file.split('/').map(|part| part.split('.').next().unwrap_or(part));
    parts
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| breach(file, 1, &format!("`{part}` says nothing about what is in it")))
        .collect()
}

fn word_breaches(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let unfinished = UNFINISHED.iter().find(|mark| {
            line.match_indices(**mark).any(|(i, m)| !line[..i].ends_with(is_word) && !line[i + m.len()..].starts_with(is_word))
        });
        found.extend(unfinished.map(|mark| breach(file, n + 1, &format!("`{mark}`: finish it or write an issue"))));
        for (i, _) in line.match_indices("://") {
            let scheme = line[..i].ends_with("http") || line[..i].ends_with("https");
            let host = &line[i + 3..];
            if scheme && host.starts_with(is_word) && !HOSTS.iter().any(|h| host.starts_with(h)) {
                found.push(breach(file, n + 1, "a link to a host that is not in the list of tests/tidy.rs"));
            }
        }
    }
    found
}

/// `cargo test --workspace` passes silently over a test whose features are off.
fn manifest_breaches(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut section = "";
    for (n, line) in text.lines().enumerate() {
        section = if line.starts_with('[') { line } else { section };
        if section == "[[test]]" && line.starts_with("required-features") {
            found.push(breach(file, n + 1, "a test behind a feature is skipped in silence by the test command"));
        }
        if file == "election/Cargo.toml" && section.contains("dependencies") && !section.contains("dev-") && line.contains('=') {
            found.push(breach(file, n + 1, "election depends on nothing"));
        }
        if file == "history/Cargo.toml" && section.contains("dependencies") && line.starts_with("dunlin") {
            found.push(breach(file, n + 1, "history judges the other crates and depends on none of them"));
        }
    }
    found
}

/// Dependencies of the workspace that the decision record gives no reason for.
fn unexplained_dependencies(manifest: &str, record: &str) -> Vec<String> {
    let lines = manifest.lines().enumerate().skip_while(|(_, l)| *l != "[workspace.dependencies]").skip(1);
    lines
        .take_while(|(_, l)| !l.starts_with('['))
        .filter_map(|(n, l)| Some((n, l.split_once([' ', '='])?.0)))
        .filter(|(_, name)| !name.starts_with("dunlin-") && !record.contains(&format!("`{name}`")))
        .map(|(n, name)| {
            breach("Cargo.toml", n + 1, &format!("docs/decisions/0011-dependencies.md gives no reason for `{name}`"))
        })
        .collect()
}

/// Decision records that their index does not link.
fn unlisted_decisions(files: &BTreeMap<String, String>) -> Vec<String> {
    let folder = "docs/decisions/";
    let index = files.get(&format!("{folder}README.md")).map_or("", String::as_str);
    files
        .keys()
        .filter_map(|file| Some((file, file.strip_prefix(folder)?)))
        .filter(|(_, name)| *name != "README.md" && !index.contains(&format!("]({name})")))
        .map(|(file, _)| breach(file, 1, "docs/decisions/README.md does not list it"))
        .collect()
}

// ---- the tree -------------------------------------------------------------------------------------------------------

/// Every text file of the tree, by its path from the root; what is built or fetched is left out.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("a folder of the tree opens").flatten() {
            let path = folder.join(entry.file_name());
            let name = path.to_string_lossy().into_owned();
            if NOT_READ.contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(root.join(&path)) {
                files.insert(name, text);
            }
        }
    }
    files
}

fn breaches(root: &Path, rooms: &Rooms, files: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in files {
        found.extend(name_breaches(file));
        found.extend(word_breaches(file, text));
        match Path::new(file).extension().and_then(|e| e.to_str()) {
            Some("rs") => {
                let code = code_of(text);
                found.extend(import_breaches(rooms, file, &code));
                found.extend(owner_breaches(file, &code));
                found.extend(election_breaches(file, &code));
                found.extend(shape_breaches(file, text, &code));
            }
            Some("md") => found.extend(links::link_breaches(root, file, text)),
            Some("toml") => found.extend(manifest_breaches(file, text)),
            _ => {}
        }
    }
    found
}

#[test]
fn the_tree_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = tree(root);
    let rooms = rooms_of(&files["docs/architecture.md"]);
    assert!(rooms.len() >= 11, "the table of rooms in docs/architecture.md was not understood: {rooms:?}");
    let mut found = breaches(root, &rooms, &files);
    found.extend(unexplained_dependencies(&files["Cargo.toml"], &files["docs/decisions/0011-dependencies.md"]));
    found.extend(unlisted_decisions(&files));
    let mut report = String::new();
    for line in &found {
        writeln!(report, "{line}").unwrap();
    }
    assert!(found.is_empty(), "{} breaches:\n{report}", found.len());
}

#[test]
fn every_room_of_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rooms = rooms_of(&fs::read_to_string(root.join("docs/architecture.md")).unwrap());
    for room in rooms.keys().filter(|room| *room != "node") {
        let place = root.join("node/src").join(room);
        assert!(place.is_dir() || place.with_extension("rs").is_file(), "the table names `{room}`, which is not in node/src");
    }
}

/// The rules must be able to fail: each is fed what it forbids, and what it must let pass.
#[cfg(test)]
mod rules {
    use super::*;

    fn table() -> Rooms {
        rooms_of(
            "text\n\n| room | may import | why |\n| --- | --- | --- |\n| `task` | nothing | nouns |\n| `mesh` | `task` | |\n| `node` | everything | |\n\n| `no` | row |",
        )
    }

    fn imports(file: &str, text: &str) -> Vec<String> {
        import_breaches(&table(), file, &code_of(text))
    }

    #[test]
    fn the_table_is_read_and_ends_at_its_end() {
        let rooms = table();
        assert_eq!(rooms.keys().collect::<Vec<_>>(), ["mesh", "node", "task"]);
        assert_eq!(rooms["mesh"], Some(BTreeSet::from(["task".to_owned()])));
        assert_eq!(rooms["task"], Some(BTreeSet::new()));
        assert_eq!(rooms["node"], None);
    }

    #[test]
    fn an_import_out_of_the_table_is_found_wherever_it_is_written() {
        for text in [
            "\n\nuse crate::mesh::Peer;",
            "\n\nfn f(p: crate::mesh::Peer) {}",
            "\n\nuse crate::{task::{A, B}, mesh};",
            "\n\nuse crate :: mesh;",
            "\n\nuse super::mesh::Peer;",
        ] {
            let found = imports("node/src/task/id.rs", text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with("node/src/task/id.rs:3: "), "{found:?}");
        }
        assert_eq!(imports("node/src/cellar.rs", "").len(), 1, "a room that is not in the table");
    }

    #[test]
    fn what_the_table_allows_passes() {
        for (file, text) in [
            ("node/src/mesh/mod.rs", "use crate::task::NodeId; use crate::mesh::own; use super::own;"),
            ("node/src/task/id.rs", "// use crate::mesh::Peer;\n/* crate::mesh */ const A: &str = \"crate::mesh\";"),
            ("node/src/task/id.rs", "const A: &str = r#\"a \" crate::mesh\"#; const B: char = '\"'; use crate::task::X;"),
            ("node/src/node.rs", "use crate::mesh::Peer;"),
            ("node/src/node/start.rs", "use crate::mesh::Peer;"),
            ("node/src/lib.rs", "pub use crate::mesh::Peer;"),
        ] {
            assert_eq!(imports(file, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_crate_is_named_only_by_its_owner() {
        let place = |file, text: &str| owner_breaches(file, &code_of(text)).len();
        assert_eq!(place("node/src/journal/mod.rs", "use libp2p::PeerId;"), 1);
        assert_eq!(place("node/src/mesh/mod.rs", "use libp2p::PeerId; // openraft"), 0);
        assert_eq!(place("node/src/meshes.rs", "use libp2p_stream::Control;"), 1);
        assert_eq!(place("src/main.rs", "use redb::Database;"), 1);
        assert_eq!(place("node/src/worker/mod.rs", "#![allow(unsafe_code)] fn f() { unsafe { g() } }"), 2);
        assert_eq!(place("node/src/sandbox/host/mod.rs", "unsafe { g() }"), 1);
        assert_eq!(place("node/src/sandbox/kernel/mod.rs", "unsafe { g() }"), 0);
        assert_eq!(place("src/main.rs", "use dunlin_election::Bid;"), 1);
        assert_eq!(place("src/main.rs", "use dunlin_history::Checker;"), 1);
        assert_eq!(place("tests/swarm/main.rs", "use dunlin_history::Checker;"), 0);
        assert_eq!(place("src/main.rs", concat!("fn f() { to", "do!() }")), 1);
        assert_eq!(place("src/main.rs", "let unsafely = 1; let todos = 2;"), 0);
    }

    #[test]
    fn election_names_std_only_where_it_is_allowed() {
        let place = |file, text: &str| election_breaches(file, &code_of(text)).len();
        assert_eq!(place("election/src/bid.rs", "use std::fmt;"), 1);
        assert_eq!(place("election/src/lib.rs", "extern crate std;"), 1);
        assert_eq!(place("election/src/lib.rs", "#[cfg(any(test, feature = \"sim\"))]\nextern crate std;\nuse core::fmt;"), 0);
        assert_eq!(
            place("election/src/bid.rs", "use core::fmt;\n#[cfg(test)]\nmod tests { fn f() { std::process::exit(1) } }"),
            0
        );
        assert_eq!(place("election/src/bid.rs", "#[cfg(not(test))]\nuse std::fmt;"), 1);
        assert_eq!(place("election/src/sim/world.rs", "use std::fmt;"), 0);
        assert_eq!(manifest_breaches("election/Cargo.toml", "[dependencies]\nserde = \"1\"").len(), 1);
        assert_eq!(manifest_breaches("election/Cargo.toml", "[dev-dependencies]\nproptest = \"1\"").len(), 0);
        assert_eq!(manifest_breaches("history/Cargo.toml", "[dev-dependencies]\ndunlin-node.workspace = true").len(), 1);
        assert_eq!(manifest_breaches("history/Cargo.toml", "[dependencies]\nserde.workspace = true").len(), 0);
    }

    #[test]
    fn a_file_without_an_opening_or_too_long_is_found() {
        let place = |file, text: &str| shape_breaches(file, text, &code_of(text)).len();
        let long = format!("//! A room.\n{}", "fn f() {}\n".repeat(MAX_LINES));
        assert_eq!(place("src/main.rs", "fn main() {}"), 1);
        assert_eq!(place("src/main.rs", "//!\nfn main() {}"), 1);
        assert_eq!(place("src/main.rs", "#![no_std]\n//! The binary.\n"), 0);
        assert_eq!(place("src/main.rs", &long), 1);
        assert_eq!(place("src/tests.rs", &long), 0);
        let tests = long.replace("//! A room.", "//! A room.\n#[cfg(test)]\nmod tests {") + "}\n";
        assert_eq!(place("src/main.rs", &tests), 0, "tests do not count");
    }

    #[test]
    fn empty_names_unfinished_work_and_unknown_hosts_are_found() {
        assert_eq!(name_breaches("node/src/utils/mod.rs").len(), 1);
        assert_eq!(name_breaches("tests/helpers.rs").len(), 1);
        assert_eq!(name_breaches("node/src/utilisation.rs").len(), 0);
        assert_eq!(word_breaches("a.md", concat!("a FIX", "ME here")).len(), 1);
        assert_eq!(word_breaches("a.md", concat!("http", "s://unknown.example.net/x")).len(), 1);
        assert_eq!(word_breaches("a.md", "https://rustup.rs and http://127.0.0.1:7480 and http://{address}").len(), 0);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.md"), "# The Way of a Task\n").unwrap();
        let place = |page: &str| links::link_breaches(folder.path(), "a.md", page).len();
        assert_eq!(place("[b](b.md) [way](b.md#the-way-of-a-task) [site](https://rustup.rs)"), 0);
        assert_eq!(place("```\n[c](c.md)\n```"), 0);
        assert_eq!(place("[c](c.md)"), 1);
        assert_eq!(place("[way](b.md#another)"), 1);
    }

    #[test]
    fn a_test_behind_a_feature_is_found() {
        assert_eq!(manifest_breaches("node/Cargo.toml", "[[test]]\nname = \"x\"\nrequired-features = [\"sim\"]").len(), 1);
        assert_eq!(manifest_breaches("node/Cargo.toml", "[[example]]\nname = \"x\"\nrequired-features = [\"sim\"]").len(), 0);
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest =
            "[workspace.dependencies]\ndunlin-node = { path = \"node\" }\nserde = \"1\"\nslow = \"1\"\n\n[package]\nname = \"x\"";
        assert_eq!(unexplained_dependencies(manifest, "`serde` because").len(), 1);
        assert_eq!(unexplained_dependencies(manifest, "`serde` and `slow`").len(), 0);
    }

    #[test]
    fn a_decision_that_its_index_does_not_list_is_found() {
        let files = |index: &str| {
            let file = |name: &str, text: &str| (format!("docs/decisions/{name}"), text.to_owned());
            BTreeMap::from([file("README.md", index), file("0001-x.md", "# 0001")])
        };
        assert_eq!(unlisted_decisions(&files("[0002](0002-y.md)")).len(), 1);
        assert_eq!(unlisted_decisions(&files("[0001](0001-x.md)")).len(), 0);
    }
}
