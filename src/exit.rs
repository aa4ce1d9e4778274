//! How a command ends when it does not simply succeed: an exit code, and what to tell the person.
//!
//! Typed errors of the rooms enter, a [`Failure`] in three sentences leaves: what happened, why, what to do next.

use std::fmt;
use std::io;

use dunlin_node::api::ApiError;
use dunlin_node::client::ClientError;

/// Exit codes, as the reference lists them.
pub(crate) mod code {
    /// All right.
    pub(crate) const OK: u8 = 0;
    /// Anything without a code of its own.
    pub(crate) const ERROR: u8 = 1;
    /// The command line, the configuration or the request breaks a rule.
    pub(crate) const USAGE: u8 = 64;
    /// No node, no leader or no majority answers.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// The operating system does not let us.
    pub(crate) const NOT_AUTHORISED: u8 = 77;
    /// Interrupted by Ctrl-C.
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// Why a command did not do what was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) what: String,
    pub(crate) why: Option<String>,
    pub(crate) next: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, what: impl Into<String>) -> Self {
        Failure { code, what: what.into(), why: None, next: None }
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Failure::new(code::USAGE, what)
    }

    pub(crate) fn error(what: impl Into<String>) -> Self {
        Failure::new(code::ERROR, what)
    }

    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dunlin: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n  because: {why}")?;
        }
        if let Some(next) = &self.next {
            write!(f, "\n  try: {next}")?;
        }
        Ok(())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Api(error) => error.into(),
            ClientError::NoNode { path, source } => no_node(&path, &source),
            ClientError::Lost(why) => Failure::new(code::UNAVAILABLE, "the node stopped answering in the middle of a request")
                .why(why)
                .next("`dunlin status` to see whether it is back; the request may have been carried out"),
            ClientError::TimedOut { waited } => {
                Failure::new(code::UNAVAILABLE, format!("the node did not answer within {} s", waited.as_secs()))
                    .next("`dunlin status`, and the log of `dunlin up` on this machine")
            }
            ClientError::Protocol(why) => Failure::error("the answer could not be understood")
                .why(why)
                .next("use the same version of dunlin for the node and this command"),
        }
    }
}

fn no_node(path: &std::path::Path, source: &io::Error) -> Failure {
    let what = format!("no node answers on {}", path.display());
    match source.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(code::NOT_AUTHORISED, what)
            .why("only the user who started the node may use its socket")
            .next("run this command as that user"),
        io::ErrorKind::NotFound => Failure::new(code::UNAVAILABLE, what)
            .why("there is no such socket: no node runs with this data folder")
            .next("start one with `dunlin up`, or name its socket with --socket PATH or its folder with --data DIR"),
        io::ErrorKind::ConnectionRefused if !is_socket(path) => {
            Failure::usage(what).why("it is not a socket").next("name the node's socket, or its folder with --data DIR")
        }
        io::ErrorKind::ConnectionRefused => Failure::new(code::UNAVAILABLE, what)
            .why("the node that made this socket has ended")
            .next("start it again with `dunlin up`"),
        _ => Failure::new(code::UNAVAILABLE, what).why(source.to_string()),
    }
}

fn is_socket(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::NoLeader { waited, detail } => {
                let seconds = waited.as_secs_f64();
                Failure::new(code::UNAVAILABLE, format!("no leader with a majority answered within {seconds:.1} s"))
                    .why(detail)
                    .next("`dunlin nodes` shows who is missing; a majority of the voters must be up")
            }
            ApiError::NotFound { what, id } => {
                let list = if what == "node" { "dunlin nodes" } else { "dunlin tasks" };
                Failure::error(format!("there is no {what} {id}")).next(format!("`{list}` lists them"))
            }
            ApiError::Invalid(why) => Failure::usage("the swarm refused the request").why(why),
            ApiError::TooLarge { what, size, limit } => Failure::usage(format!("{what} is too large"))
                .why(format!("it is {size} bytes; the limit is {limit}"))
                .next("put large data where every node can read it and pass its path or address to the task"),
            ApiError::Overloaded(why) => Failure::new(code::UNAVAILABLE, "the swarm takes no new tasks now")
                .why(why)
                .next("again a little later; `dunlin status` shows what is queued"),
            ApiError::NotEnded(task) => Failure::error(format!("task {task} has not ended yet"))
                .next(format!("`dunlin logs -f {task}` to watch it, or `dunlin task {task}`")),
            ApiError::Internal(why) => Failure::error("the node failed to answer").why(why).next("its log says more"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Whoever read our output has enough: that is success (`dunlin tasks | head`).
            io::ErrorKind::BrokenPipe => Failure::new(code::OK, String::new()),
            _ => Failure::error("reading or writing failed").why(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dunlin_node::task::TaskId;

    use super::*;

    #[test]
    fn failures_say_what_why_and_what_next() {
        let missing = ClientError::NoNode { path: "/x/dunlin.sock".into(), source: io::ErrorKind::NotFound.into() };
        let text = Failure::from(missing).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "dunlin: no node answers on /x/dunlin.sock");
        assert!(lines[1].starts_with("  because: there is no such socket"));
        assert!(lines[2].contains("dunlin up"));
    }

    #[test]
    fn exit_codes_follow_the_reference() {
        let code = |error: ApiError| Failure::from(error).code;
        assert_eq!(code(ApiError::NoLeader { waited: Duration::ZERO, detail: String::new() }), 69);
        assert_eq!(code(ApiError::Overloaded(String::new())), 69);
        assert_eq!(code(ApiError::Invalid(String::new())), 64);
        assert_eq!(code(ApiError::TooLarge { what: "x".into(), size: 2, limit: 1 }), 64);
        assert_eq!(code(ApiError::NotEnded(TaskId(1))), 1);
        let gone = |kind: io::ErrorKind| Failure::from(ClientError::NoNode { path: "x".into(), source: kind.into() }).code;
        assert_eq!(gone(io::ErrorKind::NotFound), 69);
        assert_eq!(gone(io::ErrorKind::PermissionDenied), 77);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).code, 0);
    }
}
