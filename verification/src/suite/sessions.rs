//! What outlives a call in a session: kept plans, and sets in open cursors.

use super::desk;
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test, PASSED};
use anyhow::{ensure, Context as _, Result};

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "sessions::extension_made_anew",
            "a session goes on after the extension was dropped and created again",
            made_anew,
        ),
        Test::new(
            "sessions::cursor_over_a_list",
            "a cursor over a list keeps long values of rows that a savepoint took back",
            cursor,
        ),
        Test::new(
            "sessions::lock_key_by_bytes",
            "the key of a resource is made of bytes, whatever the database's encoding",
            lock_key,
        ),
    ]
}

/// The types have other OIDs afterwards: nothing may remember the old ones.
fn made_anew(context: &Context) -> Result<Outcome> {
    let calls = "
        SELECT caliber_trajectory_create('t', id => '00000000-0000-7000-8000-000000000001');
        SELECT caliber_scope_create('00000000-0000-7000-8000-000000000001', 's', id => '00000000-0000-7000-8000-000000000002');
        SELECT caliber_artifact_create('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002',
            'fact', 'n', 'c', embedding => '[1,2,3]');
        SELECT count(*) FROM caliber_turn_create_many('00000000-0000-7000-8000-000000000002', '[{\"role\": \"user\", \"content\": \"c\"}]');
        SELECT count(*) FROM caliber_artifact_search('[1,2,3]', 5, '00000000-0000-7000-8000-000000000001');
        SELECT count(*) FROM caliber_turn_get_by_scope('00000000-0000-7000-8000-000000000002');";
    for mut desk in desk::open(context, &ENGINES, calls)? {
        desk.session
            .batch("DROP EXTENSION vector CASCADE; CREATE EXTENSION caliber_pg CASCADE")?;
        desk.session.value("SELECT caliber_init()")?;
        desk.session
            .batch(calls)
            .with_context(|| desk.engine.name())?;
    }
    Ok(PASSED)
}

fn cursor(context: &Context) -> Result<Outcome> {
    let prepare = "
        ALTER TABLE caliber_turn ALTER content SET STORAGE EXTERNAL;
        SELECT caliber_trajectory_create('t', id => '00000000-0000-7000-8000-000000000001');
        SELECT caliber_scope_create('00000000-0000-7000-8000-000000000001', 's', id => '00000000-0000-7000-8000-000000000002');";
    for mut desk in desk::open(context, &ENGINES, prepare)? {
        let mut other = desk.database.connect()?;
        desk.session.batch(
            "BEGIN;
             DECLARE c CURSOR FOR SELECT length(content) FROM caliber_turn_get_by_scope('00000000-0000-7000-8000-000000000002');
             SAVEPOINT a;
             SELECT caliber_turn_create('00000000-0000-7000-8000-000000000002', n, 'user', repeat('x', 100000)) FROM generate_series(1, 3) n;
             FETCH 1 FROM c;
             ROLLBACK TO a",
        )?;
        // What it cannot cut off it would wait for, 5 s.
        other.batch("VACUUM (TRUNCATE false) caliber_turn")?;
        let length = desk.session.value("FETCH 1 FROM c");
        let length = length.with_context(|| desk.engine.name())?;
        ensure!(
            length.as_deref() == Some("100000"),
            "{}: {length:?}",
            desk.engine.name()
        );
        desk.session.batch("COMMIT")?;
    }
    Ok(PASSED)
}

/// Locks of one resource in databases of other encodings are not one lock, but
/// the key is frozen: the same bytes give the same key.
fn lock_key(context: &Context) -> Result<Outcome> {
    let call = "SELECT caliber_lock_key('é', '00000000-0000-0000-0000-0000000000a1')";
    let expected = Some("-6495434141280846176".to_owned());
    let database = context.server.fresh_database()?;
    let mut admin = database.connect()?;
    let utf8 = admin.value(call)?;
    ensure!(utf8 == expected, "UTF8: {utf8:?}");
    let name = "caliber_sql_ascii";
    admin.batch(&format!("DROP DATABASE IF EXISTS {name}"))?;
    admin.batch(&format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'"
    ))?;
    let target = context.server.target().database(name);
    let mut session = crate::session::Session::connect(&target)?;
    session.batch("CREATE EXTENSION caliber_pg CASCADE")?;
    let ascii = session.value(call)?;
    drop(session);
    admin.batch(&format!("DROP DATABASE {name} WITH (FORCE)"))?;
    ensure!(ascii == expected, "SQL_ASCII: {ascii:?}");
    Ok(PASSED)
}
