//! NOTIFY, through PostgreSQL's own function.

use super::datum::Value;
use pgrx::pg_sys;

/// Queues a notification, which listeners get when the transaction commits:
/// `pg_notify(channel, payload)` (async.c). A rollback, also to a savepoint,
/// takes it back.
pub fn notify(channel: &str, payload: &str) {
    let arguments = [channel, payload].map(|text| Some(Value::text(text).datum));
    // SAFETY: pg_notify takes two texts and returns nothing. Writes are done
    // outside parallel mode and recovery, as every write checks first.
    unsafe { pgrx::direct_function_call_as_datum(pg_sys::pg_notify, &arguments) };
}
