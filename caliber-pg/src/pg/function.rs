//! What a SQL function returns: a value, NULL, or an error of ours.

use super::error::raise;
use crate::error::{CaliberError, CaliberResult};
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable,
};

/// The result of a SQL function; an error is raised when it leaves.
#[derive(Debug)]
pub struct Returned<T>(Result<Option<T>, CaliberError>);

impl<T> Returned<T> {
    /// Runs the body of a function.
    pub fn from(body: impl FnOnce() -> CaliberResult<Option<T>>) -> Self {
        Self(body())
    }

    /// Runs the body of a function that never returns NULL.
    pub fn always(body: impl FnOnce() -> CaliberResult<T>) -> Self {
        Self(body().map(Some))
    }
}

// SAFETY: delegates to `T`, or raises.
unsafe impl<T: BoxRet> BoxRet for Returned<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.0 {
            // SAFETY: the caller's promise.
            Ok(Some(value)) => unsafe { value.box_into(fcinfo) },
            Ok(None) => fcinfo.return_null(),
            Err(error) => raise(&error),
        }
    }
}

// SAFETY: the SQL type is `T`'s.
unsafe impl<T: SqlTranslatable> SqlTranslatable for Returned<T> {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        T::argument_sql()
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        T::return_sql()
    }
}
