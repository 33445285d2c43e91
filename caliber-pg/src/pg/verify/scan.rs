//! Reading a table from end to end.

use super::rights::is_own_transaction;
use super::subject::Subject;
use crate::pg::datum::Value;
use crate::pg::encoding::to_server;
use crate::pg::memory::scratch;
use crate::pg::slot::slot_attributes;
use crate::pg::unwinding;
use pgrx::pg_sys;

/// Calls `each` with the name of every row whose text column `column` is `value` and
/// that was not written by the running transaction. (SQL could ask for xmin only with
/// SELECT on the table itself, where SELECT on each column is enough.)
pub fn rows_of_others(subject: &Subject, column: &str, value: &str, each: &mut dyn FnMut(&str)) {
    let column = to_server(column);
    // SAFETY: a look-up by OID; the table has the column, since its shape was
    // compared with ours.
    let column = unsafe { pg_sys::get_attnum(subject.oid(), column.as_ptr()) } as usize - 1;
    let mut scan = TableScan::begin(subject);
    while let Some(slot) = scan.next() {
        scratch(|| {
            // SAFETY: the slot holds a row of the table, in a page: its header
            // says who wrote it (slot_getsysattr, tuptable.h).
            unsafe {
                let (values, nulls) = slot_attributes(slot);
                if Value::new(values[column], nulls[column])
                    .as_text()
                    .as_deref()
                    != Some(value)
                {
                    return;
                }
                let mut null = false;
                let xmin = pg_sys::MinTransactionIdAttributeNumber;
                let writer = pg_sys::slot_getsysattr(slot, xmin, &mut null).value() as u32;
                if !is_own_transaction(writer) {
                    each(&subject.name_of(slot));
                }
            }
        });
    }
}

/// A sequential scan in the order of the pages.
pub(super) struct TableScan {
    desc: pg_sys::TableScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
}

impl TableScan {
    /// Begins it under the active snapshot.
    pub(super) fn begin(subject: &Subject) -> Self {
        // SAFETY: the relation is open; the active snapshot outlives the scan.
        // Not synchronized with others, which would begin somewhere else.
        unsafe {
            Self {
                desc: pg_sys::table_beginscan_strat(
                    subject.rel,
                    pg_sys::GetActiveSnapshot(),
                    0,
                    std::ptr::null_mut(),
                    true,
                    false,
                ),
                slot: pg_sys::table_slot_create(subject.rel, std::ptr::null_mut()),
            }
        }
    }

    /// The next row, until the call after it.
    pub(super) fn next(&mut self) -> Option<*mut pg_sys::TupleTableSlot> {
        pgrx::check_for_interrupts!();
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        // SAFETY: the scan is running and the slot is of the table's kind.
        unsafe { pg_sys::table_scan_getnextslot(self.desc, forward, self.slot) }
            .then_some(self.slot)
    }
}

impl Drop for TableScan {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: both were made in `begin`; releasing pins does not raise.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::table_endscan(self.desc);
            }
        }
    }
}
