//! Rows beyond their table: in a user's table, in parallel queries, by index
//! only, and byte for byte.

use crate::entity::{self, samples, Kind};
use crate::judge::{execute, Bench, Engine};
use crate::plan::{Plan, Step};
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use crate::suite::steps::ids;
use crate::suite::stored;
use anyhow::{ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "own_objects::kept_rows",
            "a row stored in a user's table is read after ours is dropped, long values included",
            kept_rows,
        ),
        Test::new(
            "own_objects::parallel_query_in_a_stable_function",
            "a read beside a parallel query in a STABLE function sees our own write of the same statement",
            parallel,
        ),
    ];
    tests.push(Test::new(
        "own_objects::prepared_after_a_message",
        "a transaction that announced a message cannot be prepared, as any that notified",
        prepared,
    ));
    tests.push(Test::new(
        "own_objects::no_sequential_scan",
        "gets and lists of the heap engine read no table from end to end",
        no_sequential_scan,
    ));
    tests.push(Test::new(
        "own_objects::equal_bytes",
        "each function stores the bytes that its statement stores: nulls, lengths, compression, long values",
        equal_bytes,
    ));
    tests.push(Test::new(
        "own_objects::kept_bytes",
        "a row that a get or a list gives is, kept in a table, byte for byte that of a query",
        kept_bytes,
    ));
    tests
}

fn kept_rows(context: &Context) -> Result<Outcome> {
    let make = "
        ALTER TABLE caliber_trajectory ALTER description SET STORAGE EXTERNAL;
        SELECT caliber_trajectory_create('t', repeat('long', 100000), id => '00000000-0000-7000-8000-000000000001');
        SELECT caliber_trajectory_create('u', id => '00000000-0000-7000-8000-000000000002');
        SELECT caliber_scope_create('00000000-0000-7000-8000-000000000001', 's', id => '00000000-0000-7000-8000-000000000003');
        SELECT caliber_artifact_create('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000003', 'fact', 'n', repeat('content', 200000), embedding => '[1,2,3]');
        CREATE TABLE kept AS SELECT caliber_trajectory_get('00000000-0000-7000-8000-000000000001') AS t;
        INSERT INTO kept SELECT l FROM caliber_trajectory_list_by_status('active') l;
        CREATE TABLE kept_artifact AS SELECT l FROM caliber_artifact_query_by_scope('00000000-0000-7000-8000-000000000003') l;
        DROP TABLE caliber_artifact, caliber_note, caliber_message, caliber_delegation, caliber_handoff, caliber_lock, caliber_conflict,
            caliber_turn, caliber_agent, caliber_scope, caliber_trajectory CASCADE";
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for mut desk in desk::open(context, &engines, make)? {
        let seen = desk.session.value(
            "SELECT concat_ws(' ', count(*), sum(length((t).description)), max(pg_typeof(t)::text),
                (SELECT length((l).content) || ' ' || (l).embedding::text || ' ' || pg_typeof(l) FROM kept_artifact))
            FROM kept",
        )?;
        ensure!(
            seen.as_deref()
                == Some("3 800000 caliber_trajectory_row 1400000 [1,2,3] caliber_artifact_row"),
            "{}: {seen:?}",
            desk.engine.name()
        );
        // What the stored datum says of itself, beneath the table's own type.
        desk.session
            .batch("CREATE TABLE copied (LIKE kept); INSERT INTO copied SELECT * FROM kept; SELECT t::text FROM copied")?;
    }
    Ok(Outcome::Passed(String::new()))
}

fn parallel(context: &Context) -> Result<Outcome> {
    let force = if context.major >= 16 {
        "debug_parallel_query"
    } else {
        "force_parallel_mode"
    };
    // RETURN QUERY runs to its end, so that it may be parallel. What asks for one row may
    // not, as INTO does, and a SQL function.
    let looks = |name: &str, more: &str| {
        format!(
            "CREATE FUNCTION {name}(id uuid) RETURNS SETOF text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY
                SELECT concat_ws(' ', count(*), (SELECT count(*) FROM caliber_trajectory_list_by_status('active', 2000)),
                    (SELECT g.name FROM caliber_trajectory_get(id) g), (SELECT max(t.name) FROM caliber_trajectory t WHERE t.trajectory_id = id){more})
                FROM caliber_trajectory; END $$;"
        )
    };
    let make = format!(
        "INSERT INTO caliber_trajectory (name) SELECT 'task ' || i FROM generate_series(1, 1000) i;
        ANALYZE caliber_trajectory;
        SET {force} = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
        CREATE FUNCTION sets() RETURNS text PARALLEL SAFE STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN set_config('own.x', '', true); END $$;
        {} {}",
        looks("looks", ""),
        looks("fails", ", (SELECT sets())")
    );
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    let mut answers = Vec::new();
    for mut desk in desk::open(context, &engines, &make)? {
        // What is forbidden beside a parallel query is refused there, and so there is one.
        let error = desk.session.error("SELECT fails(NULL)")?;
        ensure!(error.sqlstate == "25000", "not parallel: {error}");
        // A STABLE function's own query is as old as the statement; our reads see the write.
        let said = desk.session.value(
            "WITH made AS MATERIALIZED (SELECT caliber_trajectory_create('just made', id => '00000000-0000-7000-8000-000000000001') AS id)
            SELECT looks(id) FROM made",
        )?;
        answers.push((desk.engine.name(), said));
    }
    for (engine, said) in &answers {
        ensure!(
            said.as_deref() == Some("1000 1001 just made"),
            "{engine}: {answers:?}"
        );
    }
    Ok(Outcome::Passed(String::new()))
}

fn prepared(context: &Context) -> Result<Outcome> {
    let make = "INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('00000000-0000-7000-8000-000000000001', 'coder')";
    let mut errors = Vec::new();
    for mut desk in desk::open(context, &desk::ALL, make)? {
        let send = desk.text(
            "SELECT caliber_message_send('00000000-0000-7000-8000-000000000001', NULL, 'coder', 'heartbeat', 'p')",
            "SELECT pg_notify('caliber', 'x')",
        );
        desk.session.batch(&format!("BEGIN; {send}"))?;
        errors.push(desk.session.error("PREPARE TRANSACTION 'announced'")?);
        // The transaction is over.
        let left = desk.session.value("SELECT count(*) FROM caliber_message")?;
        ensure!(left.as_deref() == Some("0"), "{left:?} messages");
    }
    ensure!(
        errors.iter().all(|error| *error == errors[0]) && errors[0].sqlstate == "0A000",
        "{errors:#?}"
    );
    Ok(Outcome::Passed(errors[0].message.clone()))
}

/// They read the whole table, as `docs/functions.md` says, or are searches.
const WHOLE: [&str; 1] = ["caliber_agent_list_stale"];

fn no_sequential_scan(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &[Engine::Heap], "")?;
    let session = &mut desks[0].session;
    let scans = "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_xact_user_tables WHERE relname LIKE 'caliber\\_%'";
    let mut reads = 0;
    for entity in entity::all() {
        for (call, _) in samples::of(*entity) {
            let kind = entity::function_named(&call.function).map(|(_, function)| function.kind);
            let reading = matches!(kind, Some(Kind::Get | Kind::List));
            session.batch("BEGIN")?;
            let before = session.value(scans)?;
            session
                .batch(&format!("SELECT {}", call.sql()))
                .with_context(|| call.sql())?;
            let after = session.value(scans)?;
            session.batch("COMMIT")?;
            if reading && !WHOLE.contains(&call.function.as_str()) {
                reads += 1;
                ensure!(before == after, "{} scans from end to end", call.sql());
            }
        }
        let names: Vec<&str> = entity::all().iter().map(|e| e.table().name).collect();
        session.batch(&format!(
            "SELECT pg_advisory_unlock_all(); TRUNCATE {} CASCADE",
            names.join(", ")
        ))?;
    }
    ensure!(reads > 100, "only {reads} reads");
    Ok(Outcome::Passed(format!("{reads} reads")))
}

fn equal_bytes(context: &Context) -> Result<Outcome> {
    let mut bench = Bench::open_fresh(&context.server, &Engine::JUDGES)?;
    if !stored::can_look(&mut bench)? {
        return Ok(Outcome::NotCovered(format!(
            "PostgreSQL {} has no pageinspect here",
            context.major
        )));
    }
    let mut rows = Vec::new();
    for entity in entity::all() {
        let steps: Vec<Step> = samples::of(*entity)
            .into_iter()
            .filter(|(call, _)| !call.function.ends_with("_delete"))
            .map(|(call, _)| Step::Call(call))
            .collect();
        let plan = Plan {
            property: "equal_bytes".to_owned(),
            entity: entity.table().entity.to_owned(),
            on_duplicate_return: false,
            savepoint_each: false,
            steps,
        };
        execute(&mut bench, &plan)?;
        for entity in entity::all() {
            rows.extend(stored::same(&mut bench, entity.table())?);
        }
        bench.reset(false, true)?;
    }
    ensure!(rows.len() > 50, "only {} rows", rows.len());
    for kind in stored::KINDS {
        let seen = rows.iter().any(|row| row.contains(&format!("={kind}")));
        ensure!(seen, "no value was stored as {kind}");
    }
    Ok(Outcome::Passed(format!("{} rows", rows.len())))
}

/// Rows that are stored in as many ways: as created, with NULLs, compressed, out of line,
/// changed in place, locked, and before the type got another attribute.
const ROWS: &str = "
    CREATE EXTENSION pageinspect;
    SELECT caliber_trajectory_create('plain', id => '@1');
    SELECT caliber_trajectory_create('whole', 'described', parent_trajectory_id => '@1', metadata => '{\"a\": 1}', id => '@2');
    SELECT caliber_trajectory_create('compressed', repeat('again ', 1000), id => '@3');
    SELECT caliber_trajectory_create('long', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 3000) n), id => '@4');
    SELECT caliber_trajectory_create('changed', id => '@5');
    SELECT caliber_trajectory_update('@5', '{\"name\": \"twice\"}');
    SELECT caliber_trajectory_create('locked', id => '@6');
    SELECT 1 FROM caliber_trajectory WHERE trajectory_id = '@6' FOR UPDATE;
    CREATE TABLE kept (row caliber_trajectory_row)";

const KEEP: &str = "
    INSERT INTO kept SELECT caliber_trajectory_get(trajectory_id) FROM caliber_trajectory;
    INSERT INTO kept SELECT l FROM caliber_trajectory_list_by_status('active') l;
    INSERT INTO kept SELECT caliber_trajectory_list_by_status('active');
    INSERT INTO kept SELECT row(t.*)::caliber_trajectory_row FROM caliber_trajectory t";

/// The ids of which not all four are the same, but for t_ctid: what comes out of a
/// tuplestore (heap_tuple_from_minimal_tuple) has another than what a query forms.
const DIFFERENT: &str = "
    SELECT string_agg(id || ': ' || bytes, E'\\n') FROM (
        SELECT (k.row).trajectory_id AS id, string_agg(DISTINCT left(encode(image, 'hex'), 200), ' ') AS bytes
        FROM generate_series(0, pg_relation_size('kept') / current_setting('block_size')::int - 1) p,
            heap_page_item_attrs(get_raw_page('kept', p::int), 'kept'::regclass, true) x,
            overlay(x.t_attrs[1] PLACING '' FROM 9 FOR 6) image, kept k
        WHERE k.ctid = format('(%s,%s)', p, x.lp)::tid
        GROUP BY 1 HAVING count(*) <> 4 OR count(DISTINCT image) <> 1) d";

fn kept_bytes(context: &Context) -> Result<Outcome> {
    let available = "SELECT 1 FROM pg_available_extensions WHERE name = 'pageinspect'";
    let database = context.server.database()?;
    if database.connect()?.value(available)?.is_none() {
        return Ok(Outcome::NotCovered(format!(
            "PostgreSQL {} has no pageinspect here",
            context.major
        )));
    }
    let engines = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];
    for mut desk in desk::open(context, &engines, &ids(ROWS))? {
        for later in [
            "",
            "ALTER TYPE caliber_trajectory_row ADD ATTRIBUTE own bigint CASCADE; TRUNCATE kept",
        ] {
            desk.session.batch(&ids(&format!("{later};{KEEP}")))?;
            let different = desk.session.value(DIFFERENT)?;
            let name = desk.engine.name();
            ensure!(different.is_none(), "{name}: {different:?}");
            let kept = desk.session.value("SELECT count(*) FROM kept")?;
            ensure!(kept.as_deref() == Some("24"), "{name}: {kept:?} rows");
        }
    }
    Ok(Outcome::Passed(format!("{} engines", engines.len())))
}
