//! Tasks, results, nodes and events as JSON for people and scripts: what the HTTP face answers and `-o json` prints.
//!
//! Typed values enter and JSON leaves (`show`), and a described task enters as JSON and leaves typed (`read`). The exact
//! form between dunlin's own programs is CBOR, elsewhere. Durations are numbers of seconds, times are RFC 3339.

mod read;
mod show;

pub(crate) use read::{selector_from_json, tasks_from_json};
pub(crate) use show::{applied, event, node, result, state_detail, status, submitted, summary, task, waits};
