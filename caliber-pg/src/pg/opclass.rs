//! How a type is compared by default.

use pgrx::pg_sys::{self, Oid};

/// The operator family and the input type of a type's default operator class
/// for an access method. For B-trees from the backend's own cache (typcache.c):
/// GetDefaultOpClass reads pg_opclass at each call.
pub(crate) fn default_class(kind: Oid, method: Oid) -> (Oid, Oid) {
    // SAFETY: catalog look-ups by OID; the cache entry lives as long as the
    // backend.
    unsafe {
        if method == pg_sys::BTREE_AM_OID {
            let entry = pg_sys::lookup_type_cache(kind, pg_sys::TYPECACHE_BTREE_OPFAMILY as i32);
            return ((*entry).btree_opf, (*entry).btree_opintype);
        }
        let class = pg_sys::GetDefaultOpClass(kind, method);
        (
            pg_sys::get_opclass_family(class),
            pg_sys::get_opclass_input_type(class),
        )
    }
}
