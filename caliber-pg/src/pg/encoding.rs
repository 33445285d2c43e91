//! Text between Rust (UTF-8) and the database's encoding.

use pgrx::pg_sys;
use std::ffi::{c_char, c_int, CStr, CString};

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8 as c_int;

/// UTF-8 to the encoding of the database. A NUL, which no text of the server
/// can hold, is left out.
pub fn to_server(text: &str) -> CString {
    let clean: Vec<u8> = text.bytes().filter(|&b| b != 0).collect();
    let text = CString::new(clean).unwrap_or_default();
    // SAFETY: pg_any_to_server (mbutils.c) reads `len` bytes and returns its
    // argument or a palloc'd, terminated copy.
    unsafe {
        let len = text.as_bytes().len() as c_int;
        let converted = pg_sys::pg_any_to_server(text.as_ptr(), len, UTF8);
        CStr::from_ptr(converted).to_owned()
    }
}

/// The encoding of the database to UTF-8. In a SQL_ASCII database, whose bytes
/// have no known meaning, what is not UTF-8 is replaced.
pub fn from_server_bytes(bytes: &[u8]) -> String {
    // SAFETY: reads a backend variable.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    if encoding == UTF8 || encoding == pg_sys::pg_enc::PG_SQL_ASCII as c_int {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let text = CString::new(bytes).unwrap_or_default();
    // SAFETY: as in `to_server`.
    unsafe {
        let len = text.as_bytes().len() as c_int;
        let converted = pg_sys::pg_server_to_any(text.as_ptr(), len, UTF8);
        CStr::from_ptr(converted).to_string_lossy().into_owned()
    }
}

/// The encoding of the database to UTF-8.
///
/// # Safety
/// `text` is a valid C string.
pub unsafe fn from_server(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    from_server_bytes(unsafe { CStr::from_ptr(text) }.to_bytes())
}
