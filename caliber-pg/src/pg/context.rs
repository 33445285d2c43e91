//! CONTEXT of errors: what was being done when one was raised.

use super::encoding::to_server;
use super::error::raise;
use crate::error::CaliberResult;
use pgrx::pg_sys;
use std::ffi::{c_char, c_int, c_void, CString};

unsafe extern "C-unwind" {
    fn errcontext_msg(fmt: *const c_char, ...) -> c_int;
    fn set_errcontext_domain(domain: *const c_char) -> c_int;
}

/// Adds the line that `text` points at; called by elog.c for each report.
unsafe extern "C-unwind" fn add_line(text: *mut c_void) {
    // SAFETY: `text` is the C string of the frame in `within`, which is alive
    // while its callback is on the stack. errcontext_msg copies it.
    unsafe {
        set_errcontext_domain(std::ptr::null());
        errcontext_msg(c"%s".as_ptr(), text.cast::<c_char>());
    }
}

/// Takes the callback off the stack, also while an ERROR unwinds.
struct Pop(*mut pg_sys::ErrorContextCallback);

impl Drop for Pop {
    fn drop(&mut self) {
        // SAFETY: an assignment to a backend variable, which cannot raise.
        unsafe { pg_sys::error_context_stack = self.0 };
    }
}

/// Runs `work`; what it raises, and the error that it returns, carry `line` in
/// their CONTEXT.
pub fn within<T>(line: &str, work: impl FnOnce() -> CaliberResult<T>) -> CaliberResult<T> {
    let line: CString = to_server(line);
    // SAFETY: the callback is on the stack of elog.c no longer than in this
    // frame, where it and the text live; `Pop` sees to that.
    unsafe {
        let mut callback = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(add_line),
            arg: line.as_ptr().cast_mut().cast(),
        };
        let _pop = Pop(callback.previous);
        pg_sys::error_context_stack = &mut callback;
        match work() {
            Ok(value) => Ok(value),
            Err(error) => raise(&error),
        }
    }
}
