//! A parent is deleted while a row comes to refer to it: by an update, by a
//! verb, by a key of two columns, from every table.

use super::schedules::{orphan_of, ours, Does, Race, NO_PARENT};

/// Scope `@9`, which nothing refers to.
const NO_SCOPE: Does = Does::Call(
    "caliber_scope_delete('@9')",
    "DELETE FROM caliber_scope WHERE scope_id = '@9'",
);
const NO_AGENT: Does = Does::Call(
    "caliber_agent_delete('@f')",
    "DELETE FROM caliber_agent WHERE agent_id = '@f'",
);
const NO_ARTIFACT: Does = Does::Call(
    "caliber_artifact_delete('@6')",
    "DELETE FROM caliber_artifact WHERE artifact_id = '@6'",
);
const NO_NOTE: Does = Does::Call(
    "caliber_note_delete('@6')",
    "DELETE FROM caliber_note WHERE note_id = '@6'",
);

const ASSIGN: Does = Does::Call(
    "caliber_agent_assign('@b', '@2', NULL)",
    "UPDATE caliber_agent SET status = 'active', current_trajectory_id = '@2', current_scope_id = NULL
     WHERE agent_id = '@b' AND status IS NOT DISTINCT FROM 'idle'",
);
const ASSIGN_SCOPE: Does = Does::Call(
    "caliber_agent_assign('@b', '@1', '@9')",
    "UPDATE caliber_agent SET status = 'active', current_trajectory_id = '@1', current_scope_id = '@9'
     WHERE agent_id = '@b' AND status IS NOT DISTINCT FROM 'idle'",
);
const ACCEPT_INTO: Does = Does::Call(
    "caliber_delegation_accept('@d', '@b', '@2')",
    "UPDATE caliber_delegation SET status = 'accepted', delegatee_agent_id = '@b', accepted_at = now(), child_trajectory_id = '@2'
     WHERE delegation_id = '@d' AND status IS NOT DISTINCT FROM 'pending'",
);
const SUPERSEDE_ARTIFACT: Does = Does::Call(
    "caliber_artifact_update('@5', '{\"superseded_by\": \"@6\"}')",
    "UPDATE caliber_artifact SET superseded_by = '@6', updated_at = now() WHERE artifact_id = '@5'",
);
const SUPERSEDE_NOTE: Does = Does::Call(
    "caliber_note_update('@5', '{\"superseded_by\": \"@6\"}')",
    "UPDATE caliber_note SET superseded_by = '@6', updated_at = now() WHERE note_id = '@5'",
);
const ARTIFACT: Does = Does::Call(
    "caliber_artifact_create('@1', '@9', 'fact', 'n', 'c', id => '@5')",
    "INSERT INTO caliber_artifact (artifact_id, trajectory_id, scope_id, artifact_type, name, content, content_hash, provenance, created_at, updated_at)
     VALUES ('@5', '@1', '@9', 'fact', 'n', 'c', sha256('c'), '{}', now(), now())",
);
const HANDOFF: Does = Does::Call(
    "caliber_handoff_create('@a', '@b', NULL, '@1', '@9', '@c', id => '@5')",
    "INSERT INTO caliber_handoff (handoff_id, from_agent_id, to_agent_id, trajectory_id, scope_id, context_snapshot_id, reason)
     VALUES ('@5', '@a', '@b', '@1', '@9', '@c', 'scheduled')",
);
const MESSAGE: Does = Does::Call(
    "caliber_message_send('@a', '@b', NULL, 'heartbeat', 'p', '@1', '@9', id => '@5')",
    "INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, message_type, payload, trajectory_id, scope_id)
     VALUES ('@5', '@a', '@b', 'heartbeat', 'p', '@1', '@9')",
);
const TURN: Does = Does::Call(
    "caliber_turn_create('@9', 3, 'user', 'one', id => '@5')",
    "INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count) VALUES ('@5', '@9', 3, 'user', 'one', 0)",
);
const LOCK: Does = Does::Call("caliber_lock_acquire('@f', 'file', '@5')", "");

const ARTIFACTS: &str = "
INSERT INTO caliber_artifact (artifact_id, trajectory_id, scope_id, artifact_type, name, content, content_hash, provenance)
    SELECT id, '@1', '@8', 'fact', 'n', 'c', sha256('c'), '{}' FROM unnest(ARRAY['@5', '@6']::uuid[]) id";
const NOTES: &str = "
INSERT INTO caliber_note (note_id, note_type, title, content, content_hash)
    SELECT id, 'fact', 't', 'c', sha256('c') FROM unnest(ARRAY['@5', '@6']::uuid[]) id";

const fn with(prepare: &'static str, race: Race) -> Race {
    Race { prepare, ..race }
}

/// All of them.
pub(in crate::suite::waits) const ORPHANS: &[Race] = &[
    orphan_of("verb.decided", ASSIGN, NO_PARENT),
    orphan_of("update.after_heap", ASSIGN, NO_PARENT),
    orphan_of("statement.queued", ASSIGN, NO_PARENT),
    orphan_of("update.after_heap", ASSIGN_SCOPE, NO_SCOPE),
    orphan_of("statement.queued", ASSIGN_SCOPE, NO_SCOPE),
    orphan_of("update.after_heap", ACCEPT_INTO, NO_PARENT),
    orphan_of("statement.queued", ACCEPT_INTO, NO_PARENT),
    with(
        ARTIFACTS,
        orphan_of("update.after_heap", SUPERSEDE_ARTIFACT, NO_ARTIFACT),
    ),
    with(
        ARTIFACTS,
        orphan_of("statement.queued", SUPERSEDE_ARTIFACT, NO_ARTIFACT),
    ),
    with(
        NOTES,
        orphan_of("update.after_heap", SUPERSEDE_NOTE, NO_NOTE),
    ),
    with(
        NOTES,
        orphan_of("statement.queued", SUPERSEDE_NOTE, NO_NOTE),
    ),
    orphan_of("insert.after_heap", ARTIFACT, NO_SCOPE),
    orphan_of("statement.queued", ARTIFACT, NO_SCOPE),
    orphan_of("insert.after_heap", HANDOFF, NO_SCOPE),
    orphan_of("statement.queued", HANDOFF, NO_SCOPE),
    orphan_of("insert.after_heap", MESSAGE, NO_SCOPE),
    orphan_of("statement.queued", MESSAGE, NO_SCOPE),
    orphan_of("insert.after_heap", TURN, NO_SCOPE),
    orphan_of("statement.queued", TURN, NO_SCOPE),
    ours(orphan_of("insert.after_heap", LOCK, NO_AGENT)),
    ours(orphan_of("statement.queued", LOCK, NO_AGENT)),
];
