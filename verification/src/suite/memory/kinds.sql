-- Kinds of operation: bodies of a PL/pgSQL loop over i, with x and y of type
-- uuid and r of type record. Each leaves the tables as it found them. @xx is
-- an id of rows.sql.

--- agent: register, heartbeat, move, assign, release, delete
x := caliber_agent_register('t', capabilities => '{a,b}');
PERFORM caliber_agent_heartbeat(x);
PERFORM caliber_agent_set_status(x, 'failed'), caliber_agent_set_status(x, 'idle');
PERFORM caliber_agent_assign(x, @b1, @c1);
PERFORM caliber_agent_release(x);
PERFORM caliber_agent_delete(x);

--- trajectory: create below a parent, update, move, delete
x := caliber_trajectory_create('t', parent_trajectory_id => @b1, metadata => '{"a": [1, 2]}');
PERFORM caliber_trajectory_update(x, '{"name": "n", "metadata": {"a": "b"}, "outcome": 1.50}');
PERFORM caliber_trajectory_set_status(x, 'suspended'), caliber_trajectory_set_status(x, 'active'), caliber_trajectory_set_status(x, 'failed', '{"a": 1}');
PERFORM caliber_trajectory_delete(x);

--- tree: a branch changes its root
PERFORM caliber_trajectory_update(@b3, '{"parent_trajectory_id": "00000000-0000-7000-8000-0000000000b2"}');
PERFORM caliber_trajectory_update(@b3, '{"parent_trajectory_id": "00000000-0000-7000-8000-0000000000b1"}');

--- scope: create, tokens, update, close, delete
x := caliber_scope_create(@b1, 's', 'p', metadata => '{}');
PERFORM caliber_scope_update_tokens(x, i), caliber_scope_update(x, '{"name": "n", "checkpoint": {"a": 1}}');
PERFORM caliber_scope_close(x);
PERFORM caliber_scope_delete(x);

--- turn: create with the next number, and many
x := caliber_turn_create(@c1, NULL, 'user', 'c', 1, '[1]', '{"r": 2}');
FOR y IN SELECT caliber_turn_create_many(@c1, '[{"role": "user", "content": "a"}, {"role": "tool", "content": "b", "metadata": {"m": 1}}]') LOOP
    PERFORM caliber_turn_delete(y);
END LOOP;
PERFORM caliber_turn_delete(x);

--- artifact: out-of-line content, many, update, delete
x := caliber_artifact_create(@b1, @c1, 'fact', 'n', repeat('x', 5000), confidence => 0.5, ttl => 'duration:100000', embedding => '[1,2,3]', metadata => '{}');
PERFORM caliber_artifact_update(x, jsonb_build_object('content', repeat('y', 4000), 'embedding', '[3,2,1]'::jsonb, 'ttl', 'long_term'));
FOR y IN SELECT caliber_artifact_create_many(@b1, @c1, '[{"artifact_type": "log", "name": "a", "content": "b", "embedding": [1,2,2]}]') LOOP
    PERFORM caliber_artifact_delete(y);
END LOOP;
PERFORM caliber_artifact_delete(x);

--- note: create, touch, update, delete
x := caliber_note_create('fact', 't', 'c', ARRAY[@b1, @b2], ARRAY[@e1], embedding => '[0,1,0]', source_note_ids => ARRAY[@e2]);
PERFORM caliber_note_touch(x), caliber_note_update(x, '{"title": "n", "embedding": "[1,0,0]"}');
PERFORM caliber_note_delete(x);

--- message: send, many, receive, acknowledge, delete
x := caliber_message_send(@a1, @a2, NULL, 'context_share', 'p', @b1, @c1, ARRAY[@e1], 'high', 'infinity');
FOR y IN SELECT caliber_message_send_many('[{"from_agent_id": "00000000-0000-7000-8000-0000000000a1", "to_agent_type": "nobody", "message_type": "interrupt", "payload": "p"}]') LOOP
    PERFORM caliber_message_delete(y);
END LOOP;
PERFORM * FROM caliber_message_receive(@a2, 2);
PERFORM caliber_message_acknowledge(x);
PERFORM caliber_message_delete(x);
PERFORM caliber_message_purge('2000-01-01');

--- delegation: create, accept, start, complete, reclaim, reject, delete
x := caliber_delegation_create(@a1, NULL, 'keeper', 'd', @b1, ARRAY[@e1], constraints => '{"a": 1}');
PERFORM caliber_delegation_accept(x, @a2);
PERFORM caliber_delegation_start(x), caliber_delegation_reclaim(x, '-1 hour');
PERFORM caliber_delegation_accept(x, @a2), caliber_delegation_complete(x, true, 's', '{"a": 1}', @a2);
y := (caliber_delegation_get(x)).child_trajectory_id;
PERFORM caliber_delegation_delete(x);
PERFORM caliber_trajectory_delete(y);
x := caliber_delegation_create(@a1, @a2, NULL, 'd', @b1);
PERFORM caliber_delegation_reject(x, 'r'), caliber_delegation_delete(x);

--- handoff: create, accept, complete, reject, delete
x := caliber_handoff_create(@a1, NULL, '*', @b1, @c1, @c1, next_steps => '{a,b}');
PERFORM caliber_handoff_accept(x, @a2), caliber_handoff_complete(x, @a2), caliber_handoff_delete(x);
x := caliber_handoff_create(@a1, @a2, NULL, @b1, @c1, @c1);
PERFORM caliber_handoff_reject(x), caliber_handoff_delete(x);

--- conflict: create, start, resolve, delete
x := caliber_conflict_create('goal_conflict', 'artifact', @e1, 'note', @e2, @a1, @a2, @b1);
PERFORM caliber_conflict_start(x), caliber_conflict_resolve(x, 'first_write_wins', 'a', 'r', @e1, @a1), caliber_conflict_delete(x);

--- lease: acquire, again, extend, assert, release, sweep
x := caliber_lock_acquire(@a1, 'k', @f1, 60000);
PERFORM caliber_lock_acquire(@a1, 'k', @f1, 70000), caliber_lock_acquire(@a2, 'k', @f1), caliber_lock_extend(x, 5), caliber_lock_assert(x);
PERFORM caliber_lock_release(x);
PERFORM caliber_lock_purge_expired();

--- session_lock: acquire, shared to exclusive, release
x := caliber_lock_acquire(@a1, 'k', @f1, 60000, 'shared', 'session');
PERFORM caliber_lock_acquire(@a1, 'k', @f1, 60000, 'exclusive', 'session');
PERFORM caliber_lock_release(x);

--- transaction_lock: acquire
PERFORM caliber_lock_acquire(@a1, 'k', @f1, 60000, 'exclusive', 'transaction');

--- lock_taken_back: by a savepoint
BEGIN
    PERFORM caliber_lock_acquire(@a1, 'k', @f1, 60000, 'exclusive', 'session');
    PERFORM caliber_lock_acquire(@a1, 'j', @f1, 60000, 'shared', 'transaction');
    PERFORM caliber_lock_acquire(@a1, 'i', @f1);
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
END;

--- get: every entity, and absent ones
PERFORM caliber_agent_get(@a1), caliber_trajectory_get(@b1), caliber_scope_get(@c1), caliber_turn_get(@d1), caliber_artifact_get(@e1), caliber_note_get(@e2),
    caliber_message_get(@e3), caliber_lock_get(@e4), caliber_delegation_get(@e5), caliber_handoff_get(@e6), caliber_conflict_get(@e7);
PERFORM caliber_agent_get(@f1), caliber_artifact_get(@f1), caliber_lock_get(@f1), caliber_scope_get(NULL), caliber_scope_get_current(@b1);

--- list: of agents, tasks, scopes and turns
PERFORM caliber_agent_list_by_type('keeper'), caliber_agent_list_stale('-1 hour', 5);
PERFORM caliber_trajectory_list_by_status('active', 3), caliber_trajectory_list_children(@b1), caliber_trajectory_list_by_agent(@a1);
PERFORM * FROM caliber_scope_list_by_trajectory(@b1);
PERFORM * FROM caliber_turn_get_by_scope(@c1);
PERFORM caliber_turn_get_recent(@c1, 2);

--- list_shared: of what agents leave and share
PERFORM caliber_artifact_query_by_type(@b1, 'fact'), caliber_artifact_query_by_scope(@c1);
PERFORM * FROM caliber_note_query_by_trajectory(@b1);
PERFORM caliber_note_list_by_type('fact');
PERFORM caliber_lock_list_by_resource('file', @f1), caliber_lock_list_by_agent(@a2);
PERFORM caliber_message_list_for_agent(@a1, false);
PERFORM caliber_delegation_list_pending(), caliber_delegation_list_for_agent(@a1), caliber_delegation_list_by_delegator(@a2);
PERFORM caliber_handoff_list_for_agent(@a1), caliber_handoff_list_by_trajectory(@b1);
PERFORM caliber_conflict_list_pending(), caliber_conflict_list_by_item(@e1);

--- list_in_part: a part of one, given up before its end
FOR r IN SELECT * FROM caliber_trajectory_list_by_status('active') LOOP EXIT; END LOOP;
PERFORM (SELECT t FROM caliber_trajectory_list_by_status('active') t LIMIT 1);

--- search: by the index, and exact
PERFORM caliber_artifact_search('[1,2,3]', 2), caliber_artifact_search('[1,2,3]', 2, @b1), caliber_note_search('[1,2,3]', 2);

--- error: of an argument, of a state, of PostgreSQL's
BEGIN PERFORM caliber_scope_create(@b1, ''); EXCEPTION WHEN invalid_parameter_value THEN END;
BEGIN PERFORM caliber_agent_release(@a1), caliber_agent_set_status(@a1, 'blocked'); EXCEPTION WHEN object_not_in_prerequisite_state THEN END;
BEGIN PERFORM caliber_scope_create(@f1, 's'); EXCEPTION WHEN foreign_key_violation THEN END;
BEGIN PERFORM caliber_artifact_create(@b1, @c1, 'fact', 'n', repeat('x', 5000), embedding => '[1,2,3]', id => @e1); EXCEPTION WHEN unique_violation THEN END;
BEGIN PERFORM caliber_trajectory_update(@b1, '{"parent_trajectory_id": "00000000-0000-7000-8000-0000000000b4"}'); EXCEPTION WHEN check_violation THEN END;
BEGIN PERFORM caliber_turn_create_many(@c1, '[{"role": "user", "content": "a"}, {"role": "nobody", "content": "a"}]'); EXCEPTION WHEN invalid_parameter_value THEN END;

--- nothing_to_do: absent rows
PERFORM caliber_scope_close(@f1), caliber_scope_delete(@f1), caliber_trajectory_update(@f1, '{"name": "x"}'), caliber_delegation_accept(@f1, @a1), caliber_lock_release(@f1), caliber_message_acknowledge(@f1);

--- the_same_id_again: returned
PERFORM set_config('caliber.on_duplicate', 'return', true);
PERFORM caliber_trajectory_create('a', id => @b1), caliber_agent_register('keeper', id => @a1);
PERFORM set_config('caliber.on_duplicate', 'error', true);

--- sql_engine: what takes over
PERFORM set_config('caliber.engine', 'sql', true);
x := caliber_scope_create(@b1, 's');
PERFORM caliber_scope_update_tokens(x, i), caliber_scope_get(x), caliber_scope_list_by_trajectory(@b1), caliber_scope_close(x), caliber_scope_delete(x);
PERFORM set_config('caliber.engine', 'heap', true);

--- others: ids, keys, channels, counters
PERFORM caliber_new_id(), caliber_lock_key('k', @f1), caliber_channel(agent_id => @a1), caliber_channel(agent_type => repeat('x', 60)), caliber_version(), caliber_counters();
