//! Callbacks at the end of transactions and subtransactions.

use super::error::raise;
use crate::error::CaliberResult;
use pgrx::pg_sys;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

/// A subtransaction of the current transaction, the outermost one included; or
/// none. Ids start again with each transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubTransaction(u32);

impl SubTransaction {
    /// None.
    pub const NONE: Self = Self(0);

    /// The innermost one.
    pub fn current() -> Self {
        // SAFETY: reads backend state, inside a transaction.
        Self(unsafe { pg_sys::GetCurrentSubTransactionId() })
    }

    /// One by its number, for tests.
    pub const fn numbered(number: u32) -> Self {
        Self(number)
    }

    /// Is there one?
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }
}

/// Does `work` in a subtransaction of its own, and undoes what it wrote if `keep`
/// says so of its result, or if it fails. An ERROR passes through unchanged.
///
/// Costs a transaction id of its own if it writes: not for what every call does.
/// The frame is that of exec_stmt_block (pl_exec.c).
pub fn undone_unless<T>(
    keep: impl FnOnce(&T) -> bool,
    work: impl FnOnce() -> CaliberResult<T>,
) -> CaliberResult<T> {
    // SAFETY: reads backend state; the two pointers outlive the subtransaction.
    let (context, owner) = unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner) };
    let back = || {
        // SAFETY: the parent's own, as they were.
        unsafe {
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::CurrentResourceOwner = owner;
        }
    };
    let undo = || {
        // SAFETY: the current subtransaction is the one begun below: those that
        // `work` began are over.
        unsafe { pg_sys::RollbackAndReleaseCurrentSubTransaction() };
        back();
    };
    // SAFETY: inside a transaction and not in parallel mode, since no function
    // that writes is parallel safe. What `work` allocates must outlive it.
    unsafe {
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
    }
    let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let result = work();
        let kept = result.as_ref().is_ok_and(keep);
        if kept {
            // Others' callbacks may still fail: then it is undone like the rest.
            // SAFETY: as for the rollback.
            unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        }
        (result, kept)
    }));
    match attempt {
        Ok((result, true)) => {
            back();
            result
        }
        Ok((result, false)) => {
            undo();
            result
        }
        Err(error) => {
            undo();
            std::panic::resume_unwind(error)
        }
    }
}

/// What to do when a transaction or subtransaction ends.
///
/// `before_commit` and `before_prepare` run inside the transaction, after its
/// deferred triggers, and may fail: the transaction then aborts. The others
/// run when all is decided: they must neither allocate nor fail, since an ERROR
/// after commit is a PANIC of the server.
#[derive(Debug)]
pub struct Watcher {
    /// Before COMMIT.
    pub before_commit: fn() -> CaliberResult<()>,
    /// Before PREPARE TRANSACTION.
    pub before_prepare: fn() -> CaliberResult<()>,
    /// After COMMIT: other sessions see its work, its locks are still held.
    pub committed: fn(),
    /// After ROLLBACK, or at the end of a backend in the middle of one.
    pub aborted: fn(),
    /// A subtransaction ended well and is now part of its parent, which follows.
    pub sub_committed: fn(SubTransaction, SubTransaction),
    /// A subtransaction was rolled back.
    pub sub_aborted: fn(SubTransaction),
}

/// Which callbacks are registered: of transactions, of subtransactions.
static REGISTERED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Registers the callbacks with the server, once in a backend's life. Called
/// before there is anything for them to do, always with the same watcher.
///
/// pgrx's own `register_xact_callback` is not used: it keeps closures of a
/// prepared transaction for the next one.
pub fn watch(watcher: &'static Watcher) {
    let [of_transactions, of_subtransactions] = &REGISTERED;
    let argument = std::ptr::from_ref(watcher).cast_mut().cast::<c_void>();
    // SAFETY: the callbacks are functions of this library, which is never
    // unloaded, and take a watcher. The server keeps them in memory of its own.
    unsafe {
        if !of_transactions.load(Ordering::Relaxed) {
            pg_sys::RegisterXactCallback(Some(on_transaction), argument);
            of_transactions.store(true, Ordering::Relaxed);
        }
        if !of_subtransactions.load(Ordering::Relaxed) {
            pg_sys::RegisterSubXactCallback(Some(on_subtransaction), argument);
            of_subtransactions.store(true, Ordering::Relaxed);
        }
    }
}

/// Called by CallXactCallbacks (xact.c). What a parallel worker ends is not
/// the transaction.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, watcher: *mut c_void) {
    // SAFETY: the argument of `watch`, which lives for ever.
    let watcher = unsafe { &*watcher.cast::<Watcher>() };
    let result = match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => (watcher.before_commit)(),
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => (watcher.before_prepare)(),
        pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            decided(watcher.committed);
            Ok(())
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            decided(watcher.aborted);
            Ok(())
        }
        _ => Ok(()),
    };
    if let Err(error) = result {
        raise(&error);
    }
}

/// Called by CallSubXactCallbacks (xact.c).
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    own: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    watcher: *mut c_void,
) {
    // SAFETY: the argument of `watch`, which lives for ever.
    let watcher = unsafe { &*watcher.cast::<Watcher>() };
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => {
            decided(|| (watcher.sub_committed)(SubTransaction(own), SubTransaction(parent)));
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            decided(|| (watcher.sub_aborted)(SubTransaction(own)));
        }
        _ => {}
    }
}

/// Does what must neither allocate nor fail.
#[cfg(not(feature = "faults"))]
#[inline(always)]
fn decided(act: impl FnOnce()) {
    act();
}

/// The same in a memory context of its own: a WARNING tells the verification if anything
/// of the server's memory was allocated there.
#[cfg(feature = "faults")]
fn decided(act: impl FnOnce()) {
    static WATCHED: std::sync::atomic::AtomicPtr<pg_sys::MemoryContextData> =
        std::sync::atomic::AtomicPtr::new(std::ptr::null_mut());
    let mut watched = WATCHED.load(Ordering::Relaxed);
    // SAFETY: TopMemoryContext lives for ever; the context is made once, by the one
    // thread of a backend. Nothing of the build that is shipped.
    unsafe {
        if watched.is_null() {
            watched = pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"what is decided".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            WATCHED.store(watched, Ordering::Relaxed);
        }
        let outer = std::mem::replace(
            &mut *std::ptr::addr_of_mut!(pg_sys::CurrentMemoryContext),
            watched,
        );
        act();
        if crate::fault::active("commit_allocates") {
            pg_sys::palloc(1);
        }
        pg_sys::CurrentMemoryContext = outer;
        if !(*watched).isReset {
            pg_sys::MemoryContextReset(watched);
            pgrx::warning!("memory was allocated when a transaction was over");
        }
    }
}
