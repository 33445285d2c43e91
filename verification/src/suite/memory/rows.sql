-- What the calls of the memory suite work on.
ALTER TABLE caliber_artifact ALTER content SET STORAGE EXTERNAL;
SELECT caliber_agent_register('keeper', id => '00000000-0000-7000-8000-0000000000a1');
SELECT caliber_agent_register('keeper', id => '00000000-0000-7000-8000-0000000000a2');
SELECT caliber_trajectory_create('a', id => '00000000-0000-7000-8000-0000000000b1');
SELECT caliber_trajectory_create('b', id => '00000000-0000-7000-8000-0000000000b2');
SELECT caliber_trajectory_create('branch', parent_trajectory_id => '00000000-0000-7000-8000-0000000000b1', agent_id => '00000000-0000-7000-8000-0000000000a1', id => '00000000-0000-7000-8000-0000000000b3');
SELECT caliber_trajectory_create('leaf', parent_trajectory_id => '00000000-0000-7000-8000-0000000000b3', id => '00000000-0000-7000-8000-0000000000b4');
SELECT caliber_scope_create('00000000-0000-7000-8000-0000000000b1', 's', id => '00000000-0000-7000-8000-0000000000c1');
SELECT caliber_turn_create('00000000-0000-7000-8000-0000000000c1', NULL, 'user', 'x', id => '00000000-0000-7000-8000-0000000000d1');
SELECT caliber_artifact_create('00000000-0000-7000-8000-0000000000b1', '00000000-0000-7000-8000-0000000000c1', 'fact', 'n', repeat('long', 5000), embedding => '[1,2,3]', id => '00000000-0000-7000-8000-0000000000e1');
SELECT caliber_note_create('fact', 'n', 'c', source_trajectory_ids => ARRAY['00000000-0000-7000-8000-0000000000b1']::uuid[], embedding => '[1,2,3]', id => '00000000-0000-7000-8000-0000000000e2');
SELECT caliber_message_send('00000000-0000-7000-8000-0000000000a2', '00000000-0000-7000-8000-0000000000a1', NULL, 'context_share', 'm', id => '00000000-0000-7000-8000-0000000000e3');
SELECT caliber_lock_acquire('00000000-0000-7000-8000-0000000000a2', 'file', '00000000-0000-7000-8000-0000000000f1', 31622400000, id => '00000000-0000-7000-8000-0000000000e4');
SELECT caliber_delegation_create('00000000-0000-7000-8000-0000000000a2', NULL, 'keeper', 'w', '00000000-0000-7000-8000-0000000000b1', id => '00000000-0000-7000-8000-0000000000e5');
SELECT caliber_handoff_create('00000000-0000-7000-8000-0000000000a2', NULL, 'keeper', '00000000-0000-7000-8000-0000000000b1', '00000000-0000-7000-8000-0000000000c1', '00000000-0000-7000-8000-0000000000c1', id => '00000000-0000-7000-8000-0000000000e6');
SELECT caliber_conflict_create('goal_conflict', 'artifact', '00000000-0000-7000-8000-0000000000e1', 'note', '00000000-0000-7000-8000-0000000000e2', id => '00000000-0000-7000-8000-0000000000e7');
-- How many bytes this backend has more in use than when it was asked last, and in which contexts. The settings do
-- not count, which hold the last answer, nor what this function itself has at hand (SPI Proc; a call of the heap
-- engine has no SPI).
CREATE FUNCTION grown() RETURNS text VOLATILE LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := coalesce(nullif(current_setting('verify.contexts', true), ''), '{}')::jsonb;
    now jsonb := (SELECT jsonb_object_agg(c.context, c.bytes) FROM (
        SELECT concat_ws(' ', name, left(ident, 40)) AS context, sum(used_bytes)::bigint AS bytes
        FROM pg_backend_memory_contexts WHERE name NOT IN ('GUCMemoryContext', 'SPI Proc') GROUP BY 1) c);
BEGIN
    PERFORM set_config('verify.contexts', now::text, true);
    RETURN (SELECT coalesce(sum(d.more), 0) || ' ' || coalesce(string_agg(format('%s: %s', d.context, d.more), ', ' ORDER BY d.more DESC), '')
            FROM (SELECT coalesce(a.key, b.key) AS context, coalesce(a.value::bigint, 0) - coalesce(b.value::bigint, 0) AS more
                  FROM jsonb_each_text(now) a FULL JOIN jsonb_each_text(before) b USING (key)) d
            WHERE d.more <> 0 AND before <> '{}');
END $$;
