//! The table that is looked at.

use crate::error::CaliberResult;
use crate::pg::encoding::{from_server, to_server};
use crate::pg::relation::READ_LOCK;
use crate::pg::rights;
use crate::pg::slot::slot_attributes;
use crate::pg::unwinding;
use pgrx::pg_sys::{self, Oid};

/// An open table, locked to the end of the transaction as by SELECT.
#[derive(Debug)]
pub struct Subject {
    pub(super) rel: pg_sys::Relation,
    /// Attribute number of the key that names a row.
    key: usize,
    /// The output function of the key's type.
    output: Oid,
}

impl Subject {
    /// Opens a table that is locked already; its rows are named by column `key`.
    pub fn open(relation: Oid, key: &str) -> Self {
        let key = to_server(key);
        // SAFETY: the relation is locked, so it cannot vanish; its shape was
        // compared with ours, so the key is one of its columns.
        unsafe {
            let rel = pg_sys::relation_open(relation, READ_LOCK);
            let key = pg_sys::get_attnum(relation, key.as_ptr());
            let (mut output, mut varlena) = (Oid::INVALID, false);
            pg_sys::getTypeOutputInfo(
                pg_sys::get_atttype(relation, key),
                &mut output,
                &mut varlena,
            );
            Self {
                rel,
                key: key as usize,
                output,
            }
        }
    }

    /// OID of the table.
    pub fn oid(&self) -> Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.rel).rd_id }
    }

    /// Can its rows be read on this server?
    ///
    /// # Errors
    /// 0A000 on a standby, if it is not logged.
    pub fn check_readable(&self) -> CaliberResult<()> {
        // SAFETY: the relation is open, and rd_rel is set while it is.
        rights::check_readable(unsafe { &*(*self.rel).rd_rel })
    }

    /// OID of its owner.
    pub(super) fn owner(&self) -> Oid {
        // SAFETY: the relation is open, and rd_rel is set while it is.
        unsafe { (*(*self.rel).rd_rel).relowner }
    }

    /// Is it stored by PostgreSQL's own heap?
    pub(super) fn is_heap(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*(*self.rel).rd_rel).relam == pg_sys::HEAP_TABLE_AM_OID }
    }

    /// How findings name the row in `slot`: by its key, or by its place if it
    /// has none.
    ///
    /// # Safety
    /// `slot` holds a row of the table.
    pub(super) unsafe fn name_of(&self, slot: *mut pg_sys::TupleTableSlot) -> String {
        // SAFETY: the caller's promise; the output function is that of the
        // key's type and returns a palloc'd C string.
        unsafe {
            let (values, nulls) = slot_attributes(slot);
            if nulls[self.key - 1] {
                return super::pairs::place_text(super::pairs::place(&raw mut (*slot).tts_tid));
            }
            from_server(pg_sys::OidOutputFunctionCall(
                self.output,
                values[self.key - 1],
            ))
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: opened in `open`; the lock stays to the end of the
            // transaction. Dropping a reference does not raise.
            unsafe { pg_sys::relation_close(self.rel, pg_sys::NoLock as _) };
        }
    }
}
