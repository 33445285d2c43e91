//! What was found: the rows of `caliber_check()`, in an order of their own.

use super::sorter::{Column, Sorter};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::call::Call;
use crate::pg::datum::Value;
use crate::pg::memory::scratch;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys::{self, Oid};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable,
};

/// Where something was found.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Which of the tables, in order.
    pub number: usize,
    /// The table.
    pub relation: Oid,
    /// The index, and its name.
    pub index: Option<(Oid, &'a str)>,
}

/// The findings of a call. They may be many: they are sorted within work_mem or on
/// disk.
#[derive(Debug)]
pub struct Findings {
    info: *mut pg_sys::ReturnSetInfo,
    /// Number of the table, name of the index, item, problem; then table and
    /// index.
    sorter: Sorter,
}

impl Findings {
    /// Prepares the result set of this call.
    ///
    /// # Errors
    /// 0A000 where the query cannot take a set.
    pub fn new(call: &Call) -> CaliberResult<Self> {
        let info = call.result_info();
        // SAFETY: a non-null result info is a ReturnSetInfo (fmgr README), valid
        // for the call.
        let accepted = unsafe {
            let materialize = pg_sys::SetFunctionReturnMode::SFRM_Materialize as i32;
            !info.is_null()
                && (*info).type_ == pg_sys::NodeTag::T_ReturnSetInfo
                && (*info).allowedModes & materialize != 0
        };
        if !accepted {
            return Err(CaliberError::argument(
                Rule::Unsupported,
                "set-valued function called in context that cannot accept a set",
                None,
            ));
        }
        let (text, oid) = (Column::text(), Column::carried(pg_sys::OIDOID));
        let columns = [Column::number(), text, text, text, oid, oid];
        // SAFETY: reads a setting.
        let sorter = Sorter::new(&columns, unsafe { pg_sys::work_mem });
        Ok(Self { info, sorter })
    }

    /// Adds a finding.
    pub fn add(&mut self, place: Place<'_>, item: Option<&str>, problem: &str) {
        scratch(|| {
            let text = |text: Option<&str>| text.map_or(Value::NULL, Value::text);
            let oid = |oid: Oid| Value::of(pg_sys::Datum::from(oid));
            let values = [
                Value::int8(place.number as i64),
                text(place.index.map(|(_, name)| name)),
                text(item),
                text(Some(problem)),
                oid(place.relation),
                place.index.map_or(Value::NULL, |(index, _)| oid(index)),
            ];
            let row = values.map(|value| (!value.null).then_some(value.datum));
            // SAFETY: they are of the columns' types.
            unsafe { self.sorter.put(row) };
        });
    }

    /// Puts everything into the result set, in order.
    fn deliver(&mut self) {
        // SAFETY: result info is valid for the call, and its query's memory
        // holds what is returned.
        unsafe {
            let query = (*(*self.info).econtext).ecxt_per_query_memory;
            let caller = pg_sys::MemoryContextSwitchTo(query);
            let desc = pg_sys::CreateTemplateTupleDesc(4);
            let columns = [
                (c"relation", pg_sys::REGCLASSOID),
                (c"index", pg_sys::REGCLASSOID),
                (c"item", pg_sys::TEXTOID),
                (c"problem", pg_sys::TEXTOID),
            ];
            for (number, (name, kind)) in (1..).zip(columns) {
                pg_sys::TupleDescInitEntry(desc, number, name.as_ptr(), kind, -1, 0);
            }
            let random = pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32;
            let random = (*self.info).allowedModes & random != 0;
            let store = pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem);
            pg_sys::MemoryContextSwitchTo(caller);

            self.sorter.sort();
            while let Some((values, nulls)) = self.sorter.next() {
                pgrx::check_for_interrupts!();
                let order = [4, 5, 2, 3];
                let mut values = order.map(|i| values[i]);
                let mut nulls = order.map(|i| nulls[i]);
                let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::tuplestore_putvalues(store, desc, values, nulls);
            }
            (*self.info).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*self.info).setResult = store;
            (*self.info).setDesc = desc;
        }
    }
}

// SAFETY: materialize mode as funcapi.h describes it.
unsafe impl BoxRet for Findings {
    unsafe fn box_into<'fcx>(mut self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        self.deliver();
        fcinfo.return_null()
    }
}

// SAFETY: rows of these columns are put into the store.
unsafe impl SqlTranslatable for Findings {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Err(ArgumentError::SetOf)
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        // As for `Rows`: pgrx knows sets only by its own iterator types.
        let columns = "relation regclass, index regclass, item text, problem text";
        Ok(Returns::One(SqlMapping::As(format!("TABLE ({columns})"))))
    }
}
