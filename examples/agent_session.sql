-- A session of two agents on one task.
--
--   psql -X -f examples/agent_session.sql        (or: make demo)
--
-- The planner opens a task and splits it; the reviewer takes one part. They
-- work inside context scopes, leave artifacts and notes, lock what they change,
-- write to each other, delegate and hand over. Everything an agent does is one
-- function call; everything it reads is an ordinary row.
--
-- The ids are written out so that the story can be followed. An agent that
-- passes no id gets one from the function (uuid version 7, in creation order).

\set ON_ERROR_STOP on
\set planner    00000000-0000-7000-8000-00000000000a
\set reviewer   00000000-0000-7000-8000-00000000000b
\set task       00000000-0000-7000-8000-000000000100
\set port       00000000-0000-7000-8000-000000000101
\set outer      00000000-0000-7000-8000-000000000201
\set inner      00000000-0000-7000-8000-000000000202
\set headers    00000000-0000-7000-8000-000000000300
\set note       00000000-0000-7000-8000-000000000400
\set file       00000000-0000-7000-8000-0000000000f1
\set lease      00000000-0000-7000-8000-000000000600
\set message    00000000-0000-7000-8000-000000000700
\set review     00000000-0000-7000-8000-000000000800
\set handoff    00000000-0000-7000-8000-000000000900
\set conflict   00000000-0000-7000-8000-000000000a00

\echo '1. Two agents say who they are.'
SELECT caliber_agent_register('planner', '{plan,port}', id => :'planner');
SELECT caliber_agent_register('reviewer', '{review}', reports_to => :'planner', id => :'reviewer');

\echo '2. The planner opens a task and a sub-task. Every node knows its parent and its root.'
SELECT caliber_trajectory_create('Move the billing service to the new API',
    description => 'Three endpoints, no downtime', agent_id => :'planner',
    metadata => '{"customer": "ACME", "priority": 1}', id => :'task');
SELECT caliber_trajectory_create('Port the endpoints',
    agent_id => :'planner', parent_trajectory_id => :'task', id => :'port');
SELECT name, status, right(parent_trajectory_id::text, 3) AS parent, right(root_trajectory_id::text, 3) AS root
FROM caliber_trajectory ORDER BY trajectory_id;

\echo '3. It works in a scope, a context window of 4000 tokens, and in one inside it.'
SELECT caliber_scope_create(:'port', 'Read the old code',
    purpose => 'What do clients rely on?', token_budget => 4000, id => :'outer');
SELECT caliber_scope_create(:'port', 'Undocumented headers',
    token_budget => 1000, parent_scope_id => :'outer', id => :'inner');

\echo '4. The conversation goes into turns, in order; the tokens are counted. Over budget is allowed, and visible.'
SELECT caliber_turn_create(:'inner', NULL, 'user', 'Which headers do clients rely on?', token_count => 8);
SELECT count(*) AS turns FROM caliber_turn_create_many(:'inner',
    '[{"role": "assistant", "content": "Looking at the access log.", "token_count": 632},
      {"role": "tool", "content": "X-Legacy-Account, X-Retry", "token_count": 540}]');
SELECT caliber_scope_update_tokens(:'inner', 1180);
SELECT (s).name, (s).tokens_used, (s).token_budget, (s).tokens_used > (s).token_budget AS over_budget
FROM caliber_scope_get(:'inner') s;
SELECT sequence, role, content FROM caliber_turn_get_recent(:'inner', 2);

\echo '5. What was found outlives the scope as an artifact, and the task as a note.'
SELECT caliber_artifact_create(:'port', :'inner', 'fact', 'headers',
    'Clients rely on X-Legacy-Account and X-Retry.', confidence => 0.9, id => :'headers');
SELECT caliber_note_create('gotcha', 'Retries', 'Old clients retry without an idempotency key.',
    source_trajectory_ids => ARRAY[:'port']::uuid[], source_artifact_ids => ARRAY[:'headers']::uuid[], id => :'note');

\echo '6. The inner scope is closed, with a checkpoint. The outer one is current again. Closing twice is harmless.'
SELECT caliber_scope_update(:'inner', '{"checkpoint": {"headers": ["X-Legacy-Account", "X-Retry"]}}');
SELECT caliber_scope_close(:'inner');
SELECT caliber_scope_close(:'inner') AS again;
SELECT name, is_active FROM caliber_scope_get_current(:'port');

\echo '7. The planner takes a lease on the file that it changes. For the reviewer it is busy: NULL, at once.'
SELECT caliber_lock_acquire(:'planner', 'file', :'file', timeout_ms => 60000, id => :'lease') IS NOT NULL AS planner_has_it;
SELECT caliber_lock_acquire(:'reviewer', 'file', :'file') IS NULL AS reviewer_finds_it_busy;
SELECT caliber_lock_release(:'lease');

\echo '8. It asks any reviewer for a review, and writes what to look at.'
SELECT caliber_delegation_create(:'planner', NULL, 'reviewer', 'Review the port', :'task',
    shared_artifacts => ARRAY[:'headers']::uuid[], id => :'review');
SELECT caliber_message_send(:'planner', :'reviewer', NULL, 'context_share',
    'Mind the headers.', artifact_ids => ARRAY[:'headers']::uuid[], priority => 'high', id => :'message');

\echo '9. The reviewer reads its inbox, accepts, and has a task of its own below the planner''s.'
SELECT message_type, priority, payload FROM caliber_message_receive(:'reviewer');
SELECT caliber_message_acknowledge(:'message');
SELECT task_description, status FROM caliber_delegation_list_for_agent(:'reviewer');
SELECT caliber_delegation_accept(:'review', :'reviewer');
SELECT name, status FROM caliber_trajectory_list_by_agent(:'reviewer');
SELECT caliber_delegation_start(:'review', agent_id => :'reviewer');

\echo '10. The note says one thing, the artifact another: a conflict, recorded and resolved.'
SELECT caliber_conflict_create('contradicting_fact', 'artifact', :'headers', 'note', :'note',
    agent_a_id => :'planner', agent_b_id => :'reviewer', trajectory_id => :'task', id => :'conflict');
SELECT caliber_conflict_resolve(:'conflict', 'highest_confidence', winner => 'a', resolved_by => :'reviewer');
SELECT status, resolution FROM caliber_conflict_get(:'conflict');

\echo '11. A transaction is a transaction: what is rolled back never happened.'
BEGIN;
SELECT caliber_delegation_complete(:'review', false, summary => 'I give up');
ROLLBACK;
SELECT status FROM caliber_delegation_get(:'review');

\echo '12. The review is done. The planner hands its scope over for the release.'
SELECT caliber_delegation_complete(:'review', true, summary => 'looks right', result => '{"findings": 0}');
SELECT caliber_handoff_create(:'planner', :'reviewer', NULL, :'port', :'outer', :'headers',
    reason => 'specialization', handoff_notes => 'All endpoints answer.', next_steps => '{release}', id => :'handoff');
SELECT caliber_handoff_accept(:'handoff', :'reviewer');
SELECT caliber_handoff_complete(:'handoff', agent_id => :'reviewer');

\echo '13. What is left behind, read by one index scan each.'
SELECT caliber_trajectory_set_status(:'port', 'completed', '{"endpoints": 3}');
SELECT caliber_trajectory_set_status(:'task', 'completed', '{"released": "2.0"}');
SELECT name, status, outcome, completed_at IS NOT NULL AS finished FROM caliber_trajectory_list_by_status('completed');
SELECT name, is_active, tokens_used, checkpoint FROM caliber_scope_list_by_trajectory(:'port');
SELECT title, content FROM caliber_note_query_by_trajectory(:'port');
SELECT status, result FROM caliber_delegation_list_by_delegator(:'planner');
SELECT count(*) AS problems FROM caliber_check();
