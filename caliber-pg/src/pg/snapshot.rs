//! Which rows a read sees.

use pgrx::pg_sys;
use std::cell::Cell;

/// A snapshot on the active stack, taken off when this guard is dropped.
#[derive(Debug)]
pub struct ActiveSnapshot {
    combines: bool,
    /// What the guard around this one was.
    outer: bool,
}

thread_local! {
    /// Does the innermost guard combine? A read inside a read copies its
    /// snapshot, whose command id no longer tells.
    static COMBINES: Cell<bool> = const { Cell::new(false) };
}

impl ActiveSnapshot {
    /// What a writing statement sees: as `_SPI_execute_plan` (spi.c) for a
    /// statement that is not read only, the command counter moves on, and at
    /// READ COMMITTED a new snapshot is taken.
    pub fn for_write() -> Self {
        // SAFETY: inside a transaction, as every SQL function runs in one.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        Self::pushed(false)
    }

    /// What a read function sees: the snapshot of the statement that called
    /// it, plus what its own transaction has done up to this moment.
    ///
    /// The copy's command id is set by hand: UpdateActiveSnapshotCommandId
    /// (snapmgr.c) raises in parallel mode when the ids differ.
    ///
    /// After a write of our own such a snapshot is one that no transaction ever
    /// had: see [`combines`](Self::combines).
    pub fn for_read() -> Self {
        // SAFETY: a statement that calls a function has an active snapshot
        // (pquery.c, fastpath.c, spi.c); PushCopiedSnapshot makes a private,
        // writable copy of it, which GetActiveSnapshot then returns.
        unsafe {
            pg_sys::PushCopiedSnapshot(pg_sys::GetActiveSnapshot());
            let copy = pg_sys::GetActiveSnapshot();
            let command = pg_sys::GetCurrentCommandId(false);
            let wrote_since = (*copy).curcid != command;
            if !crate::fault::active("stale_command_id") {
                (*copy).curcid = command;
            }
            let inside = COMBINES.get() && !crate::fault::active("read_inside_read");
            let combines = wrote_since || inside;
            Self::pushed(combines && !transaction_keeps_snapshot())
        }
    }

    fn pushed(combines: bool) -> Self {
        let outer = COMBINES.replace(combines);
        Self { combines, outer }
    }

    /// What a read of the `sql` engine sees: as [`for_read`](Self::for_read),
    /// but where that snapshot would combine, a new one.
    ///
    /// An executor that is given a combined snapshot returns a row twice, or
    /// one that we deleted, and cannot be told otherwise. A new snapshot also
    /// shows what others committed since the statement began, as the next
    /// statement of a VOLATILE function would.
    pub fn for_read_by_sql() -> Self {
        let read = Self::for_read();
        if !read.combines {
            return read;
        }
        drop(read);
        // SAFETY: inside a transaction; at READ COMMITTED this takes a new
        // snapshot, which has the current command id.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        Self::pushed(false)
    }

    /// Everything committed by now, at every isolation level, and all that our
    /// own commands did, the one that is running included.
    pub fn latest() -> Self {
        // SAFETY: inside a transaction and outside parallel mode, as every write
        // checks first; PushActiveSnapshot copies the static snapshot that
        // GetLatestSnapshot returns (snapmgr.c).
        unsafe {
            if !crate::fault::active("latest_without_own") {
                pg_sys::CommandCounterIncrement();
            }
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        }
        Self::pushed(false)
    }

    /// Does it combine an older snapshot with later writes of our own? Then it
    /// may see a version that another transaction replaced since, beside ours
    /// of the same row: `chain::fate` tells. (At REPEATABLE READ and above our
    /// write would have failed instead.)
    pub(crate) fn combines(&self) -> bool {
        self.combines
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        COMBINES.set(self.outer);
        if !super::unwinding() {
            // SAFETY: guards nest, so the top of the stack is ours; popping it
            // cannot raise (snapmgr.c). While an ERROR unwinds the abort of
            // the (sub)transaction pops it.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// What had been committed at a moment.
#[derive(Debug)]
pub struct Moment(pg_sys::Snapshot);

impl Moment {
    /// The present one; at REPEATABLE READ and above that of the transaction's snapshot.
    pub fn now() -> Self {
        // SAFETY: inside a transaction; the resource owner keeps the copy.
        Self(unsafe { pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot()) })
    }

    /// Had this transaction, which is none of ours, ended?
    pub fn knows(&self, xid: u32) -> bool {
        // SAFETY: the snapshot is an MVCC snapshot, registered while we live.
        unsafe { !pg_sys::XidInMVCCSnapshot(xid.into(), self.0) }
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        if !super::unwinding() {
            // SAFETY: registered in `now`, given back once. After an error the resource
            // owner does.
            unsafe { pg_sys::UnregisterSnapshot(self.0) };
        }
    }
}

/// Does this transaction keep one snapshot (REPEATABLE READ or above)?
pub fn transaction_keeps_snapshot() -> bool {
    // SAFETY: reads a backend variable (IsolationUsesXactSnapshot, xact.h).
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Is this the id of our own transaction, or of a live subtransaction of it?
pub fn is_current_transaction(xid: u32) -> bool {
    // SAFETY: reads backend state.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(xid.into()) }
}

/// Makes what this command wrote visible to the next one.
pub fn command_done() {
    if crate::fault::active("no_command_counter_increment") {
        return;
    }
    // SAFETY: called outside parallel mode, as every write checks first.
    unsafe { pg_sys::CommandCounterIncrement() };
}
