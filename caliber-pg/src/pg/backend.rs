//! The process and the server that a call runs in.

use pgrx::pg_sys;

/// Is this server a standby?
pub fn in_recovery() -> bool {
    // SAFETY: reads shared state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Process id of this backend, as `pg_backend_pid()`.
pub fn process_id() -> i32 {
    // SAFETY: reads a backend variable.
    unsafe { pg_sys::MyProcPid }
}
