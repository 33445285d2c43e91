//! Running SQL text through SPI, for the `sql` engine.
//!
//! pgrx's `Spi` decides by itself whether a statement is read only, and with
//! it which snapshot it sees; here the caller decides.

use super::datum::Value;
use super::encoding::to_server;
use super::error::{raise_report, Report, SqlState};
use super::maker::RowMaker;
use super::relation::Relation;
use super::row::{AnyRow, KeptRow, RowSink};
use super::{unwinding, user};
use crate::error::CaliberResult;
use pgrx::pg_sys::{self, Oid};
use std::cell::RefCell;
use std::collections::HashMap;
use uuid::Uuid;

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
    /// A new snapshot at every isolation level, after moving the counter.
    Latest,
}

/// A kept plan, and the types of its parameters.
struct Kept {
    types: Vec<Oid>,
    plan: pg_sys::SPIPlanPtr,
}

thread_local! {
    /// Kept plans of this backend by text. The text has fully qualified names,
    /// so that a renamed schema makes another plan; the plan cache itself
    /// follows every other change (plancache.c), but for the types of
    /// parameters: an extension that was dropped and made anew has others.
    ///
    /// Plans for [`as_owner`] are others: a plan has row policies in it or not, and
    /// plancache.c does not ask which it was made for (InNoForceRLSOperation).
    static PLANS: RefCell<[HashMap<String, Kept>; 2]> = RefCell::new([HashMap::new(), HashMap::new()]);
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
    // SAFETY: reads a backend variable.
    let of_owner = usize::from(unsafe { pg_sys::InNoForceRLSOperation() });
    let known = PLANS.with_borrow(|plans| {
        let kept = plans[of_owner]
            .get(text)
            .filter(|kept| kept.types == bound.types);
        kept.map(|kept| kept.plan)
    });
    if let Some(plan) = known {
        return plan;
    }
    let plan = prepared(text, bound);
    // SAFETY: connected; moves the plan to permanent memory.
    expect_ok(unsafe { pg_sys::SPI_keepplan(plan) }, "SPI_keepplan");
    let kept = Kept {
        types: bound.types.clone(),
        plan,
    };
    // A plan with other types is not freed: it may be running further up.
    PLANS.with_borrow_mut(|plans| plans[of_owner].insert(text.to_owned(), kept));
    plan
}

/// A plan that lives as long as the connection.
fn prepared(text: &str, bound: &mut Bound) -> pg_sys::SPIPlanPtr {
    let sql = to_server(text);
    // SAFETY: connected; the array has one element for each parameter.
    unsafe {
        let plan = pg_sys::SPI_prepare(
            sql.as_ptr(),
            bound.types.len() as i32,
            bound.types.as_mut_ptr(),
        );
        if plan.is_null() {
            expect_ok(pg_sys::SPI_result, "SPI_prepare");
        }
        plan
    }
}

/// Runs a statement; the connection must be open.
fn execute(text: &str, parameters: &[Parameter], planning: Planning, view: View) -> u64 {
    let mut bound = Bound::new(parameters);
    if view == View::Latest {
        return execute_latest(text, &mut bound, planning);
    }
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

/// Runs a statement under GetLatestSnapshot, as ri_PerformCheck (ri_triggers.c)
/// does where it must see what a transaction's own snapshot does not.
fn execute_latest(text: &str, bound: &mut Bound, planning: Planning) -> u64 {
    // SAFETY: connected; the arrays have one element for each parameter. The
    // snapshot is copied before anything else could take another
    // (_SPI_execute_plan, spi.c). A plan that is not kept goes with SPI's memory.
    unsafe {
        let plan = match planning {
            Planning::Kept => kept_plan(text, bound),
            Planning::OneShot => prepared(text, bound),
        };
        let code = pg_sys::SPI_execute_snapshot(
            plan,
            bound.values.as_mut_ptr(),
            bound.nulls.as_ptr(),
            pg_sys::GetLatestSnapshot(),
            std::ptr::null_mut(),
            false,
            true,
            0,
        );
        expect_ok(code, "SPI_execute_snapshot");
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

/// The first column, a uuid, of the rows that a writing statement returns.
pub fn ids(text: &str, parameters: &[Parameter], planning: Planning) -> Vec<Option<Uuid>> {
    let _session = Session::open();
    let count = execute(text, parameters, planning, View::Fresh) as usize;
    // SAFETY: after RETURNING, SPI_tuptable holds `count` tuples and their
    // descriptor, until the session ends.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() {
            return Vec::new();
        }
        (0..count)
            .map(|i| {
                let (values, nulls) = deform(*(*table).vals.add(i), (*table).tupdesc);
                Value::new(values[0], nulls[0]).as_uuid()
            })
            .collect()
    }
}

/// Puts the rows that a writing statement returns into `sink`, as rows of
/// `relation`'s row type. Returns their number.
pub fn fill(
    relation: &Relation,
    text: &str,
    parameters: &[Parameter],
    planning: Planning,
    sink: &mut RowSink,
) -> u64 {
    let session = Session::open();
    let count = execute(text, parameters, planning, View::Fresh);
    // SAFETY: after a SELECT, SPI_tuptable holds `count` tuples and their
    // descriptor, until the session ends; the sink copies.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() {
            return 0;
        }
        session.in_caller(|| {
            sink.prepare(relation, (*table).tupdesc);
            for i in 0..count as usize {
                let (values, nulls) = deform(*(*table).vals.add(i), (*table).tupdesc);
                sink.put(&values, &nulls);
            }
        });
    }
    count
}

/// The number of rows that a query finds.
pub fn count(text: &str, parameters: &[Parameter], planning: Planning, view: View) -> u64 {
    let _session = Session::open();
    execute(text, parameters, planning, view)
}

/// Whether a row of a stream is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It is not, and no more rows are wanted.
    Enough,
}

/// Streams those rows of a query under the active snapshot that `take` takes
/// into `sink`. The query selects the relation's live columns, in order.
///
/// # Errors
/// Those of `take`.
pub fn stream(
    relation: &Relation,
    text: &str,
    parameters: &[Parameter],
    planning: Planning,
    sink: &mut RowSink,
    take: &mut dyn FnMut(&[Value]) -> CaliberResult<Taken>,
) -> CaliberResult<()> {
    let mut prepared = false;
    walk(text, parameters, planning, &mut |desc, values, nulls| {
        if !prepared {
            sink.prepare(relation, desc);
            prepared = true;
        }
        match take(&row(values, nulls))? {
            Taken::Yes => sink.put(values, nulls),
            Taken::No => {}
            Taken::Enough => return Ok(false),
        }
        Ok(true)
    })?;
    if !prepared {
        sink.prepare(relation, relation.descriptor());
    }
    Ok(())
}

/// Gives the rows of a query under the active snapshot to `work`, one by one.
///
/// # Errors
/// Those of `work`.
pub fn each(
    text: &str,
    parameters: &[Parameter],
    planning: Planning,
    work: &mut dyn FnMut(&[Value]) -> CaliberResult<()>,
) -> CaliberResult<()> {
    walk(text, parameters, planning, &mut |_, values, nulls| {
        work(&row(values, nulls)).map(|()| true)
    })
}

/// What is done with a row, which can be made one of a relation's row type; false: no
/// more are wanted.
pub type Visit<'a> = dyn FnMut(&[Value], &dyn Fn() -> KeptRow) -> CaliberResult<bool> + 'a;

/// As [`each`], until `work` returns false.
///
/// # Errors
/// Those of `work`.
pub fn until(
    relation: &Relation,
    text: &str,
    parameters: &[Parameter],
    planning: Planning,
    work: &mut Visit<'_>,
) -> CaliberResult<()> {
    let mut maker = None;
    walk(text, parameters, planning, &mut |desc, values, nulls| {
        let maker = &*maker.get_or_insert_with(|| RowMaker::new(relation, desc));
        let keep = || KeptRow::new(maker.datum(values, nulls));
        work(&row(values, nulls), &keep)
    })
}

/// The values of a row.
fn row(values: &[pg_sys::Datum], nulls: &[bool]) -> Vec<Value> {
    values
        .iter()
        .zip(nulls)
        .map(|(&datum, &null)| Value::new(datum, null))
        .collect()
}

/// What is done with a row of a cursor; false ends it.
type Walk<'a> = dyn FnMut(pg_sys::TupleDesc, &[pg_sys::Datum], &[bool]) -> CaliberResult<bool> + 'a;

/// Reads a query through a cursor under the active snapshot, in the memory
/// context of the caller.
fn walk(
    text: &str,
    parameters: &[Parameter],
    planning: Planning,
    work: &mut Walk<'_>,
) -> CaliberResult<()> {
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
        let mut more = true;
        while more {
            pg_sys::SPI_cursor_fetch(portal, true, BATCH);
            let table = pg_sys::SPI_tuptable;
            let count = pg_sys::SPI_processed as usize;
            session.in_caller(|| {
                for i in 0..count {
                    let (values, nulls) = deform(*(*table).vals.add(i), (*table).tupdesc);
                    if !work((*table).tupdesc, &values, &nulls)? {
                        more = false;
                        break;
                    }
                }
                CaliberResult::Ok(())
            })?;
            pg_sys::SPI_freetuptable(table);
            if count == 0 {
                break;
            }
        }
        pg_sys::SPI_cursor_close(portal);
    }
    Ok(())
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
/// policies, as ri_PerformCheck (ri_triggers.c) reads. No user code may run. An owner
/// without USAGE on the schema is 42501, which a kept plan would not notice.
pub fn as_owner<T>(relation: &Relation, work: impl FnOnce() -> T) -> T {
    let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
    user::as_user(relation.owner(), flags, || {
        super::rights::check_schema_usage(relation.schema());
        work()
    })
}
