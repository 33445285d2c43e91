//! No space: a full disk in the middle of a write, and a limit on temporary
//! files in the middle of a read. The call fails as plain SQL does, leaves
//! nothing half done, and goes on when there is space again.

use super::desk::{self, Desk};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::server::SMALL;
use anyhow::{bail, ensure, Context as _, Result};

/// All tests.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "space::disk_full",
            "a call that finds the disk full leaves nothing half done",
            disk_full,
        ),
        Test::new(
            "space::temp_file_limit",
            "a list that may not spill fails as plain SQL does, and leaves no file",
            temp_file_limit,
        ),
    ]
}

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::Client];

const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'one');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget)
    VALUES ('00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001', 'scope', 8);";

/// A turn of 400,000 characters that do not compress.
fn turn(desk: &Desk, sequence: u32) -> String {
    let content = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 12500) n)";
    let scope = "00000000-0000-7000-8000-000000000002";
    match desk.engine {
        Engine::Client => format!(
            "INSERT INTO caliber_turn SELECT gen_random_uuid(), '{scope}', {sequence}, 'user', {content}, 0, now(), NULL, NULL, NULL"
        ),
        _ => format!("SELECT caliber_turn_create('{scope}', {sequence}, 'user', {content})"),
    }
}

/// What has no space: the table with its long values, or an index of it.
const PLACES: [(&str, &str); 2] = [
    ("heap", "ALTER TABLE caliber_turn SET TABLESPACE"),
    ("index", "ALTER INDEX caliber_turn_pkey SET TABLESPACE"),
];

fn disk_full(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{ROWS} {ARTIFACT};
        SELECT caliber_agent_register('worker', id => '00000000-0000-7000-8000-000000000009');"
    );
    let mut desks = desk::open(context, &ENGINES, &prepare)?;
    let Some(first) = desks.first_mut() else {
        bail!("no desks")
    };
    let there = first.session.value(&format!(
        "SELECT count(*) FROM pg_ls_dir('{SMALL}', true, true) WHERE pg_ls_dir = '.'"
    ))?;
    if there.as_deref() != Some("1") {
        return Ok(Outcome::NotCovered(
            "this server has no small file system".to_owned(),
        ));
    }
    let made = "SELECT 1 FROM pg_tablespace WHERE spcname = 'small'";
    if first.session.value(made)?.is_none() {
        first
            .session
            .batch(&format!("CREATE TABLESPACE small LOCATION '{SMALL}'"))?;
    }
    // One after the other: they share the space.
    let mut words = Vec::new();
    for desk in &mut desks {
        for (place, alter) in PLACES {
            desk.session.batch(&format!("{alter} small"))?;
            let acknowledged = fill(desk, place)?;
            let written = desk.session.value("SELECT count(*) FROM caliber_turn")?;
            ensure!(
                written == Some(acknowledged.to_string()),
                "{}: {place}: {acknowledged} were acknowledged, {written:?} are there",
                desk.engine.name()
            );
            truth(desk)?;
            words.push(acknowledged.to_string());
            // With space again, it goes on. (TRUNCATE makes new files beside the old.)
            desk.session.batch(&format!("{alter} pg_default"))?;
            desk.session.batch("TRUNCATE caliber_turn")?;
            let sql = turn(desk, 0);
            desk.session.batch(&sql)?;
            desk.session.batch("TRUNCATE caliber_turn")?;
        }
    }
    for desk in &mut desks {
        for what in &ONCE {
            refused_once(desk, what)
                .with_context(|| format!("{}: {}", desk.engine.name(), what.place))?;
        }
    }
    Ok(Outcome::Passed(format!(
        "turns until then: {}; {} other calls",
        words.join(", "),
        ONCE.len()
    )))
}

/// A call that needs a new page at once.
struct Once {
    /// What has no space.
    place: &'static str,
    /// The table of the call.
    table: &'static str,
    call: &'static str,
    /// None: it is judged by what is left.
    client: Option<&'static str>,
}

const ARTIFACT: &str = "SELECT caliber_artifact_create('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002',
    'fact', 'n', 'short', id => '00000000-0000-7000-8000-000000000003')";

const ONCE: [Once; 5] = [
    Once {
        place: "TABLE caliber_artifact",
        table: "caliber_artifact",
        call: "SELECT caliber_artifact_update('00000000-0000-7000-8000-000000000003',
            jsonb_build_object('content', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 12500) n)))",
        client: Some("UPDATE caliber_artifact SET content = t, content_hash = sha256(convert_to(t, 'UTF8')), updated_at = now()
            FROM (SELECT string_agg(md5(n::text), '') AS t FROM generate_series(1, 12500) n) c
            WHERE artifact_id = '00000000-0000-7000-8000-000000000003'"),
    },
    Once {
        place: "INDEX caliber_note_source_trajectory_ids_idx",
        table: "caliber_note",
        call: "SELECT caliber_note_create('fact', 't', 'c', '{00000000-0000-7000-8000-000000000001}')",
        client: Some("INSERT INTO caliber_note (note_type, title, content, content_hash, source_trajectory_ids)
            VALUES ('fact', 't', 'c', sha256('c'), '{00000000-0000-7000-8000-000000000001}')"),
    },
    Once {
        place: "TABLE caliber_lock",
        table: "caliber_lock",
        call: "SELECT caliber_lock_acquire('00000000-0000-7000-8000-000000000009', 'file', '00000000-0000-7000-8000-000000000001', level => 'lease')",
        client: None,
    },
    Once {
        place: "TABLE caliber_lock",
        table: "caliber_lock",
        call: "SELECT caliber_lock_acquire('00000000-0000-7000-8000-000000000009', 'file', '00000000-0000-7000-8000-000000000001', level => 'session')",
        client: None,
    },
    Once {
        place: "TABLE caliber_lock",
        table: "caliber_lock",
        call: "SELECT caliber_lock_acquire('00000000-0000-7000-8000-000000000009', 'file', '00000000-0000-7000-8000-000000000001', level => 'transaction')",
        client: None,
    },
];

/// The call finds no space, leaves nothing, and succeeds when there is some.
fn refused_once(desk: &mut Desk, what: &Once) -> Result<()> {
    let sql = match what.client {
        Some(client) => desk.text(what.call, client),
        None if desk.engine == Engine::Client => return Ok(()),
        None => what.call,
    };
    let rows = format!(
        "SELECT md5(coalesce(string_agg(t::text, ' '), '')) FROM {} t",
        what.table
    );
    let before = desk.session.value(&rows)?;
    desk.session
        .batch(&format!("ALTER {} SET TABLESPACE small", what.place))?;
    take_the_space(desk)?;
    let error = desk.session.error(sql)?;
    ensure!(
        error.sqlstate == "53100" && error.message.starts_with("could not extend file"),
        "{error}"
    );
    truth(desk)?;
    let after = desk.session.value(&rows)?;
    ensure!(before == after, "{} has changed", what.table);
    desk.session.batch("DROP TABLE filler")?;
    let answer = desk.session.run(sql);
    ensure!(answer.is_ok(), "with space again: {answer:?}");
    desk.session.batch(&format!(
        "ALTER {} SET TABLESPACE pg_default; SELECT caliber_lock_release(lock_id) FROM caliber_lock; TRUNCATE caliber_lock",
        what.place
    ))
}

/// Fills the small file system.
fn take_the_space(desk: &mut Desk) -> Result<()> {
    desk.session
        .batch("CREATE TABLE filler (t text) TABLESPACE small")?;
    let error = desk
        .session
        .error("INSERT INTO filler SELECT repeat('x', 2000) FROM generate_series(1, 5000)")?;
    ensure!(error.sqlstate == "53100", "the filler: {error}");
    Ok(())
}

/// Writes until the disk is full, with what a rollback to a savepoint undoes in
/// between; returns how many were acknowledged.
fn fill(desk: &mut Desk, place: &str) -> Result<u32> {
    // An index grows slowly: what else is in its file system takes the space.
    if place != "heap" {
        take_the_space(desk)?;
    }
    let mut sequence = 0;
    let error = loop {
        ensure!(
            sequence < 3000,
            "{}: {place} never fills",
            desk.engine.name()
        );
        let sql = if place == "heap" {
            turn(desk, sequence)
        } else {
            turn(desk, sequence).replace("12500", "1")
        };
        match desk.session.run(&sql) {
            Ok(_) => sequence += 1,
            Err(crate::session::Failure::Error(error)) => break error,
            Err(lost) => bail!("{}: {place}: {lost}", desk.engine.name()),
        }
    };
    ensure!(
        error.sqlstate == "53100" && error.message.starts_with("could not extend file"),
        "{}: {place}: {error}",
        desk.engine.name()
    );
    if place != "heap" {
        desk.session.batch("DROP TABLE filler")?;
    }
    Ok(sequence)
}

fn truth(desk: &mut Desk) -> Result<()> {
    let problems = desk
        .session
        .value("SELECT string_agg(concat_ws(' ', relation, index, item, problem), E'\\n') FROM caliber_check()")?;
    ensure!(problems.is_none(), "{}: {problems:?}", desk.engine.name());
    let locks = desk.session.value(
        "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND (locktype = 'advisory' OR locktype = 'relation'
         AND relation IN (SELECT oid FROM pg_class WHERE relname LIKE 'caliber\\_%'))",
    )?;
    ensure!(locks.as_deref() == Some("0"), "{locks:?} locks are left");
    Ok(())
}

fn temp_file_limit(context: &Context) -> Result<Outcome> {
    let rows = format!(
        "{ROWS} INSERT INTO caliber_turn (scope_id, sequence, role, content, token_count)
         SELECT '00000000-0000-7000-8000-000000000002', n, 'user', repeat(md5(n::text), 30), 0 FROM generate_series(0, 1999) n"
    );
    let mut desks = desk::open(context, &ENGINES, &rows)?;
    let call =
        "SELECT count(*) FROM caliber_turn_get_by_scope('00000000-0000-7000-8000-000000000002') t";
    // What spills in plain SQL is a sort.
    let client = "SELECT count(*) FROM (SELECT x.* FROM caliber_turn x ORDER BY content || sequence OFFSET 0) t";
    for desk in &mut desks {
        desk.session
            .batch("SET work_mem = '64kB'; SET temp_file_limit = '128kB'")?;
    }
    desk::same_error(&mut desks, call, client, "53400")?;
    for desk in &mut desks {
        let left = desk.session.value("SELECT count(*) FROM pg_ls_tmpdir() WHERE name LIKE format('pgsql_tmp%s.%%', pg_backend_pid())")?;
        ensure!(left.as_deref() == Some("0"), "{left:?} files are left");
        let sql = desk.text(call, client).to_owned();
        desk.session.batch("RESET temp_file_limit")?;
        let all = desk.session.value(&sql)?;
        ensure!(all.as_deref() == Some("2000"), "{all:?}");
    }
    Ok(Outcome::Passed(String::new()))
}
