-- A session of two agents on one task.
--
--   psql -X -f examples/agent_session.sql        (or: make demo)
--
-- Agent A (the planner) opens a task and splits it; agent B (the reviewer)
-- takes one part. Each works inside context scopes: windows with a token
-- budget that are opened, filled and closed. Everything an agent does is one
-- function call; everything it reads is an ordinary row.
--
-- The ids are written out so that the story can be followed. An agent that
-- passes no id gets one from the function (uuid version 7, in creation order).

\set ON_ERROR_STOP on

\echo '1. The planner (agent …0a) opens a task and two sub-tasks.'
SELECT caliber_trajectory_create(
    name     => 'Move the billing service to the new API',
    description => 'Three endpoints, no downtime',
    agent_id => '00000000-0000-7000-8000-00000000000a',
    metadata => '{"customer": "ACME", "priority": 1}',
    id       => '00000000-0000-7000-8000-000000000100') AS task;
SELECT caliber_trajectory_create(
    name => 'Port the endpoints',
    agent_id => '00000000-0000-7000-8000-00000000000a',
    parent_trajectory_id => '00000000-0000-7000-8000-000000000100',
    id => '00000000-0000-7000-8000-000000000101') AS sub_task;
SELECT caliber_trajectory_create(
    name => 'Review the port',
    agent_id => '00000000-0000-7000-8000-00000000000b',
    parent_trajectory_id => '00000000-0000-7000-8000-000000000100',
    id => '00000000-0000-7000-8000-000000000102') AS sub_task;

\echo '2. The tree: every node knows its parent and its root.'
SELECT name, status, right(parent_trajectory_id::text, 3) AS parent, right(root_trajectory_id::text, 3) AS root
FROM caliber_trajectory ORDER BY trajectory_id;

\echo '3. The planner opens a scope, a context window of 4000 tokens, and one inside it.'
SELECT caliber_scope_create(
    trajectory_id => '00000000-0000-7000-8000-000000000101',
    name => 'Read the old code',
    purpose => 'What do clients rely on?',
    token_budget => 4000,
    id => '00000000-0000-7000-8000-000000000201') AS scope;
SELECT caliber_scope_create(
    trajectory_id => '00000000-0000-7000-8000-000000000101',
    name => 'Undocumented headers',
    token_budget => 1000,
    parent_scope_id => '00000000-0000-7000-8000-000000000201',
    id => '00000000-0000-7000-8000-000000000202') AS scope;

\echo '4. Meanwhile the reviewer (agent …0b) prepares in a scope of the other sub-task.'
SELECT caliber_scope_create(
    trajectory_id => '00000000-0000-7000-8000-000000000102',
    name => 'Review checklist',
    id => '00000000-0000-7000-8000-000000000203') AS scope;

\echo '5. Tokens are counted as the work goes on. Over budget is allowed, and visible.'
SELECT caliber_scope_update_tokens('00000000-0000-7000-8000-000000000202', 640);
SELECT caliber_scope_update_tokens('00000000-0000-7000-8000-000000000202', 1180);
SELECT (s).name, (s).tokens_used, (s).token_budget, (s).tokens_used > (s).token_budget AS over_budget
FROM caliber_scope_get('00000000-0000-7000-8000-000000000202') s;

\echo '6. The inner scope is closed, with a checkpoint of what was found. The outer one is current again.'
SELECT caliber_scope_update('00000000-0000-7000-8000-000000000202',
    '{"checkpoint": {"headers": ["X-Legacy-Account", "X-Retry"]}, "name": "Undocumented headers: two"}');
SELECT caliber_scope_close('00000000-0000-7000-8000-000000000202');
SELECT name, is_active FROM caliber_scope_get_current('00000000-0000-7000-8000-000000000101');

\echo '7. Closing again is harmless: false, not an error. A retrying agent need not care.'
SELECT caliber_scope_close('00000000-0000-7000-8000-000000000202');

\echo '8. What is each agent working on?'
SELECT right(agent_id::text, 2) AS agent, name, status
FROM caliber_trajectory_list_by_agent('00000000-0000-7000-8000-00000000000a')
UNION ALL
SELECT right(agent_id::text, 2), name, status
FROM caliber_trajectory_list_by_agent('00000000-0000-7000-8000-00000000000b');

\echo '9. The port is finished; the review waits, and is taken up again.'
SELECT caliber_trajectory_set_status('00000000-0000-7000-8000-000000000102', 'suspended');
SELECT caliber_trajectory_set_status('00000000-0000-7000-8000-000000000101', 'completed', '{"endpoints": 3}');
SELECT caliber_trajectory_set_status('00000000-0000-7000-8000-000000000102', 'active');

\echo '10. A transaction is a transaction: what is rolled back never happened.'
BEGIN;
SELECT caliber_trajectory_set_status('00000000-0000-7000-8000-000000000102', 'failed');
ROLLBACK;
SELECT name, status FROM caliber_trajectory_get('00000000-0000-7000-8000-000000000102');

\echo '11. The review is done, and with it the task.'
SELECT caliber_trajectory_set_status('00000000-0000-7000-8000-000000000102', 'completed', '{"approved": true}');
SELECT caliber_trajectory_set_status('00000000-0000-7000-8000-000000000100', 'completed', '{"released": "2.0"}');

\echo '12. What is left behind, read by one index scan each.'
SELECT name, status, outcome, completed_at IS NOT NULL AS finished
FROM caliber_trajectory_list_by_status('completed');
SELECT name, is_active, tokens_used, token_budget, checkpoint
FROM caliber_scope_list_by_trajectory('00000000-0000-7000-8000-000000000101');
