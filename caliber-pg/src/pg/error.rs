//! Raising errors of our own, with every field PostgreSQL knows.
//!
//! `ereport!` of pgrx reports only after all Rust frames are gone, so that an
//! error context callback would be lost, and it has no constraint or table
//! name. So reports are built by errstart … errfinish (elog.c) under pgrx's
//! guard, which turns the jump into an unwinding that runs our destructors and
//! throws the *original* error again at the function's edge.

use super::encoding::to_server;
use crate::error::{CaliberError, ConstraintName};
use pgrx::pg_sys;
use std::ffi::{c_char, c_int, CString};

unsafe extern "C-unwind" {
    fn errstart(elevel: c_int, domain: *const c_char) -> bool;
    fn errfinish(filename: *const c_char, lineno: c_int, funcname: *const c_char);
    fn errcode(sqlerrcode: c_int) -> c_int;
    fn errmsg(fmt: *const c_char, ...) -> c_int;
    fn errdetail(fmt: *const c_char, ...) -> c_int;
    fn errhint(fmt: *const c_char, ...) -> c_int;
}

/// Five characters that name a class of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// From its five characters; anything else becomes XX000 (internal error).
    pub const fn new(code: &str) -> Self {
        let b = code.as_bytes();
        if b.len() == 5 {
            Self([b[0], b[1], b[2], b[3], b[4]])
        } else {
            Self(*b"XX000")
        }
    }

    /// Its five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// MAKE_SQLSTATE (elog.h): six bits a character.
    fn packed(self) -> c_int {
        self.0
            .iter()
            .rev()
            .fold(0, |n, &c| (n << 6) | ((c_int::from(c) - 0x30) & 0x3f))
    }
}

/// An error as PostgreSQL reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// SQLSTATE.
    pub code: SqlState,
    /// Primary message: short, lower case, no full stop.
    pub message: String,
    /// DETAIL.
    pub detail: Option<String>,
    /// HINT.
    pub hint: Option<String>,
    /// Schema, table and constraint.
    pub object: Option<ConstraintName>,
}

impl Report {
    /// An empty report with this SQLSTATE.
    pub fn new(code: SqlState) -> Self {
        Self {
            code,
            message: String::new(),
            detail: None,
            hint: None,
            object: None,
        }
    }
}

/// Raises `error` as a PostgreSQL ERROR.
///
/// Unwinds to the function's edge; nothing after it runs but destructors.
pub fn raise(error: &CaliberError) -> ! {
    raise_report(&error.report())
}

/// Raises a report as a PostgreSQL ERROR.
pub fn raise_report(report: &Report) -> ! {
    const ERROR: c_int = pgrx::PgLogLevel::ERROR as c_int;
    let message = to_server(&report.message);
    let detail = report.detail.as_deref().map(to_server);
    let hint = report.hint.as_deref().map(to_server);
    let object = report.object.as_ref().map(|o| {
        (
            to_server(&o.schema),
            to_server(&o.table),
            (!o.constraint.is_empty()).then(|| to_server(&o.constraint)),
        )
    });
    let ptr = |s: &Option<CString>| s.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
    let (detail_ptr, hint_ptr) = (ptr(&detail), ptr(&hint));
    let (schema_ptr, table_ptr, constraint_ptr) = match &object {
        Some((s, t, c)) => (s.as_ptr(), t.as_ptr(), ptr(c)),
        None => (std::ptr::null(), std::ptr::null(), std::ptr::null()),
    };
    let message_ptr = message.as_ptr();
    let code = report.code.packed();
    // SAFETY: the closure holds only pointers and integers, so the jump that
    // errfinish makes skips no destructor; the strings live in this frame,
    // which the guard unwinds afterwards. elog.c copies every string.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if errstart(ERROR, std::ptr::null()) {
                errcode(code);
                errmsg(c"%s".as_ptr(), message_ptr);
                if !detail_ptr.is_null() {
                    errdetail(c"%s".as_ptr(), detail_ptr);
                }
                if !hint_ptr.is_null() {
                    errhint(c"%s".as_ptr(), hint_ptr);
                }
                if !schema_ptr.is_null() {
                    pg_sys::err_generic_string(
                        c_int::from(pg_sys::PG_DIAG_SCHEMA_NAME),
                        schema_ptr,
                    );
                    pg_sys::err_generic_string(c_int::from(pg_sys::PG_DIAG_TABLE_NAME), table_ptr);
                }
                if !constraint_ptr.is_null() {
                    pg_sys::err_generic_string(
                        c_int::from(pg_sys::PG_DIAG_CONSTRAINT_NAME),
                        constraint_ptr,
                    );
                }
                errfinish(c"caliber_pg".as_ptr(), 0, c"raise".as_ptr());
            }
        });
    }
    unreachable!("errstart is true for ERROR, and errfinish does not return (elog.c)")
}
