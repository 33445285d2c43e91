//! What a search returns: rows, each with its distance.

use super::call::Call;
use super::datum::Value;
use super::relation::Relation;
use super::row::{KeptRow, ResultSet, RowType};
use crate::error::CaliberResult;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable,
};
use std::marker::PhantomData;

/// `TABLE (item row_type, distance float8)`.
#[derive(Debug)]
pub struct Found<T> {
    set: ResultSet,
    desc: pg_sys::TupleDesc,
    of: PhantomData<T>,
}

impl<T> Found<T> {
    /// Prepares the result set of this call.
    ///
    /// # Errors
    /// 0A000 where the query cannot take a set.
    pub fn new(call: &Call) -> CaliberResult<Self> {
        Ok(Self {
            set: ResultSet::new(call)?,
            desc: std::ptr::null_mut(),
            of: PhantomData,
        })
    }

    /// Chooses the table whose rows are returned.
    pub(crate) fn prepare(&mut self, relation: &Relation) {
        self.desc = self.set.in_query_context(|| {
            // SAFETY: a descriptor of two columns, filled at once; the row type
            // exists (checked when the relation was opened).
            unsafe {
                let desc = pg_sys::CreateTemplateTupleDesc(2);
                let row_type = relation.row_type;
                pg_sys::TupleDescInitEntry(desc, 1, c"item".as_ptr(), row_type, -1, 0);
                let distance = c"distance".as_ptr();
                pg_sys::TupleDescInitEntry(desc, 2, distance, pg_sys::FLOAT8OID, -1, 0);
                desc
            }
        });
    }

    /// Adds a row of the table given to `prepare`.
    pub(crate) fn put(&mut self, row: &KeptRow, distance: f64) {
        let mut values = [row.datum(), Value::float8(distance).datum];
        // SAFETY: two values and two flags for the two columns; the tuplestore
        // copies them.
        unsafe {
            pg_sys::tuplestore_putvalues(
                self.set.store(),
                self.desc,
                values.as_mut_ptr(),
                [false; 2].as_mut_ptr(),
            );
        }
    }
}

// SAFETY: the store holds rows of the two types that the descriptor says.
unsafe impl<T> BoxRet for Found<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        self.set.give(self.desc);
        fcinfo.return_null()
    }
}

// SAFETY: as above.
unsafe impl<T: RowType> SqlTranslatable for Found<T> {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Err(ArgumentError::SetOf)
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        // As for `Rows`.
        let sql = format!("TABLE (item {}, distance double precision)", T::NAME);
        Ok(Returns::One(SqlMapping::As(sql)))
    }
}
