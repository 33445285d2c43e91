//! The `heap` engine: builds tuples, writes them, maintains every index,
//! checks every constraint and fires every trigger, as nodeModifyTable.c does
//! for the equivalent statement, without parsing or planning one.
#![allow(unsafe_code)]

mod accept;
mod claim;
mod delete;
mod insert;
mod list;
mod lock_rows;
mod purge;
mod search;
mod statement;
mod update;

pub(in crate::engine) use lock_rows::remove_quietly;

use super::list::{List, Range};
use super::sql::Sql;
use super::{Changes, Engine, Rows, Rule, Stored, Table, Written};
use crate::error::CaliberResult;
use crate::pg::chain;
use crate::pg::datum::Value;
use crate::pg::index::Wanted;
use crate::pg::maker::RowMaker;
use crate::pg::rights::check_owner_may_select;
use crate::pg::row::{AnyRow, RowSink};
use crate::pg::scan::Scan;
use crate::pg::slot::{slot_attributes, OwnSlot, SlotRow};
use crate::pg::snapshot::{transaction_keeps_snapshot, ActiveSnapshot};
use crate::pg::spi::Planning;
use pgrx::pg_sys;
use std::collections::HashSet;
use uuid::Uuid;

/// Direct access to heap and indexes.
#[derive(Debug)]
pub struct Heap;

/// `sql` takes over under on_duplicate = return, so that no such call comes
/// here; if one did, that engine would still be the one that knows how.
const SQL: Sql = Sql {
    planning: Planning::Kept,
};

impl Engine for Heap {
    fn insert(&self, table: &Table, row: &[Value]) -> CaliberResult<Written> {
        insert::insert(table, row)
    }

    fn insert_many(&self, table: &Table, rows: &Rows, if_new: bool) -> CaliberResult<Vec<Written>> {
        if if_new {
            return SQL.insert_many(table, rows, if_new);
        }
        insert::insert_many(table, rows)
    }

    fn insert_if_new(&self, table: &Table, row: &[Value]) -> CaliberResult<Written> {
        SQL.insert_if_new(table, row)
    }

    fn get(&self, table: &Table, key: Value) -> CaliberResult<Option<AnyRow>> {
        let snapshot = ActiveSnapshot::for_read();
        let scan = by_key(table, key)?.seeing(&table.relation, table.entity.key, &snapshot);
        Ok(first(table, scan))
    }

    fn list(&self, table: &Table, list: &List<'_>, sink: &mut RowSink) -> CaliberResult<()> {
        let snapshot = ActiveSnapshot::for_read();
        sink.prepare(&table.relation, table.relation.descriptor());
        list::each(table, list, &snapshot, &mut |slot| {
            // SAFETY: the slot holds a row of the table.
            unsafe { sink.put_slot(slot) };
            Ok(true)
        })
    }

    fn last(&self, table: &Table, list: &List<'_>) -> CaliberResult<Option<AnyRow>> {
        let snapshot = ActiveSnapshot::for_read();
        let maker = RowMaker::borrowed(&table.relation, table.relation.descriptor());
        let mut found = None;
        list::each(table, list, &snapshot, &mut |slot| {
            // SAFETY: the slot holds a row of the table.
            let (values, nulls) = unsafe { slot_attributes(slot) };
            found = Some(maker.datum(values, nulls));
            Ok(true)
        })?;
        Ok(found)
    }

    fn fetch(
        &self,
        table: &Table,
        key: Value,
        columns: &[usize],
    ) -> CaliberResult<Option<Vec<Value>>> {
        let _snapshot = ActiveSnapshot::for_write();
        let mut scan = by_key(table, key)?;
        Ok(scan.next().map(|slot| {
            // SAFETY: the scan returned a stored row in the slot.
            let row = unsafe { stored(table, slot) };
            row.copies(table, columns)
        }))
    }

    fn greatest(&self, table: &Table, range: &Range, column: usize) -> CaliberResult<Value> {
        let wanted = Wanted {
            equals: &range.equals,
            tests: &range.tests,
            order: Some(column),
            through: None,
            unique: false,
        };
        let mut scan = Scan::begin(&table.relation, &wanted, None, true)?;
        while let Some(slot) = scan.next() {
            // SAFETY: the scan returned a stored row in the slot.
            let value = unsafe { stored(table, slot) }.get(column);
            // NULLs, where a user allows them, come first from behind.
            if !value.null {
                return Ok(value.copied(table.entity.shape.columns[column].kind));
            }
        }
        Ok(Value::NULL)
    }

    fn exists(&self, table: &Table, key: Value) -> CaliberResult<bool> {
        let _snapshot = ActiveSnapshot::for_write();
        let mut scan = by_key(table, key)?;
        Ok(scan.next().is_some())
    }

    fn existing(&self, table: &Table, keys: &[Uuid]) -> CaliberResult<HashSet<Uuid>> {
        SQL.existing(table, keys)
    }

    fn update(&self, table: &Table, key: Value, changes: &Changes) -> CaliberResult<Written> {
        update::update(table, key, changes)
    }

    fn change(&self, table: &Table, key: Value, rule: &mut Rule<'_>) -> CaliberResult<bool> {
        update::change(table, key, rule)
    }

    fn update_each(&self, table: &Table, keys: &[Uuid], changes: &Changes) -> CaliberResult<()> {
        update::update_each(table, keys, changes)
    }

    fn delete(&self, table: &Table, key: Value) -> CaliberResult<Written> {
        delete::delete(table, key)
    }

    fn peek(
        &self,
        table: &Table,
        by: usize,
        value: Uuid,
        want: &[usize],
    ) -> CaliberResult<Vec<Vec<Option<Uuid>>>> {
        check_owner_may_select(&table.relation);
        let equals = [(by, Value::uuid(value))];
        let order = (by != table.entity.key).then_some(table.entity.key);
        let wanted = Wanted {
            equals: &equals,
            tests: &[],
            order,
            through: None,
            unique: false,
        };
        let mut rows = Vec::new();
        let mut scan = Scan::begin(&table.relation, &wanted, None, false)?;
        while let Some(slot) = scan.next() {
            // SAFETY: the scan returned a stored row in the slot.
            let stored = unsafe { stored(table, slot) };
            rows.push(want.iter().map(|&c| stored.get(c).as_uuid()).collect());
        }
        Ok(rows)
    }
}

/// The first row of a scan, as a row of the row type.
fn first(table: &Table, mut scan: Scan<'_>) -> Option<AnyRow> {
    scan.next().map(|slot| {
        let maker = RowMaker::borrowed(&table.relation, table.relation.descriptor());
        // SAFETY: the scan returned a stored row in the slot.
        let (values, nulls) = unsafe { slot_attributes(slot) };
        maker.datum(values, nulls)
    })
}

/// A scan for the row with this key under the active snapshot.
fn by_key(table: &Table, key: Value) -> CaliberResult<Scan<'_>> {
    let equals = [(table.entity.key, key)];
    let wanted = Wanted {
        equals: &equals,
        tests: &[],
        order: None,
        through: None,
        unique: true,
    };
    Scan::begin(&table.relation, &wanted, None, false)
}

/// The version of the row with this key that the active snapshot sees, pinned.
///
/// A transaction that keeps its snapshot sees two where another one has deleted the row
/// since, or given it another key, and it has written one of that key itself. Then it is
/// the other's: SQL comes to both, and is refused there (40001).
fn find(table: &Table, key: Value) -> CaliberResult<Option<OwnSlot>> {
    let mut scan = by_key(table, key)?;
    let Some(slot) = scan.next() else {
        return Ok(None);
    };
    // SAFETY: the scan returned a stored, pinned row in the slot.
    let is_own = transaction_keeps_snapshot() && unsafe { chain::is_own_version(slot) };
    if !is_own || crate::fault::active("first_of_key_only") {
        return Ok(Some(scan.into_slot()));
    }
    if scan.next().is_some() {
        return Ok(Some(scan.into_slot()));
    }
    let mut scan = by_key(table, key)?;
    let found = scan.next().is_some();
    Ok(found.then(|| scan.into_slot()))
}

/// The row in a slot.
///
/// # Safety
/// `slot` holds this row of the table as long as what is returned, and any value that
/// was read of it, lives. (After table_tuple_lock it holds one only if that succeeded.)
unsafe fn stored(table: &Table, slot: *mut pg_sys::TupleTableSlot) -> Stored<'_> {
    // SAFETY: the caller's promise.
    Stored::in_slot(unsafe { SlotRow::new(slot, &table.relation) })
}
