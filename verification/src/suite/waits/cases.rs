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
    writer(
        "caliber_lock_release('@5')",
        &["delete.found", "delete.after_heap", "statement.checked"],
    ),
    writer(
        "caliber_lock_extend('@5', 1000)",
        &["update.before_heap", "update.after_heap", "statement.queued"],
    ),
    writer("caliber_lock_purge_expired()", &["delete.after_heap"]),
    writer(
        "caliber_turn_create_many('@8', '[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}]')",
        &[ "insert.after_heap", "statement.queued", "statement.checked"],
    ),
    writer(
        "caliber_message_send_many('[{\"from_agent_id\": \"@a\", \"to_agent_id\": \"@b\", \"message_type\": \"heartbeat\", \"payload\": \"p\"}]')",
        &["insert.after_index", "statement.checked"],
    ),
    writer(
        "caliber_handoff_create('@a', NULL, 'tester', '@1', '@8', '@8')",
        &["insert.after_heap", "statement.checked"],
    ),
    writer(
        "caliber_handoff_accept('@0', '@b')",
        &["verb.decided", "update.after_heap", "statement.checked"],
    ),
    writer(
        "caliber_conflict_create('goal_conflict', 'artifact', '@1', 'note', '@2')",
        &["insert.after_heap", "statement.checked"],
    ),
    writer(
        "caliber_conflict_resolve('@2', 'merge')",
        &["verb.decided", "update.after_heap", "update.after_index"],
    ),
    writer(
        "caliber_agent_register('tester')",
        &["insert.after_heap", "statement.queued"],
    ),
    writer(
        "caliber_agent_assign('@a', '@1', '@8')",
        &["update.after_heap", "update.after_index", "statement.checked"],
    ),
    writer("caliber_agent_heartbeat('@a')", &["update.after_heap"]),
    writer(
        "caliber_artifact_create('@1', '@8', 'fact', 'new', repeat('long', 5000), embedding => '[3,2,1]')",
        &["insert.before_heap", "insert.after_heap", "insert.after_index", "statement.checked"],
    ),
    writer(
        "caliber_artifact_update('@4', '{\"content\": \"other\", \"embedding\": [1,2,3]}')",
        &["update.found", "update.after_heap", "update.after_index", "statement.checked"],
    ),
    // What only reads leaves nothing either.
    writer("caliber_scope_get('@8')", &["scan.begun", "scan.found"]),
    writer(
        "(SELECT count(x.*) FROM caliber_scope_list_by_trajectory('@1') x)",
        &["scan.begun", "scan.found"],
    ),
    writer(
        "(SELECT count(x.*) FROM caliber_note_query_by_trajectory('@1') x)",
        &["scan.begun", "scan.found"],
    ),
    writer(
        "(SELECT count(x.*) FROM caliber_note_search('[1,2,3]') x)",
        &["scan.begun", "scan.found"],
    ),
];

/// Every point at which somebody is interrupted.
pub(super) fn all_points() -> impl Iterator<Item = &'static str> {
    WRITERS.iter().flat_map(|writer| writer.points).copied()
}
