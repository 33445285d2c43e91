//! Settings of the server that hold for one call only.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Runs `work` with other settings; those of the caller are back afterwards.
/// (If `work` raises, the abort of the (sub)transaction restores them.)
pub fn with<T>(settings: &[(&CStr, &CStr)], work: impl FnOnce() -> T) -> T {
    // SAFETY: the nest level made here is closed below, or by the abort.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    for (name, value) in settings {
        // SAFETY: valid C strings; the arguments are those that a function's
        // SET clause is run with (fmgr_security_definer, fmgr.c).
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }
    let result = work();
    // SAFETY: `level` is the innermost nest level that is still open.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    result
}
