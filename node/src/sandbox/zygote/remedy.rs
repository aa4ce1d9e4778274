//! Why a layer was refused, in words, and what the machine's owner can do about it, in one line.
//!
//! In comes the kernel's error, out come two sentences. Only here are the machine's settings looked at: to explain, never
//! to decide.

use std::io;
use std::path::Path;

use crate::sandbox::plan::Step;
use crate::task::Layer;

/// For a machine that refuses filters.
pub(super) const SECCOMP: &str = "use a kernel with CONFIG_SECCOMP_FILTER, or a container profile that allows `seccomp`";
/// For a container that took the capabilities.
pub(super) const USERS: &str = "give the node the capabilities SETUID, SETGID, CHOWN, KILL, FOWNER and DAC_OVERRIDE";

/// A step of a launch that failed when it was tried.
#[derive(Debug, thiserror::Error)]
#[error("could not {step}: {error}")]
pub(super) struct Failed {
    pub(super) step: String,
    #[source]
    pub(super) error: io::Error,
}

/// What was read of the machine to explain a refusal.
#[derive(Clone, Copy, Debug, Default)]
struct Circumstances {
    no_user_namespaces: bool,
    privileged_only: bool,
    apparmor_restricts: bool,
    filtered: bool,
}

impl Circumstances {
    fn look() -> Circumstances {
        let is = |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Circumstances {
            no_user_namespaces: is("/proc/sys/user/max_user_namespaces", "0"),
            privileged_only: is("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            apparmor_restricts: is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
            filtered: status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')),
        }
    }
}

/// Reason and remedy where no namespace could be made.
pub(super) fn of_namespaces(error: &io::Error) -> (String, String) {
    explain(error, Circumstances::look())
}

fn explain(error: &io::Error, seen: Circumstances) -> (String, String) {
    let failed = error.get_ref().and_then(|inner| inner.downcast_ref::<Failed>());
    let made = failed.is_some();
    let reason = if made { format!("namespaces were made, but {error}") } else { format!("namespaces are refused: {error}") };
    let remedy = if failed.is_some_and(|failed| failed.step == Step::MapUser.act()) {
        "a node of root needs the capability SETFCAP or SYS_ADMIN; or run it as an ordinary user"
    } else if seen.no_user_namespaces {
        "sysctl -w user.max_user_namespaces=15000"
    } else if seen.privileged_only {
        "sysctl -w kernel.unprivileged_userns_clone=1"
    } else if seen.apparmor_restricts {
        "Ubuntu: give the binary an AppArmor profile with `userns,`, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    } else if seen.filtered {
        "the container's seccomp profile refuses clone: run it with --security-opt seccomp=unconfined, or leave the level partial"
    } else {
        "run the node as root, or on a kernel with CONFIG_USER_NS"
    };
    (reason, remedy.to_owned())
}

/// Reason and remedy where there are namespaces but not these.
pub(super) fn of_further_namespaces(layer: Layer, error: &io::Error) -> (String, String) {
    match layer {
        Layer::FreshProc => (
            format!("/proc can't be mounted anew: {error}"),
            "parts of /proc are masked (a container): run it with --security-opt systempaths=unconfined".to_owned(),
        ),
        _ => (format!("it is refused: {error}"), "sysctl -w user.max_net_namespaces=15000".to_owned()),
    }
}

/// Reason and remedy where Landlock is missing.
pub(super) fn of_landlock(error: &io::Error) -> (String, String) {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => {
            ("it is switched off".to_owned(), "add `landlock` to the list lsm=… of the kernel's command line".to_owned())
        }
        Some(libc::ENOSYS) => (
            "the kernel has none, or the container's profile hides it".to_owned(),
            "use a kernel of 5.13 or later with CONFIG_SECURITY_LANDLOCK".to_owned(),
        ),
        _ => (error.to_string(), "the container's seccomp profile has to allow `landlock_create_ruleset`".to_owned()),
    }
}

/// Reason and remedy where tasks of other users would not reach their scratch directory.
pub(super) fn of_closed_folder(folder: &Path) -> (String, String) {
    let folder = folder.display();
    (format!("other users may not pass {folder} to the scratch directories"), format!("chmod o+x {folder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_circumstance_has_its_own_remedy() {
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        let with = |seen| explain(&refused, seen).1;
        let none = Circumstances::default();
        assert!(with(Circumstances { no_user_namespaces: true, ..none }).contains("max_user_namespaces"));
        assert!(with(Circumstances { privileged_only: true, ..none }).contains("unprivileged_userns_clone"));
        assert!(with(Circumstances { apparmor_restricts: true, ..none }).contains("AppArmor"));
        assert!(with(Circumstances { filtered: true, ..none }).contains("seccomp profile"));
        assert!(with(none).contains("CONFIG_USER_NS"));
        assert!(explain(&refused, none).0.contains("os error 1"));
    }

    #[test]
    fn a_namespace_without_mounts_is_told_apart() {
        let inner = Failed { step: "make every mount read-only".to_owned(), error: io::Error::from_raw_os_error(libc::EACCES) };
        let (reason, _) = explain(&io::Error::other(inner), Circumstances::default());
        assert!(reason.starts_with("namespaces were made, but could not make every mount read-only"), "{reason}");
    }

    #[test]
    fn every_remedy_fits_into_findings() {
        use crate::task::MAX_WORDS;
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        for bits in 0..16_u8 {
            let seen = Circumstances {
                no_user_namespaces: bits & 1 > 0,
                privileged_only: bits & 2 > 0,
                apparmor_restricts: bits & 4 > 0,
                filtered: bits & 8 > 0,
            };
            assert!(explain(&refused, seen).1.len() <= MAX_WORDS);
        }
        for errno in [libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM] {
            assert!(of_landlock(&io::Error::from_raw_os_error(errno)).1.len() <= MAX_WORDS);
        }
        assert!(USERS.len() <= MAX_WORDS && SECCOMP.len() <= MAX_WORDS);
    }
}
