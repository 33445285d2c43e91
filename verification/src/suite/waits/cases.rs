//! Calls, and the points that they come by.

/// A call that is interrupted.
pub(super) struct Writer {
    /// The call.
    pub(super) call: &'static str,
    /// What another session does meanwhile, which the call must wait for: it
    /// comes by its points when that has been committed.
    pub(super) after: Option<&'static str>,
    /// Where it is interrupted.
    pub(super) points: &'static [&'static str],
}

const fn writer(call: &'static str, points: &'static [&'static str]) -> Writer {
    Writer {
        call,
        after: None,
        points,
    }
}

/// All of them.
pub(super) const WRITERS: &[Writer] = &[
    writer(
        "caliber_scope_create('@1', 'new', id => '@5')",
        &[
            "insert.before_heap",
            "insert.after_heap",
            "insert.after_index",
            "statement.queued",
            "statement.checked",
        ],
    ),
    writer(
        "caliber_scope_update('@8', '{\"purpose\": \"b\"}')",
        &[
            "update.found",
            "update.before_heap",
            "update.after_heap",
            "update.after_index",
            "statement.queued",
            "statement.checked",
        ],
    ),
    writer(
        "caliber_scope_close('@8')",
        &["verb.decided", "update.after_heap", "update.after_index"],
    ),
    Writer {
        call: "caliber_scope_close('@8')",
        after: Some("UPDATE caliber_scope SET name = 'changed' WHERE scope_id = '@8'"),
        points: &["update.before_lock", "update.after_lock"],
    },
    writer(
        "caliber_scope_delete('@9')",
        &[
            "delete.found",
            "delete.after_heap",
            "statement.queued",
            "statement.checked",
        ],
    ),
    writer(
        "caliber_delegation_accept('@d', '@b')",
        &[
            "accept.decided",
            "update.after_heap",
            "accept.moved",
            "insert.after_heap",
            "statement.queued",
            "statement.checked",
        ],
    ),
    writer(
        "caliber_message_receive('@b')",
        &["claim.locked", "update.after_heap", "statement.queued"],
    ),
    writer(
        "caliber_message_purge('2020-01-01')",
        &["purge.locked", "delete.after_heap"],
    ),
    writer(
        "caliber_message_send('@a', '@b', NULL, 'heartbeat', 'p')",
        &["insert.after_heap", "statement.checked"],
    ),
    writer(
        "caliber_lock_acquire('@b', 'file', '@1')",
        &[
            "acquire.locked",
            "acquire.decided",
            "delete.after_heap",
            "insert.after_heap",
        ],
    ),
    writer(
        "caliber_lock_acquire('@b', 'file', '@1', level => 'session')",
        &["acquire.decided", "insert.after_heap", "statement.checked"],
    ),
    writer(
        "caliber_lock_acquire('@b', 'file', '@1', level => 'transaction')",
        &["insert.after_index", "statement.checked"],
    ),
    writer(
        "caliber_turn_create('@8', NULL, 'user', 'hello')",
        &["turn.numbered", "insert.after_heap"],
    ),
    writer(
        "caliber_trajectory_update('@2', '{\"parent_trajectory_id\": \"@1\"}')",
        &["tree.locked", "update.after_heap"],
    ),
    writer(
        "caliber_note_create('fact', 'title', 'content', source_trajectory_ids => '{@1}', embedding => '[1,2,3]')",
        &["insert.after_heap", "insert.after_index"],
    ),
];

/// Every point at which somebody is interrupted.
pub(super) fn all_points() -> impl Iterator<Item = &'static str> {
    WRITERS.iter().flat_map(|writer| writer.points).copied()
}
