//! Around a search: whose settings, schemas, rights and indexes.

use super::{compare, embedding, rows, scans, write, ENGINES, SCENE, SCOPE, TASK};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use crate::suite::desk;
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "search::settings",
            "settings are the caller's again after a search, and after one that failed",
            settings,
        )
        .with_takeovers(),
        Test::new(
            "search::pgvector_elsewhere",
            "pgvector may be in any schema, and what is in the search_path captures nothing",
            elsewhere,
        ),
        Test::new(
            "search::rights",
            "a search needs SELECT; under policies it finds k of the rows that they show",
            rights,
        )
        .with_takeovers(),
        Test::new(
            "search::other_indexes",
            "only a valid HNSW index of just that dimension serves, whatever its name",
            other_indexes,
        ),
    ]
}

/// Everything that a search might change.
const SHOWN: &str = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
    WHERE name ~ '^(hnsw|ivfflat)\\.' OR name ~ '^enable_' OR name IN ('search_path', 'plan_cache_mode')";

fn settings(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{SCENE} DO $$ BEGIN CREATE ROLE verify_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
         GRANT SELECT ON caliber_artifact, caliber_scope, caliber_note TO verify_reader;
         CREATE FUNCTION fails() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'policy' USING ERRCODE = 'P0042'; END $$"
    );
    let mut desks = desk::open(context, &ENGINES, &prepare)?;
    for desk in &mut desks {
        let name = desk.engine.name();
        write(&mut desk.session)?;
        let session = &mut desk.session;
        session.batch(
            "SET hnsw.iterative_scan = relaxed_order; SET hnsw.max_scan_tuples = 17; SET hnsw.ef_search = 50;
             SET hnsw.scan_mem_multiplier = 1.5; SET enable_indexscan = off; SET enable_sort = on",
        )?;
        let before = session.value(SHOWN)?;
        let same = |session: &mut Session, when: &str| {
            let after = session.value(SHOWN)?;
            ensure!(after == before, "{name}: {when}\n{before:?}\n{after:?}");
            Ok(())
        };
        let search = "SELECT count(*) FROM caliber_artifact_search('[1,2,3]', 100) UNION ALL SELECT count(*) FROM caliber_note_search('[1,2,3]', 100)";
        ensure!(rows(session, search)? == ["24", "24"], "{name}");
        same(session, "after a search")?;
        session.batch("BEGIN")?;
        ensure!(rows(session, search)? == ["24", "24"], "{name}");
        same(session, "in the transaction")?;
        // Errors caught in PL/pgSQL, rolled back to a savepoint, and at the top.
        session.batch(
            "DO $$ BEGIN PERFORM caliber_note_search('[1,2,3,4]'); RAISE 'found'; EXCEPTION WHEN object_not_in_prerequisite_state THEN END $$",
        )?;
        same(session, "after an error without an index")?;
        // One that is raised while the scan runs.
        session.batch(
            "ALTER TABLE caliber_artifact ENABLE ROW LEVEL SECURITY; CREATE POLICY fails ON caliber_artifact USING (fails());
             SET LOCAL ROLE verify_reader; SAVEPOINT s",
        )?;
        let error = session.error("SELECT * FROM caliber_artifact_search('[1,2,3]')")?;
        ensure!(error.sqlstate == "P0042", "{name}: {error}");
        session.batch("ROLLBACK TO s")?;
        same(session, "after an error in the scan")?;
        session.batch(
            "DO $$ BEGIN PERFORM caliber_artifact_search('[1,2,3]'); RAISE 'found'; EXCEPTION WHEN SQLSTATE 'P0042' THEN END $$",
        )?;
        same(session, "after an error in the scan, caught")?;
        session.error("SELECT * FROM caliber_artifact_search('[1,2,3]')")?;
        session.batch("ROLLBACK")?;
        same(session, "after the transaction")?;
    }
    Ok(Outcome::Passed("hnsw.*, ivfflat.*, enable_*".to_owned()))
}

fn elsewhere(context: &Context) -> Result<Outcome> {
    for engine in ENGINES {
        let database = context.server.empty_database()?;
        let mut session = database.connect()?;
        // In the search_path stand operators and functions of the same names.
        session.batch(
            r#"CREATE SCHEMA "for Vectors"; CREATE EXTENSION vector SCHEMA "for Vectors";
               CREATE SCHEMA mine; CREATE EXTENSION caliber_pg SCHEMA mine; SELECT mine.caliber_init(3); SELECT mine.caliber_init(2001);
               CREATE SCHEMA evil;
               CREATE FUNCTION evil.cosine_distance("for Vectors".vector, "for Vectors".vector) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT 1 / 0.0::float8';
               CREATE OPERATOR evil.<=> (LEFTARG = "for Vectors".vector, RIGHTARG = "for Vectors".vector, FUNCTION = evil.cosine_distance);
               CREATE FUNCTION evil.vector_dims("for Vectors".vector) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1 / 0';
               SET search_path = evil, pg_catalog"#,
        )?;
        for sql in desk::setup(engine) {
            session.batch(&sql.replace("caliber_version", "mine.caliber_version"))?;
        }
        session.batch(&format!(
            "SELECT mine.caliber_trajectory_create('t', id => {TASK}); SELECT mine.caliber_scope_create({TASK}, 's', id => {SCOPE});"
        ))?;
        for n in 0..6 {
            for dimensions in [3, 2001] {
                let embedding = embedding(n, dimensions);
                session.batch(&format!(
                    "SELECT mine.caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'a', '', embedding => {embedding});
                     SELECT mine.caliber_note_create('fact', 'n', '', embedding => {embedding})"
                ))?;
            }
        }
        for dimensions in [3, 2001] {
            let query = embedding(2, dimensions);
            let sql = format!(
                "SELECT concat_ws(' ', (SELECT count(*) FROM mine.caliber_artifact_search({query})), (SELECT count(*) FROM mine.caliber_note_search({query})),
                     (SELECT count(*) FROM mine.caliber_artifact_search({query}, 10, {TASK})))"
            );
            let found = session.value(&sql)?;
            ensure!(
                found.as_deref() == Some("6 6 6"),
                "{}: {found:?}",
                engine.name()
            );
        }
        let error = session.error("SELECT * FROM mine.caliber_note_search('[1,2]')")?;
        ensure!(
            error.message == "no usable index on mine.caliber_note (embedding of 2 dimensions)",
            "{}: {error}",
            engine.name()
        );
    }
    Ok(Outcome::Passed("3 and 2001 dimensions".to_owned()))
}

fn rights(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{SCENE} DO $$ BEGIN CREATE ROLE verify_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
    );
    let mut desks = desk::open(context, &ENGINES, &prepare)?;
    for (call, table) in [
        ("caliber_artifact_search('[1,2,3]')", "artifact"),
        ("caliber_artifact_search('[1,2,3,4]')", "artifact"),
        (
            "caliber_artifact_search('[1,2,3]', 10, '00000000-0000-7000-8000-000000000001')",
            "artifact",
        ),
        ("caliber_note_search('[1,2,3]')", "note"),
    ] {
        let call = format!("SET ROLE verify_reader; SELECT * FROM {call}");
        let error = desk::same_error(&mut desks, &call, "", "42501")?;
        ensure!(
            error.message == format!("permission denied for table caliber_{table}"),
            "{error}"
        );
    }
    // EXECUTE on what is behind the operator, as in a query with it.
    for desk in &mut desks {
        desk.session.batch(
            "GRANT SELECT ON caliber_artifact, caliber_scope, caliber_note TO verify_reader;
            REVOKE EXECUTE ON FUNCTION cosine_distance(vector, vector) FROM PUBLIC",
        )?;
    }
    for (call, client) in [
        (
            "caliber_artifact_search('[1,2,3]')",
            "caliber_artifact ORDER BY embedding::vector(3) <=> '[1,2,3]'",
        ),
        (
            "caliber_artifact_search('[1,2,3]', 10, '00000000-0000-7000-8000-000000000001')",
            "caliber_artifact ORDER BY embedding <=> '[1,2,3]'",
        ),
        (
            "caliber_note_search('[1,2,3]')",
            "caliber_note ORDER BY embedding::vector(3) <=> '[1,2,3]'",
        ),
    ] {
        for of in [call, client] {
            let sql = format!("SET ROLE verify_reader; SELECT * FROM {of}");
            let error = desk::same_error(&mut desks, &sql, "", "42501")?;
            ensure!(
                error.message == "permission denied for function cosine_distance",
                "{error}"
            );
        }
    }
    for desk in &mut desks {
        desk.session.batch("RESET ROLE; REVOKE SELECT ON caliber_artifact, caliber_scope, caliber_note FROM verify_reader;
            GRANT EXECUTE ON FUNCTION cosine_distance(vector, vector) TO PUBLIC")?;
    }
    for desk in &mut desks {
        let name = desk.engine.name();
        // SELECT of some columns is not enough: rows are returned.
        desk.session.batch(
            "GRANT SELECT (note_id, embedding, ttl, created_at, superseded_by) ON caliber_note TO verify_reader",
        )?;
        let error = desk
            .session
            .error("SET ROLE verify_reader; SELECT * FROM caliber_note_search('[1,2,3]')")?;
        ensure!(error.sqlstate == "42501", "{name}: {error}");
        // 400 rows of others, nearer than three of ours.
        desk.session.batch(&format!(
            "GRANT SELECT ON caliber_artifact, caliber_scope, caliber_note TO verify_reader;
             INSERT INTO caliber_artifact (trajectory_id, scope_id, artifact_type, name, content, content_hash, provenance, embedding)
                 SELECT {TASK}, {SCOPE}, 'fact', CASE WHEN i > 400 THEN 'ours' ELSE 'theirs' END, '', '', '{{}}', ARRAY[1, i / 1000.0, 0]::real[]::vector FROM generate_series(1, 403) i;
             INSERT INTO caliber_note (note_type, title, content, content_hash, embedding)
                 SELECT 'fact', CASE WHEN i > 400 THEN 'ours' ELSE 'theirs' END, '', '', ARRAY[1, i / 1000.0, 0]::real[]::vector FROM generate_series(1, 403) i;
             ALTER TABLE caliber_artifact ENABLE ROW LEVEL SECURITY; CREATE POLICY ours ON caliber_artifact USING (name = 'ours');
             ALTER TABLE caliber_note ENABLE ROW LEVEL SECURITY; CREATE POLICY ours ON caliber_note USING (title = 'ours');
             SET ROLE verify_reader"
        ))?;
        for (search, wanted) in [
            ("(item).name FROM caliber_artifact_search('[1,0,0]', 2)", "2 ours"),
            ("(item).name FROM caliber_artifact_search('[1,0,0]', 10)", "3 ours"),
            ("(item).name FROM caliber_artifact_search('[1,0,0]', 10, '00000000-0000-7000-8000-000000000001')", "3 ours"),
            ("(item).title AS name FROM caliber_note_search('[1,0,0]', 10)", "3 ours"),
        ] {
            let sql = format!("SELECT count(*), string_agg(DISTINCT name, ',') FROM (SELECT {search}) x");
            let found = rows(&mut desk.session, &sql)?;
            ensure!(found == [wanted], "{name}: {sql}: {found:?}");
        }
        desk.session.batch("RESET ROLE")?;
    }
    Ok(Outcome::Passed("4 searches".to_owned()))
}

fn other_indexes(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let name = desk.engine.name();
        write(&mut desk.session)?;
        let index = "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'caliber_note'::regclass AND pg_get_indexdef(indexrelid) LIKE '%hnsw%'";
        let ours = desk.session.value(index)?.unwrap_or_default();
        // Another name, and other indexes beside it that a planner might like.
        desk.session
            .batch(&format!("ALTER INDEX {ours} RENAME TO renamed"))?;
        let others = [
            "USING hnsw ((embedding::vector(3)) vector_l2_ops) WHERE vector_dims(embedding) = 3",
            "USING hnsw ((embedding::vector(3)) vector_cosine_ops) WHERE vector_dims(embedding) = 3 AND note_type = 'fact'",
            "USING hnsw ((embedding::halfvec(3)) halfvec_cosine_ops) WHERE vector_dims(embedding) = 3",
            "USING ivfflat ((embedding::vector(3)) vector_cosine_ops) WITH (lists = 20) WHERE vector_dims(embedding) = 3",
            "(note_id) WHERE vector_dims(embedding) = 3",
        ];
        for other in others {
            desk.session
                .batch(&format!("CREATE INDEX ON caliber_note {other}"))?;
        }
        let queries = [embedding(30, 3), embedding(61, 3)];
        compare(desk, &queries, &[1, 24])?;
        // An invalid one does not serve, nor do the others.
        let search = "SELECT count(*) FROM caliber_note_search('[1,2,3]', 100)";
        for (spoil, mend) in [
            (
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'renamed'::regclass",
                "REINDEX INDEX renamed",
            ),
            ("DROP INDEX renamed", "SELECT caliber_init(3)"),
        ] {
            desk.session.batch(spoil)?;
            let error = desk.session.error(search)?;
            ensure!(
                error.sqlstate == "55000"
                    && error.hint.as_deref()
                        == Some("Run caliber_init(embedding_dimensions => 3)."),
                "{name}: {spoil}: {error}"
            );
            desk.session.batch(mend)?;
            ensure!(rows(&mut desk.session, search)? == ["24"], "{name}: {mend}");
        }
        compare(desk, &queries, &[1, 24])?;
        // Through the index, also when the table is tiny: no sequential scan.
        if desk.engine == Engine::Heap {
            let scans = scans(&mut desk.session, "caliber_note", search)?;
            ensure!(scans == 0, "{scans} sequential scans");
        }
    }
    Ok(Outcome::Passed("5 other indexes".to_owned()))
}
