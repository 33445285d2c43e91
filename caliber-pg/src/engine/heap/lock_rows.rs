//! Rows of locks: found as of now, and locked without waiting.

use super::statement::{concurrent_update, Statement};
use super::update::{unexpected, update_active};
use super::{by_key, delete, find, stored, Heap};
use crate::coordination::row::{Level, LockRow};
use crate::counters::{self, Counter};
use crate::engine::locks::{LockRows, Strength, Wanted as WantedRow};
use crate::engine::{Changes, Table, Written};
use crate::entity::lock::column::{LOCK_ID, RESOURCE_ID, RESOURCE_TYPE};
use crate::error::CaliberResult;
use crate::pg::chain;
use crate::pg::datum::Value;
use crate::pg::index::Wanted;
use crate::pg::rights::{check_owner_may_select, Rights};
use crate::pg::scan::Scan;
use crate::pg::slot::OwnSlot;
use crate::pg::snapshot::{transaction_keeps_snapshot, ActiveSnapshot};
use pgrx::pg_sys;
use uuid::Uuid;

impl LockRows for Heap {
    fn of_resource(&self, table: &Table, kind: Value, id: Uuid) -> CaliberResult<Vec<LockRow>> {
        check_owner_may_select(&table.relation);
        let _snapshot = now();
        let equals = [(RESOURCE_TYPE, kind), (RESOURCE_ID, Value::uuid(id))];
        let mut rows = Vec::new();
        let mut scan = Scan::begin(&table.relation, &in_key_order(&equals), None, false)?;
        while let Some(slot) = scan.next() {
            // SAFETY: the scan returned a stored row in the slot.
            rows.push(LockRow::read(&unsafe { stored(table, slot) }));
        }
        Ok(rows)
    }

    fn as_of_now(&self, table: &Table, id: Uuid) -> CaliberResult<Option<LockRow>> {
        check_owner_may_select(&table.relation);
        let _snapshot = now();
        let mut scan = by_key(table, Value::uuid(id))?;
        Ok(scan.next().map(|slot| {
            // SAFETY: the scan returned a stored row in the slot.
            LockRow::read(&unsafe { stored(table, slot) })
        }))
    }

    fn is_of_this_transaction(&self, table: &Table, id: Uuid) -> CaliberResult<bool> {
        check_owner_may_select(&table.relation);
        // Sees all that this transaction wrote, in a parallel query too.
        let _snapshot = ActiveSnapshot::for_read();
        let mut scan = by_key(table, Value::uuid(id))?;
        Ok(scan.next().is_some_and(|slot| {
            // SAFETY: the scan returned a stored, pinned row in the slot.
            unsafe { chain::is_own_version(slot) }
        }))
    }

    fn try_lock(&self, table: &Table, id: Uuid, how: Strength) -> CaliberResult<Option<LockRow>> {
        let _snapshot = now();
        lock(table, id, how, pg_sys::LockWaitPolicy::LockWaitSkip)
    }

    fn lock(&self, table: &Table, id: Uuid, how: Strength) -> CaliberResult<Option<LockRow>> {
        let _snapshot = ActiveSnapshot::for_write();
        lock(table, id, how, pg_sys::LockWaitPolicy::LockWaitBlock)
    }

    fn renew(&self, table: &Table, id: Uuid, changes: &Changes) -> CaliberResult<Written> {
        let _snapshot = now();
        update_active(table, Value::uuid(id), changes)
    }

    fn find(&self, table: &Table, wanted: &mut WantedRow<'_>) -> CaliberResult<Vec<Uuid>> {
        let _snapshot = now();
        let mut found = Vec::new();
        let mut scan = Scan::begin(&table.relation, &in_key_order(&[]), None, false)?;
        while let Some(slot) = scan.next() {
            // SAFETY: the scan returned a stored row in the slot.
            let row = LockRow::read(&unsafe { stored(table, slot) });
            if wanted(&row)? {
                found.push(row.id);
            }
        }
        Ok(found)
    }

    fn sweep(&self, table: &Table, ids: &[Uuid], wanted: &mut WantedRow<'_>) -> CaliberResult<u64> {
        let _snapshot = now();
        let statement = Statement::begin(table, &Rights::delete(LOCK_ID));
        let mut swept = 0;
        for &id in ids {
            crate::pg::check_for_interrupts();
            let written = statement.in_row_context(|| {
                let key = Value::uuid(id);
                let Some(slot) = find(table, key)? else {
                    return Ok(Written::Absent);
                };
                let skip = pg_sys::LockWaitPolicy::LockWaitSkip;
                let command = statement.command_id();
                match lock_version(table, &slot, id, Strength::Update, skip, command)? {
                    Held::Row(row) if wanted(&row)? => {
                        delete::delete_row(table, &statement, &slot, key)
                    }
                    // The version that the statement sees: SQL's DELETE raises 27000.
                    Held::Ours => match find(table, key)? {
                        Some(seen) => delete::delete_row(table, &statement, &seen, key),
                        None => Ok(Written::Absent),
                    },
                    _ => Ok(Written::Absent),
                }
            })?;
            swept += u64::from(written == Written::Done);
        }
        statement.finish();
        Ok(swept)
    }
}

/// What has been committed by now, and all that our own commands did.
fn now() -> ActiveSnapshot {
    if crate::fault::active("lock_stale_snapshot") {
        return ActiveSnapshot::for_write();
    }
    ActiveSnapshot::latest()
}

fn in_key_order<'a>(equals: &'a [(usize, Value)]) -> Wanted<'a> {
    Wanted {
        equals,
        tests: &[],
        order: Some(LOCK_ID),
        through: None,
        unique: false,
    }
}

/// Finds a row under the active snapshot and locks it.
fn lock(
    table: &Table,
    id: Uuid,
    how: Strength,
    policy: pg_sys::LockWaitPolicy::Type,
) -> CaliberResult<Option<LockRow>> {
    let Some(slot) = find(table, Value::uuid(id))? else {
        return Ok(None);
    };
    // SAFETY: reads and sets backend state.
    let command = unsafe { pg_sys::GetCurrentCommandId(true) };
    match lock_version(table, &slot, id, how, policy, command)? {
        Held::Row(row) => Ok(Some(row)),
        Held::Nothing | Held::Ours => Ok(None),
    }
}

/// What became of an attempt to lock a row.
enum Held {
    /// The version that is locked.
    Row(LockRow),
    /// Somebody is in the way, or the row is gone or has another key.
    Nothing,
    /// A trigger of the running statement, or what it called, changed the row.
    Ours,
}

/// Locks the latest version of the row in `slot` and puts it there; versions that
/// are being written too, or the lock would end with their transaction
/// (ExecLockRows, nodeLockRows.c). `command` is that of the statement.
fn lock_version(
    table: &Table,
    slot: &OwnSlot,
    id: Uuid,
    how: Strength,
    policy: pg_sys::LockWaitPolicy::Type,
    command: pg_sys::CommandId,
) -> CaliberResult<Held> {
    let keeps = transaction_keeps_snapshot();
    let mut flags = pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
    if crate::fault::active("lock_old_version_only") {
        flags = 0;
    }
    if !keeps {
        flags |= pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
    }
    let mode = match how {
        Strength::KeyShare => pg_sys::LockTupleMode::LockTupleKeyShare,
        Strength::NoKeyUpdate => pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
        Strength::Update => pg_sys::LockTupleMode::LockTupleExclusive,
    };
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: the slot is of the table's kind and holds a version that the
    // active snapshot sees; it receives the version that is locked.
    let result = unsafe {
        let mut tid = (*slot.0).tts_tid;
        pg_sys::table_tuple_lock(
            table.relation.ptr,
            &mut tid,
            pg_sys::GetActiveSnapshot(),
            slot.0,
            command,
            mode,
            policy,
            flags as u8,
            &mut failure,
        )
    };
    match result {
        pg_sys::TM_Result::TM_Ok => {
            if failure.traversed {
                counters::add(Counter::PathUpdateChain);
            }
            // SAFETY: table_tuple_lock stored the locked version in the slot.
            let row = LockRow::read(&unsafe { stored(table, slot.0) });
            Ok(if row.id == id {
                Held::Row(row)
            } else {
                Held::Nothing
            })
        }
        pg_sys::TM_Result::TM_WouldBlock => Ok(Held::Nothing),
        pg_sys::TM_Result::TM_SelfModified => Ok(Held::Ours),
        pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted if keeps => {
            Err(concurrent_update())
        }
        pg_sys::TM_Result::TM_Deleted => Ok(Held::Nothing),
        other => Err(unexpected(table, "table_tuple_lock", other)),
    }
}

/// Deletes the row of level transaction with this key, which this transaction wrote,
/// without firing users' triggers, but with the checks of keys that refer to it. Runs
/// just before commit, when deferred triggers have been fired.
pub(in crate::engine) fn remove_quietly(table: &Table, key: Value) -> CaliberResult<()> {
    let _snapshot = ActiveSnapshot::for_write();
    // Without an index on the key the row stays, and is dead.
    let Ok(mut scan) = by_key(table, key) else {
        return Ok(());
    };
    // The key may have been given to another lock since its own was released.
    loop {
        let Some(slot) = scan.next() else {
            return Ok(());
        };
        // SAFETY: the scan returned a stored, pinned row in the slot.
        let (row, is_ours) = unsafe {
            let row = LockRow::read(&stored(table, slot));
            (row, chain::is_own_version(slot))
        };
        let by_key_only = crate::fault::active("lock_row_by_key_only");
        if by_key_only || row.level == Level::Transaction && is_ours {
            break;
        }
    }
    let slot = scan.into_slot();
    let [statement] = Statement::parts([(table, &Rights::delete(LOCK_ID))]);
    // SAFETY: the statement's own copy, or NULL.
    unsafe { keep_key_checks((*statement.info).ri_TrigDesc) };
    delete::delete_row(table, &statement, &slot, key)?;
    statement.finish();
    Ok(())
}

/// Leaves in a statement's own copy of the trigger descriptor only what checks, on
/// DELETE, the keys that refer to the table: at once, and without the action of a key
/// that has one, which would write a user's table and fire its triggers.
///
/// # Safety
/// `desc` is NULL or such a copy.
unsafe fn keep_key_checks(desc: *mut pg_sys::TriggerDesc) {
    // SAFETY: the caller's promise; triggers is an array of numtriggers
    // elements, which are moved towards its start.
    unsafe {
        if desc.is_null() {
            return;
        }
        let (all, count) = ((*desc).triggers, (*desc).numtriggers);
        let mut kept = 0;
        for i in 0..count as usize {
            let trigger = all.add(i);
            let on_delete = u32::from((*trigger).tgtype as u16) & pg_sys::TRIGGER_TYPE_DELETE != 0;
            let kind = pg_sys::RI_FKey_trigger_type((*trigger).tgfoid);
            if on_delete && kind == pg_sys::RI_TRIGGER_PK as i32 {
                let check = all.add(kept);
                std::ptr::copy(trigger, check, 1);
                if !crate::fault::active("lock_row_cascades") {
                    (*check).tgfoid = pg_sys::F_RI_FKEY_NOACTION_DEL.into();
                    (*check).tgdeferrable = false;
                    (*check).tginitdeferred = false;
                }
                kept += 1;
            }
        }
        *desc = pg_sys::TriggerDesc {
            triggers: all,
            numtriggers: kept as i32,
            trig_delete_after_row: kept > 0,
            ..Default::default()
        };
    }
}
