-- A busy database by plain SQL that keeps to the rules: rows in every state, under every
-- partial index, in every shape that a function can leave behind.
SET session_replication_role = origin;

INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id, agent_id, status, completed_at, outcome)
SELECT md5('t' || i)::uuid, 'task ' || i,
       CASE WHEN i % 5 > 0 THEN md5('t' || (i - 1))::uuid END,
       CASE WHEN i % 5 > 0 THEN md5('t' || (i - i % 5))::uuid END,
       CASE WHEN i % 3 > 0 THEN md5('a' || i % 7)::uuid END,
       (ARRAY['active', 'completed', 'failed', 'suspended'])[i % 4 + 1],
       CASE WHEN i % 4 IN (1, 2) THEN now() - interval '1 year' END,
       CASE WHEN i % 4 = 1 THEN jsonb_build_object('n', i) END
  FROM generate_series(0, 39) i;

INSERT INTO caliber_scope (scope_id, trajectory_id, name, purpose, parent_scope_id, is_active, closed_at, token_budget, tokens_used)
SELECT md5('s' || i)::uuid, md5('t' || i / 2)::uuid, 'scope ' || i, CASE WHEN i % 2 = 0 THEN repeat('purpose ', i * 20) END,
       CASE WHEN i % 2 = 1 THEN md5('s' || (i - 1))::uuid END,
       i % 3 > 0, CASE WHEN i % 3 = 0 THEN now() END, 100, i * 7
  FROM generate_series(0, 59) i;

-- One that nothing refers to.
INSERT INTO caliber_scope (scope_id, trajectory_id, name, parent_scope_id, token_budget, tokens_used)
VALUES (md5('leaf')::uuid, md5('t3')::uuid, 'leaf', md5('s6')::uuid, 1, 1000);

INSERT INTO caliber_artifact (artifact_id, trajectory_id, scope_id, artifact_type, name, content, content_hash, embedding, provenance, ttl, superseded_by)
SELECT md5('f' || i)::uuid, md5('t' || i / 2)::uuid, md5('s' || i)::uuid,
       (ARRAY['code', 'log', 'fact', 'plan'])[i % 4 + 1], 'artifact ' || i, c, sha256(convert_to(c, 'UTF8')),
       CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '[0,0,0]' WHEN 2 THEN format('[%s,1]', i) ELSE format('[%s,1,%s]', i, i % 3) END::vector,
       CASE i % 2 WHEN 0 THEN '{"source_turn": 0, "extraction_method": "explicit", "confidence": null}'
                  ELSE '{"source_turn": 12, "extraction_method": "inferred", "confidence": 0.25}' END::jsonb,
       (ARRAY['persistent', 'permanent', 'session', 'scope', 'ephemeral', 'duration:1', 'duration:1000000000000000',
              'short_term', 'medium_term', 'long_term', 'max:1', 'max:12345678901234567890'])[i % 12 + 1],
       CASE WHEN i % 6 = 5 THEN md5('f' || (i - 1))::uuid END
  FROM generate_series(0, 59) i, LATERAL (SELECT CASE WHEN i % 10 = 0 THEN (SELECT string_agg(md5(j::text), '') FROM generate_series(1, 400) j)
                                                      ELSE 'content – ünïcode ' || i END) x (c);

INSERT INTO caliber_note (note_id, note_type, title, content, content_hash, embedding, source_trajectory_ids, source_artifact_ids, ttl, abstraction_level, superseded_by)
SELECT md5('n' || i)::uuid, (ARRAY['fact', 'gotcha', 'meta'])[i % 3 + 1], 'note ' || i, c, sha256(convert_to(c, 'UTF8')),
       CASE WHEN i % 3 > 0 THEN format('[1,%s,%s]', i, i * i) END::vector,
       CASE i % 4 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[md5('t1')::uuid] WHEN 2 THEN ARRAY[md5('t1'), md5('t' || i), md5('t1')]::uuid[]
                  ELSE (SELECT array_agg(md5('t' || j)::uuid) FROM generate_series(0, 39) j) END,
       ARRAY[md5('f' || i)]::uuid[], (ARRAY['persistent', 'duration:60000', 'max:3', 'long_term'])[i % 4 + 1],
       (ARRAY['raw', 'summary', 'principle'])[i % 3 + 1], CASE WHEN i % 5 = 4 THEN md5('n' || (i - 1))::uuid END
  FROM generate_series(0, 49) i, LATERAL (SELECT 'note ' || repeat('x', i * 100)) x (c);

INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count)
SELECT md5('u' || i)::uuid, md5('s' || i % 20)::uuid, i / 20, (ARRAY['user', 'assistant', 'system', 'tool'])[i % 4 + 1], 'turn ' || i, i
  FROM generate_series(0, 199) i;

INSERT INTO caliber_agent (agent_id, agent_type, capabilities, status, current_trajectory_id, current_scope_id, reports_to)
SELECT md5('a' || i)::uuid, (ARRAY['coder', 'Reviewer', 'tester'])[i % 3 + 1], ARRAY['rust', 'sql'],
       (ARRAY['idle', 'active', 'blocked', 'failed'])[i % 4 + 1],
       CASE WHEN i % 3 > 0 THEN md5('t' || i)::uuid END, CASE WHEN i % 3 = 2 THEN md5('s' || 2 * i)::uuid END,
       CASE WHEN i % 2 = 1 THEN md5('a' || (i - 1))::uuid END
  FROM generate_series(0, 19) i;

INSERT INTO caliber_lock (lock_id, resource_type, resource_id, holder_agent_id, expires_at, mode, level, backend_pid)
SELECT md5('l' || i)::uuid, 'file', md5('r' || i)::uuid, md5('a' || i % 20)::uuid,
       CASE WHEN i % 3 = 0 THEN 'infinity' ELSE now() + (i - 10) * interval '1 hour' END,
       CASE WHEN i % 2 = 0 THEN 'exclusive' ELSE 'shared' END, CASE WHEN i % 3 = 0 THEN 'session' ELSE 'lease' END, 4711
  FROM generate_series(0, 29) i;
INSERT INTO caliber_lock (lock_id, resource_type, resource_id, holder_agent_id, expires_at, mode, level)
SELECT md5('ls' || i)::uuid, 'file', md5('r1')::uuid, md5('a' || i)::uuid, now() + interval '1 day', 'shared', 'lease'
  FROM generate_series(2, 5) i;

INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, to_agent_type, message_type, payload, trajectory_id, scope_id, artifact_ids,
       delivered_at, acknowledged_at, priority, expires_at, received_by)
SELECT md5('m' || i)::uuid, md5('a' || i % 20)::uuid,
       CASE WHEN i % 3 = 0 THEN md5('a1')::uuid END, CASE WHEN i % 3 = 1 THEN 'coder' END,
       (ARRAY['context_share', 'interrupt', 'heartbeat'])[i % 3 + 1], 'payload ' || i,
       CASE WHEN i % 2 = 0 THEN md5('t' || i % 10)::uuid END, CASE WHEN i % 4 = 0 THEN md5('s' || 2 * (i % 10))::uuid END,
       CASE WHEN i % 5 = 0 THEN ARRAY[md5('f1'), md5('f2')]::uuid[] ELSE '{}' END,
       CASE WHEN i % 3 < 2 AND i % 7 > 3 THEN clock_timestamp() END,
       -- The transaction's start, which may be before the delivery of the same call.
       CASE WHEN i % 3 < 2 AND i % 7 > 4 THEN now() END,
       (ARRAY['low', 'normal', 'high', 'critical'])[i % 4 + 1], CASE WHEN i % 2 = 1 THEN now() + interval '1 hour' END,
       CASE WHEN i % 3 < 2 AND i % 7 IN (4, 5) THEN CASE WHEN i % 3 = 0 THEN md5('a1') ELSE md5('a3') END::uuid END
  FROM generate_series(0, 83) i;

INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_id, delegatee_agent_type, task_description,
       parent_trajectory_id, child_trajectory_id, status, result, accepted_at, completed_at)
SELECT md5('d' || i)::uuid, md5('a0')::uuid,
       CASE WHEN s IN ('pending', 'rejected') AND i % 2 = 0 THEN NULL ELSE md5('a' || i % 5 + 1)::uuid END,
       CASE WHEN s IN ('pending', 'rejected') AND i % 2 = 1 THEN NULL WHEN i % 5 = 0 THEN '*' ELSE 'coder' END,
       'do ' || i, md5('t' || i)::uuid,
       -- What was taken back keeps its child.
       CASE WHEN s = 'pending' AND i % 4 > 0 OR s = 'rejected' THEN NULL ELSE md5('t' || (i + 1))::uuid END, s,
       CASE WHEN s IN ('completed', 'failed') AND i % 2 = 0 THEN '{"summary": "done"}' WHEN s = 'rejected' THEN '{"reason": "no"}' END::jsonb,
       CASE WHEN s NOT IN ('pending', 'rejected') THEN now() END, CASE WHEN s IN ('completed', 'failed') THEN now() END
  FROM generate_series(0, 35) i, LATERAL (SELECT (ARRAY['pending', 'accepted', 'rejected', 'in_progress', 'completed', 'failed'])[i % 6 + 1]) x (s);

INSERT INTO caliber_handoff (handoff_id, from_agent_id, to_agent_id, to_agent_type, trajectory_id, scope_id, context_snapshot_id, status,
       accepted_at, completed_at, reason)
SELECT md5('h' || i)::uuid, md5('a' || i % 2 * 6)::uuid,
       CASE WHEN s IN ('initiated', 'rejected') AND i % 3 = 0 THEN NULL ELSE md5('a' || i % 5 + 1)::uuid END,
       CASE WHEN s IN ('initiated', 'rejected') AND i % 3 > 0 THEN NULL WHEN i % 5 = 0 THEN '*' ELSE 'coder' END,
       md5('t' || i / 2)::uuid, md5('s' || i)::uuid, md5('x' || i)::uuid, s,
       CASE WHEN s IN ('accepted', 'completed') THEN now() END, CASE WHEN s = 'completed' THEN now() END,
       (ARRAY['scheduled', 'timeout', 'failure'])[i % 3 + 1]
  FROM generate_series(0, 31) i, LATERAL (SELECT (ARRAY['initiated', 'accepted', 'completed', 'rejected'])[i % 4 + 1]) x (s);

INSERT INTO caliber_conflict (conflict_id, conflict_type, item_a_type, item_a_id, item_b_type, item_b_id, agent_a_id, agent_b_id, trajectory_id,
       status, resolution, resolved_at)
SELECT md5('c' || i)::uuid, (ARRAY['concurrent_write', 'goal_conflict'])[i % 2 + 1], 'note', md5('n' || i)::uuid, 'note', md5('n' || (i + 1))::uuid,
       CASE WHEN i % 2 = 0 THEN md5('a' || i % 7)::uuid END, CASE WHEN i % 3 = 0 THEN md5('a' || i % 5)::uuid END, CASE WHEN i % 5 > 0 THEN md5('t' || i)::uuid END,
       s, CASE s WHEN 'resolved' THEN '{"strategy": "merge"}' WHEN 'escalated' THEN '{"strategy": "escalate"}' END::jsonb,
       CASE WHEN s = 'resolved' THEN now() END
  FROM generate_series(0, 31) i, LATERAL (SELECT (ARRAY['detected', 'resolving', 'resolved', 'escalated'])[i % 4 + 1]) x (s);
