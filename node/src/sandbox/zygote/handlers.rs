//! The ways in which this binary is started again as a part of its own sandbox, and the handlers that run there.
//!
//! An embedding program calls [`enter_if_child`] as the first thing in `main`: in the node itself it does nothing, in
//! a zygote or a handler's process it never comes back.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::panic::AssertUnwindSafe;

use bytes::Bytes;

use crate::sandbox::kernel::sys;
use crate::sandbox::program::THIS_PROGRAM;
use crate::sandbox::spec::Report;
use crate::sandbox::zygote;
use crate::task::{HandlerName, Outcome};

/// The hidden verb of a zygote.
pub(in crate::sandbox) const ZYGOTE: &str = "sandbox-zygote";
/// The hidden verb of a handler's process; the handler's name follows.
const HANDLER: &str = "sandbox-handler";

/// Exit code of a handler that returned an error; its words are on standard error.
const FAILED: i32 = 1;
/// Exit code of a zygote that could not serve.
const NOT_A_ZYGOTE: i32 = 64;
/// Exit code of a handler's process whose name nobody registered.
const UNKNOWN_HANDLER: i32 = 127;
/// Exit code of a handler that panicked.
const PANICKED: i32 = 101;

/// What a handler is given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Input {
    /// The task's standard input.
    pub bytes: Bytes,
}

type Handler = Box<dyn Fn(Input) -> Result<Vec<u8>, String> + Send + Sync>;

/// The handlers that this program can run in a process of their own, by name.
#[derive(Default)]
pub struct Handlers {
    by_name: BTreeMap<HandlerName, Handler>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Handlers {
    /// No handlers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler; an earlier one of the same name is replaced. What it returns is the task's standard output.
    #[must_use]
    pub fn with(mut self, name: HandlerName, handler: impl Fn(Input) -> Result<Vec<u8>, String> + Send + Sync + 'static) -> Self {
        self.by_name.insert(name, Box::new(handler));
        self
    }

    /// The registered names.
    pub fn names(&self) -> impl Iterator<Item = &HandlerName> {
        self.by_name.keys()
    }
}

/// The command that runs a handler in a process of its own: this binary again.
#[must_use]
pub fn handler_argv(name: &HandlerName) -> Vec<String> {
    vec![THIS_PROGRAM.to_owned(), HANDLER.to_owned(), name.to_string()]
}

/// Becomes a part of the sandbox if this process was started as one, and never comes back then.
///
/// It must be the first thing in `main`, before any thread is started and anything is read or written.
pub fn enter_if_child(handlers: &Handlers) {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next();
    match verb.as_deref().and_then(|verb| verb.to_str()) {
        Some(ZYGOTE) => match zygote::serve() {
            Ok(()) => sys::exit_now(0),
            Err(error) => {
                eprintln!("`{ZYGOTE}` is started by dunlin itself: {error}");
                sys::exit_now(NOT_A_ZYGOTE)
            }
        },
        Some(HANDLER) => {
            let name = arguments.next().and_then(|name| name.into_string().ok()).unwrap_or_default();
            std::process::exit(run_handler(handlers, &name))
        }
        _ => {}
    }
}

fn run_handler(handlers: &Handlers, name: &str) -> i32 {
    let Some(handler) = name.parse::<HandlerName>().ok().and_then(|name| handlers.by_name.get(&name)) else {
        eprintln!("no handler `{name}` is registered in this program");
        return UNKNOWN_HANDLER;
    };
    let mut bytes = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut bytes) {
        eprintln!("the handler's input can't be read: {error}");
        return FAILED;
    }
    let input = Input { bytes: bytes.into() };
    match std::panic::catch_unwind(AssertUnwindSafe(|| handler(input))) {
        Ok(Ok(output)) => match io::stdout().write_all(&output).and_then(|()| io::stdout().flush()) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("the handler's output can't be written: {error}");
                FAILED
            }
        },
        Ok(Err(message)) => {
            eprintln!("{message}");
            FAILED
        }
        Err(_) => PANICKED, // The panic's own words are on standard error already.
    }
}

impl Report {
    /// The same report read as a handler's: an exit code of a handler's process becomes what it stands for.
    #[must_use]
    pub fn of_handler(mut self) -> Report {
        let words = || String::from_utf8_lossy(&self.stderr.tail).trim().to_owned();
        match self.outcome {
            Outcome::Exited(UNKNOWN_HANDLER) => self.outcome = Outcome::NotFound(words()),
            Outcome::Exited(code) if code != 0 => self.outcome = Outcome::HandlerFailed(words()),
            _ => {}
        }
        self
    }
}
