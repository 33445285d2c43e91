//! Wait points: named places in the middle of a call where a session can be
//! parked, so that the verification can see what others find, and what is left
//! when it is interrupted there. Without the cargo feature `faults` nothing of
//! this is compiled.
//!
//! `SET caliber.wait_at = 'insert.after_heap'` makes the session wait there for
//! `pg_advisory_lock(caliber_lock_key('insert.after_heap', '00000000-0000-0000-0000-000000000000'))`
//! of somebody else, each time it comes by, as a statement waits for a lock:
//! `pg_locks` shows it, and cancel, terminate and the timeouts end it.

/// Every point by name, with what has happened when a session is there.
pub const POINTS: &[(&str, &str)] = &[
    (
        "insert.before_heap",
        "the new row is checked, and not written",
    ),
    (
        "insert.after_heap",
        "the row is in the table, and in no index",
    ),
    (
        "insert.after_index",
        "the row is in the indexes, and its triggers are not queued",
    ),
    (
        "update.found",
        "the row is read, and neither locked nor written",
    ),
    (
        "update.before_heap",
        "the new version is checked, and not written",
    ),
    (
        "update.after_heap",
        "the new version is in the table, and in no index",
    ),
    (
        "update.after_index",
        "the new version is in the indexes, and its triggers are not queued",
    ),
    (
        "update.before_lock",
        "somebody else has changed the row, and its latest version is not locked",
    ),
    (
        "update.after_lock",
        "the latest version is locked, and not checked again",
    ),
    ("delete.found", "the row is read, and not deleted"),
    (
        "delete.after_heap",
        "the row is deleted, and its triggers are not queued",
    ),
    (
        "statement.queued",
        "all rows are written and all triggers are queued",
    ),
    (
        "statement.checked",
        "all triggers have been fired, keys are checked, and the statement is not over",
    ),
    ("verb.decided", "a verb has decided, and not written"),
    (
        "accept.decided",
        "who accepts is eligible, and nothing is written",
    ),
    (
        "accept.moved",
        "the delegation is moved, and its child is not there",
    ),
    ("claim.locked", "a message is locked, and not taken"),
    ("purge.locked", "a row is locked, and not deleted"),
    (
        "acquire.locked",
        "the advisory locks of a resource are taken, and no row is read",
    ),
    (
        "acquire.decided",
        "the rows of a resource are read, and nothing is written",
    ),
    (
        "turn.numbered",
        "the number of a turn is known, and the turn is not written",
    ),
    (
        "tree.locked",
        "the locks of trees are taken, and no row is written",
    ),
    (
        "scan.begun",
        "a table and the index of a scan are open, and nothing is read",
    ),
    (
        "scan.found",
        "a scan has found a row, and what it is read for does not have it yet",
    ),
];

#[cfg(feature = "faults")]
static WAIT_AT: pgrx::guc::GucSetting<Option<std::ffi::CString>> =
    pgrx::guc::GucSetting::<Option<std::ffi::CString>>::new(None);

/// Waits here if the session is told to.
#[cfg(feature = "faults")]
pub fn at(point: &str) {
    debug_assert!(POINTS.iter().any(|p| p.0 == point));
    if WAIT_AT
        .get()
        .is_some_and(|wanted| wanted.to_bytes() == point.as_bytes())
    {
        use crate::pg::advisory::{pass, tag_key, Tag};
        pass(Tag::of_user(tag_key(point, uuid::Uuid::nil().as_bytes())));
    }
}

/// Nothing, in a build without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn at(_point: &str) {}

/// Defines `caliber.wait_at`.
#[cfg(feature = "faults")]
pub fn register() {
    pgrx::guc::GucRegistry::define_string_guc(
        c"caliber.wait_at",
        c"The point at which the session waits for an advisory lock.",
        c"For the verification only.",
        &WAIT_AT,
        pgrx::guc::GucContext::Userset,
        pgrx::guc::GucFlags::default(),
    );
}

/// Defines nothing, in a build without the feature.
#[cfg(not(feature = "faults"))]
pub fn register() {}
