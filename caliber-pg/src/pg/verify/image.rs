//! The image of values: what is the same in a row and in its index entry.
//!
//! The bytes are compared, not the meaning: an entry was formed from the row's very
//! bytes, and a HOT update keeps it only if the columns did not change by a byte
//! (heap_attr_equals, heapam.c). Only compression and short headers may differ
//! (bt_normalize_tuple, verify_nbtree.c), so that values are taken without them.

use crate::pg::compat;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::hash::{DefaultHasher, Hasher};

/// An image of 62 bits.
pub(super) struct Image(DefaultHasher);

impl Image {
    /// Of nothing yet.
    pub(super) fn new() -> Self {
        Self(DefaultHasher::new())
    }

    /// Takes a value of a type of this length in.
    ///
    /// # Safety
    /// The value, if there is one, is of a type of that length and passing.
    /// Memory for decompression is taken from the current context.
    pub(super) unsafe fn value(&mut self, value: Option<pg_sys::Datum>, kind: Kind) {
        let Some(datum) = value else {
            self.0.write_u8(0);
            return;
        };
        self.0.write_u8(1);
        // SAFETY: the caller's promise.
        unsafe {
            match kind {
                Kind::ByValue(length) => {
                    let bytes = (datum.value() as u64).to_le_bytes();
                    self.bytes(&bytes[..length.min(8)]);
                }
                Kind::Fixed(length) => {
                    self.bytes(std::slice::from_raw_parts(datum.cast_mut_ptr(), length));
                }
                Kind::Varlena => self.bytes(&content(datum)),
                Kind::CString => self.bytes(CStr::from_ptr(datum.cast_mut_ptr()).to_bytes()),
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.write_usize(bytes.len());
        self.0.write(bytes);
    }

    /// The image.
    pub(super) fn done(self) -> i64 {
        (self.0.finish() >> 2) as i64
    }
}

/// The bytes of a varlena, uncompressed, without its header.
///
/// # Safety
/// The datum is a varlena.
pub(super) unsafe fn content(datum: pg_sys::Datum) -> Vec<u8> {
    // SAFETY: the caller's promise; the detoasted copy, or the value itself,
    // stays allocated while it is copied.
    unsafe {
        let varlena = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
        let length = pgrx::varsize_any_exhdr(varlena);
        let data = pgrx::vardata_any(varlena).cast::<u8>();
        std::slice::from_raw_parts(data, length).to_vec()
    }
}

/// How values of a type are stored (typlen and typbyval).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In the datum itself, so many bytes.
    ByValue(usize),
    /// So many bytes elsewhere.
    Fixed(usize),
    /// With a header.
    Varlena,
    /// Up to a NUL.
    CString,
}

impl Kind {
    fn new(length: i16, by_value: bool) -> Self {
        match (length, by_value) {
            (length, true) => Self::ByValue(length as usize),
            (-1, _) => Self::Varlena,
            (-2, _) => Self::CString,
            (length, _) => Self::Fixed(length as usize),
        }
    }

    /// Of an attribute.
    ///
    /// # Safety
    /// `index` (from 0) is an attribute of `desc`.
    pub(super) unsafe fn of_attribute(desc: pg_sys::TupleDesc, index: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let attribute = compat::attribute(desc, index);
            Self::new((*attribute).attlen, (*attribute).attbyval)
        }
    }

    /// Of a type.
    pub(super) fn of_type(kind: pg_sys::Oid) -> Self {
        let (mut length, mut by_value) = (0, false);
        // SAFETY: a look-up by OID.
        unsafe { pg_sys::get_typlenbyval(kind, &mut length, &mut by_value) };
        Self::new(length, by_value)
    }
}
