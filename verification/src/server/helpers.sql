-- The harness's own functions in every database of a test.

CREATE SCHEMA verification;

-- They weave several calls into one PL/pgSQL statement.
CREATE FUNCTION verification.in_order(statements text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE statement text; answer text;
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement INTO answer;
        RETURN NEXT answer;
    END LOOP;
END $$;
CREATE FUNCTION verification.in_block(statements text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE statement text; answer text;
BEGIN
    BEGIN
        FOREACH statement IN ARRAY statements LOOP
            EXECUTE statement INTO answer;
            RETURN NEXT answer;
        END LOOP;
    EXCEPTION WHEN division_by_zero THEN
        RAISE;
    END;
END $$;

-- They write what no call writes, as a user's SQL may. The moment is AGED of
-- src/model/moment.rs.
CREATE FUNCTION verification.age_agent(agent_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.caliber_agent a SET last_heartbeat = '2001-02-03 04:05:06.789+00' WHERE a.agent_id = $1;
    RETURN found;
END $$;
CREATE FUNCTION verification.age_artifact(artifact_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.caliber_artifact a SET created_at = '2001-02-03 04:05:06.789+00' WHERE a.artifact_id = $1;
    RETURN found;
END $$;
CREATE FUNCTION verification.age_note(note_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.caliber_note n SET created_at = '2001-02-03 04:05:06.789+00' WHERE n.note_id = $1;
    RETURN found;
END $$;
CREATE FUNCTION verification.age_message(message_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.caliber_message m SET delivered_at = '2001-02-03 04:05:06.789+00'
    WHERE m.message_id = $1 AND m.delivered_at IS NOT NULL;
    RETURN found;
END $$;
CREATE FUNCTION verification.expire_lock(lock_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.caliber_lock l SET expires_at = '2001-02-03 04:05:06.789+00' WHERE l.lock_id = $1 AND l.level = 'lease';
    RETURN found;
END $$;
CREATE FUNCTION verification.put_ttl_artifact(artifact_id uuid, ttl text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.caliber_artifact a SET ttl = $2 WHERE a.artifact_id = $1;
    RETURN found;
END $$;
CREATE FUNCTION verification.put_ttl_note(note_id uuid, ttl text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.caliber_note n SET ttl = $2 WHERE n.note_id = $1;
    RETURN found;
END $$;
