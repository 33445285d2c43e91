//! Purging: rows that nobody needs any more are locked without waiting, and
//! deleted in the same statement.

use super::claim::{lock_or_skip, Free};
use super::delete::delete_row;
use super::statement::Statement;
use super::{find, list, stored, Heap};
use crate::engine::list::{List, Range};
use crate::engine::purge::Purge;
use crate::engine::{Stored, Table, Written};
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::rights::Rights;
use crate::pg::slot::OwnSlot;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::test::Test;
use pgrx::pg_sys;

impl Purge for Heap {
    fn purge(&self, table: &Table, any: &[(usize, Test)], max_rows: i64) -> CaliberResult<i64> {
        let columns = table.entity.shape.columns;
        let key = table.entity.key;
        let passes = |row: &Stored| {
            Ok(any
                .iter()
                .any(|&(column, test)| test.passes(row.get(column), columns[column].kind)))
        };
        let list = List::of([Range::default()]).keep(&passes).limit(max_rows);
        let mode = pg_sys::LockTupleMode::LockTupleExclusive;
        let snapshot = ActiveSnapshot::for_write();
        // Made before the statement, whose memory goes when it ends.
        let locked = OwnSlot::new(&table.relation);
        let statement = Statement::begin(table, &Rights::delete(key));
        // All are locked before the first is deleted, as by a sub-SELECT that runs
        // before the DELETE: what a trigger does to rows to come is an error.
        let mut keys = Vec::new();
        list::each(table, &list, &snapshot, &mut |slot| {
            // SAFETY: the list gives a row that the statement sees.
            let free = match unsafe { lock_or_skip(table, &statement, slot, &locked, mode)? } {
                Free::No => false,
                Free::Seen => true,
                Free::Newer if crate::fault::active("purge_not_rechecked") => true,
                // SAFETY: the version that was locked is in the slot.
                Free::Newer => passes(&unsafe { stored(table, locked.0) })?,
            };
            if free {
                crate::wait::at("purge.locked");
                // SAFETY: as above.
                keys.extend(unsafe { stored(table, locked.0) }.get(key).as_uuid());
            }
            Ok(free)
        })?;
        let mut deleted = 0;
        for id in keys {
            crate::pg::check_for_interrupts();
            statement.in_row_context(|| {
                let key = Value::uuid(id);
                let _now = crate::fault::active("purge_follows_own_triggers")
                    .then(ActiveSnapshot::for_write);
                if let Some(slot) = find(table, key)? {
                    let written = delete_row(table, &statement, &slot, key)?;
                    deleted += i64::from(written == Written::Done);
                }
                Ok(())
            })?;
        }
        statement.finish();
        Ok(deleted)
    }
}
