//! The replicated log and what it adds up to.
//!
//! Facts enter through [`Journal::propose`]; they are on a majority of disks before anything is answered. Every node
//! folds the same facts into its ledger, live and after a restart by the same way. Deliberately not here: deciding
//! who leads (`leadership`), who runs what (`dispatch`). Nobody outside this room names openraft or redb.
//!
//! The way of a fact: [`RaftJournal`] (`raft`) -> `batch` -> openraft -> `log_store`, `log_writer` on every voter's disk
//! (`network` there, `serve` here) -> `machine` -> `ledger`'s fold -> the reply.

mod batch;
mod codec;
mod config;
mod durable;
mod engine;
mod entry;
mod export;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod ledger;
mod log_store;
mod log_writer;
mod machine;
mod network;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod platter;
mod port;
mod raft;
mod serve;
mod snapshot_file;
mod stop;
mod store;

#[cfg(test)]
mod tests;

pub use codec::CodecError;
pub use config::{DiskDelay, Executor, FoldListener, FreeSpace, JournalConfig, JournalError, OpenBackend, Panicked, WallClock};
pub use entry::{Entry, FORMAT, Fact, Member, Reply};
pub use export::{ExportError, Exported, ExportedEntry, export};
pub use ledger::{Ledger, LedgerError, Specs};
pub use port::{Applied, ElectError, Journal, LogPosition, MembershipError, ProposeError, RaftStatus, SharedJournal};
pub use raft::RaftJournal;
