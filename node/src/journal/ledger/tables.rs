//! The ledger's tables: which rows there are, under which keys. Every one of them is in a snapshot, in this order.

use redb::TableDefinition;

/// See [`OUTPUTS`].
pub(super) type OutputRow = (u64, u64, &'static [u8], &'static [u8]);
/// See [`DELAYED`].
pub(super) type DelayedRow = (u32, u64, u8, &'static [u8]);

/// Single values by name; see [`super::meta`].
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Task -> its [`crate::task::TaskSpec`], immutable, in the CBOR it travels in.
pub(super) const SPECS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("specs");
/// Task -> [`super::row::StateRow`].
pub(super) const STATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("states");
/// Task -> standard output and error of its last attempt: (bytes written, tail kept) each. Only where there was any.
pub(super) const OUTPUTS: TableDefinition<'_, u64, OutputRow> = TableDefinition::new("outputs");
/// (Group, code of the need, task) -> (number of its next attempt, when it was submitted): what may be handed out now.
pub(super) const READY: TableDefinition<'_, (&[u8], u8, u64), (u32, u64)> = TableDefinition::new("ready");
/// (When, task) -> (next attempt, when it was submitted, code of the need, group): what may be handed out later.
pub(super) const DELAYED: TableDefinition<'_, (u64, u64), DelayedRow> = TableDefinition::new("delayed");
/// Hash of an idempotency key -> the task that was made with it.
pub(super) const KEYS: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("keys");
/// (Group, state) -> how many tasks.
pub(super) const COUNTS: TableDefinition<'_, (&[u8], u8), u64> = TableDefinition::new("counts");
/// (State, task): the dead and the cancelled, few among many finished ones.
pub(super) const PARKED: TableDefinition<'_, (u8, u64), ()> = TableDefinition::new("parked");
/// Order of finishing -> task.
pub(super) const FINISHED: TableDefinition<'_, u64, u64> = TableDefinition::new("finished");
/// Node -> [`crate::journal::Member`].
pub(super) const MEMBERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("members");
/// Index of an entry -> [`super::row::EventsRow`].
pub(super) const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// Calls `$each!(number, definition)` for every table, in the order in which snapshots hold them.
macro_rules! every_table {
    ($each:ident) => {
        $each!(0, $crate::journal::ledger::tables::META);
        $each!(1, $crate::journal::ledger::tables::SPECS);
        $each!(2, $crate::journal::ledger::tables::STATES);
        $each!(3, $crate::journal::ledger::tables::OUTPUTS);
        $each!(4, $crate::journal::ledger::tables::READY);
        $each!(5, $crate::journal::ledger::tables::DELAYED);
        $each!(6, $crate::journal::ledger::tables::KEYS);
        $each!(7, $crate::journal::ledger::tables::COUNTS);
        $each!(8, $crate::journal::ledger::tables::PARKED);
        $each!(9, $crate::journal::ledger::tables::FINISHED);
        $each!(10, $crate::journal::ledger::tables::MEMBERS);
        $each!(11, $crate::journal::ledger::tables::EVENTS);
    };
}
pub(super) use every_table;
