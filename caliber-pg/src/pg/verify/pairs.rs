//! Places of rows, and sorted pairs of them with what is known of them.

use super::sorter::{Column, Sorter};
use pgrx::pg_sys;

/// The place of a row or of an index entry: block and offset in one number that
/// sorts as they do.
pub(super) type Place = i64;

/// The place that a TID names.
///
/// # Safety
/// `tid` is valid.
pub(super) unsafe fn place(tid: pg_sys::ItemPointer) -> Place {
    // SAFETY: the caller's promise.
    let tid = unsafe { &*tid };
    (Place::from(tid.ip_blkid.bi_hi) << 32)
        | (Place::from(tid.ip_blkid.bi_lo) << 16)
        | Place::from(tid.ip_posid)
}

/// The TID of a place.
pub(super) fn tid(place: Place) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData {
            bi_hi: (place >> 32) as u16,
            bi_lo: (place >> 16) as u16,
        },
        ip_posid: place as u16,
    }
}

/// Its block.
pub(super) fn block(place: Place) -> u32 {
    (place >> 16) as u32
}

/// Its offset in the block.
pub(super) fn offset(place: Place) -> u16 {
    place as u16
}

/// A place in a block.
pub(super) fn at(block: u32, offset: u16) -> Place {
    (Place::from(block) << 16) | Place::from(offset)
}

/// A place as PostgreSQL writes a TID.
pub(super) fn place_text(place: Place) -> String {
    format!("({},{})", block(place), offset(place))
}

/// Pairs of integers that come back in order.
#[derive(Debug)]
pub(super) struct Pairs(Sorter);

impl Pairs {
    /// Prepares a sort in at most so many kilobytes of memory.
    pub(super) fn new(kilobytes: i32) -> Self {
        Self(Sorter::new(&[Column::number(); 2], kilobytes))
    }

    /// Adds a pair.
    pub(super) fn put(&mut self, a: i64, b: i64) {
        // SAFETY: the columns are two bigints.
        unsafe { self.0.put([a, b].map(|n| Some(pg_sys::Datum::from(n)))) };
    }

    /// Ends the input.
    pub(super) fn sort(&mut self) {
        self.0.sort();
    }

    /// The next pair in order.
    pub(super) fn next(&mut self) -> Option<(i64, i64)> {
        let (values, _) = self.0.next()?;
        Some((values[0].value() as i64, values[1].value() as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_tid_and_sorts_like_one() {
        for (b, o) in [(0, 1), (1, 65535), (70_000, 2), (u32::MAX - 1, 291)] {
            let mut tid = tid(at(b, o));
            // SAFETY: the TID is a local.
            let back = unsafe { place(&mut tid) };
            assert_eq!((block(back), offset(back)), (b, o));
        }
        assert!(at(1, 1) > at(0, 65535));
        assert_eq!(place_text(at(7, 3)), "(7,3)");
    }
}
