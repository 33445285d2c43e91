//! Queries whose rows are looked at one by one, however many they are.

use crate::pg::catalog::internal_error;
use crate::pg::encoding::{from_server, to_server};
use crate::pg::unwinding;
use pgrx::pg_sys;

/// An open connection to SPI. While an ERROR unwinds, AtEOXact_SPI or
/// AtEOSubXact_SPI (spi.c) closes it.
struct Session;

impl Session {
    fn open() -> Self {
        // SAFETY: SPI_connect saves its own state; sessions nest.
        checked(unsafe { pg_sys::SPI_connect() }, "SPI_connect");
        Self
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: connected in `open`; returns a code and frees memory.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

/// SPI tells by its code what only a mistake of ours can cause.
fn checked(code: i32, what: &str) {
    if code < 0 {
        internal_error(format!("{what} failed with code {code}"));
    }
}

/// How many rows are fetched at once.
const BATCH: std::ffi::c_long = 1000;

/// Calls `each` with the text of every row of a query under the active snapshot, with
/// the caller's rights.
pub fn each(sql: &str, each: &mut dyn FnMut(&[Option<String>])) {
    let _session = Session::open();
    for_rows(sql, &mut |tuple, desc| each(&texts(tuple, desc)));
}

/// Calls `each` with the first column of every row of `inner`, which is run with
/// each uuid (`$1`) that `outer` gives.
pub fn each_of_each(outer: &str, inner: &str, each: &mut dyn FnMut(&str)) {
    let _session = Session::open();
    let inner = to_server(inner);
    // SAFETY: connected; the plan lives as long as the session.
    let plan = unsafe { pg_sys::SPI_prepare(inner.as_ptr(), 1, &mut { pg_sys::UUIDOID }) };
    if plan.is_null() {
        // SAFETY: reads a variable of SPI.
        checked(unsafe { pg_sys::SPI_result }, "SPI_prepare");
    }
    for_rows(outer, &mut |tuple, desc| {
        // SAFETY: the query gives one uuid; SPI_tuptable is that of the statement
        // just run and is freed before the next one.
        unsafe {
            let mut null = false;
            let mut value = pg_sys::SPI_getbinval(tuple, desc, 1, &mut null);
            let code = pg_sys::SPI_execute_plan(plan, &mut value, std::ptr::null(), true, 0);
            checked(code, "SPI_execute_plan");
            let table = pg_sys::SPI_tuptable;
            for row in 0..pg_sys::SPI_processed as usize {
                if let Some(Some(text)) = texts(*(*table).vals.add(row), (*table).tupdesc).first() {
                    each(text);
                }
            }
            pg_sys::SPI_freetuptable(table);
        }
    });
}

/// Goes through the rows of a query; the connection must be open.
fn for_rows(sql: &str, each: &mut dyn FnMut(pg_sys::HeapTuple, pg_sys::TupleDesc)) {
    let sql = to_server(sql);
    let none = std::ptr::null_mut();
    // SAFETY: connected; the portal lives until it is closed below, or until the
    // (sub)transaction aborts. `vals` holds as many tuples as were processed.
    unsafe {
        let portal = pg_sys::SPI_cursor_open_with_args(
            std::ptr::null(),
            sql.as_ptr(),
            0,
            none,
            std::ptr::null_mut(),
            std::ptr::null(),
            true,
            pg_sys::CURSOR_OPT_NO_SCROLL as i32,
        );
        loop {
            pg_sys::SPI_cursor_fetch(portal, true, BATCH);
            let (table, count) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed as usize);
            for row in 0..count {
                pgrx::check_for_interrupts!();
                each(*(*table).vals.add(row), (*table).tupdesc);
            }
            pg_sys::SPI_freetuptable(table);
            if count == 0 {
                break;
            }
        }
        pg_sys::SPI_cursor_close(portal);
    }
}

/// The columns of a row, as text.
fn texts(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Vec<Option<String>> {
    // SAFETY: the tuple is described by `desc`; SPI_getvalue returns NULL or a
    // palloc'd C string, which is freed once it is copied.
    unsafe {
        (1..=(*desc).natts)
            .map(|column| {
                let text = pg_sys::SPI_getvalue(tuple, desc, column);
                (!text.is_null()).then(|| {
                    let copy = from_server(text);
                    pg_sys::pfree(text.cast());
                    copy
                })
            })
            .collect()
    }
}
