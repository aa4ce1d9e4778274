//! The kernel's own account of a task's memory and processes: version 2 of cgroups, where the node was given a part of it.
//!
//! In comes what /proc says of this process, out comes an account in which each task gets a group, or why there is none.
//! A group whose children are limited may hold no process itself, so the node moves to a leaf first. Version 1 counts as
//! absent: it has no kill of a whole group and can't be handed to an ordinary user safely.
//!
//! Source: `Documentation/admin-guide/cgroup-v2.rst` of Linux, and systemd's page on delegation.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sandbox::spec::ResolvedLimits;

/// What tasks are limited by.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// The group of the node itself.
const NODE: &str = "dunlin-node";
/// Tries to remove a group whose processes have been killed and are not yet gone.
const MAX_REMOVALS: u32 = 200;
/// Between two of them.
const REMOVE_AGAIN: Duration = Duration::from_millis(5);
/// Far enough above the limit that the supervisor sees it passed and says so.
const PROCESS_HEADROOM: u64 = 64;

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

/// The folder in which each task gets a group.
#[derive(Debug)]
pub(super) struct Account {
    folder: PathBuf,
}

impl Account {
    /// Takes over the cgroup of this process, which has to be its own and its zygote's alone; leaves everything as it was
    /// if that does not work.
    pub(super) fn open(zygote: u32) -> Result<Account, Refused> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        let folder = delegated(&Shown { mounts, own, command_line: read("/proc/cmdline") })?;
        let trial = ResolvedLimits { memory: Some(1 << 30), processes: Some(100), ..ResolvedLimits::default() };
        let account = Account::take_over(&folder, &CONTROLLERS, &[std::process::id(), zygote]);
        let tried = account.and_then(|account| {
            account.group("dunlin-probe").and_then(|group| {
                let limited = group.limit(&trial);
                group.remove();
                limited
            })?;
            Ok(account)
        });
        tried.map_err(|error| {
            give_back(&folder, &[std::process::id(), zygote]);
            let reason = format!("the node's cgroup can't be taken over: {error}");
            Refused { reason, remedy: DELEGATE.to_owned() }
        })
    }

    fn take_over(folder: &Path, controllers: &[&str], residents: &[u32]) -> io::Result<Account> {
        let leaf = folder.join(NODE);
        if !leaf.is_dir() {
            fs::create_dir(&leaf)?;
        }
        for pid in residents {
            fs::write(leaf.join("cgroup.procs"), pid.to_string())?;
        }
        let wanted = controllers.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
        fs::write(folder.join("cgroup.subtree_control"), wanted)?;
        Ok(Account { folder: folder.to_owned() })
    }

    /// Makes the group of one task, without limits yet.
    pub(super) fn group(&self, name: &str) -> io::Result<Group> {
        let path = self.folder.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left by a node that is gone; one that somebody is in can't be removed.
                fs::remove_dir(&path)?;
                fs::create_dir(&path)?;
            }
            made => made?,
        }
        // Opened here, where the path is seen and the right to move processes is.
        let entrance = File::options().write(true).open(path.join("cgroup.procs"));
        match entrance {
            Ok(entrance) => Ok(Group { path, entrance: entrance.into() }),
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }
}

/// The cgroup of one task.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
    entrance: OwnedFd,
}

impl Group {
    /// A descriptor through which the target enters.
    pub(super) fn entrance(&self) -> io::Result<OwnedFd> {
        self.entrance.try_clone()
    }

    /// Sets what the whole group may use. When memory runs out all of it is killed, so that no half of a task goes on.
    pub(super) fn limit(&self, limits: &ResolvedLimits) -> io::Result<()> {
        if let Some(memory) = limits.memory {
            fs::write(self.path.join("memory.max"), memory.to_string())?;
            // Without it a task would be slowed down by swapping instead. A machine without swap has no such file.
            let _ = fs::write(self.path.join("memory.swap.max"), "0");
            fs::write(self.path.join("memory.oom.group"), "1")?;
        }
        if let Some(processes) = limits.processes {
            let most = u64::from(processes) * 2 + PROCESS_HEADROOM;
            fs::write(self.path.join("pids.max"), most.to_string())?;
        }
        Ok(())
    }

    /// Whether the kernel ended the task because its memory ran out.
    pub(super) fn ran_out(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let count = |name: &str| events.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        count("oom_kill ").is_some_and(|kills| kills > 0)
    }

    /// The most memory that it used, in bytes, where the kernel keeps that.
    pub(super) fn peak(&self) -> Option<u64> {
        fs::read_to_string(self.path.join("memory.peak")).ok()?.trim().parse().ok()
    }

    /// Kills whatever is left in it and removes it; may wait a moment.
    pub(super) fn remove(self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        for _ in 0..MAX_REMOVALS {
            match fs::remove_dir(&self.path) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(REMOVE_AGAIN),
                _ => return,
            }
        }
        tracing::warn!(path = %self.path.display(), "a cgroup could not be removed");
    }
}

/// Undoes a take-over as far as it came.
fn give_back(folder: &Path, residents: &[u32]) {
    for name in CONTROLLERS {
        // Before somebody moves back: a folder whose groups are limited takes nobody in.
        let _ = fs::write(folder.join("cgroup.subtree_control"), format!("-{name}"));
    }
    for pid in residents {
        let _ = fs::write(folder.join("cgroup.procs"), pid.to_string());
    }
    let _ = fs::remove_dir(folder.join(NODE));
}

/// The folder of this process if it has a controller for memory.
fn delegated(shown: &Shown) -> Result<PathBuf, Refused> {
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
    // The root of all may hold processes and limit their groups at once, but it is nobody's to take over.
    if shown.own.lines().any(|line| line == "0::/") && !folder.join("cgroup.type").exists() {
        return Err(refused("the node runs in the machine's own cgroup".to_owned(), DELEGATE));
    }
    Ok(folder)
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
        let remedy = |own: &str, line: &str| delegated(&shown(folder.path(), own, line)).unwrap_err().remedy;
        assert_eq!(remedy("0::/system/dunlin\n", "console=tty1 cgroup_disable=memory"), RASPBERRY);
        assert_eq!(remedy("9:memory:/x\n0::/system/dunlin\n", ""), UNIFIED);
        assert_eq!(remedy("0::/system/dunlin\n", ""), DELEGATE);
        assert_eq!(remedy("9:memory:/x\n", ""), UNIFIED);
        assert_eq!(remedy("0::/nowhere\n", ""), DELEGATE);
        let reason = delegated(&shown(folder.path(), "0::/system/dunlin\n", "")).unwrap_err().reason;
        assert_eq!(reason, "the node's cgroup has no controller for memory (it has cpu io)");
    }

    #[test]
    fn a_delegated_cgroup_is_found() {
        let folder = machine("memory pids\n");
        let found = delegated(&shown(folder.path(), "0::/system/dunlin\n", "")).unwrap();
        assert_eq!(found, folder.path().join("system/dunlin"));
    }

    /// What is written where, with plain files in the place of the kernel's.
    #[test]
    fn limits_and_events_have_the_kernels_names() {
        let folder = tempfile::tempdir().unwrap();
        let entrance = File::create(folder.path().join("cgroup.procs")).unwrap().into();
        let group = Group { path: folder.path().to_owned(), entrance };
        group.limit(&ResolvedLimits { memory: Some(5 << 20), processes: Some(7), ..ResolvedLimits::default() }).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!([read("memory.max"), read("memory.oom.group"), read("pids.max")], ["5242880", "1", "78"]);
        assert!(!group.ran_out() && group.peak().is_none());
        fs::write(folder.path().join("memory.events"), "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 1\n").unwrap();
        fs::write(folder.path().join("memory.peak"), "4096\n").unwrap();
        assert!(group.ran_out());
        assert_eq!(group.peak(), Some(4096));
        fs::write(folder.path().join("memory.events"), "oom 1\noom_kill 0\n").unwrap();
        assert!(!group.ran_out());
    }

    /// With the kernel's real files, and whatever controller this machine has in version 2: all but the limits.
    #[test]
    fn a_task_is_entered_killed_and_removed_in_a_real_cgroup() {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let root = own_folder(&Shown { mounts, own: "0::/".to_owned(), command_line: String::new() });
        let folder = root.map(|root| root.join(format!("dunlin-test-{}", std::process::id())));
        let Some(folder) = folder.filter(|folder| fs::create_dir(folder).is_ok()) else {
            println!("skipped: this machine gives no cgroup of version 2 to make groups in");
            return;
        };
        let resident = || std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let (mut node, mut task) = (resident(), resident());
        fs::write(folder.join("cgroup.procs"), node.id().to_string()).unwrap();
        let account = Account::take_over(&folder, &[], &[node.id()]).unwrap();
        assert_eq!(fs::read_to_string(folder.join(NODE).join("cgroup.procs")).unwrap().trim(), node.id().to_string());
        let group = account.group("1-1").unwrap();
        rustix::io::write(group.entrance().unwrap(), task.id().to_string().as_bytes()).unwrap();
        assert!(account.group("1-1").is_err(), "somebody is in it");
        let path = group.path.clone();
        let waiting = std::thread::spawn(move || task.wait().unwrap());
        group.remove();
        assert!(!path.exists());
        assert!(!waiting.join().unwrap().success(), "it was killed");
        give_back(&folder, &[node.id()]);
        node.kill().unwrap();
        node.wait().unwrap();
        assert!(!folder.join(NODE).exists());
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn this_machines_answer_is_a_folder_or_words() {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        match delegated(&Shown { mounts, own, command_line: read("/proc/cmdline") }) {
            Ok(folder) => assert!(folder.is_dir()),
            Err(Refused { reason, remedy }) => assert!(!reason.is_empty() && !remedy.is_empty()),
        }
    }
}
