//! The kernel's own account of a task's memory and processes: version 2 of cgroups, where the node was given a part of it.
//!
//! In comes what /proc says of this process, out comes a folder to make cgroups in, or why there is none. Version 1
//! counts as absent: it has no kill of a whole group and can't be handed to an ordinary user safely.
//!
//! Source: `Documentation/admin-guide/cgroup-v2.rst` of Linux, and systemd's page on delegation.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) remedy: String,
}

/// What the kernel shows of a machine's cgroups.
struct Shown {
    mounts: String,
    own: String,
    command_line: String,
}

const DELEGATE: &str = "systemd: set `Delegate=yes` in the unit's [Service] section";
const RASPBERRY: &str = "Raspberry Pi: add `cgroup_enable=memory` to the one line of /boot/firmware/cmdline.txt and reboot";
const UNIFIED: &str = "boot with systemd.unified_cgroup_hierarchy=1: the controllers belong to cgroup version 1";

/// Tries to make a cgroup that limits memory.
pub(super) fn try_out() -> Result<PathBuf, Refused> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let shown =
        Shown { mounts: read("/proc/self/mountinfo"), own: read("/proc/self/cgroup"), command_line: read("/proc/cmdline") };
    try_out_in(&shown)
}

fn try_out_in(shown: &Shown) -> Result<PathBuf, Refused> {
    let refused = |reason: String, remedy: &str| Refused { reason, remedy: remedy.to_owned() };
    let Some(folder) = own_folder(shown) else {
        return Err(refused("version 2 is not mounted".to_owned(), UNIFIED));
    };
    let controllers = fs::read_to_string(folder.join("cgroup.controllers"))
        .map_err(|error| refused(format!("its list of controllers can't be read: {error}"), DELEGATE))?;
    if !controllers.split_whitespace().any(|name| name == "memory") {
        let has = if controllers.trim().is_empty() { "none" } else { controllers.trim() };
        let reason = format!("the node's cgroup has no controller for memory (it has {has})");
        return Err(refused(reason, without_memory(shown)));
    }
    let trial = folder.join(format!("dunlin-probe-{}", std::process::id()));
    let made = fs::create_dir(&trial).and_then(|()| {
        let limited = limit(&trial, 1 << 30, 100);
        fs::remove_dir(&trial)?;
        limited
    });
    made.map(|()| folder).map_err(|error| refused(format!("a cgroup can't be made and limited: {error}"), DELEGATE))
}

/// Sets what the whole group may use.
fn limit(group: &Path, memory: u64, processes: u32) -> io::Result<()> {
    fs::write(group.join("memory.max"), memory.to_string())?;
    fs::write(group.join("memory.oom.group"), "1")?;
    fs::write(group.join("pids.max"), processes.to_string())
}

fn without_memory(shown: &Shown) -> &'static str {
    if shown.command_line.split_whitespace().any(|word| word == "cgroup_disable=memory") {
        return RASPBERRY;
    }
    // Beside the line `0::` of version 2 there are those of version 1.
    let old =
        shown.own.lines().any(|line| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == "memory")));
    if old { UNIFIED } else { DELEGATE }
}

/// This process's own folder: where version 2 is mounted, and the path that the kernel gives below it.
fn own_folder(shown: &Shown) -> Option<PathBuf> {
    let (root, mounted) = shown.mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        kind.starts_with("cgroup2 ").then(|| Some((fields.next()?, fields.next()?)))?
    })?;
    let path = shown.own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    Some(Path::new(mounted).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mounted: &Path, own: &str, command_line: &str) -> Shown {
        let mounts = format!(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n31 22 0:26 / {} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
            mounted.display()
        );
        Shown { mounts, own: own.to_owned(), command_line: command_line.to_owned() }
    }

    /// A folder that looks like a delegated cgroup, as far as plain files can.
    fn machine(controllers: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("system/dunlin")).unwrap();
        fs::write(folder.path().join("system/dunlin/cgroup.controllers"), controllers).unwrap();
        folder
    }

    #[test]
    fn the_own_folder_is_found_below_the_mount() {
        let found = own_folder(&shown(Path::new("/sys/fs/cgroup"), "0::/system/dunlin\n", ""));
        assert_eq!(found, Some("/sys/fs/cgroup/system/dunlin".into()));
        assert_eq!(own_folder(&Shown { mounts: String::new(), own: "0::/\n".to_owned(), command_line: String::new() }), None);
    }

    #[test]
    fn a_missing_controller_is_explained_by_what_took_it() {
        let folder = machine("cpu io\n");
        let remedy = |own: &str, line: &str| try_out_in(&shown(folder.path(), own, line)).unwrap_err().remedy;
        assert_eq!(remedy("0::/system/dunlin\n", "console=tty1 cgroup_disable=memory"), RASPBERRY);
        assert_eq!(remedy("9:memory:/x\n0::/system/dunlin\n", ""), UNIFIED);
        assert_eq!(remedy("0::/system/dunlin\n", ""), DELEGATE);
        assert_eq!(remedy("9:memory:/x\n", ""), UNIFIED);
        assert_eq!(remedy("0::/nowhere\n", ""), DELEGATE);
        let reason = try_out_in(&shown(folder.path(), "0::/system/dunlin\n", "")).unwrap_err().reason;
        assert_eq!(reason, "the node's cgroup has no controller for memory (it has cpu io)");
    }

    #[test]
    fn an_attempt_leaves_nothing() {
        let folder = machine("memory pids\n");
        // Plain files are no cgroup: what is written stays, so that the folder can't be taken away again.
        let refused = try_out_in(&shown(folder.path(), "0::/system/dunlin\n", "")).unwrap_err();
        assert!(refused.reason.starts_with("a cgroup can't be made and limited"), "{}", refused.reason);
    }

    #[test]
    fn this_machines_answer_is_a_folder_or_words() {
        match try_out() {
            Ok(folder) => assert!(folder.is_dir()),
            Err(Refused { reason, remedy }) => assert!(!reason.is_empty() && !remedy.is_empty()),
        }
    }
}
