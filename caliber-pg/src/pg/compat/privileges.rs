//! Rights on objects that are no relations. Each check raises 42501 in PostgreSQL's words.

use pgrx::pg_sys::{self, Oid};

/// Unless the current user may give an object to `role`.
pub fn check_may_give_to(role: Oid) {
    // SAFETY: look-ups by OID; raises on failure.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::check_is_member_of_role(pg_sys::GetUserId(), role);
        #[cfg(not(feature = "pg15"))]
        pg_sys::check_can_set_role(pg_sys::GetUserId(), role);
    }
}

/// Unless the current user has the right `right` (an ACL bit) on the schema.
pub fn check_schema_right(schema: Oid, right: u32) {
    // SAFETY: look-ups by OID; raises on failure.
    unsafe {
        let (user, right) = (pg_sys::GetUserId(), right as pg_sys::AclMode);
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_namespace_aclcheck(schema, user, right);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, user, right);
        if result != pg_sys::AclResult::ACLCHECK_OK {
            let name = pg_sys::get_namespace_name(schema);
            pg_sys::aclcheck_error(result, pg_sys::ObjectType::OBJECT_SCHEMA, name);
        }
    }
}

/// Unless the current user may EXECUTE the function.
pub fn check_function_execute(function: Oid) {
    // SAFETY: look-ups by OID; raises on failure.
    unsafe {
        let (user, execute) = (pg_sys::GetUserId(), pg_sys::ACL_EXECUTE as pg_sys::AclMode);
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_proc_aclcheck(function, user, execute);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, user, execute);
        if result != pg_sys::AclResult::ACLCHECK_OK {
            let name = pg_sys::get_func_name(function);
            pg_sys::aclcheck_error(result, pg_sys::ObjectType::OBJECT_FUNCTION, name);
        }
    }
}
