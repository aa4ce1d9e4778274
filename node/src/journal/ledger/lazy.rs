//! A table that is opened when the fold first needs it: opening all twelve costs more than folding one fact.

use redb::{Key, Table, TableDefinition, Value, WriteTransaction};

use super::LedgerError;

/// A table of one transaction, opened at most once.
pub(super) struct Lazy<'t, K: Key + 'static, V: Value + 'static> {
    write: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: Option<Table<'t, K, V>>,
}

impl<'t, K: Key + 'static, V: Value + 'static> Lazy<'t, K, V> {
    pub(super) fn new(write: &'t WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Lazy { write, definition, table: None }
    }

    pub(super) fn open(&mut self) -> Result<&mut Table<'t, K, V>, LedgerError> {
        match &mut self.table {
            Some(table) => Ok(table),
            none => Ok(none.insert(self.write.open_table(self.definition)?)),
        }
    }
}
