//! Notes by source: the GIN index, read through a bitmap.

use super::{rows, scans, ENGINES, SCENE, TASK};
use crate::isolation::{run, Options, Script};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use crate::suite::desk;
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "search::sources",
            "notes are found by each of their sources, once, whatever the array and wherever its index entry is",
            sources,
        ),
        Test::new(
            "search::lossy_pages",
            "a bitmap that does not fit into work_mem gives each row once, in order",
            lossy_pages,
        ),
        Test::new(
            "search::sources_in_mid_statement",
            "a read by source sees what its own statement did, once, and replaces what others committed",
            mid_statement,
        ),
        Test::new(
            "search::sources_serializable",
            "two transactions that read by source and then write do not both commit",
            serializable,
        ),
        Test::new(
            "search::sources_without_index",
            "without its index the heap engine says so; another index does not serve",
            without_index,
        ),
    ]
}

const OTHER: &str = "'00000000-0000-7000-8000-000000000002'";

/// What the function returns and what SQL finds must be the same ids in the
/// same order.
fn same(session: &mut Session, engine: Engine, when: &str) -> Result<usize> {
    let mut count = 0;
    for task in [TASK, OTHER] {
        let found = rows(
            session,
            &format!("SELECT note_id FROM caliber_note_query_by_trajectory({task})"),
        )?;
        let wanted = rows(
            session,
            &format!("SELECT note_id FROM caliber_note WHERE source_trajectory_ids @> ARRAY[{task}::uuid] ORDER BY note_id"),
        )?;
        ensure!(
            found == wanted,
            "{}: {when}: {} rows instead of {}",
            engine.name(),
            found.len(),
            wanted.len()
        );
        count += found.len();
        // Pages of it.
        for (n, key) in wanted.iter().enumerate().step_by(1 + wanted.len() / 3) {
            let page = rows(
                session,
                &format!(
                    "SELECT note_id FROM caliber_note_query_by_trajectory({task}, 2, '{key}')"
                ),
            )?;
            ensure!(
                page[..] == wanted[n + 1..wanted.len().min(n + 3)],
                "{}: {when}: the page after {key}",
                engine.name()
            );
        }
    }
    Ok(count)
}

fn sources(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    let mut count = 0;
    for desk in &mut desks {
        let engine = desk.engine;
        let session = &mut desk.session;
        // Arrays that only SQL can write: NULLs, two dimensions, other bounds.
        session.batch(&format!(
            "INSERT INTO caliber_note (note_type, title, content, content_hash, source_trajectory_ids) VALUES
                ('fact', 'null', '', '', ARRAY[NULL, {TASK}, NULL]::uuid[]), ('fact', 'nulls', '', '', ARRAY[NULL, NULL]::uuid[]),
                ('fact', 'two', '', '', ARRAY[[{TASK}, {OTHER}], [{OTHER}, {OTHER}]]::uuid[]), ('fact', 'bounds', '', '', ('[5:6]={{' || {TASK} || ',' || {TASK} || '}}')::uuid[]),
                ('fact', 'long', '', '', (SELECT array_agg(CASE i WHEN 777 THEN {TASK}::uuid ELSE gen_random_uuid() END) FROM generate_series(1, 1000) i)),
                ('fact', 'empty', '', '', '{{}}')"
        ))?;
        for fastupdate in ["on", "off"] {
            session.batch(&format!(
                "ALTER INDEX caliber_note_source_trajectory_ids_idx SET (fastupdate = {fastupdate})"
            ))?;
            for n in 0..30 {
                let sources = match n % 4 {
                    0 => "'{}'".to_owned(),
                    1 => format!("ARRAY[{TASK}]::uuid[]"),
                    2 => format!("ARRAY[{OTHER}, {TASK}, {TASK}]::uuid[]"),
                    _ => format!("ARRAY[gen_random_uuid(), {OTHER}]"),
                };
                session.batch(&format!(
                    "SELECT caliber_note_create('fact', 't', '', {sources})"
                ))?;
            }
            count += same(session, engine, "created")?;
            // HOT updates, others, and deletes.
            session.batch(
                "SELECT caliber_note_touch(note_id) FROM caliber_note;
                 SELECT caliber_note_update(note_id, '{\"title\": \"new\"}') FROM caliber_note;
                 UPDATE caliber_note SET note_type = 'gotcha' WHERE title = 'new' AND note_id::text < '9';
                 UPDATE caliber_note SET source_trajectory_ids = '{}' WHERE note_id IN (SELECT note_id FROM caliber_note ORDER BY note_id DESC LIMIT 5)",
            )?;
            count += same(session, engine, "updated")?;
            session.batch(
                "SELECT caliber_note_delete(note_id) FROM (SELECT note_id FROM caliber_note ORDER BY note_id DESC LIMIT 9) x",
            )?;
            count += same(session, engine, "deleted")?;
            // From the pending list to the index itself, and pruned.
            session.batch("VACUUM caliber_note")?;
            count += same(session, engine, "vacuumed")?;
        }
    }
    Ok(Outcome::Passed(format!("{count} rows read")))
}

fn lossy_pages(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    let mut lossy = 0;
    for desk in &mut desks {
        let session = &mut desk.session;
        // More pages than a bitmap of 64 kB knows line pointers of, with
        // updates on the page and beyond it, and dead ones.
        session.batch(&format!(
            "SET work_mem = '64kB';
             INSERT INTO caliber_note (note_id, note_type, title, content, content_hash, source_trajectory_ids)
                 SELECT caliber_new_id(), 'fact', i, repeat('x', 1800), '', CASE WHEN i % 3 = 0 THEN ARRAY[{TASK}::uuid] WHEN i % 50 = 0 THEN ARRAY[{OTHER}::uuid] ELSE '{{}}' END
                 FROM generate_series(1, 6000) i;
             UPDATE caliber_note SET access_count = 1 WHERE title::int % 5 = 0;
             DELETE FROM caliber_note WHERE title::int % 11 = 0"
        ))?;
        session.batch("VACUUM caliber_note")?;
        session.batch(
            "UPDATE caliber_note SET access_count = 2 WHERE title::int % 7 = 0;
             UPDATE caliber_note SET access_count = 3 WHERE title::int % 14 = 0",
        )?;
        let counter = "SELECT value FROM caliber_counters() WHERE name = 'path.lossy_page'";
        let before: i64 = session.value(counter)?.unwrap_or_default().parse()?;
        same(session, desk.engine, "lossy")?;
        // Our own versions beside the old ones.
        session.batch(
            "BEGIN; SELECT caliber_note_touch(note_id) FROM caliber_note WHERE title::int % 4 = 0",
        )?;
        same(session, desk.engine, "touched")?;
        session.batch("ROLLBACK")?;
        let after: i64 = session.value(counter)?.unwrap_or_default().parse()?;
        if desk.engine == Engine::Heap {
            lossy = after - before;
            ensure!(lossy > 0, "no page was lossy");
        }
    }
    Ok(Outcome::Passed(format!("{lossy} lossy pages")))
}

/// What the other session does, what we do then, and what we read: the titles
/// that have the task among their sources. `@` is the id of the note.
static CASES: [(&str, &str, &str); 5] = [
    (
        "caliber_note_update(@, '{\"title\": \"theirs\"}')",
        "caliber_note_update(@, '{\"content\": \"ours\"}')",
        "theirs",
    ),
    (
        "caliber_note_update(@, '{\"superseded_by\": null, \"title\": \"theirs\"}')",
        "caliber_note_touch(@)",
        "theirs",
    ),
    // Not HOT: an index of the user's.
    (
        "caliber_note_update(@, '{\"ttl\": \"session\"}')",
        "caliber_note_update(@, '{\"title\": \"ours\"}')",
        "ours",
    ),
    (
        "caliber_note_update(@, '{\"title\": \"theirs\"}')",
        "caliber_note_delete(@)",
        "nothing",
    ),
    (
        "caliber_note_update(@, '{\"title\": \"theirs\"}')",
        "caliber_note_create('fact', 'new', '') IS NOT NULL",
        "before",
    ),
];

fn mid_statement(context: &Context) -> Result<Outcome> {
    // As own_writes: SPI cannot be given what the heap engine sees.
    let setup = desk::setup(Engine::Heap);
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let database = context.server.fresh_database()?;
    database
        .connect()?
        .batch("CREATE INDEX ON caliber_note (ttl)")?;
    let note = "'00000000-0000-7000-8000-000000000009'";
    for (theirs, ours, read) in &CASES {
        let fill = |text: &str| text.replace('@', note);
        database.connect()?.batch(&format!(
            "DELETE FROM caliber_note; SELECT caliber_note_create('fact', 'before', '', ARRAY[{TASK}]::uuid[], id => {note})"
        ))?;
        let statement = fill(&format!(
            "WITH waited AS MATERIALIZED (SELECT pg_advisory_xact_lock(7)), wrote AS MATERIALIZED (SELECT {ours} AS ok FROM waited)
             SELECT coalesce((SELECT string_agg(title, ',') FROM caliber_note_query_by_trajectory(CASE WHEN ok THEN {TASK}::uuid END)), 'nothing') FROM wrote"
        ));
        let script = Script::new(2, &setup)
            .step(1, "BEGIN; SELECT pg_advisory_xact_lock(7)")
            .step(0, &statement)
            .step(1, &format!("SELECT {}", fill(theirs)))
            .step(
                1,
                &format!(
                    "SELECT caliber_note_create('fact', 'meanwhile', '', ARRAY[{TASK}]::uuid[])"
                ),
            )
            .step(1, "COMMIT");
        let transcript = run(&database.target, &script, Options::default())?;
        ensure!(
            transcript.waited(1)
                && transcript.answer(1).and_then(|answer| answer.value()) == Some(*read),
            "theirs: {theirs}, ours: {ours}\nexpected {read}:\n{transcript}"
        );
    }
    Ok(Outcome::Passed(format!("{} schedules", CASES.len())))
}

fn serializable(context: &Context) -> Result<Outcome> {
    for engine in [Engine::Heap, Engine::Sql, Engine::Client] {
        for fastupdate in ["on", "off"] {
            let database = context.server.fresh_database()?;
            // Enough notes for a planner to use the index.
            let mut session = database.connect()?;
            session.batch(&format!(
                "ALTER INDEX caliber_note_source_trajectory_ids_idx SET (fastupdate = {fastupdate});
                 INSERT INTO caliber_note (note_type, title, content, content_hash, source_trajectory_ids)
                     SELECT 'fact', 't', '', '', ARRAY[gen_random_uuid()] FROM generate_series(1, 3000) i"
            ))?;
            session.batch("VACUUM ANALYZE caliber_note")?;
            let mut setup = desk::setup(engine);
            setup.push("SET default_transaction_isolation = serializable".to_owned());
            let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
            let read = if engine == Engine::Client {
                format!("SELECT count(*) FROM caliber_note WHERE source_trajectory_ids @> ARRAY[{TASK}::uuid]")
            } else {
                format!("SELECT count(*) FROM caliber_note_query_by_trajectory({TASK})")
            };
            let write =
                format!("SELECT caliber_note_create('fact', 'new', '', ARRAY[{TASK}]::uuid[])");
            let script = Script::new(2, &setup)
                .step(0, &format!("BEGIN; {read}"))
                .step(1, &format!("BEGIN; {read}"))
                .step(0, &write)
                .step(1, &write)
                .step(0, "COMMIT")
                .step(1, "COMMIT");
            let transcript = run(&database.target, &script, Options::default())?;
            let failed = (2..6)
                .filter(|step| transcript.answer(*step).and_then(|a| a.sqlstate()) == Some("40001"))
                .count();
            ensure!(
                failed >= 1,
                "{}, fastupdate = {fastupdate}: nobody failed\n{transcript}",
                engine.name()
            );
        }
    }
    Ok(Outcome::Passed("write skew".to_owned()))
}

fn without_index(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &[Engine::Heap], SCENE)?;
    for desk in &mut desks {
        let session = &mut desk.session;
        session.batch(&format!(
            "SELECT caliber_note_create('fact', 't', '', ARRAY[{TASK}]::uuid[]);
             CREATE INDEX ON caliber_note USING gin (source_trajectory_ids) WHERE title <> '';
             CREATE INDEX ON caliber_note USING gin (source_artifact_ids);
             CREATE INDEX ON caliber_note (source_trajectory_ids)"
        ))?;
        let read = format!("SELECT count(*) FROM caliber_note_query_by_trajectory({TASK})");
        ensure!(rows(session, &read)? == ["1"], "with the index");
        session.batch("DROP INDEX caliber_note_source_trajectory_ids_idx")?;
        let error = session.error(&read)?;
        ensure!(
            error.sqlstate == "55000"
                && error.message
                    == "no usable index on public.caliber_note (source_trajectory_ids)",
            "{error}"
        );
        session.batch("SELECT caliber_init()")?;
        ensure!(rows(session, &read)? == ["1"], "with a new index");
        let scans = scans(session, "caliber_note", &read)?;
        ensure!(scans == 0, "{scans} sequential scans");
    }
    Ok(Outcome::Passed(String::new()))
}
