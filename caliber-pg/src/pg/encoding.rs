//! Text between Rust (UTF-8) and the database's encoding.

use pgrx::pg_sys;
use std::ffi::{c_char, c_int, CStr, CString};

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8 as c_int;

/// In a SQL_ASCII database bytes have no known meaning: each is the character
/// of its number, so that what came from the server goes back unchanged.
pub fn is_sql_ascii() -> bool {
    // SAFETY: reads a backend variable.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_SQL_ASCII as c_int }
}

/// UTF-8 to the encoding of the database. A NUL, which no text of the server
/// can hold, is left out.
pub fn to_server(text: &str) -> CString {
    if is_sql_ascii() {
        let bytes: Vec<u8> = text
            .chars()
            .filter(|&c| c != '\0')
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect();
        return CString::new(bytes).unwrap_or_default();
    }
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

/// The encoding of the database to UTF-8.
pub fn from_server_bytes(bytes: &[u8]) -> String {
    if is_sql_ascii() {
        return bytes.iter().map(|&b| char::from(b)).collect();
    }
    // SAFETY: reads a backend variable.
    if unsafe { pg_sys::GetDatabaseEncoding() } == UTF8 {
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

/// The UTF-8 bytes of a text in the encoding of the database; in a SQL_ASCII
/// database the bytes themselves.
pub fn utf8_bytes(bytes: Vec<u8>) -> Vec<u8> {
    // SAFETY: reads a backend variable.
    if is_sql_ascii() || unsafe { pg_sys::GetDatabaseEncoding() } == UTF8 {
        return bytes;
    }
    from_server_bytes(&bytes).into_bytes()
}

/// The encoding of the database to UTF-8.
///
/// # Safety
/// `text` is a valid C string.
pub unsafe fn from_server(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    from_server_bytes(unsafe { CStr::from_ptr(text) }.to_bytes())
}
