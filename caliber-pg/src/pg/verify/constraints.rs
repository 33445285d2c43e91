//! NOT NULL and CHECK, as the catalog has them now.

use super::subject::Subject;
use crate::pg::encoding::from_server;
use crate::pg::slot::slot_attributes;
use crate::pg::{compat, unwinding};
use pgrx::pg_sys;

/// What every row of a table must be, compiled.
pub(super) struct Constraints {
    /// Attributes (from 0) that must have a value, with their names.
    not_null: Vec<(usize, String)>,
    /// CHECKs, with their names.
    checks: Vec<(String, *mut pg_sys::ExprState)>,
}

impl Constraints {
    /// Compiles them as ExecRelCheck (execMain.c) does. One that is NOT VALID
    /// counts: new rows must meet it. One that is NOT ENFORCED (18) does not.
    ///
    /// # Safety
    /// `estate` outlives what is returned.
    pub(super) unsafe fn compile(subject: &Subject, estate: *mut pg_sys::EState) -> Self {
        // SAFETY: the relation is open; attribute numbers below natts are
        // valid, and so are the first num_check elements of `check`.
        unsafe {
            let desc = (*subject.rel).rd_att;
            let not_null = (0..(*desc).natts as usize)
                .filter_map(|i| {
                    let attribute = compat::attribute(desc, i);
                    // A virtual generated column (18) is not stored: what it
                    // would compute to is not looked at.
                    let stored = (*attribute).attgenerated as u8 != b'v';
                    ((*attribute).attnotnull && !(*attribute).attisdropped && stored)
                        .then(|| (i, from_server((*attribute).attname.data.as_ptr())))
                })
                .collect();
            let constr = (*desc).constr;
            let count = if constr.is_null() {
                0
            } else {
                usize::from((*constr).num_check)
            };
            let checks = (0..count)
                .filter_map(|i| {
                    let check = (*constr).check.add(i);
                    if (*check).ccbin.is_null() || !compat::checks::is_enforced(check) {
                        return None;
                    }
                    let node = pg_sys::stringToNode((*check).ccbin).cast::<pg_sys::Node>();
                    let node = compat::checks::with_generated_columns(node, subject.rel);
                    let name = from_server((*check).ccname);
                    Some((name, pg_sys::ExecPrepareExpr(node.cast(), estate)))
                })
                .collect();
            Self { not_null, checks }
        }
    }

    /// What the row in `slot` breaks.
    ///
    /// # Safety
    /// `slot` holds a row of the table and is the scan slot of `econtext`.
    pub(super) unsafe fn broken(
        &self,
        slot: *mut pg_sys::TupleTableSlot,
        econtext: *mut pg_sys::ExprContext,
        report: &mut dyn FnMut(String),
    ) {
        // SAFETY: the caller's promise; the slices have natts elements.
        unsafe {
            let (_, nulls) = slot_attributes(slot);
            for (attribute, name) in &self.not_null {
                if nulls[*attribute] {
                    report(format!("column \"{name}\" is null"));
                }
            }
            for (name, check) in &self.checks {
                if !pg_sys::ExecCheck(*check, econtext) {
                    report(format!("check constraint \"{name}\" is not met"));
                }
            }
        }
    }
}

/// An executor state for expressions over rows of one table.
pub(super) struct Executor {
    pub(super) estate: *mut pg_sys::EState,
    pub(super) econtext: *mut pg_sys::ExprContext,
}

impl Executor {
    /// Makes one in the current memory context.
    pub(super) fn new() -> Self {
        // SAFETY: the state is freed when this is dropped, or with its context.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let econtext = pg_sys::MakePerTupleExprContext(estate);
            Self { estate, econtext }
        }
    }

    /// Runs `work` in memory that is freed at once.
    ///
    /// What `work` returns must not point into it.
    pub(super) fn briefly<T>(&self, work: impl FnOnce() -> T) -> T {
        // SAFETY: the context is the state's own, reset only here, when nothing
        // uses what is in it.
        unsafe {
            let own = (*self.econtext).ecxt_per_tuple_memory;
            let caller = pg_sys::MemoryContextSwitchTo(own);
            let result = work();
            pg_sys::MemoryContextSwitchTo(caller);
            pg_sys::MemoryContextReset(own);
            result
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made in `new`; its expression contexts have no callbacks
            // of ours.
            unsafe { pg_sys::FreeExecutorState(self.estate) };
        }
    }
}
