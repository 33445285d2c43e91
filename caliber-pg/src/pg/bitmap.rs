//! Bitmap scans: all rows that an index names, page by page. The only way to
//! read through a GIN index (nodeBitmapIndexscan.c, nodeBitmapHeapscan.c).

use super::compat;
use super::compat::bitmap::{BitmapPages, MAX_OFFSET};
use super::index::Index;
use super::relation::Relation;
use super::unwinding;
use crate::counters::{self, Counter};
use pgrx::itemptr::item_pointer_set_all;
use pgrx::pg_sys;

/// A running bitmap scan under the active snapshot of the moment it began. It
/// may give rows that the index does not mean: each must be checked again.
#[derive(Debug)]
pub(crate) struct Bitmap {
    /// An ordinary scan descriptor: besides the index it holds what rows are
    /// fetched from the table with.
    desc: pg_sys::IndexScanDesc,
    bitmap: *mut pg_sys::TIDBitmap,
    pages: BitmapPages,
    block: pg_sys::BlockNumber,
    /// Line pointers of that page still to be looked at.
    offsets: std::vec::IntoIter<pg_sys::OffsetNumber>,
}

impl Bitmap {
    /// Asks the index for all that match `keys`, in at most work_mem.
    ///
    /// # Safety
    /// Both relations are open and locked; the keys fit the index.
    pub(crate) unsafe fn begin(
        relation: &Relation,
        index: &Index,
        keys: &mut [pg_sys::ScanKeyData],
    ) -> Self {
        let count = keys.len() as i32;
        // SAFETY: the caller's promise; the active snapshot outlives the scan,
        // since guards nest; index_rescan copies the keys.
        unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            let desc = compat::index_begin_scan(relation.ptr, index.ptr, snapshot, count);
            pg_sys::index_rescan(desc, keys.as_mut_ptr(), count, std::ptr::null_mut(), 0);
            let bytes = i64::from(pg_sys::work_mem) * 1024;
            let bitmap = pg_sys::tbm_create(bytes as _, std::ptr::null_mut());
            pg_sys::index_getbitmap(desc, bitmap);
            Self {
                desc,
                bitmap,
                pages: BitmapPages::begin(bitmap),
                block: 0,
                offsets: Vec::new().into_iter(),
            }
        }
    }

    /// Puts the next visible row into the slot; false at the end.
    ///
    /// # Safety
    /// `slot` is of the table's kind.
    pub(crate) unsafe fn next(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        loop {
            super::check_for_interrupts();
            for offset in self.offsets.by_ref() {
                // SAFETY: the scan is running. An offset that is no root of a
                // HOT chain gives nothing (heap_hot_search_buffer, heapam.c),
                // so that each row of a lossy page comes once.
                unsafe {
                    item_pointer_set_all(&mut (*self.desc).xs_heaptid, self.block, offset);
                    if pg_sys::index_fetch_heap(self.desc, slot) {
                        return true;
                    }
                }
            }
            // SAFETY: the bitmap lives as long as this.
            let Some((block, offsets)) = (unsafe { self.pages.next() }) else {
                return false;
            };
            self.block = block;
            self.offsets = offsets
                .unwrap_or_else(|| {
                    counters::add(Counter::PathLossyPage);
                    if crate::fault::active("lossy_page_skipped") {
                        return Vec::new();
                    }
                    (1..=MAX_OFFSET).collect()
                })
                .into_iter();
        }
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made in `begin`; freeing them releases memory and pins
            // and does not raise.
            unsafe {
                self.pages.end();
                pg_sys::tbm_free(self.bitmap);
                pg_sys::index_endscan(self.desc);
            }
        }
    }
}
