//! Reading the row that an index entry points at.

use super::pairs::{self, Place};
use super::subject::Subject;
use crate::pg::unwinding;
use pgrx::pg_sys;

/// A way into the table by the root of a row's chain.
pub(super) struct Fetch {
    rel: pg_sys::Relation,
    state: *mut pg_sys::IndexFetchTableData,
    slot: *mut pg_sys::TupleTableSlot,
}

impl Fetch {
    /// Opens it.
    pub(super) fn new(subject: &Subject) -> Self {
        // SAFETY: the relation is open and outlives this, being the subject's;
        // NULL means that no list of slots owns this one.
        unsafe {
            Self {
                rel: subject.rel,
                state: pg_sys::table_index_fetch_begin(subject.rel),
                slot: pg_sys::table_slot_create(subject.rel, std::ptr::null_mut()),
            }
        }
    }

    /// The row at that root, if the active snapshot sees one; it stays until the
    /// next call.
    pub(super) fn row(&mut self, root: Place) -> Option<*mut pg_sys::TupleTableSlot> {
        // SAFETY: the relation is open. A place behind its end is not asked for,
        // and an offset that is not in use is no row (heap_hot_search_buffer,
        // heapam.c).
        unsafe {
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            if pairs::block(root) >= pg_sys::RelationGetNumberOfBlocksInFork(self.rel, main) {
                return None;
            }
            let mut tid = pairs::tid(root);
            let (mut again, mut dead) = (false, false);
            pg_sys::table_index_fetch_tuple(
                self.state,
                &mut tid,
                pg_sys::GetActiveSnapshot(),
                self.slot,
                &mut again,
                &mut dead,
            )
            .then_some(self.slot)
        }
    }

    /// How findings name the row at that root, or the place if there is none.
    pub(super) fn name(&mut self, subject: &Subject, root: Place) -> String {
        match self.row(root) {
            // SAFETY: the slot holds a row of the table.
            Some(slot) => unsafe { subject.name_of(slot) },
            None => pairs::place_text(root),
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: both were made in `new`; releasing pins does not raise.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::table_index_fetch_end(self.state);
            }
        }
    }
}
