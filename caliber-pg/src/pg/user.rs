//! With whose rights things run.

use super::unwinding;
use pgrx::pg_sys::{self, Oid};

/// Runs `work` as another role, in the present security context with `flags` added
/// (`SECURITY_…`, miscadmin.h).
pub fn as_user<T>(role: Oid, flags: u32, work: impl FnOnce() -> T) -> T {
    struct Restore(Oid, i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            if !unwinding() {
                // SAFETY: sets backend variables; the abort of the
                // (sub)transaction does it while an ERROR unwinds.
                unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
            }
        }
    }
    let (mut user, mut context) = (Oid::INVALID, 0);
    // SAFETY: reads and sets backend variables.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(role, context | flags as i32);
    }
    let _restore = Restore(user, context);
    work()
}
