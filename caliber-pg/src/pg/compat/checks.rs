//! CHECKs and NOT NULLs as a relation's descriptor holds them, which differ in 18.

use pgrx::pg_sys::{self, Oid};

/// Is the CHECK one that rows must meet?
///
/// # Safety
/// `check` is one of a table's descriptor.
pub unsafe fn is_enforced(check: *const pg_sys::ConstrCheck) -> bool {
    #[cfg(not(feature = "pg18"))]
    {
        let _ = check;
        true
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's promise.
    unsafe {
        (*check).ccenforced
    }
}

/// Is attribute `index` (from 0) NULL in no row? In 18 a NOT NULL may be one that
/// older rows have not passed.
///
/// # Safety
/// `desc` is a table's own and `index` is below its natts.
pub unsafe fn is_never_null(desc: pg_sys::TupleDesc, index: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return (*super::attribute(desc, index)).attnotnull;
        #[cfg(feature = "pg18")]
        return (*(*desc).compact_attrs.as_ptr().add(index)).attnullability as u8 == VALID;
    }
}

/// ATTNULLABLE_VALID (tupdesc.h): NOT NULL, and all rows have passed it.
#[cfg(feature = "pg18")]
const VALID: u8 = b'v';

/// The constraint that a column's NOT NULL is in 18, where VALIDATE changes only that row
/// and not the column's own (findNotNullConstraintAttnum, pg_constraint.c): invalid if
/// there is none. None before 18.
pub fn not_null_constraint(table: Oid, attribute: i16) -> Option<Oid> {
    #[cfg(not(feature = "pg18"))]
    {
        let _ = (table, attribute);
        None
    }
    #[cfg(feature = "pg18")]
    {
        unsafe extern "C-unwind" {
            fn findNotNullConstraintAttnum(relid: Oid, attnum: i16) -> pg_sys::HeapTuple;
        }
        // SAFETY: a catalog scan; the closure has nothing to drop. The tuple is a copy in
        // this memory context, or NULL; oid is the first column of pg_constraint.
        unsafe {
            let tuple = pg_sys::ffi::pg_guard_ffi_boundary(|| {
                findNotNullConstraintAttnum(table, attribute)
            });
            if tuple.is_null() {
                return Some(Oid::INVALID);
            }
            let oid = *pg_sys::GETSTRUCT(tuple).cast::<Oid>();
            pg_sys::heap_freetuple(tuple);
            Some(oid)
        }
    }
}

/// An expression over a table's rows with virtual generated columns (18)
/// replaced by what they are computed from, as ExecRelCheck (execMain.c) does.
///
/// # Safety
/// `node` is an expression over rows of the open relation.
pub unsafe fn with_generated_columns(
    node: *mut pg_sys::Node,
    relation: pg_sys::Relation,
) -> *mut pg_sys::Node {
    #[cfg(not(feature = "pg18"))]
    {
        let _ = relation;
        node
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's promise; stored expressions have varno 1.
    unsafe {
        pg_sys::expand_generated_columns_in_expr(node, relation, 1)
    }
}
