-- One call of each function, in an order in which all of them succeed.
--
--   psql -X -f examples/every_function.sql        (in a database of its own)
--
-- The ids are written out so that a call can be read beside the one it follows.
-- An agent that passes no id gets one from the function.

\set ON_ERROR_STOP on
\set planner    00000000-0000-7000-8000-00000000000a
\set reviewer   00000000-0000-7000-8000-00000000000b
\set tester     00000000-0000-7000-8000-00000000000c
\set task       00000000-0000-7000-8000-000000000100
\set part       00000000-0000-7000-8000-000000000101
\set spare      00000000-0000-7000-8000-000000000102
\set scope      00000000-0000-7000-8000-000000000200
\set inner      00000000-0000-7000-8000-000000000201
\set artifact   00000000-0000-7000-8000-000000000300
\set artifact2  00000000-0000-7000-8000-000000000301
\set note       00000000-0000-7000-8000-000000000400
\set note2      00000000-0000-7000-8000-000000000401
\set turn       00000000-0000-7000-8000-000000000500
\set file       00000000-0000-7000-8000-0000000000f1
\set lease      00000000-0000-7000-8000-000000000600
\set lease2     00000000-0000-7000-8000-000000000601
\set message    00000000-0000-7000-8000-000000000700
\set message2   00000000-0000-7000-8000-000000000701
\set delegation 00000000-0000-7000-8000-000000000800
\set delegation2 00000000-0000-7000-8000-000000000801
\set delegation3 00000000-0000-7000-8000-000000000802
\set handoff    00000000-0000-7000-8000-000000000900
\set handoff2   00000000-0000-7000-8000-000000000901
\set conflict   00000000-0000-7000-8000-000000000a00
\set snapshot   00000000-0000-7000-8000-0000000000f2

-- Set up
SELECT caliber_version();
SELECT caliber_init();
SELECT caliber_init(embedding_dimensions => 3);
SELECT caliber_schema_exists();
SELECT caliber_new_id() IS NOT NULL AS a_new_id;

-- Agents
SELECT caliber_agent_register('planner', '{plan,split}', id => :'planner');
SELECT caliber_agent_register('reviewer', '{review}', reports_to => :'planner', id => :'reviewer');
SELECT caliber_agent_register('tester', id => :'tester');
SELECT * FROM caliber_agent_get(:'planner');
SELECT caliber_agent_heartbeat(:'planner');
SELECT * FROM caliber_agent_list_by_type('reviewer');
SELECT * FROM caliber_agent_list_stale('10 minutes');

-- Trajectories
SELECT caliber_trajectory_create('Move billing to the new API', agent_id => :'planner', metadata => '{"customer": "ACME"}', id => :'task');
SELECT caliber_trajectory_create('Port the endpoints', parent_trajectory_id => :'task', id => :'part');
SELECT caliber_trajectory_create('Not needed after all', id => :'spare');
SELECT * FROM caliber_trajectory_get(:'task');
SELECT caliber_trajectory_update(:'task', '{"description": "three endpoints, no downtime"}');
SELECT caliber_trajectory_list_by_status('active', max_rows => 10);
SELECT * FROM caliber_trajectory_list_children(:'task');
SELECT * FROM caliber_trajectory_list_by_agent(:'planner');
SELECT caliber_trajectory_delete(:'spare');

-- Scopes
SELECT caliber_scope_create(:'task', 'Read the old code', token_budget => 4000, id => :'scope');
SELECT caliber_scope_create(:'task', 'Undocumented headers', parent_scope_id => :'scope', id => :'inner');
SELECT * FROM caliber_scope_get(:'scope');
SELECT * FROM caliber_scope_get_current(:'task');
SELECT caliber_scope_update_tokens(:'scope', 1250);
SELECT caliber_scope_update(:'scope', '{"checkpoint": {"file": "billing.rs", "line": 120}}');
SELECT * FROM caliber_scope_list_by_trajectory(:'task');

-- Turns
SELECT caliber_turn_create(:'scope', NULL, 'user', 'Which headers do clients rely on?', id => :'turn');
SELECT caliber_turn_create_many(:'scope', '[{"role": "assistant", "content": "Looking.", "token_count": 2}, {"role": "tool", "content": "X-Request-Id"}]');
SELECT * FROM caliber_turn_get(:'turn');
SELECT * FROM caliber_turn_get_by_scope(:'scope', after_sequence => 0);
SELECT * FROM caliber_turn_get_recent(:'scope', 2);
SELECT caliber_turn_delete(:'turn');

-- Artifacts
SELECT caliber_artifact_create(:'task', :'scope', 'fact', 'header', 'Clients rely on X-Request-Id.', confidence => 0.9, embedding => '[1,0,0]', id => :'artifact');
SELECT caliber_artifact_create_many(:'task', :'scope', '[{"artifact_type": "log", "name": "run 1", "content": "ok", "ttl": "short_term", "id": "00000000-0000-7000-8000-000000000301"}]');
SELECT * FROM caliber_artifact_get(:'artifact');
SELECT caliber_artifact_update(:'artifact', '{"content": "Clients rely on X-Request-Id and ETag."}');
SELECT * FROM caliber_artifact_query_by_type(:'task', 'fact');
SELECT * FROM caliber_artifact_query_by_scope(:'scope');
SELECT (item).name, distance FROM caliber_artifact_search('[1,0.1,0]', 5);
SELECT caliber_artifact_delete(:'artifact2');

-- Notes
SELECT caliber_note_create('gotcha', 'ETag', 'The old API sends weak ETags.', source_trajectory_ids => ARRAY[:'task']::uuid[], embedding => '[0,1,0]', id => :'note');
SELECT caliber_note_create('fact', 'Retired', 'Nobody uses v1.', id => :'note2');
SELECT * FROM caliber_note_get(:'note');
SELECT caliber_note_touch(:'note');
SELECT caliber_note_update(:'note', '{"title": "Weak ETags"}');
SELECT * FROM caliber_note_query_by_trajectory(:'task');
SELECT * FROM caliber_note_list_by_type('gotcha');
SELECT (item).title, distance FROM caliber_note_search('[0,1,0]', 5);
SELECT caliber_note_delete(:'note2');

-- Locks
SELECT caliber_lock_key('file', :'file');
SELECT caliber_lock_acquire(:'planner', 'file', :'file', timeout_ms => 60000, id => :'lease');
SELECT * FROM caliber_lock_get(:'lease');
SELECT caliber_lock_extend(:'lease', 30000);
SELECT caliber_lock_assert(:'lease');
SELECT * FROM caliber_lock_list_by_resource('file', :'file');
SELECT * FROM caliber_lock_list_by_agent(:'planner');
SELECT caliber_lock_release(:'lease');
SELECT caliber_lock_purge_expired();

-- Messages
SELECT caliber_channel(agent_type => 'reviewer');
SELECT caliber_message_send(:'planner', :'reviewer', NULL, 'context_share', 'Read the note on ETags first.', priority => 'high', id => :'message');
SELECT caliber_message_send_many('[{"from_agent_id": "00000000-0000-7000-8000-00000000000a", "to_agent_type": "tester", "message_type": "interrupt", "payload": "stop", "id": "00000000-0000-7000-8000-000000000701"}]');
SELECT * FROM caliber_message_get(:'message');
SELECT * FROM caliber_message_list_for_agent(:'reviewer');
SELECT * FROM caliber_message_receive(:'reviewer', 10, redeliver_after => '5 minutes');
SELECT caliber_message_acknowledge(:'message');
SELECT caliber_message_delete(:'message2');
SELECT caliber_message_purge(now() - interval '30 days');

-- Delegations
SELECT caliber_delegation_create(:'planner', NULL, 'reviewer', 'Review the port', :'part', id => :'delegation');
SELECT caliber_delegation_create(:'planner', NULL, '*', 'Measure the latency', :'part', id => :'delegation2');
SELECT caliber_delegation_create(:'planner', :'tester', NULL, 'Test the port', :'part', id => :'delegation3');
SELECT * FROM caliber_delegation_get(:'delegation');
SELECT * FROM caliber_delegation_list_pending('reviewer');
SELECT * FROM caliber_delegation_list_for_agent(:'reviewer');
SELECT * FROM caliber_delegation_list_by_delegator(:'planner');
SELECT caliber_delegation_accept(:'delegation', :'reviewer');
SELECT caliber_delegation_start(:'delegation');
SELECT caliber_delegation_complete(:'delegation', true, summary => 'looks right', result => '{"findings": 0}');
SELECT caliber_delegation_reject(:'delegation2', reason => 'no time');
SELECT caliber_delegation_accept(:'delegation3', :'tester', child_trajectory_id => :'part');
SELECT caliber_delegation_reclaim(:'delegation3', stale_after => '10 minutes');
SELECT caliber_delegation_delete(:'delegation2');

-- Handoffs
SELECT caliber_handoff_create(:'planner', :'reviewer', NULL, :'task', :'scope', :'snapshot', reason => 'specialization', next_steps => '{"check the headers"}', id => :'handoff');
SELECT caliber_handoff_create(:'planner', NULL, 'tester', :'task', :'scope', :'snapshot', id => :'handoff2');
SELECT * FROM caliber_handoff_get(:'handoff');
SELECT * FROM caliber_handoff_list_for_agent(:'reviewer');
SELECT * FROM caliber_handoff_list_by_trajectory(:'task');
SELECT caliber_handoff_accept(:'handoff', :'reviewer');
SELECT caliber_handoff_complete(:'handoff', agent_id => :'reviewer');
SELECT caliber_handoff_reject(:'handoff2');
SELECT caliber_handoff_delete(:'handoff2');

-- Conflicts
SELECT caliber_conflict_create('contradicting_fact', 'artifact', :'artifact', 'note', :'note', trajectory_id => :'task', id => :'conflict');
SELECT * FROM caliber_conflict_get(:'conflict');
SELECT * FROM caliber_conflict_list_pending();
SELECT * FROM caliber_conflict_list_by_item(:'artifact');
SELECT caliber_conflict_start(:'conflict');
SELECT caliber_conflict_resolve(:'conflict', 'last_write_wins', winner => 'b', reason => 'the note is newer');
SELECT caliber_conflict_delete(:'conflict');

-- An agent's state, and the end
SELECT caliber_agent_assign(:'reviewer', :'task', :'scope');
SELECT caliber_agent_release(:'reviewer');
SELECT caliber_agent_set_status(:'tester', 'failed');
SELECT caliber_scope_close(:'inner');
SELECT caliber_scope_delete(:'inner');
SELECT caliber_trajectory_set_status(:'task', 'completed', '{"summary": "moved"}');
SELECT caliber_handoff_delete(:'handoff');
SELECT caliber_delegation_delete(:'delegation3');
SELECT caliber_agent_delete(:'tester');
SELECT * FROM caliber_check();
SELECT * FROM caliber_counters() WHERE value > 0;
