//! INSERT of one row or several (ExecInsert, nodeModifyTable.c).

use super::statement::Statement;
use super::stored;
use crate::counters::{self, Counter};
use crate::engine::{Rows, Stored, Table, Written};
use crate::error::CaliberResult;
use crate::pg::compat::NewEntries;
use crate::pg::context::within;
use crate::pg::datum::Value;
use crate::pg::rights::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use pgrx::pg_sys;

/// Writes `row`, which has a value for each known column.
pub(super) fn insert(table: &Table, row: &[Value]) -> CaliberResult<Written> {
    let _snapshot = ActiveSnapshot::for_write();
    let statement = Statement::begin(table, &Rights::insert());
    let written = insert_row(table, &statement, statement.new_slot(), row);
    statement.finish();
    Ok(written)
}

/// Writes several rows in one statement.
pub(super) fn insert_many(table: &Table, rows: &Rows) -> CaliberResult<Vec<Written>> {
    let _snapshot = ActiveSnapshot::for_write();
    let statement = Statement::begin(table, &Rights::insert());
    let slot = statement.new_slot();
    let mut written = Vec::with_capacity(rows.len());
    for (n, row) in rows.iter().enumerate() {
        crate::pg::check_for_interrupts();
        written.push(within(&format!("element {n}"), || {
            statement.in_row_context(|| Ok(insert_row(table, &statement, slot, row)))
        })?);
    }
    statement.finish();
    Ok(written)
}

/// Writes one row of a statement through its slot.
pub(super) fn insert_row(
    table: &Table,
    statement: &Statement,
    slot: *mut pg_sys::TupleTableSlot,
    row: &[Value],
) -> Written {
    let (estate, info) = (statement.estate, statement.info);
    // SAFETY: the slot is of the table's kind and its arrays have an element
    // for each attribute; values not known to us stay NULL. The calls follow
    // ExecInsert in its order.
    unsafe {
        pg_sys::ExecClearTuple(slot);
        let natts = (*(*slot).tts_tupleDescriptor).natts as usize;
        for i in 0..natts {
            *(*slot).tts_isnull.add(i) = true;
        }
        for (column, value) in row.iter().enumerate() {
            let i = table.relation.attribute(column) as usize - 1;
            *(*slot).tts_values.add(i) = value.datum;
            *(*slot).tts_isnull.add(i) = value.null;
        }
        table.relation.check_later_domains();
        pg_sys::ExecStoreVirtualTuple(slot);
        pg_sys::ExecMaterializeSlot(slot);

        if statement
            .triggers()
            .is_some_and(|t| t.trig_insert_before_row)
            && !crate::fault::active("before_triggers_skipped")
            && !pg_sys::ExecBRInsertTriggers(estate, info, slot)
        {
            counters::add(Counter::PathVeto);
            return if crate::fault::active("veto_unnoticed") {
                Written::Done
            } else {
                Written::Vetoed
            };
        }
        statement.check_constraints(slot);
        crate::wait::at("insert.before_heap");
        pg_sys::table_tuple_insert(
            statement.relation,
            slot,
            statement.command_id(),
            0,
            std::ptr::null_mut(),
        );
        crate::wait::at("insert.after_heap");
        let recheck = statement.index(slot, false, NewEntries::All);
        crate::wait::at("insert.after_index");
        (*estate).es_processed += 1;
        pg_sys::ExecARInsertTriggers(estate, info, slot, recheck, statement.transition);
        pg_sys::list_free(recheck);
        if table.is_watched() {
            if crate::fault::active("notify_as_given") {
                table.show(&Stored::of(row.to_vec()));
            } else {
                table.show(&stored(table, slot));
            }
        }
    }
    Written::Done
}
