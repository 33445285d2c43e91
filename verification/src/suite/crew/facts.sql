-- Every row that the crew writes, as facts. What a call makes by itself (the
-- task of an accepted delegation) goes by the name of what it was made for.
SELECT 'agent/' || agent_id, status || '|' || coalesce(current_scope_id::text, '') FROM caliber_agent
UNION ALL
SELECT CASE WHEN metadata ? 'delegation_id' THEN 'child/' || (metadata ->> 'delegation_id') ELSE 'task/' || trajectory_id END,
    status || '|' || CASE WHEN metadata ? 'delegation_id' THEN agent_id::text || '|' || name
        ELSE concat_ws('|', coalesce(parent_trajectory_id::text, ''), coalesce(root_trajectory_id::text, ''), outcome::text) END
FROM caliber_trajectory
UNION ALL
SELECT 'scope/' || scope_id, is_active || '|' || tokens_used FROM caliber_scope
UNION ALL
SELECT 'turn/' || turn_id, scope_id || '|' || sequence || '|' || content FROM caliber_turn
UNION ALL
SELECT 'artifact/' || artifact_id, left(content, 12) || '|' || length(content) || '|' || (content_hash = sha256(convert_to(content, 'UTF8')))
FROM caliber_artifact
UNION ALL
SELECT 'note/' || note_id, title || '|' || access_count FROM caliber_note
UNION ALL
SELECT 'lock/' || lock_id, level || '|' || resource_id || '|' || holder_agent_id FROM caliber_lock
UNION ALL
SELECT 'message/' || message_id, payload || '|' || coalesce(to_agent_id::text, to_agent_type) FROM caliber_message
UNION ALL
SELECT 'received/' || message_id, received_by || '|' || (acknowledged_at IS NOT NULL) FROM caliber_message WHERE delivered_at IS NOT NULL
UNION ALL
SELECT 'delegation/' || delegation_id, task_description FROM caliber_delegation
UNION ALL
SELECT 'accepted/' || delegation_id, status || '|' || delegatee_agent_id FROM caliber_delegation WHERE status <> 'pending'
UNION ALL
SELECT 'handoff/' || handoff_id, handoff_notes FROM caliber_handoff
UNION ALL
SELECT 'taken/' || handoff_id, status || '|' || to_agent_id FROM caliber_handoff WHERE status <> 'initiated'
UNION ALL
SELECT 'conflict/' || conflict_id, status FROM caliber_conflict
