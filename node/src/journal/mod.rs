//! The replicated log and what it adds up to.
//!
//! Facts enter through [`Journal::propose`]; they are on a majority of disks before anything is answered. Every node
//! folds the same facts into its ledger, live and after a restart by the same way. Deliberately not here: deciding
//! who leads (`leadership`), who runs what (`dispatch`). Nobody outside this room names openraft or redb.

mod entry;
mod port;

pub use entry::{Denial, Entry, FORMAT, Fact, Member, MemberRole, Reply};
pub use port::{Applied, ElectError, Journal, LogPosition, MembershipError, ProposeError, RaftStatus, SharedJournal};
