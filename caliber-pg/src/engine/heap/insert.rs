//! INSERT of one row (ExecInsert, nodeModifyTable.c).

use super::statement::Statement;
use crate::engine::{Table, Written};
use crate::error::CaliberResult;
use crate::pg::compat::NewEntries;
use crate::pg::datum::Value;
use crate::pg::rights::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use pgrx::pg_sys;

/// Writes `row`, which has a value for each known column.
pub(super) fn insert(table: &Table, row: &[Value]) -> CaliberResult<Written> {
    let _snapshot = ActiveSnapshot::for_write();
    let statement = Statement::begin(table, &Rights::insert());
    let written = insert_row(table, &statement, row);
    statement.finish();
    Ok(written)
}

fn insert_row(table: &Table, statement: &Statement, row: &[Value]) -> Written {
    let slot = statement.new_slot();
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
        pg_sys::ExecStoreVirtualTuple(slot);
        pg_sys::ExecMaterializeSlot(slot);

        if statement
            .triggers()
            .is_some_and(|t| t.trig_insert_before_row)
            && !pg_sys::ExecBRInsertTriggers(estate, info, slot)
        {
            return Written::Vetoed;
        }
        statement.check_constraints(slot);
        pg_sys::table_tuple_insert(
            statement.relation,
            slot,
            statement.command_id(),
            0,
            std::ptr::null_mut(),
        );
        let recheck = statement.index(slot, false, NewEntries::All);
        (*estate).es_processed += 1;
        pg_sys::ExecARInsertTriggers(estate, info, slot, recheck, statement.transition);
        pg_sys::list_free(recheck);
    }
    Written::Done
}
