//! The flags with which a task says what it may use, what it may reach and what it needs, alike for `run` and `submit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dunlin_node::task::{Level, Limits, MAX_KEPT_OUTPUT, Need, Network, SandboxSpec};

use crate::quantity::{parse_duration, parse_size};

const LIMITS: &str = "Limits (the running node's own where none is given)";

/// See the head of this file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = LIMITS)]
pub(super) struct LimitArgs {
    /// Kill an attempt after this time: 30s, 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = positive)]
    timeout: Option<Duration>,
    /// Kill an attempt after this much processor time of all its processes
    #[arg(long, value_name = "TIME", value_parser = positive)]
    cpu_time: Option<Duration>,
    /// Memory of all its processes together: 256MiB, 2GiB; `enforced`: only where the kernel itself holds that limit
    #[arg(long, value_name = "SIZE|enforced", value_parser = memory)]
    memory: Vec<Memory>,
    /// Processes and threads at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pids: Option<u32>,
    /// Open files of each process
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..))]
    files: Option<u32>,
    /// The largest file that it may write
    #[arg(long, value_name = "SIZE", value_parser = size)]
    file_size: Option<u64>,
    /// Disk that its scratch folder may take, as `du` counts it; looked at about every 50 ms
    #[arg(long, value_name = "SIZE", value_parser = size)]
    scratch: Option<u64>,
    /// How much it may write to its two outputs together, kept or not
    #[arg(long, value_name = "SIZE", value_parser = size)]
    output_limit: Option<u64>,
    /// How much of each of its outputs is kept (the end of it), at most 512KiB
    #[arg(long, value_name = "SIZE", value_parser = kept)]
    stdout_limit: Option<u32>,
    /// Between SIGTERM and SIGKILL when it must end
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    grace: Option<Duration>,
    /// Which network it gets
    #[arg(long, value_name = "none|host|isolated", default_value_t)]
    network: Network,
    /// Only on nodes whose sandbox holds this much (`dunlin doctor` there); it waits until there is one
    #[arg(long, value_name = "full|partial|process-only", default_value_t)]
    require: Level,
    /// A path that it may read beside what programs are made of, where the node's owner allows it
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    read: Vec<PathBuf>,
}

/// One value of `--memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Limit(u64),
    Enforced,
}

impl LimitArgs {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            wall: self.timeout,
            cpu: self.cpu_time,
            memory: self.memory.iter().rev().find_map(|memory| match memory {
                Memory::Limit(size) => Some(*size),
                Memory::Enforced => None,
            }),
            processes: self.pids,
            open_files: self.files,
            file_size: self.file_size,
            scratch: self.scratch,
            output: self.output_limit,
            stdout: self.stdout_limit,
            stderr: self.stdout_limit,
            grace: self.grace,
        }
    }

    pub(super) fn sandbox(&self) -> SandboxSpec {
        let need = Need { level: self.require, memory_enforced: self.memory.contains(&Memory::Enforced) };
        SandboxSpec { need, network: self.network, read: self.read.clone() }
    }
}

fn memory(text: &str) -> Result<Memory, String> {
    if text == "enforced" { Ok(Memory::Enforced) } else { size(text).map(Memory::Limit) }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("it must begin with a slash: the task runs on another machine".to_owned()) }
}

fn positive(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

fn size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("it must be more than nothing".to_owned()),
        size => Ok(size),
    }
}

fn kept(text: &str) -> Result<u32, String> {
    let size = parse_size(text)?;
    let most = || format!("{text} is more than a report may carry, {} KiB", MAX_KEPT_OUTPUT >> 10);
    u32::try_from(size).ok().filter(|size| *size <= MAX_KEPT_OUTPUT).ok_or_else(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        assert_eq!(size("0").unwrap_err(), "it must be more than nothing");
        assert_eq!(positive("0s").unwrap_err(), "it must be longer than nothing");
        assert!(kept("1MiB").unwrap_err().contains("512 KiB"));
        assert_eq!(kept("64KiB"), Ok(64 << 10));
        assert_eq!(memory("enforced"), Ok(Memory::Enforced));
        assert!(absolute("data").is_err());
    }
}
