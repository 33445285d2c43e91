//! Claiming rows: locked without waiting, in order, and updated in the same
//! statement (nodeLockRows.c, nodeModifyTable.c).
//!
//! Each row is updated as soon as it is locked, as in a nested loop over the
//! rows that are locked. What comes out is in the order of the new versions,
//! which a trigger may have changed.

use super::list;
use super::statement::{concurrent_update, Statement};
use super::update::{statement_rights, unexpected, update_row, Outcome};
use super::{find, stored, Heap};
use crate::counters::{self, Counter};
use crate::engine::claim::{Claim, Claims};
use crate::engine::list::List;
use crate::engine::Table;
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::relation::ColumnType;
use crate::pg::row::RowSink;
use crate::pg::slot::OwnSlot;
use crate::pg::snapshot::{transaction_keeps_snapshot, ActiveSnapshot};
use pgrx::pg_sys;
use uuid::Uuid;

/// Where a new version is, and where it comes in the order.
struct Place {
    rank: usize,
    key: Option<Uuid>,
    tid: pg_sys::ItemPointerData,
}

impl Claims for Heap {
    fn claim(&self, table: &Table, claim: &Claim<'_>, sink: &mut RowSink) -> CaliberResult<()> {
        let snapshot = ActiveSnapshot::for_write();
        // Made before the statement, whose memory goes when it ends.
        let slot = OwnSlot::new(&table.relation);
        let statement = Statement::begin(table, &statement_rights(table, &claim.changes));
        let mut places = Vec::new();
        if let Some(value) = decides(claim)? {
            let list = (claim.rows)(value);
            let new = statement.new_slot();
            list::each(table, &list, &snapshot, &mut |seen| {
                // SAFETY: the list gives a row that the statement sees.
                let free = unsafe { lock_row(table, &statement, &list, seen, &slot)? };
                if free {
                    crate::wait::at("claim.locked");
                    statement.in_row_context(|| {
                        let key = key_of(table, slot.0);
                        // The UPDATE is joined to what was locked by the key, and does not
                        // see one that the row was given since. (Where a user has dropped
                        // the key, one that is NULL joins nothing, as in SQL; of rows with
                        // the same each is claimed by itself.)
                        let is_seen =
                            !key.is_null() && key.same(&key_of(table, seen), ColumnType::Uuid);
                        if !is_seen && !crate::fault::active("claim_of_new_key") {
                            return Ok(());
                        }
                        let changes = &claim.changes;
                        let outcome = update_row(table, &statement, &slot, new, key, changes, &[])?;
                        if outcome == Outcome::Done {
                            // SAFETY: the update stored the new version there.
                            places.push(unsafe { place(table, &list, new) });
                        }
                        Ok(())
                    })?;
                }
                Ok(free)
            })?;
        }
        places.sort_by_key(|place| (place.rank, place.key.is_none(), place.key));
        sink.prepare(&table.relation, table.relation.descriptor());
        for place in places {
            // SAFETY: this transaction wrote the version just now.
            unsafe {
                fetch(table, place.tid, &slot)?;
                sink.put_slot(slot.0);
            }
        }
        statement.finish();
        Ok(())
    }
}

/// The value that decides what is claimed, as the statement sees it.
fn decides(claim: &Claim<'_>) -> CaliberResult<Option<Value>> {
    let kind = claim.by.entity.shape.columns[claim.column].kind;
    Ok(find(claim.by, claim.key)?.map(|slot| {
        // SAFETY: `find` returned a row, pinned while the slot lives.
        let row = unsafe { stored(claim.by, slot.0) };
        row.get(claim.column).copied(kind)
    }))
}

/// Locks a row and puts its latest version into `locked`. False if somebody
/// else has locked it, or its latest version is no row of the list.
///
/// # Safety
/// As [`lock_or_skip`].
unsafe fn lock_row(
    table: &Table,
    statement: &Statement,
    list: &List<'_>,
    seen: *mut pg_sys::TupleTableSlot,
    locked: &OwnSlot,
) -> CaliberResult<bool> {
    let mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
    // SAFETY: the caller's promise.
    match unsafe { lock_or_skip(table, statement, seen, locked, mode)? } {
        Free::No => Ok(false),
        Free::Seen => Ok(true),
        Free::Newer if crate::fault::active("claim_not_rechecked") => Ok(true),
        // SAFETY: the version that was locked is in the slot.
        Free::Newer => list.holds(table, &unsafe { stored(table, locked.0) }),
    }
}

/// Whether a row could be locked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Free {
    /// Somebody else has it, or it is gone.
    No,
    /// It is locked, in the version that was seen.
    Seen,
    /// It is locked, in a version that came later.
    Newer,
}

/// Locks the latest version of the row in `seen` without waiting, and puts it
/// into `locked` (ExecLockRows, nodeLockRows.c).
///
/// # Safety
/// `seen` holds a row of the table that the statement's snapshot sees.
pub(super) unsafe fn lock_or_skip(
    table: &Table,
    statement: &Statement,
    seen: *mut pg_sys::TupleTableSlot,
    locked: &OwnSlot,
    mode: pg_sys::LockTupleMode::Type,
) -> CaliberResult<Free> {
    let keeps = transaction_keeps_snapshot();
    let mut flags = pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
    if !keeps {
        flags |= pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
    }
    let policy = if crate::fault::active("claim_waits") {
        pg_sys::LockWaitPolicy::LockWaitBlock
    } else {
        pg_sys::LockWaitPolicy::LockWaitSkip
    };
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: the caller's promise; `locked` is a slot of the table's kind.
    let result = unsafe {
        let mut tid = (*seen).tts_tid;
        pg_sys::table_tuple_lock(
            statement.relation,
            &mut tid,
            (*statement.estate).es_snapshot,
            locked.0,
            statement.command_id(),
            mode,
            policy,
            flags as u8,
            &mut failure,
        )
    };
    match result {
        pg_sys::TM_Result::TM_Ok if failure.traversed => {
            counters::add(Counter::PathUpdateChain);
            Ok(Free::Newer)
        }
        pg_sys::TM_Result::TM_Ok => Ok(Free::Seen),
        pg_sys::TM_Result::TM_WouldBlock => {
            counters::add(Counter::PathLockSkipped);
            Ok(Free::No)
        }
        // Changed by a trigger of this statement, or by what it called.
        pg_sys::TM_Result::TM_SelfModified => Ok(Free::No),
        // ExecLockRows says "update" of a deleted row too.
        pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted if keeps => {
            Err(concurrent_update())
        }
        pg_sys::TM_Result::TM_Deleted => Ok(Free::No),
        other => Err(unexpected(table, "table_tuple_lock", other)),
    }
}

/// Puts a version into a slot.
///
/// # Safety
/// This transaction wrote the version at `tid`.
unsafe fn fetch(
    table: &Table,
    mut tid: pg_sys::ItemPointerData,
    slot: &OwnSlot,
) -> CaliberResult<()> {
    // SAFETY: the caller's promise. SnapshotAny also finds what a later command
    // of ours, a trigger's, has replaced already.
    let found = unsafe {
        let any = std::ptr::addr_of_mut!(pg_sys::SnapshotAnyData);
        pg_sys::table_tuple_fetch_row_version(table.relation.ptr, &mut tid, any, slot.0)
    };
    if found {
        return Ok(());
    }
    let result = pg_sys::TM_Result::TM_Invisible;
    Err(unexpected(table, "table_tuple_fetch_row_version", result))
}

/// A copy of the key of the row in a slot.
fn key_of(table: &Table, slot: *mut pg_sys::TupleTableSlot) -> Value {
    let column = table.entity.key;
    // SAFETY: the caller has put a row of the table there.
    let row = unsafe { stored(table, slot) };
    row.get(column)
        .copied(table.entity.shape.columns[column].kind)
}

/// Where the version in a slot is, and where it comes in the list's order.
///
/// # Safety
/// The slot holds a stored row of the table.
unsafe fn place(table: &Table, list: &List<'_>, slot: *mut pg_sys::TupleTableSlot) -> Place {
    // SAFETY: the caller's promise.
    unsafe {
        let row = stored(table, slot);
        Place {
            rank: list.rank_of(&row),
            key: row.get(table.entity.key).as_uuid(),
            tid: (*slot).tts_tid,
        }
    }
}
