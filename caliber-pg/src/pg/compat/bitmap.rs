//! The pages of a bitmap (tidbitmap.h), whose iteration differs in 18.

use pgrx::pg_sys;

/// The greatest offset of a line pointer on a heap page: MaxHeapTuplesPerPage
/// (htup_details.h), from the sizes of a page's header, a tuple's header and a
/// line pointer.
pub const MAX_OFFSET: pg_sys::OffsetNumber =
    ((pg_sys::BLCKSZ - 24) / (24 + 4)) as pg_sys::OffsetNumber;

/// The pages of a bitmap, in order (tidbitmap.c).
#[derive(Debug)]
pub struct BitmapPages {
    #[cfg(not(feature = "pg18"))]
    iterator: *mut pg_sys::TBMIterator,
    #[cfg(feature = "pg18")]
    iterator: *mut pg_sys::TBMPrivateIterator,
}

impl BitmapPages {
    /// Begins with the first page.
    ///
    /// # Safety
    /// Nothing is added to the bitmap any more.
    pub unsafe fn begin(bitmap: *mut pg_sys::TIDBitmap) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            let iterator = pg_sys::tbm_begin_iterate(bitmap);
            #[cfg(feature = "pg18")]
            let iterator = pg_sys::tbm_begin_private_iterate(bitmap);
            Self { iterator }
        }
    }

    /// The next page, and the offsets on it; None instead of these where the
    /// bitmap has become lossy and knows only the page.
    ///
    /// # Safety
    /// The bitmap lives.
    pub unsafe fn next(
        &mut self,
    ) -> Option<(pg_sys::BlockNumber, Option<Vec<pg_sys::OffsetNumber>>)> {
        // SAFETY: the caller's promise; a page that is not lossy has at most
        // MAX_OFFSET offsets.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            {
                let page = pg_sys::tbm_iterate(self.iterator);
                if page.is_null() {
                    return None;
                }
                let count = usize::try_from((*page).ntuples).ok();
                let offsets = count.map(|n| (*page).offsets.as_slice(n).to_vec());
                Some(((*page).blockno, offsets))
            }
            #[cfg(feature = "pg18")]
            {
                let mut page = pg_sys::TBMIterateResult::default();
                if !pg_sys::tbm_private_iterate(self.iterator, &mut page) {
                    return None;
                }
                if page.lossy {
                    return Some((page.blockno, None));
                }
                let mut offsets = vec![0; usize::from(MAX_OFFSET)];
                let count = pg_sys::tbm_extract_page_tuple(
                    &mut page,
                    offsets.as_mut_ptr(),
                    u32::from(MAX_OFFSET),
                );
                offsets.truncate(count as usize);
                Some((page.blockno, Some(offsets)))
            }
        }
    }

    /// Ends the iteration.
    ///
    /// # Safety
    /// Called once, before the bitmap is freed.
    pub unsafe fn end(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            pg_sys::tbm_end_iterate(self.iterator);
            #[cfg(feature = "pg18")]
            pg_sys::tbm_end_private_iterate(self.iterator);
        }
    }
}
