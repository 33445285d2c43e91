//! What users' code may have done while a lock was written: the call is refused, and
//! all of it undone, where the row is not the lock that was asked for, or another that
//! it excludes was acquired beside it.

use super::lock::{now, Request};
use super::row::LockRow;
use crate::engine::Table;
use crate::error::{CaliberResult, WriteCause};
use std::cell::Cell;
use uuid::Uuid;

/// A trigger may change when a lock ends, but not what it is.
///
/// # Errors
/// 55000.
pub fn check_stored(table: &Table, written: &LockRow) -> CaliberResult<()> {
    if !table.relation.has_user_triggers() && !table.relation.has_rules() {
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

thread_local! {
    /// Locks that this backend has acquired.
    static ACQUIRED: Cell<u64> = const { Cell::new(0) };
}

/// Counts a lock that was acquired.
pub fn count_acquired() {
    ACQUIRED.set(ACQUIRED.get().wrapping_add(1));
}

/// What was there when an acquire was decided. Whatever user's code runs while the row
/// is written (triggers, those of keys that refer to swept rows, policies, CHECKs) may
/// acquire the same resource: this transaction has its advisory lock already, so that
/// only the rows tell of it.
pub struct Company {
    acquired: u64,
    tolerated: Vec<LockRow>,
}

impl Company {
    /// Before the rows are read.
    pub fn new() -> Self {
        Self {
            acquired: ACQUIRED.get(),
            tolerated: Vec::new(),
        }
    }

    /// A live row that does not stand in the way.
    pub fn tolerate(&mut self, row: &LockRow) {
        self.tolerated.push(row.clone());
    }

    /// Looks at the rows again behind the write of lock `id`, if anything has been
    /// acquired meanwhile.
    ///
    /// # Errors
    /// 55000 if another row excludes the lock by now, or is the agent's own.
    pub fn check(&self, table: &Table, request: &Request, id: Uuid) -> CaliberResult<()> {
        if self.acquired == ACQUIRED.get() || crate::fault::active("lock_trigger_acquires") {
            return Ok(());
        }
        let rows = table
            .locks()
            .of_resource(table, request.resource_type, request.resource_id)?;
        for row in rows.iter().filter(|row| row.id != id) {
            let as_before = |other: &LockRow| {
                (other.id, other.mode, other.level) == (row.id, row.mode, row.level)
            };
            if self.tolerated.iter().any(as_before) {
                continue;
            }
            let excluded = row.is_own(table, request.agent)? || !row.goes_with(request.mode);
            if excluded && row.is_alive(table, now())? {
                return Err(table.refused(
                    WriteCause::State,
                    format!(
                        "lock {} was acquired while lock {id}, which excludes it, was written",
                        row.id
                    ),
                    None,
                ));
            }
        }
        Ok(())
    }
}
