//! Slots for tuples of a table.

use super::datum::Value;
use super::relation::Relation;
use super::unwinding;
use pgrx::pg_sys;

/// A slot of its own for tuples of a table.
#[derive(Debug)]
pub(crate) struct OwnSlot(pub(crate) *mut pg_sys::TupleTableSlot);

impl OwnSlot {
    /// A slot of the kind that the table's access method wants.
    pub(crate) fn new(relation: &Relation) -> Self {
        // SAFETY: the relation is open; NULL means that no list of slots owns
        // this one.
        Self(unsafe { pg_sys::table_slot_create(relation.ptr, std::ptr::null_mut()) })
    }
}

impl Drop for OwnSlot {
    fn drop(&mut self) {
        if !unwinding() && !crate::fault::active("pin_kept") {
            // SAFETY: made above, dropped once; releasing a pin and a
            // descriptor reference does not raise.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.0) };
        }
    }
}

/// The row in a slot, by known column. A column is deformed when it is asked for.
#[derive(Debug)]
pub(crate) struct SlotRow<'r> {
    slot: *mut pg_sys::TupleTableSlot,
    attributes: &'r [i16],
}

impl<'r> SlotRow<'r> {
    /// The row of `relation` in a slot.
    ///
    /// # Safety
    /// `slot` holds such a row as long as this lives.
    pub(crate) unsafe fn new(slot: *mut pg_sys::TupleTableSlot, relation: &'r Relation) -> Self {
        let attributes = &relation.attributes;
        Self { slot, attributes }
    }

    /// The value of a column, which points into the row.
    pub(crate) fn get(&self, column: usize) -> Value {
        // SAFETY: the promise of `new`; the attribute is one of the relation's.
        unsafe { slot_attribute(self.slot, self.attributes[column]) }
    }
}

/// Deformed attributes of a slot.
///
/// # Safety
/// `slot` holds a tuple. The slices are valid until it is cleared.
pub(crate) unsafe fn slot_attributes<'a>(
    slot: *mut pg_sys::TupleTableSlot,
) -> (&'a [pg_sys::Datum], &'a [bool]) {
    // SAFETY: after slot_getallattrs the arrays hold natts elements.
    unsafe {
        pg_sys::slot_getallattrs(slot);
        let n = (*(*slot).tts_tupleDescriptor).natts as usize;
        (
            std::slice::from_raw_parts((*slot).tts_values, n),
            std::slice::from_raw_parts((*slot).tts_isnull, n),
        )
    }
}

/// One attribute of a slot, which deforms the tuple no further than that
/// (slot_getattr, tuptable.h).
///
/// # Safety
/// `slot` holds a tuple that has the attribute. The value is valid until it is cleared.
pub(crate) unsafe fn slot_attribute(slot: *mut pg_sys::TupleTableSlot, number: i16) -> Value {
    // SAFETY: the caller's promise; after slot_getsomeattrs_int the arrays hold so many
    // elements.
    unsafe {
        if (*slot).tts_nvalid < number {
            pg_sys::slot_getsomeattrs_int(slot, i32::from(number));
        }
        let i = number as usize - 1;
        Value::new(*(*slot).tts_values.add(i), *(*slot).tts_isnull.add(i))
    }
}
