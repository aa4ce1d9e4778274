//! The node's own limits, as it starts: enough open files for its links, its clients and the pipes of its tasks.
//!
//! In comes what it was started with, out goes what it may have. A core file it never leaves, because it is not dumpable, and
//! its tasks have limits of their own.

use rustix::process::{Resource, Rlimit};

/// What a node could need at most: shells start programs with 1,024, which many waiting clients use up.
const OPEN_FILES: u64 = 65_536;
/// With fewer a busy node may have to turn away clients.
const FEW: u64 = 1_024;

/// Raises the number of open files as far as it may be; says so if that is not far.
pub(super) fn raise() {
    let now = rustix::process::getrlimit(Resource::Nofile);
    let Some(wanted) = wanted(now) else { return };
    match rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..now }) {
        Ok(()) if wanted < FEW => {
            tracing::warn!("this node may open only {wanted} files: allow it more (ulimit -n, or LimitNOFILE= of its service)");
        }
        Ok(()) => {}
        Err(error) => tracing::info!(%error, "the number of open files stays as it is"),
    }
}

/// The new limit, if it is not what it is already.
fn wanted(now: Rlimit) -> Option<u64> {
    let wanted = now.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    now.current.filter(|current| *current < wanted || wanted < FEW).map(|_| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_allowed_and_useful_and_never_lowered() {
        let wanted = |current, maximum| wanted(Rlimit { current, maximum });
        assert_eq!(wanted(Some(1_024), Some(4_096)), Some(4_096));
        assert_eq!(wanted(Some(1_024), Some(1_048_576)), Some(OPEN_FILES));
        assert_eq!(wanted(Some(1_024), None), Some(OPEN_FILES));
        assert_eq!(wanted(Some(100_000), Some(1_048_576)), None);
        assert_eq!(wanted(None, None), None, "it has no limit");
        assert_eq!(wanted(Some(256), Some(256)), Some(256), "it can't be raised, and that is said");
    }
}
