//! UPDATE by key, plain and under the rule of a verb (ExecUpdate,
//! nodeModifyTable.c).
//!
//! The version that the snapshot sees is updated directly; only if it turns
//! out not to be the latest one is the latest locked and checked again.

use super::statement::{concurrent_delete, concurrent_update, Statement};
use super::{find, stored};
use crate::counters::{self, Counter};
use crate::engine::{same, Changes, Rule, Stored, Table, Verdict, Written};
use crate::error::{CaliberResult, WriteCause};
use crate::pg::compat::{self, NewEntries};
use crate::pg::datum::Value;
use crate::pg::rights::Rights;
use crate::pg::slot::OwnSlot;
use crate::pg::snapshot::{transaction_keeps_snapshot, ActiveSnapshot};
use pgrx::pg_sys;
use uuid::Uuid;

/// What became of one row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Vetoed,
    /// Deleted, or changed so that it no longer matches.
    NoMatch,
}

/// UPDATE … WHERE key = `key`.
pub(super) fn update(table: &Table, key: Value, changes: &Changes) -> CaliberResult<Written> {
    let _snapshot = ActiveSnapshot::for_write();
    update_active(table, key, changes)
}

/// As [`update`], under the active snapshot.
pub(super) fn update_active(
    table: &Table,
    key: Value,
    changes: &Changes,
) -> CaliberResult<Written> {
    let found = find(table, key)?;
    let statement = Statement::begin(table, &statement_rights(table, changes));
    let outcome = match found {
        Some(slot) => update_row(
            table,
            &statement,
            &slot,
            statement.new_slot(),
            key,
            changes,
            &[],
        )?,
        None => Outcome::NoMatch,
    };
    statement.finish();
    Ok(match outcome {
        Outcome::Done => Written::Done,
        Outcome::Vetoed => Written::Vetoed,
        Outcome::NoMatch => Written::Absent,
    })
}

/// One UPDATE of several rows by key.
pub(super) fn update_each(table: &Table, keys: &[Uuid], changes: &Changes) -> CaliberResult<()> {
    let _snapshot = ActiveSnapshot::for_write();
    let statement = Statement::begin(table, &statement_rights(table, changes));
    let new = statement.new_slot();
    for &id in keys {
        statement.in_row_context(|| {
            let key = Value::uuid(id);
            if let Some(slot) = find(table, key)? {
                update_row(table, &statement, &slot, new, key, changes, &[])?;
            }
            Ok(())
        })?;
    }
    statement.finish();
    Ok(())
}

/// A verb: reads, decides, and updates the version that it decided on.
pub(super) fn change(table: &Table, key: Value, rule: &mut Rule<'_>) -> CaliberResult<bool> {
    // A trigger that vetoes may have changed the row itself: the rule is asked once
    // more whether there is still something to do. If so, the veto stands.
    let mut vetoed = false;
    loop {
        let _snapshot = ActiveSnapshot::for_write();
        let Some(slot) = find(table, key)? else {
            return Ok(false);
        };
        // SAFETY: `find` returned a row, pinned while `slot` lives.
        let seen = unsafe { stored(table, slot.0) };
        let (changes, checked) = match rule(&seen)? {
            Verdict::Answer(answer) => return Ok(answer),
            Verdict::Write { .. } if vetoed => return Ok(false),
            Verdict::Write { changes, checked } => (changes, checked),
        };
        crate::wait::at("verb.decided");
        let guard = seen.guard(table, &checked);
        let statement = Statement::begin(table, &statement_rights(table, &changes));
        let new = statement.new_slot();
        let outcome = update_row(table, &statement, &slot, new, key, &changes, &guard)?;
        statement.finish();
        match outcome {
            Outcome::Done => return Ok(true),
            Outcome::Vetoed if crate::fault::active("veto_not_looked_at") => return Ok(false),
            Outcome::Vetoed => vetoed = true,
            // Somebody else changed it: from the start, with a new snapshot.
            Outcome::NoMatch => {}
        }
        crate::pg::check_for_interrupts();
    }
}

/// The rights that the statement itself names: exactly its columns.
pub(super) fn statement_rights(table: &Table, changes: &Changes) -> Rights {
    if crate::fault::active("named_columns_lost") {
        return Rights::update(table.entity.key, Vec::new());
    }
    Rights::update(table.entity.key, changes.iter().map(|c| c.0).collect())
}

/// Updates the version in `old`, or the latest one if it still has `key` and
/// the values of `guard`; `new` is a slot of the statement for the new version.
pub(super) fn update_row(
    table: &Table,
    statement: &Statement,
    old: &OwnSlot,
    new: *mut pg_sys::TupleTableSlot,
    key: Value,
    changes: &Changes,
    guard: &[(usize, Value)],
) -> CaliberResult<Outcome> {
    let (estate, info) = (statement.estate, statement.info);
    let matches = |newest: &Stored| {
        newest
            .get(table.entity.key)
            .same(&key, table.entity.shape.columns[table.entity.key].kind)
            && same(table, newest, guard)
    };
    let mut failure = pg_sys::TM_FailureData::default();
    crate::wait::at("update.found");
    // SAFETY: `old` holds a version that the statement's snapshot sees; the
    // calls follow ExecUpdate, ExecUpdateAct and ExecUpdateEpilogue in order.
    unsafe {
        if statement
            .triggers()
            .is_some_and(|t| t.trig_update_before_row)
            && !crate::fault::active("before_triggers_skipped")
        {
            // Triggers must see the latest version: ExecBRUpdateTriggers would
            // lock it and evaluate a plan again. We have no plan, so the row
            // is locked, in the same mode, and checked here.
            let mode = pg_sys::ExecUpdateLockMode(estate, info);
            match lock_latest(statement, old.0, mode, &mut failure, true)? {
                Locked::Same => {}
                Locked::Newer if matches(&stored(table, old.0)) => {}
                Locked::Newer | Locked::Gone => return Ok(Outcome::NoMatch),
            }
            form_new(table, old.0, new, changes);
            let mut tid = (*old.0).tts_tid;
            if !compat::before_row_update(estate, statement.epq(), info, &mut tid, new) {
                counters::add(Counter::PathVeto);
                return Ok(if crate::fault::active("veto_unnoticed") {
                    Outcome::Done
                } else {
                    Outcome::Vetoed
                });
            }
        } else {
            if crate::fault::active("update_locks_first") {
                let mode = pg_sys::ExecUpdateLockMode(estate, info);
                lock_latest(statement, old.0, mode, &mut failure, false)?;
            }
            form_new(table, old.0, new, changes);
        }
        loop {
            pg_sys::ExecMaterializeSlot(new);
            statement.check_constraints(new);
            crate::wait::at("update.before_heap");
            let mut tid = (*old.0).tts_tid;
            let mut mode = pg_sys::LockTupleMode::LockTupleExclusive;
            let (result, entries) = compat::tuple_update(
                statement.relation,
                &mut tid,
                new,
                statement.command_id(),
                (*estate).es_snapshot,
                &mut failure,
                &mut mode,
            );
            match result {
                pg_sys::TM_Result::TM_Ok => {
                    let entries = if crate::fault::active("hot_flag_ignored") {
                        NewEntries::None
                    } else {
                        entries
                    };
                    counters::add(if entries == NewEntries::None {
                        Counter::PathHotUpdate
                    } else {
                        Counter::PathIndexedUpdate
                    });
                    (*estate).es_processed += 1;
                    crate::wait::at("update.after_heap");
                    let recheck = statement.index(new, true, entries);
                    crate::wait::at("update.after_index");
                    let mut tid = (*old.0).tts_tid;
                    pg_sys::ExecARUpdateTriggers(
                        estate,
                        info,
                        std::ptr::null_mut(),
                        std::ptr::null_mut(),
                        &mut tid,
                        std::ptr::null_mut(),
                        new,
                        recheck,
                        statement.transition,
                        false,
                    );
                    pg_sys::list_free(recheck);
                    return Ok(Outcome::Done);
                }
                pg_sys::TM_Result::TM_SelfModified => {
                    self_modified(statement, &failure, false)?;
                    return Ok(Outcome::NoMatch);
                }
                pg_sys::TM_Result::TM_Updated => {
                    // A verb would begin again and again under its old snapshot.
                    let lost = guard.is_empty() && crate::fault::active("old_snapshot_update");
                    if transaction_keeps_snapshot() && !lost {
                        return Err(concurrent_update());
                    }
                    crate::wait::at("update.before_lock");
                    match lock_latest(statement, old.0, mode, &mut failure, false)? {
                        Locked::Gone => return Ok(Outcome::NoMatch),
                        Locked::Same | Locked::Newer => {}
                    }
                    crate::wait::at("update.after_lock");
                    if !crate::fault::active("newest_not_rechecked")
                        && !matches(&stored(table, old.0))
                    {
                        counters::add(Counter::PathNoMatch);
                        return Ok(Outcome::NoMatch);
                    }
                    if !crate::fault::active("lost_update") {
                        form_new(table, old.0, new, changes);
                    }
                }
                pg_sys::TM_Result::TM_Deleted => {
                    if transaction_keeps_snapshot() {
                        return Err(concurrent_delete());
                    }
                    return Ok(Outcome::NoMatch);
                }
                other => return Err(unexpected(table, "table_tuple_update", other)),
            }
        }
    }
}

/// Stores in `new` the row of `old` with the changes applied.
///
/// # Safety
/// `old` holds a row of the table, `new` is a slot of its kind.
unsafe fn form_new(
    table: &Table,
    old: *mut pg_sys::TupleTableSlot,
    new: *mut pg_sys::TupleTableSlot,
    changes: &Changes,
) {
    // SAFETY: both slots have the table's descriptor, so the arrays have the
    // same number of elements. Unchanged out-of-line values are carried over
    // as pointers, which the heap recognises. The tuple is materialized while
    // `old` still pins the values.
    unsafe {
        pg_sys::slot_getallattrs(old);
        pg_sys::ExecClearTuple(new);
        let natts = (*(*new).tts_tupleDescriptor).natts as usize;
        std::ptr::copy_nonoverlapping((*old).tts_values, (*new).tts_values, natts);
        std::ptr::copy_nonoverlapping((*old).tts_isnull, (*new).tts_isnull, natts);
        for &(column, value) in changes {
            let i = table.relation.attribute(column) as usize - 1;
            *(*new).tts_values.add(i) = value.datum;
            *(*new).tts_isnull.add(i) = value.null;
        }
        pg_sys::ExecStoreVirtualTuple(new);
        pg_sys::ExecMaterializeSlot(new);
    }
}

/// What locking a row found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Locked {
    /// The version that was seen is the latest.
    Same,
    /// A newer version, now in the slot.
    Newer,
    /// The row was deleted.
    Gone,
}

/// Locks the latest version of the row in `slot` and puts it there
/// (GetTupleForTrigger, trigger.c, and the TM_Updated case of ExecUpdate).
///
/// # Safety
/// `slot` holds a version that the statement's snapshot sees.
pub(super) unsafe fn lock_latest(
    statement: &Statement,
    slot: *mut pg_sys::TupleTableSlot,
    mode: pg_sys::LockTupleMode::Type,
    failure: *mut pg_sys::TM_FailureData,
    for_trigger: bool,
) -> CaliberResult<Locked> {
    let lost = !for_trigger && crate::fault::active("old_snapshot_update");
    let keeps = transaction_keeps_snapshot() && !lost;
    let flags = if keeps {
        0
    } else {
        pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION
    };
    // SAFETY: the caller's promise; the slot is of the table's kind.
    let result = unsafe {
        let mut tid = (*slot).tts_tid;
        pg_sys::table_tuple_lock(
            statement.relation,
            &mut tid,
            (*statement.estate).es_snapshot,
            slot,
            statement.command_id(),
            mode,
            pg_sys::LockWaitPolicy::LockWaitBlock,
            flags as u8,
            failure,
        )
    };
    match result {
        pg_sys::TM_Result::TM_Ok => {
            // SAFETY: table_tuple_lock filled the failure data.
            Ok(if unsafe { (*failure).traversed } {
                counters::add(Counter::PathUpdateChain);
                Locked::Newer
            } else {
                Locked::Same
            })
        }
        pg_sys::TM_Result::TM_SelfModified => {
            // SAFETY: as above.
            self_modified(statement, unsafe { &*failure }, for_trigger)?;
            Ok(Locked::Gone)
        }
        pg_sys::TM_Result::TM_Updated => Err(concurrent_update()),
        pg_sys::TM_Result::TM_Deleted if keeps => Err(concurrent_delete()),
        _ => Ok(Locked::Gone),
    }
}

/// The row was changed by our own transaction since the snapshot: by this
/// command, which is ignored, or by one that a trigger ran, which is 27000.
pub(super) fn self_modified(
    statement: &Statement,
    failure: &pg_sys::TM_FailureData,
    for_trigger: bool,
) -> CaliberResult<()> {
    counters::add(Counter::PathSelfModified);
    if failure.cmax == statement.command_id() {
        return Ok(());
    }
    Err(statement.changed_by_trigger(for_trigger))
}

/// An answer of the access method that cannot happen here.
pub(super) fn unexpected(
    table: &Table,
    what: &str,
    result: pg_sys::TM_Result::Type,
) -> crate::error::CaliberError {
    table.refused(
        WriteCause::State,
        format!("unexpected {what} status: {result}"),
        None,
    )
}
