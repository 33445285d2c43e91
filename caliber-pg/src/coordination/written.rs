//! What users' triggers may have done while a lock was written: such a call is
//! refused, and all of it undone, where the row is not the lock that was asked for,
//! or no longer the only one.

use super::lock::{now, Request};
use super::row::LockRow;
use crate::engine::Table;
use crate::error::{CaliberResult, WriteCause};
use uuid::Uuid;

/// Can anybody have done something?
fn has_company(table: &Table) -> bool {
    table.relation.has_user_triggers() || table.relation.has_rules()
}

/// A trigger may change when a lock ends, but not what it is.
///
/// # Errors
/// 55000.
pub fn check_stored(table: &Table, written: &LockRow) -> CaliberResult<()> {
    if !has_company(table) {
        return Ok(());
    }
    let stored = table.locks().as_of_now(table, written.id)?;
    let changed = match &stored {
        None => Some("lock_id"),
        Some(row) if row.resource_type != written.resource_type => Some("resource_type"),
        Some(row) if row.resource_id != written.resource_id => Some("resource_id"),
        Some(row) if row.holder != written.holder => Some("holder_agent_id"),
        Some(row) if row.mode != written.mode => Some("mode"),
        Some(row) if row.level != written.level => Some("level"),
        Some(_) => None,
    };
    match changed {
        None => Ok(()),
        Some(column) => Err(table.refused(
            WriteCause::State,
            format!("a trigger changed \"{column}\" of lock {}", written.id),
            None,
        )),
    }
}

/// What a trigger acquires while lock `id` is written, it acquires under the same
/// advisory lock, which this transaction has: only the rows tell of it.
///
/// # Errors
/// 55000 if another row excludes the lock by now, or is the agent's own.
pub fn check_alone(table: &Table, request: &Request, id: Uuid) -> CaliberResult<()> {
    if !has_company(table) || crate::fault::active("lock_trigger_acquires") {
        return Ok(());
    }
    let rows = table
        .locks()
        .of_resource(table, request.resource_type, request.resource_id)?;
    for row in rows.iter().filter(|row| row.id != id) {
        let excluded = row.is_own(table, request.agent)? || !row.goes_with(request.mode);
        if excluded && row.is_alive(table, now())? {
            return Err(table.refused(
                WriteCause::State,
                format!("a trigger acquired lock {} beside lock {id}", row.id),
                None,
            ));
        }
    }
    Ok(())
}
