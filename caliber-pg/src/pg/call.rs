//! The call itself: which function, in which schema, with which result.

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys::{self, Oid};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable,
};

/// The call that a function answers. A virtual argument: it has no SQL type
/// and callers do not pass it. Every function of ours takes it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    fcinfo: pg_sys::FunctionCallInfo,
}

impl Call {
    /// The schema of the called function, which is where its tables are: never
    /// a search_path.
    pub fn schema(&self) -> Oid {
        // SAFETY: fmgr gives every call a FmgrInfo with the function's OID.
        unsafe { pg_sys::get_func_namespace((*(*self.fcinfo).flinfo).fn_oid) }
    }

    /// What the caller expects of a set, or NULL.
    pub(crate) fn result_info(&self) -> *mut pg_sys::ReturnSetInfo {
        // SAFETY: fcinfo is valid during the call.
        unsafe { (*self.fcinfo).resultinfo.cast() }
    }
}

// SAFETY: the pointer is the one that PostgreSQL passed to this call.
unsafe impl<'fcx> ArgAbi<'fcx> for Call {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: pgrx's own implementation for the raw pointer.
        let fcinfo =
            unsafe { <pg_sys::FunctionCallInfo as ArgAbi<'fcx>>::unbox_arg_unchecked(arg) };
        Self { fcinfo }
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

// SAFETY: the argument does not appear in SQL.
unsafe impl SqlTranslatable for Call {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Ok(SqlMapping::Skip)
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        Ok(Returns::One(SqlMapping::Skip))
    }
    // pgrx makes a function STRICT unless an argument is optional; none of ours is
    // STRICT, those without SQL arguments included.
    fn optional() -> bool {
        true
    }
}
