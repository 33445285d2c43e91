//! `caliber_init()`: what is missing is made, what differs is said.

mod place;

use crate::isolation::{run, Options, Script};
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "init::from_nothing",
            "everything is made once; a second call finds it all",
            from_nothing,
        ),
        Test::new(
            "init::together",
            "two sessions at once make everything once, at each isolation level",
            together,
        ),
        Test::new(
            "init::half_done",
            "what is missing comes back, and nothing else changes",
            half_done,
        ),
        Test::new(
            "init::differs",
            "what differs is said and left as it is",
            differs,
        ),
        Test::new(
            "init::refused",
            "dimensions, pgvector's version, a read-only transaction, other objects",
            refused,
        ),
    ];
    tests.extend(place::tests());
    tests
}

const TABLES: [&str; 11] = [
    "trajectory",
    "scope",
    "artifact",
    "note",
    "turn",
    "agent",
    "lock",
    "message",
    "delegation",
    "handoff",
    "conflict",
];

/// The lines of a report: those that begin with a word, and how many there are.
struct Report(Vec<String>);

fn init(session: &mut Session, arguments: &str) -> Result<Report> {
    let report = session.value(&format!("SELECT caliber_init({arguments})"))?;
    Ok(Report(
        report
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect(),
    ))
}

impl Report {
    fn of(&self, word: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|line| line.split([' ', ':']).next() == Some(word))
            .map(String::as_str)
            .collect()
    }

    /// Nothing but `exists`.
    fn all_there(&self) -> Result<usize> {
        ensure!(
            self.of("exists").len() == self.0.len() && !self.0.is_empty(),
            "not everything was there: {:#?}",
            self.0
        );
        Ok(self.0.len())
    }
}

/// Tables and indexes of the catalog, but for those that constraints made.
const OBJECTS: &str = "SELECT count(*) FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.relname LIKE 'caliber%' AND (c.relkind = 'r' OR c.relkind = 'i'
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u')))";

fn from_nothing(context: &Context) -> Result<Outcome> {
    let database = context.server.empty_database()?;
    let mut session = database.connect()?;
    session.batch("CREATE EXTENSION caliber_pg CASCADE")?;
    let exists = |session: &mut Session| session.value("SELECT caliber_schema_exists()");
    ensure!(
        exists(&mut session)?.as_deref() == Some("f"),
        "nothing is there yet"
    );
    for call in [
        "caliber_trajectory_create('x')",
        "caliber_scope_get(gen_random_uuid())",
    ] {
        let error = session.error(&format!("SELECT {call}"))?;
        let hint = error.hint.clone().unwrap_or_default();
        ensure!(
            error.sqlstate == "42P01" && hint.contains("caliber_init()"),
            "{error}"
        );
    }
    let first = init(&mut session, "")?;
    ensure!(first.of("created").len() == first.0.len(), "{:#?}", first.0);
    let objects = session.value(OBJECTS)?.unwrap_or_default();
    ensure!(
        objects == first.0.len().to_string(),
        "{objects} objects, but {:#?}",
        first.0
    );
    ensure!(
        first
            .0
            .iter()
            .filter(|line| line.starts_with("created table "))
            .count()
            == 11,
        "{:#?}",
        first.0
    );
    ensure!(
        exists(&mut session)?.as_deref() == Some("t"),
        "everything is there"
    );
    session.batch("BEGIN; ALTER TYPE caliber_turn_row RENAME ATTRIBUTE role TO speaker CASCADE")?;
    ensure!(
        exists(&mut session)?.as_deref() == Some("f"),
        "a row type that the library does not know"
    );
    session
        .batch("ROLLBACK; BEGIN; ALTER TYPE caliber_turn_row ADD ATTRIBUTE later text CASCADE")?;
    ensure!(
        exists(&mut session)?.as_deref() == Some("t"),
        "an attribute of a later version"
    );
    session.batch("ROLLBACK")?;
    let second = init(&mut session, "")?;
    ensure!(second.all_there()? == first.0.len(), "{:#?}", second.0);
    let titles = |report: &Report| -> Vec<String> {
        report
            .0
            .iter()
            .map(|line| line.replacen("created ", "exists ", 1))
            .collect()
    };
    ensure!(
        titles(&first) == second.0,
        "{:#?}\n{:#?}",
        first.0,
        second.0
    );
    let members = session.value(
        "SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
         WHERE d.deptype = 'e' AND d.classid = 'pg_class'::regclass AND c.relkind <> 'c' AND c.relname LIKE 'caliber%'",
    )?;
    ensure!(
        members.as_deref() == Some("0"),
        "{members:?} tables or indexes are members"
    );
    // In PL/pgSQL, in a subtransaction, with a strange client.
    session.batch("SET client_min_messages = error; SET standard_conforming_strings = off; SET quote_all_identifiers = on; SET search_path = pg_catalog, public")?;
    init(&mut session, "")?.all_there()?;
    session.batch("DO $$ BEGIN BEGIN PERFORM public.caliber_init(); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END; PERFORM public.caliber_init(); END $$")?;
    Ok(Outcome::Passed(format!("{} objects", first.0.len())))
}

fn drop_all() -> String {
    let tables: Vec<String> = TABLES
        .iter()
        .map(|name| format!("caliber_{name}"))
        .collect();
    format!("DROP TABLE {} CASCADE", tables.join(", "))
}

fn together(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut script = Script::new(3, &["SET synchronous_commit = off"]);
    let mut runs = Vec::new();
    for isolation in Isolation::ALL {
        for end in ["COMMIT", "ROLLBACK"] {
            let begin = format!("BEGIN ISOLATION LEVEL {}; SELECT 1", isolation.sql());
            runs.push((isolation, end, script.steps.len() + 3));
            script = script
                .step(2, &drop_all())
                .step(0, &begin)
                .step(1, &begin)
                .step(0, "SELECT caliber_init()")
                .step(1, "SELECT caliber_init()")
                .step(0, end)
                .step(1, "COMMIT")
                .step(2, "SELECT caliber_schema_exists()")
                .step(2, "SELECT caliber_init()");
        }
    }
    let transcript = run(&database.target, &script, Options::default())?;
    for (isolation, end, first) in runs {
        let answer = |step: usize| {
            let value = transcript
                .answer(first + step)
                .and_then(|answer| answer.value());
            Report(
                value
                    .unwrap_or_default()
                    .lines()
                    .map(str::to_owned)
                    .collect(),
            )
        };
        let told = || {
            format!(
                "{}, {end}, steps from {first}\n{transcript}",
                isolation.sql()
            )
        };
        ensure!(
            transcript.waited(first + 1),
            "they do not exclude each other: {}",
            told()
        );
        let made = answer(0);
        ensure!(
            made.of("created").len() == made.0.len() && made.0.len() > 40,
            "{}",
            told()
        );
        let second = answer(1);
        let word = if end == "COMMIT" { "exists" } else { "created" };
        ensure!(
            second.of(word).len() == made.0.len() && second.0.len() == made.0.len(),
            "{}",
            told()
        );
        ensure!(answer(4).0 == ["t"], "{}", told());
        answer(5).all_there().with_context(told)?;
    }
    Ok(Outcome::Passed(String::new()))
}

fn half_done(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    let whole = init(&mut session, "")?.all_there()?;
    session.batch("SELECT caliber_trajectory_create('kept')")?;
    // Which index: by its columns, as pg_get_indexdef shows them.
    let index = |definition: &str| {
        format!("(SELECT indexrelid::regclass::text FROM pg_index WHERE pg_get_indexdef(indexrelid) LIKE '%{definition}')")
    };
    let status = index("caliber_trajectory USING btree (status, trajectory_id)");
    let sources = index("USING gin (source_trajectory_ids)");
    let active = index("caliber_scope USING btree (trajectory_id, scope_id) WHERE is_active");
    session.batch(&format!(
        "DROP TABLE caliber_turn, caliber_conflict;
         DROP INDEX caliber_lock_lease_idx;
         DO $$ BEGIN EXECUTE 'DROP INDEX ' || {status}; EXECUTE 'DROP INDEX ' || {sources}; EXECUTE 'DROP INDEX ' || {active}; END $$"
    ))?;
    let exists = session.value("SELECT caliber_schema_exists()")?;
    ensure!(exists.as_deref() == Some("f"), "tables are missing");
    let report = init(&mut session, "")?;
    let created = report.of("created");
    // A turn has no indexes but its keys'; a conflict has six.
    ensure!(
        report.0.len() == whole && created.len() == 4 + 1 + 7,
        "{} lines of {whole}: {created:#?}",
        report.0.len()
    );
    ensure!(init(&mut session, "")?.all_there()? == whole, "twice");
    // By whatever name, it is there; with another predicate or order, it is not.
    session.batch(&format!(
        "DO $$ BEGIN EXECUTE format('ALTER INDEX %s RENAME TO of_my_own', {status}); END $$"
    ))?;
    init(&mut session, "")?.all_there()?;
    for (replacement, why) in [
        (
            "CREATE INDEX ON caliber_trajectory (status, trajectory_id) WHERE status <> 'failed'",
            "another predicate",
        ),
        (
            "CREATE INDEX ON caliber_trajectory (trajectory_id, status)",
            "another order",
        ),
        (
            "CREATE INDEX ON caliber_trajectory (status, trajectory_id DESC)",
            "descending",
        ),
        (
            "CREATE INDEX ON caliber_trajectory (status COLLATE \"POSIX\", trajectory_id)",
            "another collation",
        ),
        (
            "CREATE INDEX ON caliber_trajectory (status text_pattern_ops, trajectory_id)",
            "another operator class",
        ),
        (
            "CREATE INDEX broken ON caliber_trajectory (status, trajectory_id);
            UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass",
            "an invalid one",
        ),
    ] {
        session.batch(&format!("BEGIN; DROP INDEX of_my_own; {replacement}"))?;
        let report = init(&mut session, "")?;
        ensure!(report.of("created").len() == 1, "{why}: {:#?}", report.0);
        session.batch("ROLLBACK")?;
    }
    // A unique one serves as well.
    session.batch("BEGIN; DROP INDEX of_my_own; CREATE UNIQUE INDEX ON caliber_trajectory (status, trajectory_id)")?;
    init(&mut session, "")?.all_there()?;
    let missing = session.value("SELECT count(*) FROM caliber_check()")?;
    ensure!(missing.as_deref() == Some("0"), "{missing:?} findings");
    session.batch("ROLLBACK")?;
    // What has the name of an index and is not it is in the way, before anything is made.
    session.batch(
        "BEGIN; DROP INDEX of_my_own;
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'caliber_lock_lease_idx'::regclass; SAVEPOINT s",
    )?;
    let error = session.error("SELECT * FROM caliber_init()")?;
    ensure!(
        error.sqlstate == "55000" && error.hint.as_ref().is_some_and(|h| h.contains("REINDEX")),
        "{error}"
    );
    session.batch("ROLLBACK")?;
    let kept = session.value("SELECT count(*) FROM caliber_trajectory WHERE name = 'kept'")?;
    ensure!(kept.as_deref() == Some("1"), "{kept:?} rows");
    Ok(Outcome::Passed(String::new()))
}

fn differs(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    let mut shown = Vec::new();
    for (change, object) in [
        ("ALTER TABLE caliber_scope DROP CONSTRAINT caliber_scope_token_budget_check", "caliber_scope_token_budget_check"),
        ("ALTER TABLE caliber_scope DROP CONSTRAINT caliber_scope_token_budget_check, ADD CONSTRAINT caliber_scope_token_budget_check CHECK (token_budget > 1)", "caliber_scope_token_budget_check"),
        ("ALTER TABLE caliber_scope ADD CONSTRAINT mine CHECK (name <> '')", "mine"),
        ("ALTER TABLE caliber_scope ADD CONSTRAINT sole UNIQUE (name)", "sole"),
        ("ALTER TABLE caliber_turn DROP CONSTRAINT caliber_turn_scope_id_fkey", "caliber_turn_scope_id_fkey"),
        ("ALTER TABLE caliber_turn DROP CONSTRAINT caliber_turn_scope_id_fkey, ADD CONSTRAINT caliber_turn_scope_id_fkey FOREIGN KEY (scope_id) REFERENCES caliber_scope (scope_id) ON DELETE CASCADE", "caliber_turn_scope_id_fkey"),
        ("ALTER TABLE caliber_turn ALTER CONSTRAINT caliber_turn_scope_id_fkey DEFERRABLE", "caliber_turn_scope_id_fkey"),
        ("ALTER TABLE caliber_turn DROP CONSTRAINT caliber_turn_pkey", "caliber_turn_pkey"),
        ("ALTER TABLE caliber_scope ALTER tokens_used SET DEFAULT 1", "tokens_used"),
        ("ALTER TABLE caliber_scope ALTER created_at DROP DEFAULT", "created_at"),
        ("ALTER TABLE caliber_scope ALTER name SET DEFAULT 'n'", "name"),
        ("ALTER TABLE caliber_scope ALTER name DROP NOT NULL", "name"),
        ("ALTER TABLE caliber_scope ALTER purpose SET NOT NULL", "purpose"),
        ("ALTER TYPE caliber_scope_row ALTER ATTRIBUTE purpose TYPE text COLLATE \"POSIX\" CASCADE", "purpose"),
        ("ALTER TYPE caliber_scope_row ALTER ATTRIBUTE name TYPE text COLLATE \"C\" CASCADE", "name"),
        ("ALTER TABLE caliber_scope SET (fillfactor = 90)", "fillfactor"),
        ("ALTER TABLE caliber_scope RESET (fillfactor)", "fillfactor"),
        ("ALTER TABLE caliber_turn SET (autovacuum_enabled = off)", "autovacuum_enabled"),
    ] {
        session.batch(&format!("BEGIN; {change}"))?;
        let report = init(&mut session, "")?;
        let lines = report.of("differs");
        ensure!(
            !lines.is_empty() && lines.iter().all(|line| line.starts_with("differs: ") && line.contains(object)),
            "{change}: {:#?}",
            lines
        );
        ensure!(report.of("created").is_empty(), "{change}: {:#?}", report.of("created"));
        let again = init(&mut session, "")?;
        ensure!(again.0 == report.0, "{change}: touched: {:#?}", again.0);
        shown.push(lines[0].to_owned());
        // It is none of the check's business.
        session.batch("SELECT * FROM caliber_check()")?;
        session.batch("ROLLBACK")?;
    }
    // Things that are nobody's business.
    session.batch(
        "CREATE INDEX mine ON caliber_scope (name); CREATE STATISTICS s ON name, purpose FROM caliber_scope;
         ALTER TABLE caliber_scope ENABLE ROW LEVEL SECURITY; ALTER TABLE caliber_scope DISABLE TRIGGER ALL;
         ALTER TABLE caliber_scope ALTER name SET STORAGE EXTERNAL; CREATE RULE r AS ON DELETE TO caliber_scope DO ALSO NOTHING",
    )?;
    init(&mut session, "")?.all_there()?;
    Ok(Outcome::Passed(format!("{} differences", shown.len())))
}

fn refused(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut session = database.connect()?;
    for n in ["0", "-1", "4001", "2147483647", "-2147483648"] {
        let error = session.error(&format!("SELECT caliber_init({n})"))?;
        ensure!(
            error.sqlstate == "22023" && error.message.contains(n),
            "{n}: {error}"
        );
    }
    let whole = init(&mut session, "NULL")?.all_there()?;
    for (n, kind) in [
        (1, "vector"),
        (2000, "vector"),
        (2001, "halfvec"),
        (4000, "halfvec"),
    ] {
        let report = init(&mut session, &format!("embedding_dimensions => {n}"))?;
        ensure!(
            report.of("created").len() == 2 && report.0.len() == whole + 2,
            "{n}: {:#?}",
            report.of("created")
        );
        ensure!(
            init(&mut session, &n.to_string())?.all_there()? == whole + 2,
            "{n} twice"
        );
        let made = session.value(&format!(
            "SELECT count(*) FROM pg_indexes WHERE indexdef ~ 'USING hnsw .*{kind}\\({n}\\).* {kind}_cosine_ops.* WHERE \\(vector_dims\\(embedding\\) = {n}\\)'"
        ))?;
        ensure!(made.as_deref() == Some("2"), "{n}: {made:?} indexes");
    }
    // pgvector's version.
    for (version, accepted) in [
        ("0.7.4", false),
        ("0.8.0", true),
        ("0.10.1", true),
        ("1.0", true),
        ("0.5.1", false),
    ] {
        session.batch(&format!(
            "BEGIN; UPDATE pg_extension SET extversion = '{version}' WHERE extname = 'vector'"
        ))?;
        if accepted {
            init(&mut session, "")?.all_there()?;
        } else {
            let error = session.error("SELECT caliber_init()")?;
            ensure!(
                error.sqlstate == "0A000" && error.message.contains(version),
                "{version}: {error}"
            );
        }
        session.batch("ROLLBACK")?;
    }
    session.batch("BEGIN READ ONLY")?;
    let error = session.error("SELECT caliber_init()")?;
    ensure!(error.sqlstate == "25006", "{error}");
    session.batch("ROLLBACK")?;
    // What is something else is refused, and nothing is made meanwhile.
    let columns = "(LIKE caliber_scope)";
    for (instead, hint) in [
        (
            format!("CREATE TABLE instead {columns}"),
            "ALTER TABLE public.caliber_turn OF public.caliber_turn_row",
        ),
        ("CREATE VIEW instead AS SELECT 1".to_owned(), ""),
        ("CREATE SEQUENCE instead".to_owned(), ""),
        (
            "CREATE TABLE instead OF caliber_scope_row".to_owned(),
            "OF public.caliber_turn_row",
        ),
        (
            "CREATE TABLE instead OF caliber_turn_row PARTITION BY LIST (role)".to_owned(),
            "",
        ),
    ] {
        session.batch(&format!("BEGIN; DROP TABLE caliber_turn, caliber_conflict; {instead}; ALTER TABLE instead RENAME TO caliber_turn; SAVEPOINT s"))?;
        for call in ["caliber_init()", "caliber_init(7)"] {
            let error = session.error(&format!("SELECT {call}"))?;
            let told = error.hint.clone().unwrap_or_default();
            ensure!(
                error.sqlstate == "42804" && told.contains(hint) && error.detail.is_some(),
                "{instead}: {error}"
            );
            session.batch("ROLLBACK TO s")?;
        }
        let seen = session.value(
            "SELECT format('%s %s', caliber_schema_exists(), to_regclass('caliber_conflict'))",
        )?;
        ensure!(seen.as_deref() == Some("f "), "{instead}: {seen:?}");
        session.batch("ROLLBACK")?;
    }
    Ok(Outcome::Passed(String::new()))
}
