//! Makes rows of the extension's row types from tuples of its tables.

use super::attributes::{live_attributes, name_of};
use super::compat::attribute;
use super::relation::Relation;
use super::row::AnyRow;
use super::unwinding;
use crate::counters::{self, Counter};
use pgrx::pg_sys;

/// Makes rows of the row type from tuples of a table, column by name.
#[derive(Debug)]
pub(crate) struct RowMaker {
    /// Descriptor of the row type: a private copy, or a reference that is given back.
    desc: pg_sys::TupleDesc,
    borrowed: bool,
    source: Source,
}

/// What an attribute of the row type is in the source.
#[derive(Debug)]
enum Source {
    /// The one in the same place: a tuple of the source is one of the row type.
    Same,
    /// For each attribute of the row type the index in the source, or none.
    Of(Vec<Option<usize>>),
}

impl RowMaker {
    /// Prepares rows of `relation`'s row type from tuples described by `from`. Its
    /// descriptor lives in the current memory context.
    pub(crate) fn new(relation: &Relation, from: pg_sys::TupleDesc) -> Self {
        // SAFETY: the row type exists (checked when the relation was opened);
        // the copy lives in the current memory context.
        let desc = unsafe { pg_sys::lookup_rowtype_tupdesc_copy(relation.row_type, -1) };
        Self::with(desc, false, from)
    }

    /// As [`RowMaker::new`], without a copy of the descriptor: for rows that are made
    /// and given away within the call.
    pub(crate) fn borrowed(relation: &Relation, from: pg_sys::TupleDesc) -> Self {
        // SAFETY: as above; the reference is given back in `drop`, or by the resource
        // owner after an error.
        let desc = unsafe { pg_sys::lookup_rowtype_tupdesc(relation.row_type, -1) };
        Self::with(desc, true, from)
    }

    fn with(desc: pg_sys::TupleDesc, borrowed: bool, from: pg_sys::TupleDesc) -> Self {
        let source = Source::of(desc, from);
        Self {
            desc,
            borrowed,
            source,
        }
    }

    /// The descriptor of the rows made.
    pub(crate) fn descriptor(&self) -> pg_sys::TupleDesc {
        self.desc
    }

    /// A tuple of the row type from deformed values of the source.
    pub(super) fn form(&self, values: &[pg_sys::Datum], nulls: &[bool]) -> pg_sys::HeapTuple {
        let Source::Of(places) = &self.source else {
            // SAFETY: both have natts elements, with values of the column types; they
            // are only read (heap_form_tuple, heaptuple.c).
            return unsafe {
                let (values, nulls) = (values.as_ptr().cast_mut(), nulls.as_ptr().cast_mut());
                pg_sys::heap_form_tuple(self.desc, values, nulls)
            };
        };
        let mut out_values = vec![pg_sys::Datum::null(); places.len()];
        let mut out_nulls = vec![true; places.len()];
        for (i, place) in places.iter().enumerate() {
            if let Some(place) = *place {
                out_values[i] = values[place];
                out_nulls[i] = nulls[place];
            }
        }
        // SAFETY: both arrays have natts elements, with values of the column
        // types, since source and row type have the same columns by name.
        unsafe {
            pg_sys::heap_form_tuple(self.desc, out_values.as_mut_ptr(), out_nulls.as_mut_ptr())
        }
    }

    /// The tuple in a slot as it is, if that is one of the row type with every
    /// attribute, and every value in line.
    ///
    /// # Safety
    /// The slot holds a tuple of the source. What comes back is part of the slot.
    pub(super) unsafe fn stored(
        &self,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Option<pg_sys::HeapTuple> {
        // SAFETY: the caller's promise. A slot with get_heap_tuple has a tuple of its
        // own (tuptable.h), which is then not a copy to be freed.
        unsafe {
            let own = (*(*slot).tts_ops).get_heap_tuple.is_some();
            if !own || !matches!(self.source, Source::Same) {
                return None;
            }
            let mut copied = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(slot, false, &mut copied);
            let header = (*tuple).t_data;
            let natts = u32::from((*header).t_infomask2) & pg_sys::HEAP_NATTS_MASK;
            let whole = natts == (*self.desc).natts as u32;
            let in_line = u32::from((*header).t_infomask) & pg_sys::HEAP_HASEXTERNAL == 0;
            (whole && in_line).then_some(tuple)
        }
    }

    /// A composite datum, stamped with the row type and with no pointer to
    /// out-of-line storage (heap_copy_tuple_as_datum, heaptuple.c). It is formed as a
    /// query forms it (ExecEvalWholeRowVar, execExprInterp.c), not copied from the page:
    /// a stored tuple's header speaks of transactions and of its place.
    pub(crate) fn datum(&self, values: &[pg_sys::Datum], nulls: &[bool]) -> AnyRow {
        let tuple = self.form(values, nulls);
        // SAFETY: the tuple was formed with this descriptor.
        unsafe {
            if u32::from((*(*tuple).t_data).t_infomask) & pg_sys::HEAP_HASEXTERNAL != 0 {
                counters::add(Counter::PathLongValue);
            }
            let datum = pg_sys::heap_copy_tuple_as_datum(tuple, self.desc);
            pg_sys::heap_freetuple(tuple);
            AnyRow(datum)
        }
    }
}

impl Drop for RowMaker {
    fn drop(&mut self) {
        if self.borrowed && !unwinding() {
            // SAFETY: the reference of `borrowed`; one that is not counted is the type
            // cache's own (ReleaseTupleDesc, tupdesc.h).
            unsafe {
                if (*self.desc).tdrefcount >= 0 {
                    pg_sys::DecrTupleDescRefCount(self.desc);
                }
            }
        }
    }
}

impl Source {
    /// Compares the attributes of the row type with those of the source.
    fn of(desc: pg_sys::TupleDesc, from: pg_sys::TupleDesc) -> Self {
        if same_attributes(desc, from) {
            return Self::Same;
        }
        let have = live_attributes(from);
        // SAFETY: the caller holds a reference to `desc`.
        let natts = unsafe { (*desc).natts } as usize;
        let mut places = vec![None; natts];
        for wanted in live_attributes(desc) {
            places[wanted.number as usize - 1] = have
                .iter()
                .find(|a| a.name == wanted.name && a.kind == wanted.kind)
                .map(|a| a.number as usize - 1);
        }
        Self::Of(places)
    }
}

/// Have both the same columns in the same places, and no dropped ones?
fn same_attributes(one: pg_sys::TupleDesc, other: pg_sys::TupleDesc) -> bool {
    // SAFETY: the caller holds references to both; attribute numbers below natts are
    // valid, and names end in NUL.
    unsafe {
        let n = (*one).natts as usize;
        n == (*other).natts as usize
            && (0..n).all(|i| {
                let (a, b) = (&*attribute(one, i), &*attribute(other, i));
                !a.attisdropped
                    && !b.attisdropped
                    && a.atttypid == b.atttypid
                    && name_of(a) == name_of(b)
            })
    }
}
