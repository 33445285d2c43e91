//! Running SQL text through SPI, for the `sql` engine.
//!
//! pgrx's `Spi` decides by itself whether a statement is read only, and with
//! it which snapshot it sees; here the caller decides.

use super::datum::Value;
use super::encoding::to_server;
use super::error::{raise_report, Report, SqlState};
use super::relation::Relation;
use super::row::{AnyRow, RowMaker, RowSink};
use super::unwinding;
use pgrx::pg_sys::{self, Oid};
use std::cell::RefCell;
use std::collections::HashMap;

/// Whether a statement's plan is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    /// Parsed once, planned by the plan cache, kept for the backend's life.
    Kept,
    /// Parsed and planned at each call.
    OneShot,
}

/// A parameter: type and value.
pub type Parameter = (Oid, Value);

/// What a statement sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The active snapshot as it is (`read_only` of SPI).
    Active,
    /// A new snapshot at READ COMMITTED, after moving the command counter.
    Fresh,
}

thread_local! {
    /// Kept plans of this backend by text. The text has fully qualified names,
    /// so that a renamed schema makes another plan; the plan cache itself
    /// follows every other change (plancache.c).
    static PLANS: RefCell<HashMap<String, pg_sys::SPIPlanPtr>> = RefCell::new(HashMap::new());
}

/// An open connection to SPI. Closed when dropped; while an ERROR unwinds,
/// AtEOXact_SPI or AtEOSubXact_SPI (spi.c) closes it.
struct Session {
    caller: pg_sys::MemoryContext,
}

impl Session {
    fn open() -> Self {
        // SAFETY: SPI_connect saves its own state and switches to a context of
        // its own; the caller's is remembered for results.
        unsafe {
            let caller = pg_sys::CurrentMemoryContext;
            expect_ok(pg_sys::SPI_connect(), "SPI_connect");
            Self { caller }
        }
    }

    /// Runs `work` in the memory context of the caller, where results live.
    fn in_caller<T>(&self, work: impl FnOnce() -> T) -> T {
        // SAFETY: the caller's context outlives the session.
        let spi = unsafe { pg_sys::MemoryContextSwitchTo(self.caller) };
        let result = work();
        // SAFETY: SPI's context is current again for SPI's own calls.
        unsafe { pg_sys::MemoryContextSwitchTo(spi) };
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: connected in `open`; sessions nest. SPI_finish returns a
            // code and frees memory, it does not raise when connected.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

fn expect_ok(code: i32, what: &str) {
    if code < 0 {
        let mut report = Report::new(SqlState::new("XX000"));
        report.message = format!("{what} failed with code {code}");
        raise_report(&report);
    }
}

/// Parameters in the form that SPI takes.
struct Bound {
    types: Vec<Oid>,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<std::ffi::c_char>,
}

impl Bound {
    fn new(parameters: &[Parameter]) -> Self {
        Self {
            types: parameters.iter().map(|p| p.0).collect(),
            values: parameters.iter().map(|p| p.1.datum).collect(),
            nulls: parameters
                .iter()
                .map(|p| if p.1.null { b'n' } else { b' ' } as std::ffi::c_char)
                .collect(),
        }
    }
}

fn kept_plan(text: &str, bound: &mut Bound) -> pg_sys::SPIPlanPtr {
    if let Some(plan) = PLANS.with_borrow(|plans| plans.get(text).copied()) {
        return plan;
    }
    let sql = to_server(text);
    // SAFETY: connected; SPI_keepplan moves the plan to permanent memory.
    let plan = unsafe {
        let plan = pg_sys::SPI_prepare(
            sql.as_ptr(),
            bound.types.len() as i32,
            bound.types.as_mut_ptr(),
        );
        if plan.is_null() {
            expect_ok(pg_sys::SPI_result, "SPI_prepare");
        }
        expect_ok(pg_sys::SPI_keepplan(plan), "SPI_keepplan");
        plan
    };
    PLANS.with_borrow_mut(|plans| plans.insert(text.to_owned(), plan));
    plan
}

/// Runs a statement; the connection must be open.
fn execute(text: &str, parameters: &[Parameter], planning: Planning, view: View) -> u64 {
    let mut bound = Bound::new(parameters);
    let read_only = view == View::Active;
    // SAFETY: connected; the arrays have one element for each parameter.
    unsafe {
        let code = match planning {
            Planning::Kept => {
                let plan = kept_plan(text, &mut bound);
                pg_sys::SPI_execute_plan(
                    plan,
                    bound.values.as_mut_ptr(),
                    bound.nulls.as_ptr(),
                    read_only,
                    0,
                )
            }
            Planning::OneShot => {
                let sql = to_server(text);
                pg_sys::SPI_execute_with_args(
                    sql.as_ptr(),
                    bound.types.len() as i32,
                    bound.types.as_mut_ptr(),
                    bound.values.as_mut_ptr(),
                    bound.nulls.as_ptr(),
                    read_only,
                    0,
                )
            }
        };
        expect_ok(code, "SPI_execute");
        pg_sys::SPI_processed
    }
}

/// Runs a writing statement and returns the number of rows it wrote.
pub fn write(text: &str, parameters: &[Parameter], planning: Planning) -> u64 {
    let _session = Session::open();
    execute(text, parameters, planning, View::Fresh)
}

/// The rows of a query, as rows of `relation`'s row type.
pub fn rows(
    relation: &Relation,
    text: &str,
    parameters: &[Parameter],
    planning: Planning,
    view: View,
) -> Vec<AnyRow> {
    let session = Session::open();
    let count = execute(text, parameters, planning, view) as usize;
    // SAFETY: after a SELECT, SPI_tuptable holds `count` tuples and their
    // descriptor, until the session ends.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() {
            return Vec::new();
        }
        session.in_caller(|| {
            let maker = RowMaker::new(relation, (*table).tupdesc);
            (0..count)
                .map(|i| {
                    let (values, nulls) = deform(*(*table).vals.add(i), (*table).tupdesc);
                    maker.datum(&values, &nulls)
                })
                .collect()
        })
    }
}

/// The number of rows that a query finds.
pub fn count(text: &str, parameters: &[Parameter], planning: Planning, view: View) -> u64 {
    let _session = Session::open();
    execute(text, parameters, planning, view)
}

/// Streams the rows of a query under the active snapshot into `sink`.
pub fn stream(
    relation: &Relation,
    text: &str,
    parameters: &[Parameter],
    planning: Planning,
    sink: &mut RowSink,
) {
    const BATCH: std::ffi::c_long = 100;
    let session = Session::open();
    let mut bound = Bound::new(parameters);
    // SAFETY: connected; the portal lives until it is closed below, or until
    // the (sub)transaction aborts.
    unsafe {
        let portal = match planning {
            Planning::Kept => {
                let plan = kept_plan(text, &mut bound);
                pg_sys::SPI_cursor_open(
                    std::ptr::null(),
                    plan,
                    bound.values.as_mut_ptr(),
                    bound.nulls.as_ptr(),
                    true,
                )
            }
            Planning::OneShot => {
                let sql = to_server(text);
                pg_sys::SPI_cursor_open_with_args(
                    std::ptr::null(),
                    sql.as_ptr(),
                    bound.types.len() as i32,
                    bound.types.as_mut_ptr(),
                    bound.values.as_mut_ptr(),
                    bound.nulls.as_ptr(),
                    true,
                    0,
                )
            }
        };
        let mut prepared = false;
        loop {
            pg_sys::SPI_cursor_fetch(portal, true, BATCH);
            let table = pg_sys::SPI_tuptable;
            let count = pg_sys::SPI_processed as usize;
            session.in_caller(|| {
                if !prepared {
                    sink.prepare(relation, (*table).tupdesc);
                    prepared = true;
                }
                for i in 0..count {
                    let (values, nulls) = deform(*(*table).vals.add(i), (*table).tupdesc);
                    sink.put(&values, &nulls);
                }
            });
            pg_sys::SPI_freetuptable(table);
            if count == 0 {
                break;
            }
        }
        pg_sys::SPI_cursor_close(portal);
    }
}

/// Deforms a tuple.
///
/// # Safety
/// The tuple is described by `desc`. The values point into it.
unsafe fn deform(
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
) -> (Vec<pg_sys::Datum>, Vec<bool>) {
    // SAFETY: the arrays have natts elements.
    unsafe {
        let natts = (*desc).natts as usize;
        let mut values = vec![pg_sys::Datum::null(); natts];
        let mut nulls = vec![true; natts];
        pg_sys::heap_deform_tuple(tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
        (values, nulls)
    }
}

/// Runs `work` with the rights of the relation's owner and without row
/// policies, as ri_PerformCheck (ri_triggers.c) reads. No user code may run.
pub fn as_owner<T>(relation: &Relation, work: impl FnOnce() -> T) -> T {
    struct Restore(Oid, i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            if !unwinding() {
                // SAFETY: sets backend variables; the abort of a
                // (sub)transaction does it while an ERROR unwinds.
                unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
            }
        }
    }
    let (mut user, mut context) = (Oid::INVALID, 0);
    // SAFETY: reads and sets backend variables.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(
            relation.owner(),
            context | (pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS) as i32,
        );
    }
    let _restore = Restore(user, context);
    work()
}
