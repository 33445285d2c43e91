//! Statements of a rival: prepared once in a backend, or planned at each call.

use super::super::encoding::from_server_bytes;
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, CString};
use std::ptr::null_mut;

/// The most arguments that a rival has.
const MOST: usize = 24;

/// Whether plans are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Planning {
    /// Prepared once, kept for the backend's life.
    Kept,
    /// Parsed and planned at each call.
    OneShot,
}

/// The statements of one rival function.
pub(super) struct Script {
    steps: Vec<Step>,
    types: Vec<Oid>,
    /// As the function was declared: a STABLE one reads only.
    read_only: bool,
    /// Does a new id come before the arguments?
    makes_id: bool,
    /// The row type that the function returns, if it does.
    row: pg_sys::TupleDesc,
}

struct Step {
    text: CString,
    /// Kept, unless planning is one-shot.
    plan: pg_sys::SPIPlanPtr,
}

/// A rival function, how it plans, and the text of its statement.
type Key = (Oid, Planning, Vec<u8>);

thread_local! {
    /// By function and text. Never freed: a backend of the benches has a few dozen.
    static SCRIPTS: RefCell<HashMap<Key, &'static Script>> = RefCell::new(HashMap::new());
}

/// The arguments of a call in the form that SPI takes.
pub(super) struct Bound {
    values: [Datum; MOST],
    nulls: [c_char; MOST],
    count: usize,
}

impl Bound {
    /// All arguments of the call but the last, behind a new id if one is made.
    ///
    /// # Safety
    /// `fcinfo` is of a running call of a rival.
    pub(super) unsafe fn of(fcinfo: pg_sys::FunctionCallInfo, id: Option<Datum>) -> Self {
        let mut bound = Self {
            values: [Datum::null(); MOST],
            nulls: [b' ' as c_char; MOST],
            count: 0,
        };
        if let Some(id) = id {
            bound.values[0] = id;
            bound.count = 1;
        }
        // SAFETY: the call has nargs arguments, whose number is checked when the script is made.
        unsafe {
            let given = (*fcinfo).nargs as usize - 1;
            for argument in (*fcinfo).args.as_slice(given) {
                bound.values[bound.count] = argument.value;
                if argument.isnull {
                    bound.nulls[bound.count] = b'n' as c_char;
                }
                bound.count += 1;
            }
        }
        bound
    }
}

impl Script {
    /// The script of a call, found once in a query and then kept with it.
    ///
    /// # Safety
    /// `fcinfo` is of a running call of a rival, whose last argument is its statement.
    pub(super) unsafe fn of(
        fcinfo: pg_sys::FunctionCallInfo,
        planning: Planning,
        makes_id: bool,
    ) -> &'static Self {
        // SAFETY: fmgr gives every call its FmgrInfo; fn_extra is ours, and holds what is put
        // there below.
        unsafe {
            let info = (*fcinfo).flinfo;
            if (*info).fn_extra.is_null() {
                let script: *const Self = Self::find(fcinfo, planning, makes_id);
                (*info).fn_extra = script.cast_mut().cast();
            }
            &*(*info).fn_extra.cast::<Self>()
        }
    }

    /// # Safety
    /// As [`Script::of`].
    unsafe fn find(
        fcinfo: pg_sys::FunctionCallInfo,
        planning: Planning,
        makes_id: bool,
    ) -> &'static Self {
        // SAFETY: the last argument is a text that is not NULL, as the benches declare it.
        let (function, text) = unsafe {
            let last = (*fcinfo).nargs as usize - 1;
            let text = (*fcinfo).args.as_slice(last + 1)[last].value;
            let text = pg_sys::pg_detoast_datum_packed(text.cast_mut_ptr());
            let length = pgrx::varsize_any_exhdr(text);
            let bytes = std::slice::from_raw_parts(pgrx::vardata_any(text).cast::<u8>(), length);
            ((*(*fcinfo).flinfo).fn_oid, bytes.to_vec())
        };
        let key = (function, planning, text);
        if let Some(known) = SCRIPTS.with_borrow(|scripts| scripts.get(&key).copied()) {
            return known;
        }
        let text = from_server_bytes(&key.2);
        let mut types = if makes_id {
            vec![pg_sys::UUIDOID]
        } else {
            vec![]
        };
        // SAFETY: a function that is being called has a signature; an array of nargs Oids.
        unsafe {
            let (mut list, mut count) = (null_mut(), 0);
            pg_sys::get_func_signature(function, &mut list, &mut count);
            let declared = std::slice::from_raw_parts(list, count as usize);
            types.extend(&declared[..declared.len() - 1]);
        }
        assert!(types.len() <= MOST, "a rival with so many arguments");
        let steps = text
            .split("\n;\n")
            .map(|text| Step::new(text, &mut types, planning))
            .collect();
        let script: &'static Self = Box::leak(Box::new(Self {
            steps,
            types,
            // SAFETY: a lookup by OID.
            read_only: unsafe { pg_sys::func_volatile(function) } == b's' as c_char,
            makes_id,
            // SAFETY: lookups by OID; the copy outlives every query.
            row: unsafe { row_type(function) },
        }));
        SCRIPTS.with_borrow_mut(|scripts| scripts.insert(key, script));
        script
    }

    /// Does a new id come before the arguments?
    pub(super) fn makes_id(&self) -> bool {
        self.makes_id
    }

    /// The row type that the function returns; null if it returns no row.
    pub(super) fn row(&self) -> pg_sys::TupleDesc {
        self.row
    }

    /// Runs every statement; false if one before the last returned false. What the last one
    /// found is in SPI_processed and SPI_tuptable.
    ///
    /// # Safety
    /// SPI is connected; the values are of the script's types.
    pub(super) unsafe fn run(&'static self, bound: &mut Bound) -> bool {
        let (last, before) = match self.steps.split_last() {
            Some(parts) => parts,
            None => return false,
        };
        for step in before {
            // SAFETY: the caller's promise.
            unsafe {
                self.execute(step, bound);
                if said_no() {
                    return false;
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.execute(last, bound) };
        true
    }

    /// # Safety
    /// As [`Script::run`].
    unsafe fn execute(&self, step: &Step, bound: &mut Bound) {
        let (values, nulls) = (bound.values.as_mut_ptr(), bound.nulls.as_ptr());
        // SAFETY: the caller's promise; one value and flag for each type.
        let code = unsafe {
            if step.plan.is_null() {
                pg_sys::SPI_execute_with_args(
                    step.text.as_ptr(),
                    self.types.len() as i32,
                    self.types.as_ptr().cast_mut(),
                    values,
                    nulls,
                    self.read_only,
                    0,
                )
            } else {
                pg_sys::SPI_execute_plan(step.plan, values, nulls, self.read_only, 0)
            }
        };
        assert!(code >= 0, "SPI failed with code {code}");
    }

    /// Runs the only statement with its rows going straight into a tuplestore, as RETURN QUERY
    /// of PL/pgSQL does (exec_stmt_return_query, pl_exec.c).
    ///
    /// # Safety
    /// As [`Script::run`]; `set` is the result set of the call, in materialize mode.
    pub(super) unsafe fn stream(&'static self, bound: &Bound, set: *mut pg_sys::ReturnSetInfo) {
        unsafe extern "C-unwind" {
            // tstoreReceiver.c; only sets fields.
            fn SetTuplestoreDestReceiverParams(
                receiver: *mut pg_sys::DestReceiver,
                store: *mut pg_sys::Tuplestorestate,
                context: pg_sys::MemoryContext,
                detoast: bool,
                target: pg_sys::TupleDesc,
                failure: *const c_char,
            );
        }
        // SAFETY: the caller's promise; the parameters' array has an element for each type.
        let code = unsafe {
            let receiver = pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestTuplestore);
            let context = (*(*set).econtext).ecxt_per_query_memory;
            SetTuplestoreDestReceiverParams(
                receiver,
                (*set).setResult,
                context,
                false,
                null_mut(),
                std::ptr::null(),
            );
            let list = pg_sys::makeParamList(self.types.len() as i32);
            let parameters = (*list).params.as_mut_slice(self.types.len());
            for (i, parameter) in parameters.iter_mut().enumerate() {
                parameter.value = bound.values[i];
                parameter.isnull = bound.nulls[i] == b'n' as c_char;
                parameter.pflags = pg_sys::PARAM_FLAG_CONST as u16;
                parameter.ptype = self.types[i];
            }
            let options = pg_sys::SPIExecuteOptions {
                params: list,
                read_only: self.read_only,
                dest: receiver,
                ..Default::default()
            };
            let step = &self.steps[0];
            if step.plan.is_null() {
                pg_sys::SPI_execute_extended(step.text.as_ptr(), &options)
            } else {
                pg_sys::SPI_execute_plan_extended(step.plan, &options)
            }
        };
        assert!(code >= 0, "SPI failed with code {code}");
    }
}

impl Step {
    fn new(text: &str, types: &mut [Oid], planning: Planning) -> Self {
        let text = super::super::encoding::to_server(text);
        let mut plan = null_mut();
        if planning == Planning::Kept {
            // SAFETY: connected for the two calls; one type for each parameter. The plan is kept
            // for the backend's life.
            unsafe {
                pg_sys::SPI_connect();
                plan = pg_sys::SPI_prepare(text.as_ptr(), types.len() as i32, types.as_mut_ptr());
                assert!(!plan.is_null(), "SPI_prepare failed");
                pg_sys::SPI_keepplan(plan);
                pg_sys::SPI_finish();
            }
        }
        Self { text, plan }
    }
}

/// A function's result type, if it is a row type, for the backend's life.
///
/// # Safety
/// A function that exists.
unsafe fn row_type(function: Oid) -> pg_sys::TupleDesc {
    // SAFETY: the caller's promise; lookups by OID.
    unsafe {
        let kind = pg_sys::get_func_rettype(function);
        // Not RECORD, which TABLE(…) is.
        if pg_sys::get_typ_typrelid(kind) == Oid::INVALID {
            return null_mut();
        }
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let row = pg_sys::lookup_rowtype_tupdesc_copy(kind, -1);
        pg_sys::MemoryContextSwitchTo(before);
        row
    }
}

/// Did the statement that ran last return a row whose first column is false?
///
/// # Safety
/// SPI is connected and has run a statement.
unsafe fn said_no() -> bool {
    // SAFETY: after a SELECT the table holds SPI_processed tuples and their descriptor.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() || pg_sys::SPI_processed == 0 {
            return false;
        }
        let mut null = false;
        let value = pg_sys::SPI_getbinval(*(*table).vals, (*table).tupdesc, 1, &mut null);
        !null && value.value() == 0
    }
}
