//! CHECKs as a relation's descriptor holds them, which differ in 18.

use pgrx::pg_sys;

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
