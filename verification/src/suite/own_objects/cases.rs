//! What a user puts on our tables, what is called then, and what must have come
//! of it.

use crate::config::Major;
use crate::suite::steps::{Id, Moved, Rows, Step, SESSION};

/// What is sent first, and the steps that follow.
pub(super) struct Stage {
    pub(super) before: &'static str,
    pub(super) steps: &'static [Step],
}

/// A user's objects. `@1` is an id.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) promise: &'static str,
    /// The first major that has this.
    pub(super) since: Major,
    /// DDL in every database.
    pub(super) make: &'static str,
    /// More of it, where calls of ours stand for …
    pub(super) calls: &'static str,
    /// … the client's statements.
    pub(super) statements: &'static str,
    pub(super) stages: &'static [Stage],
    /// More to compare afterwards.
    pub(super) look: &'static str,
    /// What it must have done.
    pub(super) effect: &'static str,
}

const PLAIN: Case = Case {
    name: "",
    promise: "",
    since: 15,
    make: "",
    calls: "",
    statements: "",
    stages: &[Stage {
        before: "SELECT 1",
        steps: SESSION,
    }],
    look: "SELECT 1",
    effect: "SELECT true",
};

const ORPHAN: Step = Step(
    "caliber_scope_create('@7', 'orphan', id => '@6')",
    "INSERT INTO caliber_scope VALUES ('@6', '@7', NULL, 'orphan', NULL, true, now(), NULL, NULL, 8000, 0, NULL)",
    Id('6'),
);
const ORPHAN_AGAIN: Step = Step(
    "caliber_scope_create('@7', 'orphan', id => '@7')",
    "INSERT INTO caliber_scope VALUES ('@7', '@7', NULL, 'orphan', NULL, true, now(), NULL, NULL, 8000, 0, NULL)",
    Id('7'),
);
const PARENT_GOES: Step = Step(
    "caliber_trajectory_delete('@8')",
    "DELETE FROM caliber_trajectory WHERE trajectory_id = '@8'",
    Moved,
);
const BUDGET: Step = Step(
    "caliber_scope_update('@8', '{\"token_budget\": -1}')",
    "UPDATE caliber_scope SET token_budget = -1 WHERE scope_id = '@8'",
    Moved,
);
const NAME: Step = Step(
    "caliber_trajectory_update('@9', '{\"name\": \"x\"}')",
    "UPDATE caliber_trajectory SET name = 'x', updated_at = now() WHERE trajectory_id = '@9'",
    Moved,
);
const GET: Step = Step(
    "caliber_trajectory_get('@9')",
    "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@9'",
    Rows,
);
const NEW: Step = Step(
    "caliber_trajectory_create('one', agent_id => '@a', id => '@1')",
    "INSERT INTO caliber_trajectory VALUES ('@1', 'one', NULL, 'active', NULL, NULL, '@a', now(), now(), NULL, NULL, NULL)",
    Id('1'),
);
const SCOPE: Step = Step(
    "caliber_scope_create('@8', 'one', id => '@1')",
    "INSERT INTO caliber_scope VALUES ('@1', '@8', NULL, 'one', NULL, true, now(), NULL, NULL, 8000, 0, NULL)",
    Id('1'),
);
const SCOPE_GOES: Step = Step(
    "caliber_scope_delete('@9')",
    "DELETE FROM caliber_scope WHERE scope_id = '@9'",
    Moved,
);
const CLOSE: Step = Step(
    "caliber_scope_close('@8')",
    "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true",
    Moved,
);

/// A diary of what triggers see.
macro_rules! diary {
    () => {
        "CREATE TABLE diary (n serial, line text);
        CREATE FUNCTION diary() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO diary (line) VALUES (concat_ws(' ', TG_NAME, TG_WHEN, TG_LEVEL, TG_OP, TG_TABLE_NAME,
                CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'INSERT' THEN 'old ' || OLD::text END,
                CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN 'new ' || NEW::text END));
            RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
        END $$;\n"
    };
}

pub(super) static CASES: &[Case] = &[
    Case {
        name: "before_triggers_change_rows",
        promise: "what BEFORE ROW triggers make of a row is stored and indexed, in the order of their names",
        make: "CREATE FUNCTION shape() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                NEW.name := left(NEW.name || TG_ARGV[0], 20); NEW.metadata := to_jsonb(TG_OP);
                IF TG_TABLE_NAME = 'caliber_trajectory' THEN
                    NEW.status := CASE NEW.name WHEN 'two12' THEN 'suspended' ELSE NEW.status END;
                    NEW.agent_id := CASE WHEN TG_OP = 'INSERT' THEN '@c'::uuid ELSE NEW.agent_id END;
                END IF;
                RETURN NEW; END $$;
            CREATE TRIGGER b BEFORE INSERT OR UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION shape('2');
            CREATE TRIGGER a BEFORE INSERT OR UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION shape('1');
            CREATE TRIGGER a BEFORE INSERT OR UPDATE OF name, is_active ON caliber_scope FOR EACH ROW EXECUTE FUNCTION shape('3')",
        effect: "SELECT (SELECT (name, status, agent_id::text) = ('two12', 'suspended', '@c') FROM caliber_trajectory WHERE trajectory_id = '@2')
            AND EXISTS (SELECT FROM caliber_trajectory_list_by_agent('@c'))
            AND (SELECT name = 'hidden33' FROM caliber_scope WHERE scope_id = '@8')",
        ..PLAIN
    },
    Case {
        name: "before_triggers_veto",
        promise: "a vetoed create gives NULL, a vetoed update, verb or delete false, and nothing after it happens",
        make: concat!(diary!(), "CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF TG_OP = 'INSERT' THEN RETURN CASE WHEN NEW.name = 'one' THEN NULL ELSE NEW END; END IF;
                IF TG_OP = 'UPDATE' THEN RETURN CASE WHEN OLD.name IN ('eight', 'new') THEN NULL ELSE NEW END; END IF;
                RETURN CASE WHEN OLD.name = 'hidden' THEN NULL ELSE OLD END; END $$;
            CREATE TRIGGER m BEFORE INSERT OR UPDATE OR DELETE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION veto();
            CREATE TRIGGER m BEFORE INSERT OR UPDATE OR DELETE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION veto();
            CREATE TRIGGER z BEFORE INSERT OR UPDATE OR DELETE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION diary();
            CREATE TRIGGER z AFTER INSERT OR UPDATE OR DELETE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION diary()"),
        look: "SELECT line FROM diary ORDER BY n",
        effect: "SELECT count(*) > 3 AND count(*) FILTER (WHERE line LIKE '% new (@1,%') = 0
            AND EXISTS (SELECT FROM caliber_scope WHERE scope_id = '@9') FROM diary",
        ..PLAIN
    },
    Case {
        name: "triggers_raise",
        promise: "an ERROR of a trigger arrives in every field, at every moment of every statement",
        make: "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF (TG_OP = 'DELETE' OR NEW.name IN ('one', 'new', 'below', 'eight')) AND (TG_OP <> 'DELETE' OR OLD.name IN ('hidden', 'nine')) THEN
                    RAISE EXCEPTION '% % of %', TG_WHEN, TG_OP, TG_TABLE_NAME USING ERRCODE = '4500' || length(TG_WHEN), DETAIL = 'd', HINT = 'h',
                        COLUMN = 'co', CONSTRAINT = 'cn', DATATYPE = 'dt', TABLE = 'tb', SCHEMA = 'sc';
                END IF;
                RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$;
            CREATE TRIGGER r BEFORE INSERT OR UPDATE OR DELETE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION refuse();
            CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION refuse()",
        effect: "SELECT NOT EXISTS (SELECT FROM caliber_trajectory WHERE trajectory_id = '@1') AND EXISTS (SELECT FROM caliber_trajectory WHERE trajectory_id = '@2')",
        ..PLAIN
    },
    Case {
        name: "calls_inside_triggers",
        promise: "a trigger may call our functions on its own table, before and after the row",
        make: "CREATE FUNCTION note_of(t text) RETURNS uuid LANGUAGE sql AS $$ SELECT md5(t)::uuid $$",
        calls: "CREATE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF pg_trigger_depth() > 2 THEN RETURN NEW; END IF;
                NEW.description := concat(NEW.description, (SELECT count(*) FROM caliber_trajectory_list_by_status('active')));
                PERFORM caliber_trajectory_create(TG_OP || ' ' || NEW.name, id => note_of(concat(TG_OP, NEW.name, pg_trigger_depth())));
                RETURN NEW; END $$;
            CREATE FUNCTION nested_after() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF pg_trigger_depth() > 1 THEN RETURN NULL; END IF;
                PERFORM caliber_trajectory_update(NEW.trajectory_id, jsonb_build_object('name', NEW.name || '+'));
                PERFORM caliber_scope_update_tokens('@8', (SELECT count(*)::int FROM caliber_trajectory_list_by_status('active')));
                RETURN NULL; END $$;
            CREATE TRIGGER n BEFORE INSERT OR UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION nested();
            CREATE TRIGGER n_after AFTER INSERT OR UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION nested_after()",
        statements: "CREATE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF pg_trigger_depth() > 2 THEN RETURN NEW; END IF;
                NEW.description := concat(NEW.description, (SELECT count(*) FROM caliber_trajectory WHERE status = 'active'));
                INSERT INTO caliber_trajectory VALUES (note_of(concat(TG_OP, NEW.name, pg_trigger_depth())), TG_OP || ' ' || NEW.name, NULL, 'active', NULL, NULL, NULL, now(), now(), NULL, NULL, NULL);
                RETURN NEW; END $$;
            CREATE FUNCTION nested_after() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF pg_trigger_depth() > 1 THEN RETURN NULL; END IF;
                UPDATE caliber_trajectory SET name = NEW.name || '+', updated_at = now() WHERE trajectory_id = NEW.trajectory_id;
                UPDATE caliber_scope SET tokens_used = (SELECT count(*) FROM caliber_trajectory WHERE status = 'active')
                    WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true;
                RETURN NULL; END $$;
            CREATE TRIGGER n BEFORE INSERT OR UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION nested();
            CREATE TRIGGER n_after AFTER INSERT OR UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION nested_after()",
        stages: &[Stage {
            before: "SELECT 1",
            steps: &[
                NEW,
                NAME,
                GET,
                Step("caliber_trajectory_set_status('@8', 'suspended')",
                    "UPDATE caliber_trajectory SET status = 'suspended', updated_at = now()
                    WHERE trajectory_id = '@8' AND status IS NOT DISTINCT FROM 'active'", Moved),
            ],
        }],
        look: "SELECT concat_ws('/', name, description, status) FROM caliber_trajectory ORDER BY 1",
        effect: "SELECT count(*) > 8 FROM caliber_trajectory WHERE name LIKE 'INSERT%' OR name LIKE 'UPDATE%'",
        ..PLAIN
    },
    Case {
        name: "triggers_on_the_same_row",
        promise: "a BEFORE trigger that writes the row itself is refused as for SQL (27000), an AFTER trigger may",
        calls: "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF pg_trigger_depth() = 1 AND OLD.trajectory_id = '@8' THEN PERFORM caliber_trajectory_update('@8', '{\"description\": \"meddled\"}'); END IF;
                IF pg_trigger_depth() = 1 AND OLD.trajectory_id = '@9' THEN PERFORM caliber_trajectory_delete('@9'); END IF;
                RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$;
            CREATE TRIGGER meddle BEFORE UPDATE OR DELETE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION meddle()",
        statements: "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF pg_trigger_depth() = 1 AND OLD.trajectory_id = '@8' THEN UPDATE caliber_trajectory SET description = 'meddled', updated_at = now() WHERE trajectory_id = '@8'; END IF;
                IF pg_trigger_depth() = 1 AND OLD.trajectory_id = '@9' THEN DELETE FROM caliber_trajectory WHERE trajectory_id = '@9'; END IF;
                RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$;
            CREATE TRIGGER meddle BEFORE UPDATE OR DELETE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION meddle()",
        stages: &[
            Stage { before: "DELETE FROM caliber_scope", steps: &[NAME, PARENT_GOES, GET,
                Step("caliber_trajectory_set_status('@8', 'suspended')",
                    "UPDATE caliber_trajectory SET status = 'suspended', updated_at = now()
                    WHERE trajectory_id = '@8' AND status IS NOT DISTINCT FROM 'active'", Moved),
                Step("caliber_trajectory_delete('@9')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@9'", Moved),
                Step("caliber_trajectory_update('@d', '{\"parent_trajectory_id\": \"@8\"}')",
                    "UPDATE caliber_trajectory SET parent_trajectory_id = '@8', root_trajectory_id = '@8', updated_at = now() WHERE trajectory_id = '@d';
                    UPDATE caliber_trajectory SET root_trajectory_id = '@8', updated_at = now() WHERE trajectory_id = ANY ('{@e}')", Moved),
            ] },
            Stage { before: "DROP TRIGGER meddle ON caliber_trajectory;
                CREATE TRIGGER meddle AFTER UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION meddle()", steps: &[
                NAME, GET,
                Step("caliber_trajectory_set_status('@8', 'suspended')",
                    "UPDATE caliber_trajectory SET status = 'suspended', updated_at = now()
                    WHERE trajectory_id = '@8' AND status IS NOT DISTINCT FROM 'active'", Moved),
            ] },
        ],
        effect: "SELECT (SELECT description = 'meddled' FROM caliber_trajectory WHERE trajectory_id = '@8')
            AND NOT EXISTS (SELECT FROM caliber_trajectory WHERE trajectory_id = '@9')",
        ..PLAIN
    },
    Case {
        name: "triggers_with_conditions",
        promise: "UPDATE OF, WHEN, and statement triggers with transition tables fire as for the statement",
        make: concat!(diary!(), "CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF TG_OP = 'INSERT' THEN INSERT INTO diary (line) SELECT concat(TG_NAME, ' new ', array_agg(n::text ORDER BY n::text)) FROM news n;
                ELSIF TG_OP = 'DELETE' THEN INSERT INTO diary (line) SELECT concat(TG_NAME, ' old ', array_agg(o::text ORDER BY o::text)) FROM olds o;
                ELSE INSERT INTO diary (line) SELECT concat(TG_NAME, ' old ', (SELECT array_agg(o::text ORDER BY o::text) FROM olds o), ' new ', array_agg(n::text ORDER BY n::text)) FROM news n;
                END IF; RETURN NULL; END $$;
            CREATE TRIGGER when_moved AFTER UPDATE ON caliber_trajectory FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION diary();
            CREATE TRIGGER when_same BEFORE UPDATE ON caliber_trajectory FOR EACH ROW WHEN (OLD.* IS NOT DISTINCT FROM NEW.*) EXECUTE FUNCTION diary();
            CREATE TRIGGER of_name BEFORE UPDATE OF name ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION diary();
            CREATE TRIGGER of_agent AFTER UPDATE OF agent_id ON caliber_trajectory FOR EACH STATEMENT EXECUTE FUNCTION diary();
            CREATE TRIGGER of_tokens AFTER UPDATE OF tokens_used ON caliber_scope FOR EACH ROW EXECUTE FUNCTION diary();
            CREATE TRIGGER of_closed BEFORE UPDATE OF closed_at ON caliber_scope FOR EACH STATEMENT EXECUTE FUNCTION diary();
            CREATE TRIGGER seen_new AFTER INSERT ON caliber_trajectory REFERENCING NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION seen();
            CREATE TRIGGER seen_both AFTER UPDATE ON caliber_trajectory REFERENCING OLD TABLE AS olds NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION seen();
            CREATE TRIGGER seen_row AFTER UPDATE ON caliber_scope REFERENCING OLD TABLE AS olds NEW TABLE AS news FOR EACH ROW EXECUTE FUNCTION seen();
            CREATE TRIGGER seen_old AFTER DELETE ON caliber_trajectory REFERENCING OLD TABLE AS olds FOR EACH STATEMENT EXECUTE FUNCTION seen();
            CREATE TRIGGER statement BEFORE INSERT OR DELETE ON caliber_scope FOR EACH STATEMENT EXECUTE FUNCTION diary()"),
        look: "SELECT line FROM diary ORDER BY n",
        effect: "SELECT count(DISTINCT split_part(line, ' ', 1)) = 10 FROM diary WHERE line NOT LIKE 'when_same%'",
        ..PLAIN
    },
    Case {
        name: "replication_role",
        promise: "session_replication_role = replica fires what fires then, and checks no foreign key",
        make: concat!(diary!(), "CREATE TRIGGER ordinary AFTER INSERT OR UPDATE OR DELETE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION diary();
            CREATE TRIGGER always BEFORE INSERT OR UPDATE OR DELETE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION diary();
            CREATE TRIGGER replica AFTER INSERT OR UPDATE OR DELETE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION diary();
            ALTER TABLE caliber_scope ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica"),
        stages: &[
            Stage { before: "SET session_replication_role = origin", steps: &[ORPHAN, PARENT_GOES, SCOPE] },
            Stage { before: "SET session_replication_role = replica", steps: &[ORPHAN, CLOSE, SCOPE_GOES, PARENT_GOES, GET] },
            Stage { before: "SET session_replication_role = local", steps: &[ORPHAN_AGAIN, NEW, NAME] },
            Stage { before: "RESET session_replication_role", steps: &[ORPHAN_AGAIN] },
        ],
        look: "SELECT line FROM diary ORDER BY n",
        effect: "SELECT (SELECT count(DISTINCT split_part(line, ' ', 1)) = 3 FROM diary)
            AND EXISTS (SELECT FROM caliber_scope WHERE scope_id = '@6') AND NOT EXISTS (SELECT FROM caliber_scope WHERE scope_id = '@7')",
        ..PLAIN
    },
    Case {
        name: "disabled_triggers",
        promise: "DISABLE TRIGGER counts from the next call on, for foreign keys too, and ENABLE as well",
        make: concat!(diary!(), "CREATE TRIGGER own AFTER INSERT OR UPDATE OR DELETE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION diary()"),
        stages: &[
            Stage { before: "SELECT 1", steps: &[ORPHAN, SCOPE] },
            Stage { before: "ALTER TABLE caliber_scope DISABLE TRIGGER USER", steps: &[ORPHAN, CLOSE] },
            Stage { before: "ALTER TABLE caliber_scope DISABLE TRIGGER ALL; ALTER TABLE caliber_trajectory DISABLE TRIGGER ALL",
                steps: &[ORPHAN, PARENT_GOES, SCOPE_GOES] },
            Stage { before: "ALTER TABLE caliber_scope ENABLE TRIGGER ALL; ALTER TABLE caliber_trajectory ENABLE TRIGGER ALL",
                steps: &[ORPHAN_AGAIN, NEW, NAME] },
        ],
        look: "SELECT line FROM diary ORDER BY n",
        effect: "SELECT count(*) = 1 AND EXISTS (SELECT FROM caliber_scope WHERE scope_id = '@6') AND NOT EXISTS (SELECT FROM caliber_scope WHERE scope_id = '@7') FROM diary",
        ..PLAIN
    },
    Case {
        name: "not_enforced",
        promise: "a constraint that is NOT ENFORCED is not checked, and is again once it is ENFORCED",
        since: 18,
        make: "ALTER TABLE caliber_scope DROP CONSTRAINT caliber_scope_token_budget_check,
                ADD CONSTRAINT caliber_scope_token_budget_check CHECK (token_budget > 0) NOT ENFORCED",
        stages: &[
            Stage { before: "SELECT 1", steps: &[ORPHAN, SCOPE] },
            Stage { before: "ALTER TABLE caliber_scope ALTER CONSTRAINT caliber_scope_trajectory_id_fkey NOT ENFORCED", steps: &[ORPHAN, BUDGET] },
            Stage { before: "UPDATE caliber_scope SET trajectory_id = '@8' WHERE scope_id = '@6';
                ALTER TABLE caliber_scope ALTER CONSTRAINT caliber_scope_trajectory_id_fkey ENFORCED;
                ALTER TABLE caliber_scope DROP CONSTRAINT caliber_scope_token_budget_check, ADD CHECK (token_budget > 0) NOT VALID",
                steps: &[ORPHAN_AGAIN, PARENT_GOES, BUDGET, CLOSE, NAME] },
        ],
        effect: "SELECT EXISTS (SELECT FROM caliber_scope WHERE scope_id = '@6') AND NOT EXISTS (SELECT FROM caliber_scope WHERE scope_id = '@7')
            AND EXISTS (SELECT FROM caliber_scope WHERE token_budget = -1)",
        ..PLAIN
    },
    Case {
        name: "own_constraints",
        promise: "constraints are those of the catalog: dropped ones are gone, a user's own count at once",
        stages: &[
            Stage { before: "SELECT 1", steps: &[ORPHAN, BUDGET, NAME] },
            Stage { before: "ALTER TABLE caliber_scope DROP CONSTRAINT caliber_scope_token_budget_check, DROP CONSTRAINT caliber_scope_trajectory_id_fkey",
                steps: &[ORPHAN, BUDGET] },
            Stage { before: "UPDATE caliber_scope SET purpose = 'p'; ALTER TABLE caliber_scope ADD CONSTRAINT own_check CHECK (token_budget <> 8000) NOT VALID, ALTER purpose SET NOT NULL, ALTER purpose SET DEFAULT 'p'",
                steps: &[SCOPE] },
            Stage { before: "ALTER TABLE caliber_scope ALTER purpose DROP NOT NULL", steps: &[SCOPE, CLOSE] },
            Stage { before: "ALTER TABLE caliber_scope DROP CONSTRAINT own_check;
                ALTER TABLE caliber_trajectory ADD CONSTRAINT own_key FOREIGN KEY (agent_id) REFERENCES caliber_agent NOT VALID,
                    ADD CONSTRAINT own_name CHECK (caliber_trajectory IS NOT NULL OR length(name) < 4)",
                steps: &[SCOPE, NEW, NAME,
                    Step("caliber_trajectory_create('longer', id => '@2')",
                        "INSERT INTO caliber_trajectory VALUES ('@2', 'longer', NULL, 'active', NULL, NULL, NULL, now(), now(), NULL, NULL, NULL)", Id('2')),
                    Step("caliber_trajectory_update('@9', '{\"agent_id\": \"@c\"}')",
                        "UPDATE caliber_trajectory SET agent_id = '@c', updated_at = now() WHERE trajectory_id = '@9'", Moved)] },
        ],
        make: "UPDATE caliber_trajectory SET name = trim(substr(name, 1, 3))",
        effect: "SELECT EXISTS (SELECT FROM caliber_scope WHERE scope_id = '@6') AND EXISTS (SELECT FROM caliber_scope WHERE token_budget = -1)
            AND NOT EXISTS (SELECT FROM caliber_trajectory WHERE trajectory_id IN ('@1', '@2'))",
        ..PLAIN
    },
    Case {
        name: "ddl_in_a_trigger",
        promise: "a trigger may alter what its statement has read, and no more reads; not what it writes",
        make: "CREATE FUNCTION alter_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                EXECUTE format('ALTER TABLE caliber_%s ALTER COLUMN scope_id SET STATISTICS %s', NEW.content, NEW.token_count); RETURN NEW; END $$;
            CREATE TRIGGER t BEFORE INSERT ON caliber_turn FOR EACH ROW EXECUTE FUNCTION alter_it()",
        stages: &[Stage { before: "SELECT 1", steps: &[
            Step("caliber_turn_create('@8', NULL, 'user', 'scope', 7, id => '@5')",
                "INSERT INTO caliber_turn VALUES ('@5', '@8', 0, 'user', 'scope', 7, now(), NULL, NULL, NULL)", Id('5')),
            Step("string_agg(x::text, ' ') FROM caliber_turn_create_many('@8', '[{\"role\": \"user\", \"content\": \"scope\", \"token_count\": 8, \"id\": \"@6\"}]') x",
                "INSERT INTO caliber_turn VALUES ('@6', '@8', 1, 'user', 'scope', 8, now(), NULL, NULL, NULL)", Id('6')),
            Step("caliber_turn_create('@8', 2, 'user', 'turn', 7, id => '@7')",
                "INSERT INTO caliber_turn VALUES ('@7', '@8', 2, 'user', 'turn', 7, now(), NULL, NULL, NULL)", Id('7')),
        ] }],
        look: "SELECT x FROM caliber_turn x ORDER BY 1",
        effect: "SELECT attstattarget = 8 AND (SELECT count(*) = 2 FROM caliber_turn) FROM pg_attribute
            WHERE attrelid = 'caliber_scope'::regclass AND attname = 'scope_id'",
        ..PLAIN
    },
    Case {
        name: "ddl_on_what_was_consulted",
        promise: "whoever takes work has been looked up by then: a trigger may alter the table of agents",
        make: "INSERT INTO caliber_agent (agent_id, agent_type, last_heartbeat) VALUES ('@a', 'coder', now()), ('@b', 'coder', '2001-01-01') ON CONFLICT DO NOTHING;
            INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_type, task_description, parent_trajectory_id) VALUES ('@d', '@a', 'coder', 'do', '@9');
            INSERT INTO caliber_handoff (handoff_id, from_agent_id, to_agent_type, trajectory_id, scope_id, context_snapshot_id, handoff_notes, reason) VALUES ('@f', '@a', 'coder', '@8', '@9', '@9', '', 'scheduled');
            UPDATE caliber_agent SET agent_type = 'coder', last_heartbeat = '2001-01-01' WHERE agent_id = '@b';
            CREATE FUNCTION alter_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                ALTER TABLE caliber_agent ALTER COLUMN agent_type SET STATISTICS 7; RETURN NEW; END $$;
            CREATE TRIGGER t BEFORE UPDATE ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION alter_it();
            CREATE TRIGGER t BEFORE UPDATE ON caliber_handoff FOR EACH ROW EXECUTE FUNCTION alter_it()",
        stages: &[Stage { before: "SELECT 1", steps: &[
            Step("caliber_delegation_accept('@d', '@b', '@8')",
                "UPDATE caliber_delegation SET delegatee_agent_id = '@b', status = 'accepted', accepted_at = now(), child_trajectory_id = '@8' WHERE delegation_id = '@d'", Moved),
            Step("caliber_delegation_reclaim('@d', '1 hour')",
                "UPDATE caliber_delegation SET delegatee_agent_id = NULL, status = 'pending', accepted_at = NULL WHERE delegation_id = '@d'", Moved),
            Step("caliber_delegation_accept('@d', '@b')",
                "UPDATE caliber_delegation SET delegatee_agent_id = '@b', status = 'accepted', accepted_at = now() WHERE delegation_id = '@d'", Moved),
            Step("caliber_handoff_accept('@f', '@b')",
                "UPDATE caliber_handoff SET to_agent_id = '@b', status = 'accepted', accepted_at = now() WHERE handoff_id = '@f'", Moved),
        ] }],
        look: "SELECT concat(d, h) FROM caliber_delegation d, caliber_handoff h",
        effect: "SELECT attstattarget = 7 AND (SELECT status = 'accepted' FROM caliber_handoff) FROM pg_attribute
            WHERE attrelid = 'caliber_agent'::regclass AND attname = 'agent_type'",
        ..PLAIN
    },
    Case {
        name: "own_references",
        promise: "a user's foreign keys to our rows act on delete: cascade, set null, restrict, and at commit",
        make: "CREATE TABLE mine (t uuid REFERENCES caliber_trajectory ON DELETE CASCADE, s uuid REFERENCES caliber_scope ON DELETE SET NULL);
            CREATE TABLE held (t uuid REFERENCES caliber_trajectory ON DELETE RESTRICT);
            CREATE TABLE late (t uuid CONSTRAINT late_key REFERENCES caliber_trajectory DEFERRABLE INITIALLY DEFERRED);
            INSERT INTO mine VALUES ('@9', '@9'), ('@8', '@8'); INSERT INTO held VALUES ('@e'); INSERT INTO late VALUES ('@9')",
        stages: &[
            Stage { before: "SELECT 1", steps: &[
                SCOPE_GOES,
                Step("caliber_trajectory_delete('@e')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@e'", Moved),
                Step("caliber_trajectory_delete('@9')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@9'", Moved),
            ] },
            Stage { before: "BEGIN", steps: &[
                Step("caliber_trajectory_delete('@9')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@9'", Moved),
                Step("count(*) FROM mine", "SELECT count(*) FROM mine", Rows),
            ] },
            Stage { before: "SELECT 1", steps: &[Step("1; COMMIT", "COMMIT", Rows), GET] },
            Stage { before: "BEGIN; SET CONSTRAINTS late_key IMMEDIATE", steps: &[
                Step("caliber_trajectory_delete('@9')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@9'", Moved),
            ] },
            Stage { before: "ROLLBACK; DELETE FROM late", steps: &[
                Step("caliber_trajectory_delete('@9')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@9'", Moved),
            ] },
        ],
        look: "SELECT mine FROM mine ORDER BY 1",
        effect: "SELECT count(*) = 1 AND EXISTS (SELECT FROM caliber_trajectory WHERE trajectory_id = '@e') FROM mine",
        ..PLAIN
    },
];
