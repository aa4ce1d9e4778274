//! What the kernel says of a process: its CPU time and its memory; and of the machine: its load.

use std::fs;
use std::time::Duration;

use crate::Failure;

/// Of the kernel's clock for these figures, a second: 100 on every Linux that programs see.
const TICKS: u64 = 100;

/// User and system time of a process and all its threads so far, to 10 ms.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may hold spaces: what follows it is counted.
    let after = stat.rsplit_once(')').ok_or("no name in the process's stat")?.1;
    let ticks = |field: usize| after.split_whitespace().nth(field).and_then(|text| text.parse::<u64>().ok());
    // utime and stime are the fields 14 and 15, counted from 1; the name is the second.
    let (Some(user), Some(system)) = (ticks(11), ticks(12)) else { return Err("no times in the process's stat".into()) };
    Ok(Duration::from_millis((user + system) * 1_000 / TICKS))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.split_whitespace().next().ok_or("no figure in VmRSS")?.parse()?;
    Ok(kib << 10)
}

/// The machine's load averages.
pub(crate) fn load() -> String {
    fs::read_to_string("/proc/loadavg")
        .map_or_else(|_| "unknown".to_owned(), |load| load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
