//! Where a program is looked for, and what a person is told when it can't be executed.
//!
//! The launch's own PATH counts, never the node's; nothing is decided here that needs the program to run.

use std::ffi::CString;
use std::path::Path;

use crate::sandbox::spec::Launch;

/// This program, as seen from a process that runs it.
pub(in crate::sandbox) const THIS_PROGRAM: &str = "/proc/self/exe";

/// What exec is asked for, checked as far as that goes without touching the machine.
#[derive(Debug)]
pub(in crate::sandbox) struct Program {
    /// Paths to try, in order.
    pub(in crate::sandbox) candidates: Vec<CString>,
    /// Arguments, the first as the task named it.
    pub(in crate::sandbox) argv: Vec<CString>,
    /// `NAME=value` each.
    pub(in crate::sandbox) envp: Vec<CString>,
}

impl Program {
    /// The program of a launch, or words on why there can't be one.
    pub(in crate::sandbox) fn of(launch: &Launch) -> Result<Program, String> {
        let Some(name) = launch.argv.first().filter(|name| !name.is_empty()) else {
            return Err("the command is empty".to_owned());
        };
        let text = |text: String| CString::new(text).map_err(|e| zero_byte(&e));
        let argv = launch.argv.iter().cloned().map(text).collect::<Result<_, _>>()?;
        let envp = launch.env.iter().map(|(key, value)| text(format!("{key}={value}"))).collect::<Result<_, _>>()?;
        let candidates = if name.contains('/') {
            vec![text(name.clone())?]
        } else {
            let path = launch.env.get("PATH").map_or("", String::as_str);
            let folders = path.split(':').filter(|folder| !folder.is_empty());
            folders.map(|folder| text(format!("{folder}/{name}"))).collect::<Result<_, _>>()?
        };
        Ok(Program { candidates, argv, envp })
    }
}

fn zero_byte(error: &std::ffi::NulError) -> String {
    let whole = String::from_utf8_lossy(&error.clone().into_vec()).chars().take(40).collect::<String>();
    format!("{whole:?} contains a zero byte, which no program can be given")
}

/// Why exec failed, in words; `None` if the machine and not the program is at fault.
pub(in crate::sandbox) fn words(launch: &Launch, errno: i32) -> Option<String> {
    let name = launch.argv.first().map_or("", String::as_str);
    let searched = !name.contains('/');
    let path = launch.scratch.join(name);
    match errno {
        libc::ENOENT | libc::ENOTDIR if searched => Some(match launch.env.get("PATH") {
            Some(path) => format!("`{name}` was not found in PATH={path}"),
            None => format!("`{name}` was not found: the task has no PATH"),
        }),
        libc::ENOENT if exists(&path) => {
            Some(format!("`{name}` exists, but the interpreter that it names in its first line does not"))
        }
        libc::ENOENT | libc::ENOTDIR => Some(format!("`{name}` does not exist")),
        libc::EACCES if searched => Some(format!("`{name}` was found in PATH, but is not executable")),
        libc::EACCES if path.is_dir() => Some(format!("`{name}` is a directory")),
        libc::EACCES | libc::EPERM => Some(format!("`{name}` is not executable")),
        libc::ENOEXEC => Some(format!("`{name}` is not a program of this machine and has no first line `#!…`")),
        libc::E2BIG => Some("its arguments and environment are larger than the kernel takes".to_owned()),
        libc::ELOOP => Some(format!("`{name}` is a loop of symbolic links")),
        libc::ENAMETOOLONG => Some("its name is too long".to_owned()),
        _ => None,
    }
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::spec::ResolvedLimits;

    fn launch(argv: &[&str], path: Option<&str>) -> Launch {
        Launch {
            name: "1-1".to_owned(),
            argv: argv.iter().map(ToString::to_string).collect(),
            env: path.map(|path| ("PATH".to_owned(), path.to_owned())).into_iter().collect(),
            scratch: "/nowhere/1-1".into(),
            limits: ResolvedLimits::default(),
            isolation: crate::sandbox::spec::Isolation::default(),
        }
    }

    fn candidates(launch: &Launch) -> Vec<String> {
        Program::of(launch).unwrap().candidates.into_iter().map(|c| c.into_string().unwrap()).collect()
    }

    #[test]
    fn names_without_a_slash_are_searched_in_the_launchs_own_path() {
        assert_eq!(candidates(&launch(&["ls"], Some("/a:/b::"))), ["/a/ls", "/b/ls"]);
        assert_eq!(candidates(&launch(&["./ls"], Some("/a"))), ["./ls"]);
        assert!(candidates(&launch(&["ls"], None)).is_empty());
    }

    #[test]
    fn empty_commands_and_zero_bytes_are_refused_in_words() {
        assert_eq!(Program::of(&launch(&[], None)).unwrap_err(), "the command is empty");
        assert_eq!(Program::of(&launch(&[""], None)).unwrap_err(), "the command is empty");
        assert!(Program::of(&launch(&["/bin/echo", "a\0b"], None)).unwrap_err().contains("zero byte"));
    }

    #[test]
    fn reasons_are_told_apart() {
        let searched = launch(&["foo"], Some("/bin:/usr/bin"));
        assert_eq!(words(&searched, libc::ENOENT).unwrap(), "`foo` was not found in PATH=/bin:/usr/bin");
        assert_eq!(words(&launch(&["./x"], None), libc::EACCES).unwrap(), "`./x` is not executable");
        assert_eq!(words(&launch(&["/"], None), libc::EACCES).unwrap(), "`/` is a directory");
        assert_eq!(words(&searched, libc::ENOMEM), None);
    }
}
