//! Who may look, and as whom the look runs.

use super::subject::Subject;
use crate::pg::user;
use pgrx::pg_sys::{self, Oid};

/// SELECT on the whole table (42501 in PostgreSQL's words), as the executor
/// checks it for a whole row: on the table, or on each of its columns.
pub fn may_select(relation: Oid) {
    // SAFETY: look-ups by OID of a locked relation; raises if refused.
    unsafe {
        let (user, select) = (pg_sys::GetUserId(), pg_sys::ACL_SELECT as pg_sys::AclMode);
        let ok = pg_sys::AclResult::ACLCHECK_OK;
        let mut result = pg_sys::pg_class_aclcheck(relation, user, select);
        if result != ok {
            let how = pg_sys::AclMaskHow::ACLMASK_ALL;
            result = pg_sys::pg_attribute_aclcheck_all(relation, user, select, how);
        }
        if result != ok {
            let kind = pg_sys::ObjectType::OBJECT_TABLE;
            pg_sys::aclcheck_error(result, kind, pg_sys::get_rel_name(relation));
        }
    }
}

/// Is row-level security in force on the relation for the current user? Under
/// `row_security = off` raises 42501 as SQL does (check_enable_rls, rls.c).
pub fn policies_in_force(relation: Oid) -> bool {
    // SAFETY: a look-up by OID; InvalidOid means the current user.
    let state = unsafe { pg_sys::check_enable_rls(relation, Oid::INVALID, false) };
    state == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// Is this the transaction, or a subtransaction of it, that is running here?
pub(super) fn is_own_transaction(id: u32) -> bool {
    // SAFETY: reads the backend's list of running subtransactions.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(id.into()) }
}

/// Runs `work` as the table's owner, as REINDEX and amcheck run the functions of
/// a table (bt_index_check_internal, verify_nbtree.c).
pub(super) fn as_owner<T>(subject: &Subject, work: impl FnOnce() -> T) -> T {
    let flags = pg_sys::SECURITY_RESTRICTED_OPERATION;
    user::as_user(subject.owner(), flags, work)
}
