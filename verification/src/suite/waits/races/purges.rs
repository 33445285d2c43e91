//! Purges that have found a row, not locked it yet, and who changes it meanwhile.

use super::schedules::{ours, passes, Does, Race};

const MESSAGES: Does = Does::Call("caliber_message_purge('2020-01-01')", "");
const LOCKS: Does = Does::Call("caliber_lock_purge_expired()", "");

/// What is not to be deleted any more stays, and is no obstacle.
const fn spared(call: Does, sql: &'static str) -> Race {
    found(call, sql, "f")
}

/// What is still to be deleted goes, in its newest version.
const fn purged(call: Does, sql: &'static str) -> Race {
    found(call, sql, "t")
}

/// A purge that has found the row, and whether it deletes it at READ COMMITTED; with an
/// older snapshot it may not go on.
const fn found(call: Does, sql: &'static str, deletes: &'static str) -> Race {
    ours(passes(
        sql,
        "scan.found",
        call,
        Does::Sql(sql),
        (deletes, "done"),
        ("40001", "done"),
    ))
}

/// All of them.
pub(super) const RACES: &[Race] = &[
    spared(
        MESSAGES,
        "UPDATE caliber_message SET acknowledged_at = NULL WHERE message_id = '@4'",
    ),
    purged(
        MESSAGES,
        "UPDATE caliber_message SET payload = 'other' WHERE message_id = '@4'",
    ),
    spared(
        MESSAGES,
        "DELETE FROM caliber_message WHERE message_id = '@4'",
    ),
    spared(
        LOCKS,
        "UPDATE caliber_lock SET expires_at = 'infinity' WHERE lock_id = '@3'",
    ),
    purged(
        LOCKS,
        "UPDATE caliber_lock SET expires_at = '2002-01-01' WHERE lock_id = '@3'",
    ),
    spared(LOCKS, "DELETE FROM caliber_lock WHERE lock_id = '@3'"),
];
