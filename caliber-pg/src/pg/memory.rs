//! Memory that is freed at once.

use pgrx::pg_sys;

/// Runs `work` in a memory context of its own and frees it. What `work` returns
/// must not point into it. If an ERROR unwinds, the context goes with the one
/// around it.
pub fn scratch<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the new context is a child of the current one, becomes current
    // for `work`, and is deleted when nothing uses it any more.
    unsafe {
        let caller = pg_sys::CurrentMemoryContext;
        let own = pg_sys::AllocSetContextCreateInternal(
            caller,
            c"caliber scratch".as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
            pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::MemoryContextSwitchTo(own);
        let result = work();
        pg_sys::MemoryContextSwitchTo(caller);
        pg_sys::MemoryContextDelete(own);
        result
    }
}
