//! Embeddings and what finds rows by their content: nearest neighbours through
//! HNSW and exactly, sources of notes through GIN, hashes.

mod content;
mod gin;
mod place;
mod twins;

use super::desk::{self, Desk};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "search::as_computed",
            "what the index finds is what a computation of all distances finds, whatever was written",
            as_computed,
        ),
        Test::new(
            "search::dimensions",
            "each dimension has its own index, vector or halfvec; without one 55000 says what to do",
            dimensions,
        ),
        Test::new(
            "search::what_ended_does_not_count",
            "expired, closed and superseded rows do not use up k, however many are nearer",
            does_not_count,
        ),
        Test::new(
            "search::own_writes",
            "a search sees what its own statement and transaction wrote, and not what was rolled back",
            own_writes,
        ),
        Test::new(
            "search::arguments",
            "k from 1 to 1000; a query without direction; superseded rows are listed",
            arguments,
        ),
        Test::new(
            "search::bad_vectors",
            "what pgvector refuses is refused in its words",
            bad_vectors,
        ),
    ];
    tests.extend(place::tests());
    tests.extend(twins::tests());
    tests.extend(gin::tests());
    tests.extend(content::tests());
    tests
}

pub(super) const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// Two tasks with a scope each.
pub(super) const SCENE: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES
    ('00000000-0000-7000-8000-000000000001', 'one'), ('00000000-0000-7000-8000-000000000002', 'two');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES
    ('00000000-0000-7000-8000-000000000011', '00000000-0000-7000-8000-000000000001', 'one', 9),
    ('00000000-0000-7000-8000-000000000012', '00000000-0000-7000-8000-000000000002', 'two', 9);
";
pub(super) const TASK: &str = "'00000000-0000-7000-8000-000000000001'";
pub(super) const SCOPE: &str = "'00000000-0000-7000-8000-000000000011'";

/// Rows as text.
pub(super) fn rows(session: &mut Session, sql: &str) -> Result<Vec<String>> {
    let reply = session
        .query(sql)
        .map_err(|e| anyhow::anyhow!("{e}\n{sql}"))?;
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    let line = |row: Vec<Option<String>>| row.into_iter().map(cell).collect::<Vec<_>>().join(" ");
    Ok(reply.rows.into_iter().map(line).collect())
}

/// How often the sequential scans of a table grow while a read runs.
pub(super) fn scans(session: &mut Session, table: &str, read: &str) -> Result<i64> {
    let count = format!("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = '{table}'");
    session.batch("BEGIN")?;
    let count = |session: &mut Session| -> Result<i64> {
        Ok(session.value(&count)?.unwrap_or_default().parse()?)
    };
    let before = count(session)?;
    rows(session, read)?;
    let after = count(session)?;
    session.batch("COMMIT")?;
    Ok(after - before)
}

/// A direction that no other number from 0 to 99 has, of any length.
fn embedding(number: usize, dimensions: usize) -> String {
    let axis = |axis: usize| match axis {
        0 => format!("{}", 1 + number % 7),
        1 => format!("{}", 1 + (number * 37) % 101),
        _ => format!("{}", (number * (axis + 11)) % 17),
    };
    let axes: Vec<String> = (0..dimensions).map(axis).collect();
    format!("'[{}]'", axes.join(","))
}

/// The three searches, and the computation that each must equal: `@q` is the
/// query, `@k` how many.
const SEARCHES: [(&str, &str); 3] = [
    (
        "SELECT (item).artifact_id, distance FROM caliber_artifact_search(@q, @k)",
        "SELECT artifact_id, embedding <=> @q FROM caliber_artifact WHERE vector_dims(embedding) = vector_dims(@q::vector)
             AND superseded_by IS NULL AND vector_norm(embedding) > 0 ORDER BY 2, 1 LIMIT @k",
    ),
    (
        "SELECT (item).artifact_id, distance FROM caliber_artifact_search(@q, @k, '00000000-0000-7000-8000-000000000001')",
        "SELECT artifact_id, embedding <=> @q FROM caliber_artifact WHERE vector_dims(embedding) = vector_dims(@q::vector)
             AND superseded_by IS NULL AND trajectory_id = '00000000-0000-7000-8000-000000000001' ORDER BY 2, 1 LIMIT @k",
    ),
    (
        "SELECT (item).note_id, distance FROM caliber_note_search(@q, @k)",
        "SELECT note_id, embedding <=> @q FROM caliber_note WHERE vector_dims(embedding) = vector_dims(@q::vector)
             AND superseded_by IS NULL AND vector_norm(embedding) > 0 ORDER BY 2, 1 LIMIT @k",
    ),
];

/// Do all searches find what is computed?
pub(super) fn compare(desk: &mut Desk, queries: &[String], counts: &[usize]) -> Result<()> {
    for query in queries {
        for k in counts {
            for (search, computed) in SEARCHES {
                let fill = |sql: &str| sql.replace("@q", query).replace("@k", &k.to_string());
                let found = rows(&mut desk.session, &fill(search))?;
                let wanted = rows(&mut desk.session, &fill(computed))?;
                ensure!(
                    found == wanted,
                    "{}: {}\nfound  {found:#?}\nwanted {wanted:#?}",
                    desk.engine.name(),
                    fill(search)
                );
            }
        }
    }
    Ok(())
}

/// 24 artifacts, of two tasks, and as many notes: fewer than hnsw.ef_search,
/// so that the index finds all of them.
fn write(session: &mut Session) -> Result<()> {
    for n in 0..24 {
        let (task, scope) = (1 + n % 2, 11 + n % 2);
        let embedding = embedding(n, 3);
        session.batch(&format!(
            "SELECT caliber_artifact_create('00000000-0000-7000-8000-0000000000{task:02}', '00000000-0000-7000-8000-0000000000{scope}', 'fact',
                 'a{n}', 'content', embedding => {embedding}, id => '00000000-0000-7000-8000-0000000001{n:02}');
             SELECT caliber_note_create('fact', 'n{n}', 'content', embedding => {embedding}, id => '00000000-0000-7000-8000-0000000002{n:02}')"
        ))?;
    }
    Ok(())
}

/// Changes of rows 1xx and notes 2xx, by the functions.
static CHANGES: &[&str] = &[
    // Another embedding, of another dimension, none, without direction.
    "caliber_@_update('@@03', '{\"embedding\": [9, 1, 2]}')",
    "caliber_@_update('@@04', '{\"embedding\": [9, 1, 2, 4]}')",
    "caliber_@_update('@@05', '{\"embedding\": null}')",
    "caliber_@_update('@@06', '{\"embedding\": \"[0,0,0]\"}')",
    // The same direction as another row, and back.
    "caliber_@_update('@@07', '{\"embedding\": [9, 1, 2]}')",
    "caliber_@_update('@@03', '{\"embedding\": [1, 8, 3]}')",
    "caliber_@_update('@@05', '{\"embedding\": [3, 3, 3.5]}')",
    // What is not the embedding.
    "caliber_@_update('@@08', '{\"content\": \"other\", \"metadata\": {}}')",
    "caliber_@_update('@@09', '{\"superseded_by\": \"@@10\"}')",
    "caliber_@_delete('@@11')",
    "caliber_@_delete('@@09')",
    "caliber_@_update('@@12', '{\"superseded_by\": \"@@10\"}')",
    "caliber_@_update('@@12', '{\"superseded_by\": null}')",
];

fn as_computed(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    let queries: Vec<String> = [0, 30, 61].map(|n| embedding(n, 3)).into();
    for desk in &mut desks {
        write(&mut desk.session)?;
        compare(desk, &queries, &[1, 5, 24, 1000])?;
        for change in CHANGES {
            for (entity, ids) in [("artifact", "1"), ("note", "2")] {
                let call = change
                    .replace("@@", &format!("00000000-0000-7000-8000-000000000{ids}"))
                    .replace('@', entity);
                let done = desk.session.value(&format!("SELECT {call}"))?;
                ensure!(done.as_deref() == Some("t"), "{call}: {done:?}");
            }
            compare(desk, &queries[1..2], &[24])?;
        }
        compare(desk, &queries, &[1, 5, 24, 1000])?;
        // What vacuum and a rebuilt index leave is the same.
        desk.session.batch("VACUUM caliber_artifact")?;
        desk.session.batch("REINDEX TABLE caliber_note")?;
        compare(desk, &queries, &[1, 24])?;
    }
    Ok(Outcome::Passed(format!("{} changes", CHANGES.len())))
}

fn dimensions(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let name = desk.engine.name();
        for n in [2, 5, 2000, 2001, 4000] {
            let query = embedding(40, n);
            for function in ["caliber_artifact_search", "caliber_note_search"] {
                let error = desk
                    .session
                    .error(&format!("SELECT * FROM {function}({query})"))?;
                ensure!(
                    error.sqlstate == "55000"
                        && error.hint
                            == Some(format!("Run caliber_init(embedding_dimensions => {n}).")),
                    "{name}: {function}: {error}"
                );
            }
            for row in 0..12 {
                let embedding = embedding(row, n);
                desk.session.batch(&format!(
                    "SELECT caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'a', '', embedding => {embedding});
                     SELECT caliber_note_create('fact', 'n', '', embedding => {embedding})"
                ))?;
            }
            // Made before the rows or after them.
            desk.session.batch(&format!("SELECT caliber_init({n})"))?;
            for row in 12..20 {
                let embedding = embedding(row, n);
                desk.session.batch(&format!(
                    "SELECT caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'a', '', embedding => {embedding});
                     SELECT caliber_note_create('fact', 'n', '', embedding => {embedding})"
                ))?;
            }
            compare(desk, &[query], &[1, 20])?;
        }
        // Too many for any index; within a task they can be compared.
        let query = embedding(1, 4001);
        let error = desk
            .session
            .error(&format!("SELECT * FROM caliber_note_search({query})"))?;
        ensure!(
            error.sqlstate == "55000"
                && error.hint.as_deref()
                    == Some("Embeddings of more than 4000 dimensions cannot be indexed."),
            "{name}: {error}"
        );
        desk.session.batch(&format!(
            "SELECT caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'a', '', embedding => {query})"
        ))?;
        let found = desk.session.value(&format!(
            "SELECT count(*) FROM caliber_artifact_search({query}, 10, {TASK})"
        ))?;
        ensure!(found.as_deref() == Some("1"), "{name}: {found:?}");
    }
    Ok(Outcome::Passed("2 to 4001 dimensions".to_owned()))
}

fn does_not_count(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        // 600 rows that have ended, all nearer than 5 that live: many times
        // hnsw.ef_search and more than one batch of a cursor.
        desk.session.batch(&format!(
            "INSERT INTO caliber_artifact (artifact_id, trajectory_id, scope_id, artifact_type, name, content, content_hash, provenance, ttl, created_at, embedding)
                 SELECT ('00000000-0000-7000-8000-000000001' || to_char(i, 'FM000'))::uuid, {TASK}, {SCOPE}, 'fact', i, '', '', '{{}}',
                     CASE i % 2 WHEN 0 THEN 'ephemeral' ELSE 'short_term' END, '2020-01-01', ARRAY[1, i / 10000.0, 0]::real[]::vector
                 FROM generate_series(1, 600) i;
             INSERT INTO caliber_note (note_id, note_type, title, content, content_hash, ttl, created_at, embedding)
                 SELECT ('00000000-0000-7000-8000-000000001' || to_char(i, 'FM000'))::uuid, 'fact', i, '', '',
                     CASE i % 2 WHEN 0 THEN 'persistent' ELSE 'short_term' END, '2020-01-01', ARRAY[1, i / 10000.0, 0]::real[]::vector
                 FROM generate_series(1, 600) i;
             UPDATE caliber_note SET superseded_by = '00000000-0000-7000-8000-000000001001' WHERE ttl = 'persistent';
             SELECT caliber_scope_close({SCOPE})"
        ))?;
        let session = &mut desk.session;
        for (search, insert) in [
            (
                "SELECT count(*), min((item).name), max(distance) < 2 FROM caliber_artifact_search('[1,0,0]', @k)",
                format!("SELECT caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'live', '', embedding => '[-1,0.1,1]') FROM generate_series(1, 5)"),
            ),
            (
                "SELECT count(*), min((item).name), max(distance) < 2 FROM caliber_artifact_search('[1,0,0]', @k, '00000000-0000-7000-8000-000000000001')",
                "SELECT 1".to_owned(),
            ),
            (
                "SELECT count(*), min((item).title), max(distance) < 2 FROM caliber_note_search('[1,0,0]', @k)",
                "SELECT caliber_note_create('fact', 'live', '', embedding => '[-1,0.1,1]') FROM generate_series(1, 5)".to_owned(),
            ),
        ] {
            session.batch(&insert)?;
            for (k, wanted) in [(1, "1 live t"), (3, "3 live t"), (1000, "5 live t")] {
                let sql = search.replace("@k", &k.to_string());
                let found = rows(session, &sql)?;
                ensure!(found == [wanted], "{}: {sql}: {found:?}", desk.engine.name());
            }
        }
    }
    Ok(Outcome::Passed("600 rows that ended".to_owned()))
}

fn own_writes(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let name = desk.engine.name();
        let session = &mut desk.session;
        let check = |session: &mut Session, sql: &str, wanted: &str| {
            let found = session.value(sql)?.unwrap_or_default();
            ensure!(found == wanted, "{name}: {sql}: {found}");
            Ok(())
        };
        let count = "concat_ws(' ', (SELECT count(*) FROM caliber_artifact_search('[1,1,1]', @k)),
            (SELECT count(*) FROM caliber_artifact_search('[1,1,1]', @k, '00000000-0000-7000-8000-000000000001')),
            (SELECT count(*) FROM caliber_note_search('[1,1,1]', @k)))";
        let plain = format!("SELECT {}", count.replace("@k", "10"));
        let dependent = count.replace("@k", "CASE WHEN ok THEN 10 END");
        let make = format!(
            "caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'a', '', embedding => '[1,2,3]') IS NOT NULL
             AND caliber_note_create('fact', 'n', '', embedding => '[1,2,3]') IS NOT NULL"
        );
        let statement =
            format!("WITH w AS MATERIALIZED (SELECT {make} AS ok) SELECT {dependent} FROM w");
        session.batch("BEGIN")?;
        check(session, &plain, "0 0 0")?;
        check(session, &statement, "1 1 1")?;
        check(session, &plain, "1 1 1")?;
        session.batch("SAVEPOINT s")?;
        check(session, &statement, "2 2 2")?;
        session.batch("ROLLBACK TO s")?;
        check(session, &plain, "1 1 1")?;
        session.batch("COMMIT")?;
        // Gone in the statement that deletes or supersedes.
        let gone = "(SELECT bool_and(caliber_artifact_delete(artifact_id)) FROM caliber_artifact)
            AND (SELECT bool_and(caliber_note_update(note_id, '{\"ttl\": \"duration:1\"}')) FROM caliber_note) AND pg_sleep(0.01) IS NOT NULL";
        let statement =
            format!("WITH w AS MATERIALIZED (SELECT {gone} AS ok) SELECT {dependent} FROM w");
        session.batch("BEGIN")?;
        check(session, &statement, "0 0 0")?;
        session.batch("ROLLBACK")?;
        check(session, &plain, "1 1 1")?;
        check(session, "SELECT count(*) FROM caliber_artifact_search('[1,1,1]') a, LATERAL caliber_artifact_search((a.item).embedding)", "1")?;
    }
    Ok(Outcome::Passed("3 searches".to_owned()))
}

fn arguments(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for function in ["caliber_artifact_search", "caliber_note_search"] {
        for (arguments, sqlstate) in [
            ("NULL", "22004"),
            ("'[1,2,3]', NULL", "22004"),
            ("'[1,2,3]', 0", "22023"),
            ("'[1,2,3]', -5", "22023"),
            ("'[1,2,3]', 1001", "22023"),
            ("'[1,2,3,4]', 1001", "22023"),
            ("'[1,2,3,4]'", "55000"),
        ] {
            let call = format!("SELECT * FROM {function}({arguments})");
            desk::same_error(&mut desks, &call, "", sqlstate)?;
        }
        let call = format!("SELECT * FROM {function}('[1,2,3]', 0)");
        let error = desk::same_error(&mut desks, &call, "", "22023")?;
        ensure!(
            error.message == "\"k\" must be between 1 and 1000, not 0",
            "{error}"
        );
    }
    for desk in &mut desks {
        write(&mut desk.session)?;
        let session = &mut desk.session;
        for (sql, wanted) in [
            // Nothing is nearer than anything else, and nothing is a number.
            ("SELECT count(*), bool_and(distance = 'NaN') FROM caliber_artifact_search('[0,0,0]', 9)", "9 t"),
            ("SELECT count(*), bool_and(distance = 'NaN') FROM caliber_artifact_search('[0,0,0]', 9, '00000000-0000-7000-8000-000000000001')", "9 t"),
            ("SELECT count(*), count(distance) FROM caliber_artifact_search('[1,2,3]', 9, '00000000-0000-7000-8000-0000000000ff')", "0 0"),
            // All columns, as the row is.
            ("SELECT count(*) FILTER (WHERE a = s.item), count(*) FROM caliber_artifact_search('[1,2,3]', 100) s JOIN caliber_artifact a ON a.artifact_id = (item).artifact_id", "24 24"),
            ("SELECT count(*) FILTER (WHERE a = s.item), count(*) FROM caliber_note_search('[1,2,3]', 100) s JOIN caliber_note a ON a.note_id = (item).note_id", "24 24"),
            // In the select list too.
            ("SELECT count(*) FROM (SELECT caliber_note_search('[1,2,3]', 7)) x", "7"),
        ] {
            let found = rows(session, sql)?;
            ensure!(found == [wanted], "{}: {sql}: {found:?}", desk.engine.name());
        }
    }
    Ok(Outcome::Passed("14 refusals".to_owned()))
}

fn bad_vectors(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    let create = |embedding: &str| {
        format!("SELECT caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'a', '', embedding => {embedding})")
    };
    for (call, sqlstate) in [
        (create("'[NaN,1]'"), "22000"),
        (create("'[Infinity,1]'"), "22000"),
        (create("'[]'"), "22000"),
        (create("'[1,a]'"), "22P02"),
        (create("array_fill(1, ARRAY[16001])::vector"), "54000"),
        (
            "SELECT caliber_note_create('fact', 'n', '', embedding => '[NaN]')".to_owned(),
            "22000",
        ),
        (
            "SELECT caliber_note_update(caliber_new_id(), '{\"embedding\": \"[NaN]\"}')".to_owned(),
            "22000",
        ),
        (
            "SELECT caliber_note_update(caliber_new_id(), '{\"embedding\": []}')".to_owned(),
            "22000",
        ),
        (
            "SELECT caliber_note_update(caliber_new_id(), '{\"embedding\": [1e39]}')".to_owned(),
            "22003",
        ),
        (
            "SELECT caliber_note_update(caliber_new_id(), '{\"embedding\": [1, \"2\"]}')"
                .to_owned(),
            "22023",
        ),
        (
            "SELECT caliber_note_update(caliber_new_id(), '{\"embedding\": {}}')".to_owned(),
            "22023",
        ),
    ] {
        desk::same_error(&mut desks, &call, "", sqlstate)?;
    }
    // A halfvec takes no more than 65504: the index refuses, as for SQL.
    for desk in &mut desks {
        desk.session.batch("SELECT caliber_init(2001)")?;
    }
    let large = "array_fill(70000, ARRAY[2001])::vector";
    let error = desk::same_error(&mut desks, &create(large), "", "22003")?;
    for desk in &mut desks {
        let insert = format!(
            "INSERT INTO caliber_artifact (trajectory_id, scope_id, artifact_type, name, content, content_hash, provenance, embedding)
             VALUES ({TASK}, {SCOPE}, 'fact', 'a', '', '', '{{}}', {large})"
        );
        let plain = desk.session.error(&insert)?;
        ensure!(plain.message == error.message, "{error}\n{plain}");
    }
    Ok(Outcome::Passed("12 refusals".to_owned()))
}
