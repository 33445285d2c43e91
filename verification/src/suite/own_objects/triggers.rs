//! Triggers and indexes of a user's on every table, under every function.

use crate::entity::{self, samples};
use crate::judge::{execute, Bench, Engine};
use crate::plan::{Plan, Step};
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk::{self, Desk};
use crate::suite::steps::ids;
use anyhow::{ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "own_objects::every_function",
            "under triggers and indexes of every kind each function writes the rows, entries and diary of its statements",
            every_function,
        ),
        Test::new(
            "own_objects::veto_that_changes_the_row",
            "a verb whose trigger makes the change itself, and vetoes, answers for what is stored then",
            veto_that_changes_the_row,
        ),
        Test::new(
            "own_objects::veto_that_changes_a_row_of_another_method",
            "so it does where the versions of a row do not say whose they are",
            veto_that_changes_a_row_of_another_method,
        )
        .with_takeovers(),
        Test::new(
            "own_objects::many_rows_of_one_statement",
            "a trigger's function keeps what the server knows of it while one statement writes many rows",
            many_rows_of_one_statement,
        ),
    ]
}

/// What each verb's trigger does instead of the verb.
const DONE_BY_THE_TRIGGER: &str = "
    SET statement_timeout = '20s';
    SELECT caliber_trajectory_create('t', id => '@1');
    SELECT caliber_scope_create('@1', 's', id => '@2');
    SELECT caliber_agent_register('worker', id => '@a');
    SELECT caliber_agent_register('worker', id => '@b');
    SELECT caliber_delegation_create('@a', NULL, 'worker', 'do', '@1', id => '@3');
    CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF pg_trigger_depth() > 1 THEN RETURN NEW; END IF;
        EXECUTE format('UPDATE %s SET %s', TG_RELID::regclass, TG_ARGV[0]);
        RETURN NULL; END $$;
    CREATE TRIGGER act BEFORE UPDATE ON caliber_trajectory FOR EACH ROW
        EXECUTE FUNCTION act('status = ''completed'', completed_at = now()');
    CREATE TRIGGER act BEFORE UPDATE ON caliber_scope FOR EACH ROW
        EXECUTE FUNCTION act('is_active = false, closed_at = now()');
    CREATE TRIGGER act BEFORE UPDATE ON caliber_agent FOR EACH ROW
        EXECUTE FUNCTION act('last_heartbeat = clock_timestamp()');
    CREATE TRIGGER act BEFORE UPDATE ON caliber_delegation FOR EACH ROW
        EXECUTE FUNCTION act('delegatee_agent_id = ''@b'', status = ''accepted''')";

/// The answer of a verb after a veto is that of its statement, tried again on the row
/// as it is then (`api.md`, 1.5): also where the caller may not read what the system knows
/// of a row.
fn veto_that_changes_the_row(context: &Context) -> Result<Outcome> {
    const RIGHTS_ON_COLUMNS: &str = "
        DO $$ BEGIN CREATE ROLE verify_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
        DO $$ DECLARE t text; BEGIN
            FOREACH t IN ARRAY '{trajectory,scope,agent,delegation}'::text[] LOOP
                EXECUTE (SELECT format('GRANT SELECT (%1$s), UPDATE (%1$s), INSERT (%1$s) ON caliber_%2$s TO verify_reader', string_agg(attname, ','), t)
                    FROM pg_attribute WHERE attrelid = ('caliber_' || t)::regclass AND attnum > 0);
            END LOOP; END $$;
        SET ROLE verify_reader;";
    done_by_the_trigger(context, &["", RIGHTS_ON_COLUMNS])
}

fn veto_that_changes_a_row_of_another_method(context: &Context) -> Result<Outcome> {
    const ANOTHER_METHOD: &str = "
        CREATE ACCESS METHOD not_heap TYPE TABLE HANDLER heap_tableam_handler;
        ALTER TABLE caliber_trajectory SET ACCESS METHOD not_heap; ALTER TABLE caliber_scope SET ACCESS METHOD not_heap;
        ALTER TABLE caliber_agent SET ACCESS METHOD not_heap; ALTER TABLE caliber_delegation SET ACCESS METHOD not_heap;";
    done_by_the_trigger(context, &[ANOTHER_METHOD])
}

fn done_by_the_trigger(context: &Context, besides: &[&str]) -> Result<Outcome> {
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for also in besides {
        let prepare = format!("{DONE_BY_THE_TRIGGER};{also}");
        for mut desk in desk::open(context, &engines, &ids(&prepare))? {
            answers_for_what_is_stored(&mut desk).with_context(|| format!("after {also}"))?;
        }
    }
    Ok(Outcome::Passed(format!("{} engines", engines.len())))
}

fn answers_for_what_is_stored(desk: &mut Desk) -> Result<()> {
    let name = desk.engine.name();
    let mut value =
        |sql: &str| -> Result<String> { Ok(desk.session.value(&ids(sql))?.unwrap_or_default()) };
    let moved = value("SELECT caliber_trajectory_set_status('@1', 'completed')")?;
    ensure!(moved == "t", "{name}: completed {moved}");
    let won = value("SELECT caliber_delegation_accept('@3', '@b')")?;
    ensure!(won == "f", "{name}: accepted {won}");
    let children = value("SELECT count(*) FROM caliber_trajectory")?;
    ensure!(children == "1", "{name}: {children} trajectories");
    // There is always something left to do: the veto stands.
    let beat = value("SELECT caliber_agent_heartbeat('@a')")?;
    ensure!(beat == "f", "{name}: heartbeat {beat}");
    let call = ids("SELECT caliber_scope_update_tokens('@2', 5)");
    let error = desk.session.error(&call)?;
    ensure!(error.sqlstate == "55000", "{name}: {error}");
    Ok(())
}

/// Calls that write many rows in one statement, with a trigger whose function has
/// something that the server remembers from row to row.
fn many_rows_of_one_statement(context: &Context) -> Result<Outcome> {
    const ROWS: usize = 40;
    const PREPARE: &str = "
        SELECT caliber_trajectory_create('root', id => '@1');
        SELECT caliber_trajectory_create('top', id => '@2');
        SELECT caliber_trajectory_create(n::text, parent_trajectory_id => '@2') FROM generate_series(1, 40) n;
        SELECT caliber_scope_create('@1', 's', id => '@3');
        SELECT caliber_agent_register('worker', id => '@a');
        INSERT INTO caliber_message (from_agent_id, to_agent_type, message_type, payload) SELECT '@a', 'worker', 'interrupt', n::text FROM generate_series(1, 40) n;
        SELECT caliber_lock_acquire('@a', 'file', caliber_new_id(), 1) FROM generate_series(1, 40);
        SELECT pg_sleep(0.005);
        CREATE TABLE seen (what text);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public SET work_mem = '1MB' AS
            $$ BEGIN INSERT INTO seen VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$;
        CREATE TRIGGER see BEFORE INSERT OR UPDATE OR DELETE ON caliber_turn FOR EACH ROW EXECUTE FUNCTION see();
        CREATE TRIGGER see BEFORE INSERT OR UPDATE OR DELETE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION see();
        CREATE TRIGGER see BEFORE INSERT OR UPDATE OR DELETE ON caliber_message FOR EACH ROW EXECUTE FUNCTION see();
        CREATE TRIGGER see BEFORE INSERT OR UPDATE OR DELETE ON caliber_lock FOR EACH ROW EXECUTE FUNCTION see()";
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for mut desk in desk::open(context, &engines, &ids(PREPARE))? {
        let name = desk.engine.name();
        for (call, seen) in [
            ("SELECT count(*) FROM caliber_turn_create_many('@3', (SELECT jsonb_agg('{\"role\": \"user\", \"content\": \"c\"}'::jsonb) FROM generate_series(1, 40)))", "INSERT caliber_turn"),
            ("SELECT 40 WHERE caliber_trajectory_update('@2', '{\"parent_trajectory_id\": \"@1\"}')", "UPDATE caliber_trajectory"),
            ("SELECT count(*) FROM caliber_message_receive('@a', 40)", "UPDATE caliber_message"),
            ("WITH a AS MATERIALIZED (UPDATE caliber_message SET acknowledged_at = '2001-01-01' RETURNING 1) SELECT count(*) FROM a", "UPDATE caliber_message"),
            ("SELECT caliber_message_purge('2002-01-01')", "DELETE caliber_message"),
            ("SELECT caliber_lock_purge_expired()", "DELETE caliber_lock"),
        ] {
            desk.session.batch("TRUNCATE seen")?;
            let rows = desk.session.value(&ids(call)).with_context(|| format!("{name}: {call}"))?;
            ensure!(rows.as_deref() == Some("40"), "{name}: {call}: {rows:?}");
            let fired = desk.session.value(&format!("SELECT count(*) FROM seen WHERE what = '{seen}'"))?;
            let enough = fired.as_deref().and_then(|n| n.parse::<usize>().ok()) >= Some(ROWS);
            ensure!(enough, "{name}: {call}: fired {fired:?}");
        }
    }
    Ok(Outcome::Passed(format!("{} engines", engines.len())))
}

/// Indexes that take values of any length.
const INDEXES: &str = "
CREATE INDEX own_expression ON caliber_scope (lower(left(name, 99)), tokens_used DESC NULLS FIRST) INCLUDE (token_budget) WHERE tokens_used > 20;
CREATE INDEX own_hash ON caliber_scope USING hash (name);
CREATE INDEX own_role ON caliber_turn (role);
CREATE INDEX own_content ON caliber_turn USING hash (content);
CREATE INDEX own_gist ON caliber_turn USING gist (int4range(sequence, sequence + 5));
CREATE INDEX own_brin ON caliber_turn USING brin (token_count) WITH (pages_per_range = 1);
CREATE INDEX own_gin_json ON caliber_trajectory USING gin (metadata jsonb_path_ops);
CREATE UNIQUE INDEX own_nulls_differ ON caliber_trajectory (agent_id, trajectory_id DESC NULLS LAST);
CREATE INDEX own_heartbeat ON caliber_agent USING brin (last_heartbeat) WITH (pages_per_range = 1);
CREATE INDEX own_gin_text ON caliber_agent USING gin ((ARRAY[status, left(agent_type, 99)])) WITH (fastupdate = off);
CREATE INDEX own_spgist ON caliber_note USING spgist (left(title, 99));
CREATE INDEX own_accessed ON caliber_note (access_count) WHERE access_count > 0;
CREATE UNIQUE INDEX own_nulls ON caliber_conflict (agent_a_id, agent_b_id, conflict_id) NULLS NOT DISTINCT;
CREATE INDEX own_array ON caliber_message ((ARRAY[priority, message_type]));
CREATE INDEX own_hash_of_few ON caliber_delegation USING hash (status);
CREATE INDEX own_status ON caliber_handoff (status DESC) WHERE status <> 'accepted';
CREATE INDEX own_until ON caliber_lock USING brin (expires_at) WITH (pages_per_range = 1);
CREATE INDEX own_mode ON caliber_lock ((level || mode), resource_id) WHERE expires_at < 'infinity';
CREATE INDEX own_kind ON caliber_lock USING hash (resource_type);
";

/// Each table gets row triggers before and after, and a statement trigger that
/// sees the transition tables, if there is something in them.
const DIARY: &str = "
CREATE TABLE diary (n serial, line text);
CREATE FUNCTION diary() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO diary (line) VALUES (concat_ws(' ', TG_TABLE_NAME, TG_WHEN, TG_OP,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD::text END, CASE WHEN TG_OP <> 'DELETE' THEN NEW::text END));
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE rows text; BEGIN
    IF TG_OP = 'INSERT' THEN SELECT string_agg(n::text, ' ' ORDER BY n::text) INTO rows FROM news n;
    ELSIF TG_OP = 'DELETE' THEN SELECT string_agg(o::text, ' ' ORDER BY o::text) INTO rows FROM olds o;
    ELSE SELECT string_agg(n::text, ' ' ORDER BY n::text) INTO rows FROM (SELECT n::text FROM news n UNION ALL SELECT o::text FROM olds o) n; END IF;
    IF rows IS NOT NULL THEN INSERT INTO diary (line) VALUES (concat_ws(' ', TG_TABLE_NAME, 'STATEMENT', TG_OP, rows)); END IF;
    RETURN NULL;
END $$;
DO $$ DECLARE t text; BEGIN
    FOR t IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'caliber\\_%' LOOP
        EXECUTE format('CREATE TRIGGER m BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION diary()', t);
        EXECUTE format('CREATE TRIGGER m_after AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION diary()', t);
        EXECUTE format('CREATE TRIGGER s_new AFTER INSERT ON %I REFERENCING NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION sum_up()', t);
        EXECUTE format('CREATE TRIGGER s_old AFTER DELETE ON %I REFERENCING OLD TABLE AS olds FOR EACH STATEMENT EXECUTE FUNCTION sum_up()', t);
        EXECUTE format('CREATE TRIGGER s_both AFTER UPDATE ON %I REFERENCING OLD TABLE AS olds NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION sum_up()', t);
    END LOOP;
END $$;
";

/// Lines of one statement about several rows have no order of their own: SQL
/// says nothing of the order in which an UPDATE comes by its rows.
fn in_order(lines: Vec<Option<String>>) -> Vec<String> {
    let mut lines: Vec<String> = lines.into_iter().flatten().collect();
    let moment = |line: &String| {
        let words: Vec<&str> = line.split(' ').take(3).collect();
        words.join(" ")
    };
    lines
        .chunk_by_mut(|one, next| moment(one) == moment(next))
        .for_each(<[String]>::sort);
    lines
}

fn every_function(context: &Context) -> Result<Outcome> {
    let mut bench = Bench::open_fresh(&context.server, &Engine::JUDGES)?;
    bench.prepare(INDEXES).context("indexes")?;
    bench.prepare(DIARY).context("triggers")?;
    let (mut calls, mut lines) = (0, 0);
    for entity in entity::all() {
        let name = entity.table().entity;
        let mut steps: Vec<Step> = samples::of(*entity)
            .into_iter()
            .map(|(call, _)| Step::Call(call))
            .collect();
        // Some rows stay, for the indexes.
        steps.truncate(steps.len() - entity::ids::SLOTS / 2);
        steps.extend([Step::CheckTables, Step::CheckIndexes, Step::Amcheck]);
        let plan = Plan {
            property: "every_function".to_owned(),
            entity: name.to_owned(),
            on_duplicate_return: false,
            savepoint_each: false,
            steps,
        };
        calls += execute(&mut bench, &plan)?.calls;
        lines += same_diaries(&mut bench).context(name)?;
        bench.reset(false, true)?;
        bench.prepare("TRUNCATE diary")?;
    }
    Ok(Outcome::Passed(format!("{calls} calls, {lines} lines")))
}

/// A DELETE of a lock of a transaction: each call is one, so that nobody releases them.
fn is_removed_at_commit(line: &str) -> bool {
    line.starts_with("caliber_lock ")
        && line.contains(" DELETE (")
        && line.contains(",transaction,")
}

/// Nothing is wrong with the indexes, and all diaries say the same.
fn same_diaries(bench: &mut Bench) -> Result<usize> {
    let mut diaries = Vec::new();
    for judge in &mut bench.judges {
        if judge.engine == Engine::Heap {
            let found = judge.look("SELECT f::text FROM caliber_check() f")?;
            ensure!(found.is_empty(), "{found:?}");
        }
        let mut lines = judge.look("SELECT line FROM diary ORDER BY n")?;
        // No trigger fires for what a commit removes (`api.md`, Lock); the client, who
        // has only DELETE for it, cannot help that.
        if judge.engine == Engine::Client {
            lines.retain(|line| !line.as_deref().is_some_and(is_removed_at_commit));
        }
        diaries.push((judge.engine, in_order(lines)));
    }
    let Some((_, client)) = diaries.pop() else {
        anyhow::bail!("no judges")
    };
    ensure!(!client.is_empty(), "nothing was written down");
    for (engine, diary) in &diaries {
        let differs = diary
            .iter()
            .zip(&client)
            .position(|(ours, theirs)| ours != theirs)
            .unwrap_or(diary.len().min(client.len()));
        ensure!(
            *diary == client,
            "line {differs} of {} from {}:\n{:?}\nnot of {} from the client:\n{:?}",
            diary.len(),
            engine.name(),
            diary.get(differs),
            client.len(),
            client.get(differs)
        );
    }
    Ok(client.len())
}
