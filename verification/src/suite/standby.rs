//! A streaming standby: it holds the same rows, answers every read as the
//! primary does, refuses every write, and takes over.

use super::crew::{self, Crew, Nearest};
use super::examples::{self, called};
use crate::runner::{Context, Outcome, Test};
use crate::script::{self, Item};
use crate::server::Own;
use crate::session::Session;
use anyhow::{bail, ensure, Context as _, Result};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "standby::reads",
        "a streaming standby holds the same rows, answers every read, refuses every write, and takes over",
        reads,
    )]
}

const ROWS: &str = include_str!("memory/rows.sql");

/// What a function is asked for, by the name of its argument: some values that
/// the tables have.
const VALUES: [(&str, &str); 20] = [
    ("agent_id", "SELECT agent_id FROM caliber_agent"),
    ("agent_type", "SELECT unnest(ARRAY['keeper', 'worker'])"),
    ("artifact_id", "SELECT artifact_id FROM caliber_artifact"),
    ("artifact_type", "SELECT 'fact'"),
    ("conflict_id", "SELECT conflict_id FROM caliber_conflict"),
    (
        "delegation_id",
        "SELECT delegation_id FROM caliber_delegation",
    ),
    ("handoff_id", "SELECT handoff_id FROM caliber_handoff"),
    ("item_id", "SELECT item_a_id FROM caliber_conflict"),
    ("lock_id", "SELECT lock_id FROM caliber_lock"),
    ("message_id", "SELECT message_id FROM caliber_message"),
    ("note_id", "SELECT note_id FROM caliber_note"),
    ("note_type", "SELECT 'fact'"),
    ("query", "SELECT '[1,2,3]'::vector"),
    ("resource_id", "SELECT resource_id FROM caliber_lock"),
    ("resource_type", "SELECT 'file'"),
    ("scope_id", "SELECT scope_id FROM caliber_scope"),
    ("stale_after", "SELECT '-1 hour'::interval"),
    ("status", "SELECT 'active'"),
    (
        "trajectory_id",
        "SELECT trajectory_id FROM caliber_trajectory",
    ),
    ("turn_id", "SELECT turn_id FROM caliber_turn"),
];

/// Volatile functions that change nothing.
const HARMLESS: [&str; 2] = ["caliber_counters", "caliber_new_id"];

fn reads(context: &Context) -> Result<Outcome> {
    let Some(primary) = Own::start(context.major, &[])? else {
        return Ok(Outcome::NotCovered(
            "a standby is made only of servers in containers".to_owned(),
        ));
    };
    let mut session = primary.connect()?;
    session.batch(ROWS)?;
    let mut crew = Crew::new(
        primary.target(),
        4,
        context.config.seed,
        Nearest::WithoutVacuum,
    )?;
    crew.work(primary.target(), |progress| progress.until(40))?;
    crew.sweep(&mut session)?;
    let standby = primary.standby().context("making a standby")?;
    // These rows come by streaming.
    crew.work(primary.target(), |progress| progress.until(120))?;
    // The locks of sessions that are gone: here nobody asks who is alive. One
    // session holds a lock all the time.
    let resource = "00000000-0000-7000-8000-0000000000f2";
    crew.sweep(&mut session)?;
    session.batch(&format!(
        "SELECT caliber_lock_acquire('00000000-0000-7000-8000-0000000000a1', 'file', '{resource}', 60000, 'exclusive', 'session')"
    ))?;
    let mut follower = standby.connect()?;
    caught_up(&mut session, &mut follower)?;
    ensure!(
        crew::read(&mut session)? == crew::read(&mut follower)?,
        "the standby holds other rows"
    );
    let read = same_answers(&mut session, &mut follower)?;
    let refused = refusals(&mut follower)?;
    unlogged(&mut session, &mut follower)?;
    // Until here, its session held the lock on the primary.
    drop(session);
    take_over(&mut follower, resource)?;
    Ok(Outcome::Passed(format!(
        "{read} functions answer alike, {refused} calls are refused with 25006"
    )))
}

/// Waits until the standby has replayed what the primary has written.
fn caught_up(session: &mut Session, follower: &mut Session) -> Result<()> {
    let place = session
        .value("SELECT pg_current_wal_insert_lsn()")?
        .unwrap_or_default();
    // What is written last may be written late: nobody waited for it.
    session.batch("SELECT pg_switch_wal()")?;
    let began = Instant::now();
    let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{place}'");
    while follower.value(&sql)?.as_deref() != Some("t") {
        ensure!(
            began.elapsed() < Duration::from_secs(60),
            "the standby lags behind"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Every STABLE function, found in the catalog, for many values of its
/// arguments: on both servers, by both engines.
fn same_answers(session: &mut Session, follower: &mut Session) -> Result<usize> {
    let functions = session.query(
        "SELECT p.proname, array_to_string((p.proargnames)[1:p.pronargs - p.pronargdefaults], ',')
         FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
         JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'caliber_pg' WHERE p.provolatile = 's' ORDER BY 1",
    )?;
    let mut read = 0;
    for row in functions.rows {
        let [Some(name), arguments] = &row[..] else {
            bail!("not a function: {row:?}");
        };
        let sql = reading(name, arguments.as_deref().unwrap_or_default())?;
        let wanted = session.query(&sql).with_context(|| name.clone())?.rows;
        let empty = |row: &Vec<Option<String>>| {
            let rows = row.last().cloned().flatten().unwrap_or_default();
            !rows.contains(|c: char| c.is_ascii_alphanumeric())
        };
        ensure!(
            name == "caliber_check" || !wanted.iter().all(empty),
            "{name} finds nothing to compare"
        );
        for engine in ["heap", "sql"] {
            follower.batch(&format!(
                "SELECT caliber_version(); SET caliber.engine = {engine}"
            ))?;
            let got = follower
                .query(&sql)
                .with_context(|| format!("{name}, {engine}"))?
                .rows;
            let other = wanted.iter().zip(&got).find(|(a, b)| a != b);
            ensure!(
                got == wanted,
                "{name}, {engine}: {} answers of {}, {other:?}",
                got.len(),
                wanted.len()
            );
        }
        read += 1;
    }
    follower.batch("RESET caliber.engine")?;
    Ok(read)
}

/// A query that calls a function for some values of its arguments.
fn reading(name: &str, arguments: &str) -> Result<String> {
    let mut from = vec!["(SELECT 1) d0 (v)".to_owned()];
    let mut passed = Vec::new();
    for (n, argument) in arguments.split(',').filter(|a| !a.is_empty()).enumerate() {
        let Some((_, values)) = VALUES.iter().find(|(known, _)| known == &argument) else {
            bail!("no values for the argument {argument} of {name}: add them here");
        };
        let n = n + 1;
        from.push(format!(
            "(SELECT DISTINCT v FROM ({values}) s (v) ORDER BY v LIMIT 25) d{n} (v)"
        ));
        passed.push(format!("d{n}.v"));
    }
    let passed = passed.join(", ");
    let shown = if passed.is_empty() { "1" } else { &passed };
    Ok(format!(
        "SELECT concat_ws(',', {shown}), ARRAY(SELECT f::text FROM {name}({passed}) f) FROM {} ORDER BY 1",
        from.join(", ")
    ))
}

/// Each call of the example: what changes nothing runs, everything else is
/// refused as PostgreSQL refuses a write.
fn refusals(follower: &mut Session) -> Result<usize> {
    let volatile: BTreeSet<String> = follower
        .query("SELECT proname FROM pg_proc WHERE provolatile = 'v' AND proname LIKE 'caliber%'")?
        .column()
        .into_iter()
        .flatten()
        .collect();
    let changes = |name: &String| volatile.contains(name) && !HARMLESS.contains(&name.as_str());
    let (items, _) = script::parse(&examples::read("examples/every_function.sql")?)?;
    let mut calls: Vec<String> = items
        .into_iter()
        .filter_map(|item| match item {
            Item::Statement(statement) => Some(statement),
            Item::Echo(_) => None,
        })
        .collect();
    for level in ["session", "transaction"] {
        calls.push(format!(
            "SELECT caliber_lock_acquire('00000000-0000-7000-8000-0000000000a1', 'file', gen_random_uuid(), level => '{level}');"
        ));
    }
    let mut refused = 0;
    for engine in ["heap", "sql"] {
        follower.batch(&format!("SET caliber.engine = {engine}"))?;
        for call in &calls {
            if called(call).iter().any(changes) {
                let error = follower.error(call)?;
                ensure!(error.sqlstate == "25006", "{engine}: {call}\n{error}");
                refused += 1;
            } else {
                follower
                    .run(call)
                    .with_context(|| format!("{engine}: {call}"))?;
            }
        }
    }
    follower.batch("RESET caliber.engine")?;
    let held = follower.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")?;
    ensure!(
        held.as_deref() == Some("0"),
        "{held:?} locks are left on the standby"
    );
    // SERIALIZABLE is what PostgreSQL itself refuses there.
    let [ours, plain] = [
        "SELECT caliber_agent_get(gen_random_uuid())",
        "SELECT * FROM caliber_agent",
    ]
    .map(|sql| {
        let error = follower.error(&format!("BEGIN ISOLATION LEVEL SERIALIZABLE; {sql}"));
        error.and_then(|error| follower.batch("ROLLBACK").map(|()| error))
    });
    let (ours, plain) = (ours?, plain?);
    ensure!(ours == plain, "SERIALIZABLE: {ours}\nand by SQL: {plain}");
    Ok(refused)
}

/// A table that is not logged has no rows here: every call says of it what SQL says.
fn unlogged(session: &mut Session, follower: &mut Session) -> Result<()> {
    session
        .batch("ALTER TABLE caliber_message SET UNLOGGED; ALTER TABLE caliber_turn SET UNLOGGED")?;
    caught_up(session, follower)?;
    let id = "00000000-0000-7000-8000-0000000000a1";
    let calls = [
        (format!("SELECT caliber_message_get('{id}')"), "SELECT * FROM caliber_message"),
        (format!("SELECT caliber_message_list_for_agent('{id}')"), "SELECT * FROM caliber_message"),
        (format!("SELECT caliber_message_delete('{id}')"), "DELETE FROM caliber_message"),
        (format!("SELECT caliber_message_acknowledge('{id}')"), "UPDATE caliber_message SET acknowledged_at = now()"),
        (
            format!("SELECT caliber_message_send('{id}', NULL, 'worker', 'heartbeat', '')"),
            "INSERT INTO caliber_message (from_agent_id, to_agent_type, message_type, payload) VALUES (NULL, 'worker', 'heartbeat', '')",
        ),
        (
            format!(r#"SELECT caliber_message_send_many('[{{"from_agent_id": "{id}", "to_agent_type": "worker", "message_type": "heartbeat", "payload": ""}}]')"#),
            "INSERT INTO caliber_message (to_agent_type, message_type, payload) SELECT * FROM (VALUES ('worker', 'heartbeat', '')) s RETURNING message_id",
        ),
        (
            format!(r#"SELECT caliber_turn_create_many('{id}', '[{{"sequence": 1, "role": "user", "content": "c"}}]')"#),
            "INSERT INTO caliber_turn (sequence, role, content) VALUES (1, 'user', 'c') RETURNING turn_id",
        ),
        (format!("SELECT caliber_turn_create('{id}', NULL, 'user', 'c')"), "SELECT max(sequence) FROM caliber_turn"),
        ("SELECT caliber_check()".to_owned(), "SELECT * FROM caliber_message"),
    ];
    for engine in ["heap", "sql", "sql_oneshot"] {
        follower.batch(&format!("SET caliber.engine = {engine}"))?;
        for (call, plain) in &calls {
            let (ours, plain) = (follower.error(call)?, follower.error(plain)?);
            ensure!(
                ours.sqlstate == plain.sqlstate && ours.message == plain.message,
                "{engine}: {call}: {ours}\nand by SQL: {plain}"
            );
        }
    }
    follower.batch("RESET caliber.engine")?;
    session.batch("ALTER TABLE caliber_message SET LOGGED; ALTER TABLE caliber_turn SET LOGGED")?;
    caught_up(session, follower)
}

/// The standby becomes the primary: the lock that a session of the old one
/// holds is free at once, and everything is sound.
fn take_over(follower: &mut Session, resource: &str) -> Result<()> {
    let promoted = follower.value("SELECT pg_promote()")?;
    ensure!(promoted.as_deref() == Some("t"), "not promoted");
    let listed = follower.query(&format!(
        "SELECT * FROM caliber_lock_list_by_resource('file', '{resource}')"
    ))?;
    ensure!(
        listed.rows.is_empty(),
        "a lock outlives its server: {:?}",
        listed.rows
    );
    let lock = follower.value(&format!(
        "SELECT caliber_lock_acquire('00000000-0000-7000-8000-0000000000a2', 'file', '{resource}', level => 'session')"
    ))?;
    ensure!(lock.is_some(), "the lock of a session that is gone is busy");
    crew::truth(follower)?;
    Ok(())
}
