//! Rows that leave as composite values of the extension's own row types.

use super::attributes::live_attributes;
use super::call::Call;
use super::datum::Value;
use super::maker::RowMaker;
use super::relation::Relation;
use super::slot::slot_attributes;
use super::unwinding;
use crate::error::{CaliberError, CaliberResult, Rule};
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable,
};
use std::marker::PhantomData;

/// Names the row type of an entity.
pub trait RowType {
    /// Its SQL name.
    const NAME: &'static str;
}

/// One row, as a composite datum of `T`'s row type.
#[derive(Debug)]
pub struct Row<T> {
    datum: pg_sys::Datum,
    of: PhantomData<T>,
}

/// A row whose type is known only from the relation it came from.
#[derive(Debug, Clone, Copy)]
pub struct AnyRow(pub(super) pg_sys::Datum);

impl AnyRow {
    /// The composite datum.
    pub(crate) fn datum(self) -> pg_sys::Datum {
        self.0
    }

    /// The first `columns` known columns, which point into this row.
    pub(crate) fn values(&self, relation: &Relation, columns: usize) -> Vec<Value> {
        // SAFETY: the datum is a composite of the relation's row type
        // (RowMaker); the arrays have natts elements.
        unsafe {
            let desc = pg_sys::lookup_rowtype_tupdesc(relation.row_type, -1);
            let natts = (*desc).natts as usize;
            let header = self.0.cast_mut_ptr::<pg_sys::HeapTupleHeaderData>();
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varsize(header.cast()) as u32,
                t_data: header,
                ..Default::default()
            };
            let mut values = vec![pg_sys::Datum::null(); natts];
            let mut nulls = vec![true; natts];
            pg_sys::heap_deform_tuple(&mut tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            let known = live_attributes(desc)
                .into_iter()
                .take(columns)
                .map(|a| {
                    let i = a.number as usize - 1;
                    Value::new(values[i], nulls[i])
                })
                .collect();
            if (*desc).tdrefcount >= 0 {
                pg_sys::DecrTupleDescRefCount(desc);
            }
            known
        }
    }
}

/// A row that is held until it is wanted, or not: unlike an [`AnyRow`], which lives as
/// long as its memory context, it goes when it is dropped.
#[derive(Debug)]
pub struct KeptRow(AnyRow);

impl KeptRow {
    /// Takes over a row that the caller has just had made for this.
    pub(crate) fn new(row: AnyRow) -> Self {
        Self(row)
    }

    /// The composite datum.
    pub(crate) fn datum(&self) -> pg_sys::Datum {
        self.0.datum()
    }
}

impl Drop for KeptRow {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: RowMaker makes a row as one palloc'd chunk, of which nobody else
            // has been given the address.
            unsafe { pg_sys::pfree(self.0.datum().cast_mut_ptr()) };
        }
    }
}

impl<T> From<AnyRow> for Row<T> {
    fn from(row: AnyRow) -> Self {
        Self {
            datum: row.0,
            of: PhantomData,
        }
    }
}

// SAFETY: the datum is a composite of the declared type (RowMaker).
unsafe impl<T> BoxRet for Row<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: made by RowMaker in the caller's memory context.
        unsafe { fcinfo.return_raw_datum(self.datum) }
    }
}

// SAFETY: as above.
unsafe impl<T: RowType> SqlTranslatable for Row<T> {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Ok(SqlMapping::literal(T::NAME))
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        Ok(Returns::One(SqlMapping::literal(T::NAME)))
    }
}

/// An array of rows of `relation`'s row type, each given by its known columns,
/// with the array's type.
pub(crate) fn array(relation: &Relation, rows: &[Vec<Value>]) -> (pg_sys::Oid, Value) {
    // SAFETY: the row type exists (checked when the relation was opened). The
    // values are of the known columns' types; what is not known stays NULL.
    // construct_array copies the composites.
    unsafe {
        let desc = pg_sys::lookup_rowtype_tupdesc_copy(relation.row_type, -1);
        let natts = (*desc).natts as usize;
        let live = live_attributes(desc);
        let mut datums: Vec<pg_sys::Datum> = rows
            .iter()
            .map(|row| {
                let mut values = vec![pg_sys::Datum::null(); natts];
                let mut nulls = vec![true; natts];
                for (attribute, value) in live.iter().zip(row) {
                    let i = attribute.number as usize - 1;
                    values[i] = value.datum;
                    nulls[i] = value.null;
                }
                let tuple = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::heap_copy_tuple_as_datum(tuple, desc)
            })
            .collect();
        let array = pg_sys::construct_array(
            datums.as_mut_ptr(),
            datums.len() as i32,
            relation.row_type,
            -1,
            false,
            b'd' as std::ffi::c_char,
        );
        (
            pg_sys::get_array_type(relation.row_type),
            Value::new(pg_sys::Datum::from(array), false),
        )
    }
}

/// The rows of a set-returning function: a tuplestore that spills to disk
/// beyond work_mem.
#[derive(Debug)]
pub struct Rows<T> {
    sink: RowSink,
    of: PhantomData<T>,
}

/// Where a list puts its rows.
#[derive(Debug)]
pub struct RowSink {
    set: ResultSet,
    maker: Option<RowMaker>,
    /// Where a stored tuple is copied to, to be changed before it is given away.
    scratch: Vec<u64>,
}

/// The result set of a call, in materialize mode (funcapi.h).
#[derive(Debug)]
pub(crate) struct ResultSet {
    store: *mut pg_sys::Tuplestorestate,
    info: *mut pg_sys::ReturnSetInfo,
}

impl<T> Rows<T> {
    /// Prepares the result set of this call.
    ///
    /// # Errors
    /// 0A000 where the query cannot take a set.
    pub fn new(call: &Call) -> CaliberResult<Self> {
        Ok(Self {
            sink: RowSink {
                set: ResultSet::new(call)?,
                maker: None,
                scratch: Vec::new(),
            },
            of: PhantomData,
        })
    }

    /// Where to put the rows.
    pub fn sink(&mut self) -> &mut RowSink {
        &mut self.sink
    }
}

impl ResultSet {
    /// Begins the result set of a call.
    ///
    /// # Errors
    /// 0A000 where the query cannot take a set.
    pub(crate) fn new(call: &Call) -> CaliberResult<Self> {
        let info = call.result_info();
        // SAFETY: a non-null result info is a ReturnSetInfo (fmgr README),
        // valid for the call. The tuplestore lives in the query's context.
        unsafe {
            if info.is_null()
                || (*info).type_ != pg_sys::NodeTag::T_ReturnSetInfo
                || (*info).allowedModes & pg_sys::SetFunctionReturnMode::SFRM_Materialize as i32
                    == 0
            {
                return Err(CaliberError::argument(
                    Rule::Unsupported,
                    "set-valued function called in context that cannot accept a set",
                    None,
                ));
            }
            let random = (*info).allowedModes
                & pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32
                != 0;
            let before = (*(*info).econtext).ecxt_per_query_memory;
            let caller = pg_sys::MemoryContextSwitchTo(before);
            let store = pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem);
            pg_sys::MemoryContextSwitchTo(caller);
            Ok(Self { store, info })
        }
    }

    /// Runs `work` in the memory context in which the set lives.
    pub(crate) fn in_query_context<T>(&self, work: impl FnOnce() -> T) -> T {
        // SAFETY: result info is valid for the call, which runs in the query.
        unsafe {
            let query = (*(*self.info).econtext).ecxt_per_query_memory;
            let caller = pg_sys::MemoryContextSwitchTo(query);
            let result = work();
            pg_sys::MemoryContextSwitchTo(caller);
            result
        }
    }

    /// Where its tuples go.
    pub(crate) fn store(&self) -> *mut pg_sys::Tuplestorestate {
        self.store
    }

    /// Hands it to the executor, which compares `desc` with the declared type;
    /// NULL where nothing is to compare.
    pub(crate) fn give(self, desc: pg_sys::TupleDesc) {
        // SAFETY: result info was checked when the set was made; store and
        // descriptor live in the query's context.
        unsafe {
            (*self.info).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*self.info).setResult = self.store;
            (*self.info).setDesc = desc;
        }
    }
}

impl RowSink {
    /// Chooses how rows of `relation` become rows of the result.
    pub(crate) fn prepare(&mut self, relation: &Relation, from: pg_sys::TupleDesc) {
        // The descriptor must live as long as the tuplestore.
        let maker = self.set.in_query_context(|| RowMaker::new(relation, from));
        self.maker = Some(maker);
    }

    /// Adds the row in a slot, whose tuple is of the source given to `prepare`.
    ///
    /// # Safety
    /// The slot holds such a tuple.
    pub(crate) unsafe fn put_slot(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the caller's promise; `scratch` has room for the whole tuple, aligned as
        // the page aligns it; tuplestore_puttuple copies. What a stored tuple's header says
        // of transactions is not given away: a call in a SELECT list returns the set's
        // tuples as they are (nodeProjectSet.c).
        unsafe {
            let stored = self.maker.as_ref().and_then(|maker| maker.stored(slot));
            if let Some(tuple) = stored {
                let length = (*tuple).t_len as usize;
                self.scratch.resize(length.div_ceil(8), 0);
                let header = self.scratch.as_mut_ptr();
                std::ptr::copy_nonoverlapping((*tuple).t_data.cast::<u8>(), header.cast(), length);
                let header = header.cast::<pg_sys::HeapTupleHeaderData>();
                if !crate::fault::active("row_header_kept") {
                    (*header).t_infomask &= !(pg_sys::HEAP_XACT_MASK as u16);
                    (*header).t_infomask2 &= !(pg_sys::HEAP2_XACT_MASK as u16);
                }
                let mut copy = pg_sys::HeapTupleData {
                    t_data: header,
                    ..*tuple
                };
                pg_sys::tuplestore_puttuple(self.set.store, &mut copy);
            } else {
                let (values, nulls) = slot_attributes(slot);
                self.put(values, nulls);
            }
        }
    }

    /// Adds a row from deformed values of the source given to `prepare`.
    ///
    /// Values out of line are fetched now: the set may outlive the rows, in a
    /// cursor that a rollback to a savepoint leaves open.
    pub(crate) fn put(&mut self, values: &[pg_sys::Datum], nulls: &[bool]) {
        if let Some(maker) = &self.maker {
            let mut tuple = maker.form(values, nulls);
            // SAFETY: the tuple was formed with the maker's descriptor;
            // tuplestore_puttuple copies it.
            unsafe {
                let header = (*tuple).t_data;
                if u32::from((*header).t_infomask) & pg_sys::HEAP_HASEXTERNAL != 0 {
                    let flat = flatten(tuple, maker.descriptor());
                    pg_sys::heap_freetuple(tuple);
                    tuple = flat;
                }
                pg_sys::tuplestore_puttuple(self.set.store, tuple);
                pg_sys::heap_freetuple(tuple);
            }
        }
    }
}

/// Another tuple with every value in line (heaptoast.c).
///
/// # Safety
/// The tuple was formed with `desc`.
unsafe fn flatten(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> pg_sys::HeapTuple {
    unsafe extern "C-unwind" {
        fn toast_flatten_tuple(
            tuple: pg_sys::HeapTuple,
            desc: pg_sys::TupleDesc,
        ) -> pg_sys::HeapTuple;
    }
    // SAFETY: the caller's promise; the closure has nothing to drop.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| toast_flatten_tuple(tuple, desc)) }
}

// SAFETY: materialize mode as funcapi.h describes it.
unsafe impl<T> BoxRet for Rows<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // Without a maker no list ran, and the set is empty.
        let desc = self
            .sink
            .maker
            .as_ref()
            .map_or(std::ptr::null_mut(), RowMaker::descriptor);
        self.sink.set.give(desc);
        fcinfo.return_null()
    }
}

// SAFETY: rows of the declared type are put into the store.
unsafe impl<T: RowType> SqlTranslatable for Rows<T> {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Err(ArgumentError::SetOf)
    }
    fn return_sql() -> Result<Returns, ReturnsError> {
        // pgrx knows a set only by the name of its own iterator type, so the
        // words are part of the type here.
        Ok(Returns::One(SqlMapping::As(format!("SETOF {}", T::NAME))))
    }
}
