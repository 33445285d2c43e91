//! DELETE by key (ExecDelete, nodeModifyTable.c). Index entries stay: VACUUM
//! removes them when nobody can see the row any more.

use super::statement::{concurrent_delete, concurrent_update, Statement};
use super::update::{lock_latest, self_modified, unexpected, Locked};
use super::{find, stored};
use crate::counters::{self, Counter};
use crate::engine::{Table, Written};
use crate::error::CaliberResult;
use crate::pg::compat;
use crate::pg::datum::Value;
use crate::pg::rights::Rights;
use crate::pg::slot::OwnSlot;
use crate::pg::snapshot::{transaction_keeps_snapshot, ActiveSnapshot};
use pgrx::pg_sys;

/// DELETE … WHERE key = `key`.
pub(super) fn delete(table: &Table, key: Value) -> CaliberResult<Written> {
    let _snapshot = ActiveSnapshot::for_write();
    let found = find(table, key)?;
    let statement = Statement::begin(table, &Rights::delete(table.entity.key));
    let written = match found {
        Some(slot) => delete_row(table, &statement, &slot, key)?,
        None => Written::Absent,
    };
    statement.finish();
    Ok(written)
}

/// Deletes the version in `old`, or the latest one if it still has `key`.
pub(super) fn delete_row(
    table: &Table,
    statement: &Statement,
    old: &OwnSlot,
    key: Value,
) -> CaliberResult<Written> {
    let (estate, info) = (statement.estate, statement.info);
    let mode = pg_sys::LockTupleMode::LockTupleExclusive;
    let mut failure = pg_sys::TM_FailureData::default();
    let key_column = table.entity.key;
    crate::wait::at("delete.found");
    // SAFETY: `old` holds a version that the statement's snapshot sees; the
    // calls follow ExecDelete in order.
    unsafe {
        let matches = || {
            stored(table, old.0)
                .get(key_column)
                .same(&key, table.entity.shape.columns[key_column].kind)
        };
        if statement
            .triggers()
            .is_some_and(|t| t.trig_delete_before_row)
            && !crate::fault::active("before_triggers_skipped")
        {
            match lock_latest(statement, old.0, mode, &mut failure, true)? {
                Locked::Same => {}
                Locked::Newer if matches() => {}
                Locked::Newer | Locked::Gone => return Ok(Written::Absent),
            }
            let mut tid = (*old.0).tts_tid;
            if !compat::before_row_delete(estate, statement.epq(), info, &mut tid) {
                counters::add(Counter::PathVeto);
                return Ok(Written::Vetoed);
            }
        }
        loop {
            let mut tid = (*old.0).tts_tid;
            let result = pg_sys::table_tuple_delete(
                statement.relation,
                &mut tid,
                statement.command_id(),
                (*estate).es_snapshot,
                std::ptr::null_mut(),
                true,
                &mut failure,
                false,
            );
            match result {
                pg_sys::TM_Result::TM_Ok => break,
                pg_sys::TM_Result::TM_SelfModified => {
                    self_modified(statement, &failure, false)?;
                    return Ok(Written::Absent);
                }
                pg_sys::TM_Result::TM_Updated => {
                    if transaction_keeps_snapshot() {
                        return Err(concurrent_update());
                    }
                    match lock_latest(statement, old.0, mode, &mut failure, false)? {
                        Locked::Gone => return Ok(Written::Absent),
                        Locked::Same | Locked::Newer => {}
                    }
                    if !matches() {
                        return Ok(Written::Absent);
                    }
                }
                pg_sys::TM_Result::TM_Deleted => {
                    if transaction_keeps_snapshot() {
                        return Err(concurrent_delete());
                    }
                    return Ok(Written::Absent);
                }
                other => return Err(unexpected(table, "table_tuple_delete", other)),
            }
        }
        crate::wait::at("delete.after_heap");
        (*estate).es_processed += 1;
        let mut tid = (*old.0).tts_tid;
        pg_sys::ExecARDeleteTriggers(
            estate,
            info,
            &mut tid,
            std::ptr::null_mut(),
            statement.transition,
            false,
        );
    }
    Ok(Written::Done)
}
