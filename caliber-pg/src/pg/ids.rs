//! Ids that leave as `SETOF uuid`.

use super::call::Call;
use super::datum::Value;
use super::row::ResultSet;
use crate::error::CaliberResult;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable,
};
use uuid::Uuid;

/// The ids of a set-returning function, some of them perhaps NULL.
#[derive(Debug)]
pub struct Ids {
    set: ResultSet,
    desc: pg_sys::TupleDesc,
}

impl Ids {
    /// Prepares the result set of this call.
    ///
    /// # Errors
    /// 0A000 where the query cannot take a set.
    pub fn new(call: &Call) -> CaliberResult<Self> {
        let set = ResultSet::new(call)?;
        let desc = set.in_query_context(|| {
            // SAFETY: a descriptor of one column, filled at once.
            unsafe {
                let desc = pg_sys::CreateTemplateTupleDesc(1);
                pg_sys::TupleDescInitEntry(desc, 1, c"id".as_ptr(), pg_sys::UUIDOID, -1, 0);
                desc
            }
        });
        Ok(Self { set, desc })
    }

    /// Adds an id or NULL.
    pub fn put(&mut self, id: Option<Uuid>) {
        if id.is_none() && crate::fault::active("vetoed_ids_left_out") {
            return;
        }
        let value = Value::maybe_uuid(id);
        let (mut datum, mut null) = (value.datum, value.null);
        // SAFETY: one value and one flag for the one column; the tuplestore
        // copies them.
        unsafe {
            pg_sys::tuplestore_putvalues(
                self.set.store(),
                self.desc,
                &raw mut datum,
                &raw mut null,
            );
        }
    }
}

// SAFETY: the store holds rows of one uuid, as the descriptor says.
unsafe impl BoxRet for Ids {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        self.set.give(self.desc);
        fcinfo.return_null()
    }
}

// SAFETY: as above.
unsafe impl SqlTranslatable for Ids {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Err(ArgumentError::SetOf)
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        // As for `Rows`.
        Ok(Returns::One(SqlMapping::As("SETOF uuid".to_owned())))
    }
}
