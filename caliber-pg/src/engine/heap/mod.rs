//! The `heap` engine: builds tuples, writes them, maintains every index,
//! checks every constraint and fires every trigger, as nodeModifyTable.c does
//! for the equivalent statement, without parsing or planning one.
#![allow(unsafe_code)]

mod delete;
mod insert;
mod statement;
mod update;

use super::sql::Sql;
use super::{Changes, Engine, List, Rule, Stored, Table, Written};
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::index::Wanted;
use crate::pg::row::{slot_attributes, AnyRow, OwnSlot, RowMaker, RowSink};
use crate::pg::scan::Scan;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::Planning;
use pgrx::pg_sys;
use uuid::Uuid;

/// Direct access to heap and indexes.
#[derive(Debug)]
pub struct Heap;

impl Engine for Heap {
    fn insert(&self, table: &Table, row: &[Value]) -> CaliberResult<Written> {
        insert::insert(table, row)
    }

    fn insert_if_new(&self, table: &Table, row: &[Value]) -> CaliberResult<Written> {
        // `sql` takes over under on_duplicate = return, so no call comes here;
        // if one did, that engine would still be the one that knows how.
        let sql = Sql {
            planning: Planning::Kept,
        };
        sql.insert_if_new(table, row)
    }

    fn get(&self, table: &Table, key: Value) -> CaliberResult<Option<AnyRow>> {
        let snapshot = ActiveSnapshot::for_read();
        let scan = by_key(table, key)?.seeing(&table.relation, &snapshot);
        Ok(first(table, scan))
    }

    fn list(&self, table: &Table, list: &List<'_>, sink: &mut RowSink) -> CaliberResult<()> {
        let snapshot = ActiveSnapshot::for_read();
        sink.prepare(&table.relation, table.relation.descriptor());
        let mut left = list.max_rows.unwrap_or(i64::MAX);
        let mut scan = Scan::begin(&table.relation, &wanted(table, list), list.after, false)?
            .seeing(&table.relation, &snapshot);
        while left > 0 {
            let Some(slot) = scan.next() else { break };
            // SAFETY: the scan returned a stored row in the slot.
            let (values, nulls) = unsafe { slot_attributes(slot) };
            sink.put(values, nulls);
            left -= 1;
        }
        Ok(())
    }

    fn last(&self, table: &Table, list: &List<'_>) -> CaliberResult<Option<AnyRow>> {
        let snapshot = ActiveSnapshot::for_read();
        let scan = Scan::begin(&table.relation, &wanted(table, list), list.after, true)?
            .seeing(&table.relation, &snapshot);
        Ok(first(table, scan))
    }

    fn exists(&self, table: &Table, key: Value) -> CaliberResult<bool> {
        let _snapshot = ActiveSnapshot::for_write();
        let mut scan = by_key(table, key)?;
        Ok(scan.next().is_some())
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
        let equals = [(by, Value::uuid(value))];
        let order = (by != table.entity.key).then_some(table.entity.key);
        let wanted = Wanted {
            equals: &equals,
            tests: &[],
            order,
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

fn wanted<'a>(table: &Table, list: &'a List<'_>) -> Wanted<'a> {
    Wanted {
        equals: list.equals,
        tests: list.tests,
        order: Some(table.entity.key),
        unique: false,
    }
}

/// The first row of a scan, as a row of the row type.
fn first(table: &Table, mut scan: Scan<'_>) -> Option<AnyRow> {
    let maker = RowMaker::new(&table.relation, table.relation.descriptor());
    scan.next().map(|slot| {
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
        unique: true,
    };
    Scan::begin(&table.relation, &wanted, None, false)
}

/// The version of the row with this key that the active snapshot sees, pinned.
fn find(table: &Table, key: Value) -> CaliberResult<Option<OwnSlot>> {
    let mut scan = by_key(table, key)?;
    let found = scan.next().is_some();
    Ok(found.then(|| scan.into_slot()))
}

/// The known columns of the row in a slot; they point into it.
///
/// # Safety
/// `slot` holds a row of the table; it is not cleared while the values live.
unsafe fn stored(table: &Table, slot: *mut pg_sys::TupleTableSlot) -> Stored {
    // SAFETY: the caller's promise.
    let (values, nulls) = unsafe { slot_attributes(slot) };
    Stored(
        table
            .relation
            .attributes
            .iter()
            .map(|&number| {
                let i = number as usize - 1;
                Value::new(values[i], nulls[i])
            })
            .collect(),
    )
}
