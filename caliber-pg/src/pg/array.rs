//! The elements of arrays of ids.

use super::datum::Value;
use pgrx::pg_sys;
use uuid::Uuid;

/// The elements of a `uuid[]` that are not NULL, in order, whatever its
/// dimensions; none for NULL.
pub fn uuids(array: Value) -> Vec<Uuid> {
    if array.is_null() {
        return Vec::new();
    }
    // SAFETY: the value is a uuid[], a varlena, of which a detoasted copy or
    // the value itself is read. After the header come the elements that are
    // not NULL, 16 bytes each without padding, to the end (array.h: ARR_DATA_PTR;
    // the data offset of an array without NULLs is 0).
    unsafe {
        let given: *mut pg_sys::varlena = array.datum.cast_mut_ptr();
        let plain = pg_sys::pg_detoast_datum(given);
        let header = plain.cast::<pg_sys::ArrayType>();
        let start = match (*header).dataoffset {
            0 => {
                let dimensions = 2 * (*header).ndim as usize * size_of::<i32>();
                (size_of::<pg_sys::ArrayType>() + dimensions).next_multiple_of(8)
            }
            offset => offset as usize,
        };
        let bytes = std::slice::from_raw_parts(plain.cast::<u8>(), pgrx::varsize(plain));
        let elements = bytes.get(start..).unwrap_or_default().chunks_exact(16);
        let ids = elements.filter_map(|e| Uuid::from_slice(e).ok()).collect();
        if plain != given {
            pg_sys::pfree(plain.cast());
        }
        ids
    }
}
