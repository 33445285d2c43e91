//! Sorting rows of a table, within work_mem or on disk (tuplesort.c).

use super::relation::Relation;
use super::{compat, unwinding};
use pgrx::pg_sys::{self, Oid};

/// A sort of a table's rows by one column, ascending.
#[derive(Debug)]
pub(crate) struct Sort {
    state: *mut pg_sys::Tuplesortstate,
    /// A slot for the rows that come back.
    slot: *mut pg_sys::TupleTableSlot,
}

impl Sort {
    /// Prepares a sort by known column `column`. With `bound`, only the first
    /// so many rows are kept.
    pub(crate) fn by(relation: &Relation, column: usize, bound: Option<i64>) -> Self {
        let desc = relation.descriptor();
        let mut attribute = relation.attribute(column);
        // SAFETY: the relation is open and the attribute is one of its own;
        // its type has a default ordering, being uuid or integer.
        unsafe {
            let form = compat::attribute(desc, attribute as usize - 1);
            let mut less = Oid::INVALID;
            pg_sys::get_sort_group_operators(
                (*form).atttypid,
                true,
                false,
                false,
                &mut less,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            );
            let mut collation = (*form).attcollation;
            let mut nulls_first = false;
            let options = if bound.is_some() {
                pg_sys::TUPLESORT_ALLOWBOUNDED
            } else {
                pg_sys::TUPLESORT_NONE
            };
            let state = pg_sys::tuplesort_begin_heap(
                desc,
                1,
                &mut attribute,
                &mut less,
                &mut collation,
                &mut nulls_first,
                pg_sys::work_mem,
                std::ptr::null_mut(),
                options as i32,
            );
            if let Some(bound) = bound {
                pg_sys::tuplesort_set_bound(state, bound);
            }
            let slot =
                pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsMinimalTuple);
            Self { state, slot }
        }
    }

    /// Adds a row.
    ///
    /// # Safety
    /// `slot` holds a row of the table.
    pub(crate) unsafe fn put(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the caller's promise; the row is copied.
        unsafe { pg_sys::tuplesort_puttupleslot(self.state, slot) };
    }

    /// Ends the input.
    pub(crate) fn sort(&mut self) {
        // SAFETY: the state is one that takes input.
        unsafe { pg_sys::tuplesort_performsort(self.state) };
    }

    /// The next row in order, valid until the call after it.
    pub(crate) fn next(&mut self) -> Option<*mut pg_sys::TupleTableSlot> {
        // SAFETY: the sort was performed; the slot takes minimal tuples.
        let found = unsafe {
            pg_sys::tuplesort_gettupleslot(self.state, true, false, self.slot, std::ptr::null_mut())
        };
        found.then_some(self.slot)
    }
}

impl Drop for Sort {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: both were made in `by`; the abort of the transaction
            // frees memory and files while an ERROR unwinds.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::tuplesort_end(self.state);
            }
        }
    }
}
