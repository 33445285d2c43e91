//! Sorting rows of a few columns, within so much memory or on disk (tuplesort.c).

use crate::pg::slot::slot_attributes;
use crate::pg::unwinding;
use pgrx::pg_sys::{self, Oid};

/// A column of what is sorted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    kind: Oid,
    /// The "less" operator and the collation, if rows are sorted by it.
    order: Option<(Oid, Oid)>,
}

impl Column {
    /// A column to sort by, with this operator and collation.
    pub(super) fn ordered(kind: Oid, less: Oid, collation: Oid) -> Self {
        let order = Some((less, collation));
        Self { kind, order }
    }

    /// A bigint to sort by (Int8LessOperator, pg_operator.dat).
    pub(super) fn number() -> Self {
        Self::ordered(pg_sys::INT8OID, Oid::from(412u32), Oid::INVALID)
    }

    /// A text to sort by its bytes (TextLessOperator, pg_operator.dat).
    pub(super) fn text() -> Self {
        Self::ordered(pg_sys::TEXTOID, Oid::from(664u32), pg_sys::C_COLLATION_OID)
    }

    /// A column that only comes along.
    pub(super) fn carried(kind: Oid) -> Self {
        Self { kind, order: None }
    }
}

/// A sort. NULLs come first.
#[derive(Debug)]
pub(super) struct Sorter {
    state: *mut pg_sys::Tuplesortstate,
    input: *mut pg_sys::TupleTableSlot,
    /// The rows that came back last, in turn.
    output: [*mut pg_sys::TupleTableSlot; 2],
    turn: usize,
}

impl Sorter {
    /// Prepares a sort by the ordered columns, which come first. It lives in the
    /// current memory context.
    pub(super) fn new(columns: &[Column], kilobytes: i32) -> Self {
        let orders: Vec<(Oid, Oid)> = columns.iter().filter_map(|c| c.order).collect();
        let count = orders.len();
        let mut attributes: Vec<pg_sys::AttrNumber> = (1..=count as i16).collect();
        let mut less: Vec<Oid> = orders.iter().map(|(less, _)| *less).collect();
        let mut collations: Vec<Oid> = orders.iter().map(|(_, collation)| *collation).collect();
        let mut nulls_first = vec![true; count];
        // SAFETY: descriptor, sort and slots are made in the same context; the
        // arrays have one element for each sort key and are read at once.
        unsafe {
            let desc = pg_sys::CreateTemplateTupleDesc(columns.len() as i32);
            for (number, column) in (1..).zip(columns) {
                let name = c"c".as_ptr();
                pg_sys::TupleDescInitEntry(desc, number, name, column.kind, -1, 0);
            }
            let state = pg_sys::tuplesort_begin_heap(
                desc,
                count as i32,
                attributes.as_mut_ptr(),
                less.as_mut_ptr(),
                collations.as_mut_ptr(),
                nulls_first.as_mut_ptr(),
                kilobytes,
                std::ptr::null_mut(),
                pg_sys::TUPLESORT_NONE as i32,
            );
            let slot = |kind| pg_sys::MakeSingleTupleTableSlot(desc, kind);
            let minimal = &raw const pg_sys::TTSOpsMinimalTuple;
            Self {
                state,
                input: slot(&raw const pg_sys::TTSOpsVirtual),
                output: [slot(minimal), slot(minimal)],
                turn: 0,
            }
        }
    }

    /// Adds a row.
    ///
    /// # Safety
    /// There is a value of its type, or None, for each column.
    pub(super) unsafe fn put(&mut self, row: impl IntoIterator<Item = Option<pg_sys::Datum>>) {
        // SAFETY: the caller's promise; the slot is a virtual one of these
        // columns, and the sort copies it into memory of its own.
        unsafe {
            pg_sys::ExecClearTuple(self.input);
            for (i, value) in row.into_iter().enumerate() {
                *(*self.input).tts_values.add(i) = value.unwrap_or(pg_sys::Datum::null());
                *(*self.input).tts_isnull.add(i) = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(self.input);
            pg_sys::tuplesort_puttupleslot(self.state, self.input);
            pg_sys::ExecClearTuple(self.input);
        }
    }

    /// Ends the input.
    pub(super) fn sort(&mut self) {
        // SAFETY: the state is one that takes input.
        unsafe { pg_sys::tuplesort_performsort(self.state) };
    }

    /// The next row in order. Its values stay where they are until the call after
    /// the next one.
    pub(super) fn next(&mut self) -> Option<(&[pg_sys::Datum], &[bool])> {
        self.turn += 1;
        let slot = self.output[self.turn % 2];
        // SAFETY: the sort was performed; the slot takes minimal tuples, and a
        // copy of its own, since the sort reuses its memory.
        unsafe {
            let null = std::ptr::null_mut();
            pg_sys::tuplesort_gettupleslot(self.state, true, true, slot, null)
                .then(|| slot_attributes(slot))
        }
    }
}

impl Drop for Sorter {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made in `new`; the abort of the transaction frees memory
            // and files while an ERROR unwinds.
            unsafe {
                for slot in self.output.into_iter().chain([self.input]) {
                    pg_sys::ExecDropSingleTupleTableSlot(slot);
                }
                pg_sys::tuplesort_end(self.state);
            }
        }
    }
}
