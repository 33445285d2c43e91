//! Which rows a read sees.

use pgrx::pg_sys;

/// A snapshot on the active stack, taken off when this guard is dropped.
#[derive(Debug)]
pub struct ActiveSnapshot {
    combines: bool,
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
        Self { combines: false }
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
            Self {
                combines: wrote_since && !transaction_keeps_snapshot(),
            }
        }
    }

    /// Everything committed by now, at every isolation level.
    pub fn latest() -> Self {
        // SAFETY: inside a transaction; PushActiveSnapshot copies the static
        // snapshot that GetLatestSnapshot returns (snapmgr.c).
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
        Self { combines: false }
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
        if !super::unwinding() {
            // SAFETY: guards nest, so the top of the stack is ours; popping it
            // cannot raise (snapmgr.c). While an ERROR unwinds the abort of
            // the (sub)transaction pops it.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// Does this transaction keep one snapshot (REPEATABLE READ or above)?
pub fn transaction_keeps_snapshot() -> bool {
    // SAFETY: reads a backend variable (IsolationUsesXactSnapshot, xact.h).
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Makes what this command wrote visible to the next one.
pub fn command_done() {
    if crate::fault::active("no_command_counter_increment") {
        return;
    }
    // SAFETY: called outside parallel mode, as every write checks first.
    unsafe { pg_sys::CommandCounterIncrement() };
}
