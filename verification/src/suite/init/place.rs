//! Whose it is and where it stands: rights, another schema, other objects of the same names, a type
//! that was altered, the end of the extension, and a dump that is restored.

use super::{drop_all, init, TABLES};
use crate::runner::{Context, Outcome, Test};
use crate::session::{ServerError, Session};
use anyhow::{ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "init::rights",
            "CREATE on the schema is needed; new tables go to the owner of the others",
            rights,
        ),
        Test::new(
            "init::another_schema",
            "the extension works in a schema of any name, pgvector in another",
            another_schema,
        ),
        Test::new(
            "init::same_names",
            "a temporary table or a search_path captures nothing",
            same_names,
        ),
        Test::new(
            "init::altered",
            "a table that is not of our type is 42804 from every function",
            altered,
        ),
        Test::new(
            "init::dropped",
            "DROP EXTENSION refuses to destroy data without CASCADE",
            dropped,
        ),
        Test::new(
            "init::dump_and_restore",
            "a plain dump, restored, has everything",
            dump_and_restore,
        ),
    ]
}

fn rights(context: &Context) -> Result<Outcome> {
    let database = context.server.empty_database()?;
    let mut session = database.connect()?;
    for role in ["verify_founder", "verify_guest", "verify_reader"] {
        session.batch(&format!(
            "DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
        ))?;
    }
    session.batch(
        "CREATE EXTENSION caliber_pg CASCADE;
         REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO verify_founder, verify_guest",
    )?;
    let denied = |session: &mut Session, role: &str| -> Result<ServerError> {
        session.batch(&format!("SET ROLE {role}"))?;
        let error = session.error("SELECT caliber_init()")?;
        session.batch("RESET ROLE")?;
        ensure!(error.sqlstate == "42501", "{role}: {error}");
        Ok(error)
    };
    let error = denied(&mut session, "verify_reader")?;
    ensure!(
        error.message == "permission denied for schema public",
        "{error}"
    );
    session.batch("SET ROLE verify_founder")?;
    let made = init(&mut session, "")?;
    ensure!(made.of("created").len() == made.0.len(), "{:#?}", made.0);
    session.batch("SELECT caliber_trajectory_create('mine'); RESET ROLE")?;
    let owners = "SELECT string_agg(DISTINCT relowner::regrole::text, ',') FROM pg_class WHERE relkind = 'r' AND relname LIKE 'caliber%'";
    ensure!(
        session.value(owners)?.as_deref() == Some("verify_founder"),
        "owners"
    );
    // Others may look, but not add a table beside tables of somebody else.
    session.batch("SET ROLE verify_guest")?;
    init(&mut session, "")?.all_there()?;
    session.batch("RESET ROLE; DROP TABLE caliber_conflict")?;
    denied(&mut session, "verify_guest")?;
    let exists = session.value("SELECT to_regclass('caliber_conflict')")?;
    ensure!(exists.is_none(), "nothing is left behind");
    session.batch("BEGIN; GRANT verify_founder TO verify_guest; SET LOCAL ROLE verify_guest")?;
    ensure!(
        init(&mut session, "")?.of("created").len() == 7,
        "a member may"
    );
    ensure!(
        session.value(owners)?.as_deref() == Some("verify_founder"),
        "owners, by a member"
    );
    session.batch("ROLLBACK")?;
    ensure!(
        init(&mut session, "")?.of("created").len() == 7,
        "a superuser may"
    );
    ensure!(
        session.value(owners)?.as_deref() == Some("verify_founder"),
        "owners, by a superuser"
    );
    session.batch("DROP INDEX caliber_lock_lease_idx")?;
    denied(&mut session, "verify_guest")?;
    session.batch("SET ROLE verify_founder")?;
    ensure!(init(&mut session, "")?.of("created").len() == 1, "an index");
    Ok(Outcome::Passed(error.message))
}

const ODD: &str = r#""Odd ""schema""; é @schema@ $1 'x'""#;

fn another_schema(context: &Context) -> Result<Outcome> {
    let database = context.server.empty_database()?;
    let mut session = database.connect()?;
    session.batch(&format!(
        r#"CREATE SCHEMA "for Vectors"; CREATE EXTENSION vector SCHEMA "for Vectors";
        CREATE SCHEMA {ODD}; CREATE EXTENSION caliber_pg SCHEMA {ODD}; SET search_path = pg_catalog"#
    ))?;
    let call = |name: &str| format!("SELECT {ODD}.{name}");
    let report = session.value(&call("caliber_init(3)"))?.unwrap_or_default();
    ensure!(
        report.lines().all(|line| line.starts_with("created ")),
        "{report}"
    );
    let again = session.value(&call("caliber_init(3)"))?.unwrap_or_default();
    ensure!(again == report.replace("created ", "exists "), "{again}");
    ensure!(
        session.value(&call("caliber_schema_exists()"))?.as_deref() == Some("t"),
        "all there"
    );
    for engine in ["heap", "sql", "sql_oneshot"] {
        session.batch(&format!("SET caliber.engine = {engine}"))?;
        let id = session
            .value(&call("caliber_trajectory_create('odd')"))?
            .unwrap_or_default();
        let child = session
            .value(&call(&format!(
                "caliber_trajectory_create('odd', parent_trajectory_id => '{id}')"
            )))?
            .unwrap_or_default();
        for steps in [
            format!("caliber_scope_create('{id}', 'odd')"),
            format!("caliber_trajectory_update('{child}', '{{\"parent_trajectory_id\": null}}')"),
            format!("caliber_trajectory_set_status('{id}', 'failed')"),
            format!("caliber_trajectory_delete('{child}')"),
        ] {
            let answer = session.value(&call(&steps))?;
            ensure!(
                answer.is_some() && answer.as_deref() != Some("f"),
                "{engine}: {steps}: {answer:?}"
            );
        }
        let seen = session.value(&call(&format!("caliber_scope_get_current('{id}')")))?;
        ensure!(seen.is_some_and(|row| row.contains(&id)), "{engine}");
    }
    let elsewhere = session.value("SELECT count(*) FROM pg_class c WHERE relname LIKE 'caliber%' AND relnamespace = 'public'::regnamespace")?;
    ensure!(
        elsewhere.as_deref() == Some("0"),
        "{elsewhere:?} objects in public"
    );
    // Without USAGE nothing is reached.
    session.batch("DO $$ BEGIN CREATE ROLE verify_stranger; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$; SET ROLE verify_stranger")?;
    let error = session.error(&call("caliber_init()"))?;
    ensure!(error.sqlstate == "42501", "{error}");
    Ok(Outcome::Passed(String::new()))
}

fn same_names(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    session.batch(
        "CREATE TEMP TABLE caliber_scope (LIKE public.caliber_scope); CREATE TEMP TABLE caliber_turn OF public.caliber_turn_row;
         CREATE SCHEMA evil; CREATE TABLE evil.caliber_trajectory (LIKE public.caliber_trajectory); CREATE TYPE evil.caliber_trajectory_row AS (a int);
         CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '1999-01-01'::timestamptz $$;
         CREATE FUNCTION evil.eq(uuid, uuid) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
         CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = uuid, RIGHTARG = uuid);
         CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
         CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = text, RIGHTARG = text);
         SET search_path = evil, pg_catalog, public",
    )?;
    init(&mut session, "")?.all_there()?;
    for engine in ["heap", "sql", "sql_oneshot"] {
        session.batch(&format!("SET caliber.engine = {engine}"))?;
        let id = session
            .value("SELECT caliber_trajectory_create('x')")?
            .unwrap_or_default();
        let other = session
            .value("SELECT caliber_trajectory_create('y')")?
            .unwrap_or_default();
        let scope = session
            .value(&format!("SELECT caliber_scope_create('{id}', 'x')"))?
            .unwrap_or_default();
        session.batch(&format!("SELECT caliber_trajectory_update('{id}', '{{\"name\": \"new\"}}'), caliber_trajectory_update('{other}', '{{\"parent_trajectory_id\": \"{id}\"}}'), caliber_trajectory_set_status('{id}', 'suspended'), caliber_scope_close('{scope}')"))?;
        let seen = session.value(&format!(
            "SELECT format('%s %s %s %s %s %s',
                (SELECT count(*) FROM evil.caliber_trajectory) + (SELECT count(*) FROM pg_temp.caliber_scope),
                (SELECT string_agg(name, ',' ORDER BY trajectory_id) FROM public.caliber_trajectory WHERE trajectory_id OPERATOR(pg_catalog.=) ANY ('{{{id},{other}}}')),
                (SELECT bool_and(created_at > '2020-01-01' AND updated_at > '2020-01-01') FROM public.caliber_trajectory),
                (SELECT count(*) FROM public.caliber_scope WHERE NOT is_active AND scope_id OPERATOR(pg_catalog.=) '{scope}'),
                (SELECT count(*) FROM caliber_trajectory_list_children('{id}')), (SELECT count(*) FROM caliber_scope_list_by_trajectory('{id}')))"
        ))?;
        ensure!(
            seen.as_deref() == Some("0 new,y t 1 1 1"),
            "{engine}: {seen:?}"
        );
        session.batch("DELETE FROM public.caliber_scope; DELETE FROM public.caliber_trajectory")?;
    }
    Ok(Outcome::Passed(String::new()))
}

const CALLS: [&str; 17] = [
    "caliber_trajectory_create('x')",
    "caliber_trajectory_get('@')",
    "caliber_trajectory_update('@', '{}')",
    "caliber_trajectory_update('@', '{\"parent_trajectory_id\": null}')",
    "caliber_trajectory_set_status('@', 'failed')",
    "caliber_trajectory_list_by_status('active')",
    "caliber_trajectory_list_children('@')",
    "caliber_trajectory_list_by_agent('@')",
    "caliber_trajectory_delete('@')",
    "caliber_scope_create('@', 'x')",
    "caliber_scope_get('@')",
    "caliber_scope_get_current('@')",
    "caliber_scope_update('@', '{\"name\": \"x\"}')",
    "caliber_scope_update_tokens('@', 1)",
    "caliber_scope_list_by_trajectory('@')",
    "caliber_scope_close('@')",
    "caliber_scope_delete('@')",
];

fn altered(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    let id = "00000000-0000-7000-8000-000000000001";
    // What is done to both tables or types, and what every function says then.
    let stages = [
        ("ALTER TABLE caliber_X NOT OF", "42804", "ALTER TABLE public.caliber_X OF public.caliber_X_row"),
        ("ALTER TYPE caliber_X_row RENAME ATTRIBUTE metadata TO meta CASCADE", "42804", ""),
        ("ALTER TYPE caliber_X_row ALTER ATTRIBUTE metadata TYPE text CASCADE", "42804", ""),
        ("ALTER TYPE caliber_X_row DROP ATTRIBUTE metadata CASCADE", "42804", ""),
        ("ALTER TABLE caliber_X RENAME TO gone_X", "42P01", "caliber_init()"),
        ("ALTER TABLE caliber_X RENAME TO gone_X; CREATE VIEW caliber_X AS SELECT * FROM gone_X", "42804", ""),
        ("ALTER TABLE caliber_X RENAME TO gone_X; CREATE TABLE caliber_X OF caliber_X_row PARTITION BY LIST (name)", "42804", ""),
    ];
    for engine in ["heap", "sql", "sql_oneshot"] {
        session.batch(&format!(
            "SELECT caliber_version(); SET caliber.engine = {engine}"
        ))?;
        for (change, sqlstate, hint) in stages {
            session.batch("BEGIN")?;
            for table in ["trajectory", "scope"] {
                session.batch(&change.replace('X', table))?;
            }
            session.batch("SAVEPOINT s")?;
            for call in CALLS {
                let error = session
                    .error(&format!("SELECT {}", call.replace('@', id)))
                    .with_context(|| format!("{engine}: {change}"))?;
                let table = if call.starts_with("caliber_scope") {
                    "scope"
                } else {
                    "trajectory"
                };
                let hint = hint.replace('X', table);
                ensure!(
                    error.sqlstate == sqlstate
                        && error.hint.clone().unwrap_or_default().contains(&hint),
                    "{engine}: {change}: {call}: {error}"
                );
                session.batch("ROLLBACK TO s")?;
            }
            let there = session.value("SELECT caliber_schema_exists()")?;
            // A type that was altered is no question of what exists.
            ensure!(
                change.contains("TYPE") || there.as_deref() == Some("f"),
                "{change}: {there:?}"
            );
            session.batch("ROLLBACK")?;
            session.batch(&format!(
                "SELECT caliber_trajectory_get('{id}'), caliber_scope_get('{id}')"
            ))?;
        }
        // Detached and attached again; and attributes of a later version.
        session.batch(&format!(
            "BEGIN; ALTER TABLE caliber_scope NOT OF; ALTER TABLE caliber_scope OF caliber_scope_row;
             ALTER TYPE caliber_trajectory_row ADD ATTRIBUTE later text CASCADE; ALTER TYPE caliber_scope_row ADD ATTRIBUTE later int CASCADE;
             SELECT caliber_trajectory_create('x', id => '{id}'), caliber_scope_create('{id}', 'x', id => '{id}');
             UPDATE caliber_scope SET later = 7;
             SELECT caliber_trajectory_update('{id}', '{{\"name\": \"n\"}}'), caliber_scope_close('{id}')"
        ))?;
        let seen = session.value(&format!(
            "SELECT format('%s %s %s', (caliber_trajectory_get('{id}')).name, (caliber_trajectory_get('{id}')).later, (SELECT later FROM caliber_scope_list_by_trajectory('{id}')))"
        ))?;
        ensure!(seen.as_deref() == Some("n  7"), "{engine}: {seen:?}");
        init(&mut session, "")?.all_there()?;
        session.batch("ROLLBACK")?;
    }
    Ok(Outcome::Passed(format!("{} changes", stages.len())))
}

fn dropped(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    session.batch("SELECT caliber_trajectory_create('kept')")?;
    let error = session.error("DROP EXTENSION caliber_pg")?;
    ensure!(error.sqlstate == "2BP01", "{error}");
    let error = session.error("DROP EXTENSION vector")?;
    ensure!(error.sqlstate == "2BP01", "{error}");
    // A row kept elsewhere outlives the tables, not the type.
    session.batch("CREATE TABLE kept AS SELECT caliber_trajectory_get(trajectory_id) AS x FROM caliber_trajectory")?;
    session.batch(&drop_all())?;
    ensure!(
        session.value("SELECT (x).name FROM kept")?.as_deref() == Some("kept"),
        "the copy"
    );
    session.batch("DROP TABLE kept; DROP EXTENSION caliber_pg")?;
    for sql in [
        "CREATE EXTENSION caliber_pg",
        "SELECT caliber_init()",
        "DROP EXTENSION caliber_pg CASCADE",
        "CREATE EXTENSION caliber_pg",
        "SELECT caliber_init(3)",
    ] {
        session.batch(sql)?;
    }
    init(&mut session, "3")?.all_there()?;
    Ok(Outcome::Passed(String::new()))
}

/// Runs a shell command where the server runs; what it prints.
fn shell(session: &mut Session, command: &str) -> Result<String> {
    let quoted = command.replace('\'', "''");
    session.batch(&format!(
        "DROP TABLE IF EXISTS pg_temp.printed; CREATE TEMP TABLE printed (line text); COPY pg_temp.printed FROM PROGRAM '{quoted}' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
    ))?;
    Ok(session
        .value("SELECT string_agg(line, E'\\n') FROM pg_temp.printed")?
        .unwrap_or_default())
}

fn dump_and_restore(context: &Context) -> Result<Outcome> {
    let from = context.server.fresh_database()?;
    let to = context.server.empty_database()?;
    let mut session = from.connect()?;
    let bin = session
        .value("SELECT setting FROM pg_config WHERE name = 'BINDIR'")?
        .unwrap_or_default();
    if shell(&mut session, &format!("ls {bin}/pg_dump {bin}/psql")).is_err() {
        return Ok(Outcome::NotCovered(
            "pg_dump is not where the server is".to_owned(),
        ));
    }
    session.batch(
        "DO $$ BEGIN CREATE ROLE verify_tenant; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
         CREATE INDEX mine ON caliber_trajectory (name); GRANT SELECT ON caliber_trajectory TO verify_tenant;
         ALTER TABLE caliber_scope ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON caliber_scope USING (name <> 'hidden');
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
         CREATE TRIGGER note BEFORE UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION note();
         SELECT caliber_init(2500);
         SELECT caliber_scope_create(caliber_trajectory_create('one', metadata => '{\"n\": 1.50}'), 'scope', purpose => E'tab\\t and \\\\ and é');
         INSERT INTO caliber_note (note_type, title, content, content_hash, embedding) VALUES ('fact', 't', 'c', '\\x00', '[1,2,3]')",
    )?;
    let port = session.value("SHOW port")?.unwrap_or_default();
    let socket = session
        .value("SELECT trim(split_part(current_setting('unix_socket_directories'), ',', 1))")?
        .unwrap_or_default();
    let target = session.target().clone();
    let password = target
        .password
        .clone()
        .unwrap_or_default()
        .replace('\'', "'\\''");
    let at = |database: &str| format!("-h {socket} -p {port} -U {} -d {database}", target.user);
    let command = format!(
        "export PGPASSWORD='{password}'; {{ {bin}/pg_dump {} | {bin}/psql -X -q -v ON_ERROR_STOP=1 {} >/dev/null && echo done; }} 2>&1",
        at(&target.database),
        at(&to.target.database)
    );
    let said = shell(&mut session, &command)?;
    ensure!(said == "done", "{said}");
    let mut restored = to.connect()?;
    init(&mut restored, "3")?.all_there()?;
    init(&mut restored, "2500")?.all_there()?;
    let look = format!(
        "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
            SELECT x::text AS line FROM caliber_trajectory x UNION ALL SELECT x::text FROM caliber_scope x UNION ALL SELECT x::text FROM caliber_note x
            UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'caliber%'
            UNION ALL SELECT format('%s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid::regclass::text LIKE 'caliber%'
            UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL SELECT format('%s %s %s %s', relname, relacl, reloptions, reloftype::regtype) FROM pg_class WHERE relname = ANY ('{{{}}}')
            UNION ALL SELECT format('%s %s', policyname, qual) FROM pg_policies) lines",
        TABLES.map(|name| format!("caliber_{name}")).join(",")
    );
    let (left, right) = (session.value(&look)?, restored.value(&look)?);
    ensure!(left == right, "before: {left:?}\nafter: {right:?}");
    let lines = left.unwrap_or_default().lines().count();
    let answer = restored.value("SELECT count(*) FROM caliber_trajectory t, caliber_scope_list_by_trajectory(t.trajectory_id)")?;
    ensure!(answer.as_deref() == Some("1"), "{answer:?}");
    Ok(Outcome::Passed(format!("{lines} lines alike")))
}
