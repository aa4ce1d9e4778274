//! Reads process trees out of /proc: who descends from whom, and what they use.
//!
//! Nothing is signalled here. What is read is a picture of a moment that has passed: callers look again until the
//! kernel says that no child is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Pid;

use super::watch::Measure;
use crate::sandbox::kernel::sys;

/// Processes looked at in one tree; a task with more is killed in several rounds.
const MAX_TREE: usize = 1 << 16;

/// What /proc says of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Process {
    pub(in crate::sandbox) pid: i32,
    pub(in crate::sandbox) parent: i32,
    pub(in crate::sandbox) group: i32,
    /// Its own and its waited-for children's, in clock ticks.
    ticks: u64,
    threads: u32,
    resident_pages: u64,
}

/// This process as /proc numbers it: where /proc could not be mounted anew it is still the machine's.
pub(in crate::sandbox) fn own_pid() -> Pid {
    let shown = std::fs::read_link("/proc/self").ok();
    let shown = shown.and_then(|link| link.to_str()?.parse().ok()).and_then(Pid::from_raw);
    shown.unwrap_or_else(rustix::process::getpid)
}

/// The children of `root` that are in none of `known`, with all their descendants.
pub(in crate::sandbox) fn descendants(root: Pid, known: &BTreeSet<i32>) -> Vec<Process> {
    let root = root.as_raw_pid();
    let mut everybody = None;
    let mut found = Vec::new();
    let mut queue = vec![root];
    while let Some(parent) = queue.pop() {
        let children = children_of(parent).unwrap_or_else(|| {
            let table = everybody.get_or_insert_with(whole_table);
            table.get(&parent).cloned().unwrap_or_default()
        });
        for pid in children.into_iter().filter(|pid| parent != root || !known.contains(pid)) {
            if let Some(process) = look_at(pid).filter(|_| found.len() < MAX_TREE) {
                found.push(process);
                queue.push(pid);
            }
        }
    }
    found
}

/// What a tree uses now: the living ones here, the dead ones as their reaper counts them.
pub(super) fn measure(tree: &[Process], of_the_dead: Duration, memory_limit: Option<u64>) -> Measure {
    let page = sys::page_size();
    let ticks: u64 = tree.iter().map(|process| process.ticks).sum();
    let cpu = of_the_dead + Duration::from_millis(ticks.saturating_mul(1000) / sys::ticks_per_second());
    let resident: u64 = tree.iter().map(|process| process.resident_pages.saturating_mul(page)).sum();
    // Shared pages count once per process above; the exact sum costs the kernel a walk, so it is asked for only now.
    let memory = match memory_limit {
        Some(limit) if resident > limit => tree.iter().map(|process| proportional(*process, page)).sum(),
        _ => resident,
    };
    Measure { cpu, memory, scratch: 0, threads: tree.iter().map(|process| process.threads).sum() }
}

/// A process's share of the memory it uses together with others.
fn proportional(process: Process, page: u64) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
    let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = share.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.map_or(process.resident_pages.saturating_mul(page), |kib| kib.saturating_mul(1024))
}

/// Children by the kernel's own list; `None` on a kernel built without it.
fn children_of(parent: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { return Some(children) };
    for thread in threads.flatten() {
        match std::fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(_) if thread.path().exists() => return None,
            Err(_) => {} // That thread has just ended.
        }
    }
    Some(children)
}

/// Every process by its parent.
fn whole_table() -> BTreeMap<i32, Vec<i32>> {
    let mut table: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(process) = pid.and_then(look_at) {
            table.entry(process.parent).or_default().push(process.pid);
        }
    }
    table
}

/// This process.
#[cfg(test)]
pub(in crate::sandbox) fn own() -> Process {
    look_at(own_pid().as_raw_pid()).unwrap()
}

fn look_at(pid: i32) -> Option<Process> {
    parse_stat(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// One line of /proc/PID/stat, as proc(5) numbers its fields. The name in brackets may hold anything, brackets too.
fn parse_stat(pid: i32, line: &str) -> Option<Process> {
    let after_name = line.get(line.rfind(')')? + 1..)?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<i64>().ok());
    let positive = |field| number(field).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Some(Process {
        pid,
        parent: i32::try_from(number(4)?).ok()?,
        group: i32::try_from(number(5)?).ok()?,
        ticks: (14..=17).map(positive).sum(),
        threads: u32::try_from(positive(20)).unwrap_or(u32::MAX),
        resident_pages: positive(24),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_spaces_do_not_confuse_the_fields() {
        let line = "7 (a) (b 9) S 3 5 5 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 2 0 100 5000 321 184467 rest";
        let process = parse_stat(7, line).unwrap();
        assert_eq!((process.parent, process.group, process.ticks), (3, 5, 100));
        assert_eq!((process.threads, process.resident_pages), (2, 321));
    }

    #[test]
    fn kernels_list_and_the_whole_table_agree_on_a_child() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (pid, me) = (i32::try_from(child.id()).unwrap(), rustix::process::getpid());
        assert!(whole_table()[&me.as_raw_pid()].contains(&pid));
        if let Some(children) = children_of(me.as_raw_pid()) {
            assert!(children.contains(&pid));
        }
        assert!(descendants(me, &BTreeSet::new()).iter().any(|process| process.pid == pid));
        assert!(descendants(me, &BTreeSet::from([pid])).iter().all(|process| process.pid != pid));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
