//! Index scans that give a bitmap of rows: GIN, BRIN, hash.

use super::index::Examined;
use super::pairs::{self, Pairs, Place};
use super::stream::{met, WHOLE_PAGE};
use crate::pg::compat::bitmap::BitmapPages;
use crate::pg::{compat, unwinding};
use pgrx::pg_sys;

/// A bitmap scan of an index under the active snapshot.
pub(super) struct BitmapScan {
    desc: pg_sys::IndexScanDesc,
    bytes: usize,
    /// Where the scan keeps what it needs from one run to the next, wherever
    /// that begins (ginFreeScanKeys, ginscan.c, frees what the run before left).
    home: pg_sys::MemoryContext,
}

impl BitmapScan {
    /// Begins a scan with so many keys, for bitmaps of at most so many kilobytes:
    /// beyond that they know pages, not rows.
    pub(super) fn begin(index: &Examined, keys: usize, kilobytes: i32) -> Self {
        // SAFETY: both relations are open and locked; the active snapshot outlives
        // the scan.
        unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            Self {
                desc: compat::index_begin_scan(index.heap, index.rel, snapshot, keys as i32),
                bytes: kilobytes as usize * 1024,
                home: pg_sys::CurrentMemoryContext,
            }
        }
    }

    /// The rows that the index gives for these keys.
    ///
    /// # Safety
    /// They are as many as the scan was begun with, and fit the index.
    pub(super) unsafe fn run(&mut self, keys: &mut [pg_sys::ScanKeyData]) -> Bitmap {
        // SAFETY: the caller's promise; index_rescan copies the keys, and what
        // they point at is needed only here. The bitmap is made in `home`, which
        // outlives the scan.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(self.home);
            let (count, none) = (keys.len() as i32, std::ptr::null_mut());
            pg_sys::index_rescan(self.desc, keys.as_mut_ptr(), count, none, 0);
            let bitmap = pg_sys::tbm_create(self.bytes as _, std::ptr::null_mut());
            pg_sys::index_getbitmap(self.desc, bitmap);
            let pages = BitmapPages::begin(bitmap);
            pg_sys::MemoryContextSwitchTo(caller);
            Bitmap {
                bitmap,
                pages,
                block: None,
                offsets: None,
            }
        }
    }
}

impl Drop for BitmapScan {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun in `begin`; releasing pins does not raise.
            unsafe { pg_sys::index_endscan(self.desc) };
        }
    }
}

/// Rows, in the order of their places.
pub(super) struct Bitmap {
    bitmap: *mut pg_sys::TIDBitmap,
    pages: BitmapPages,
    /// The page it is at.
    block: Option<u32>,
    /// The rows on it; None: all may be meant.
    offsets: Option<Vec<u16>>,
}

impl Bitmap {
    /// Goes on to the next page; false at the end, which is behind every page.
    fn turn(&mut self) -> bool {
        pgrx::check_for_interrupts!();
        // SAFETY: the bitmap lives as long as this.
        let page = unsafe { self.pages.next() };
        let more = page.is_some();
        let (block, offsets) = page.unwrap_or((u32::MAX, Some(Vec::new())));
        (self.block, self.offsets) = (Some(block), offsets);
        more
    }

    /// Does it hold this row? Rows must be asked for in their order.
    pub(super) fn holds(&mut self, row: Place) -> bool {
        let (block, offset) = (pairs::block(row), pairs::offset(row));
        while self.block.is_none_or(|at| at < block) && self.turn() {}
        let meant = |offsets: &Vec<u16>| offsets.contains(&offset);
        self.block == Some(block) && self.offsets.as_ref().is_none_or(meant)
    }

    /// Every row of it, as index entries.
    pub(super) fn into_entries(mut self, entries: &mut Pairs) {
        while self.turn() {
            let Some(block) = self.block else { break };
            match &self.offsets {
                None => entries.put(pairs::at(block, WHOLE_PAGE), met(0)),
                Some(offsets) => {
                    for offset in offsets {
                        entries.put(pairs::at(block, *offset), met(0));
                    }
                }
            }
        }
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: both were made in `run`; memory only.
            unsafe {
                self.pages.end();
                pg_sys::tbm_free(self.bitmap);
            }
        }
    }
}
