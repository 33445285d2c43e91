//! A table that a verb reads before it writes another one.

use super::{Entity, Table, Via};
use crate::error::CaliberResult;
use crate::pg::relation::{Relation, READ_LOCK};
use pgrx::pg_sys::Oid;
use std::cell::RefCell;

/// Open only while it is read: a trigger of the write may alter it, as it may behind a
/// SELECT (CheckTableNotInUse, tablecmds.c). The lock stays.
#[derive(Debug)]
pub struct Consulted {
    /// As it was opened, with rights checked, until it is first read.
    table: RefCell<Option<Table>>,
    schema: Oid,
    entity: &'static Entity,
    via: Via,
    policies: bool,
}

impl From<Table> for Consulted {
    fn from(table: Table) -> Self {
        Self {
            schema: table.relation.schema(),
            entity: table.entity,
            via: table.via,
            policies: table.policies,
            table: RefCell::new(Some(table)),
        }
    }
}

impl Consulted {
    /// Reads, and closes the table.
    ///
    /// # Errors
    /// Those of `read`; 42P01 and 42804 if a trigger has altered the table since.
    pub fn read<T>(&self, read: impl FnOnce(&Table) -> CaliberResult<T>) -> CaliberResult<T> {
        let table = match self.table.take() {
            Some(table) => table,
            None => Table {
                relation: Relation::open(self.schema, &self.entity.shape, READ_LOCK)?,
                entity: self.entity,
                via: self.via,
                policies: self.policies,
                find_duplicate: false,
                watch: None,
            },
        };
        if crate::fault::active("consulted_stays_open") {
            let found = read(&table);
            self.table.replace(Some(table));
            return found;
        }
        read(&table)
    }
}
