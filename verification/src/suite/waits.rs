//! Wait points: a session is parked in the middle of a call, between the heap,
//! the indexes and the keys, and others come by, or it is interrupted there.
//! On a server of the faults build: no other has such points.

mod cases;
mod interrupted;
mod races;

use crate::faults;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use crate::suite::desk;
use anyhow::{ensure, Result};
use std::collections::BTreeSet;
use std::time::Duration;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = vec![Test::new(
        "waits::points",
        "every wait point is in its place, once, and a call is interrupted at it",
        |_| points(),
    )];
    tests.push(Test::new(
        "waits::released",
        "what is shipped knows neither wait points nor faults",
        released,
    ));
    tests.extend(interrupted::tests());
    tests.extend(races::tests());
    tests
}

/// `@8` is an id.
fn ids(text: &str) -> String {
    text.replace('@', "00000000-0000-7000-8000-00000000000")
}

/// The advisory lock that a session at a point waits for.
fn key(point: &str) -> String {
    format!("caliber_lock_key('{point}', '00000000-0000-0000-0000-000000000000')")
}

/// Tasks `@1` and `@2`, scopes `@8`, `@9` and `@e` of `@1`, agents `@a`, `@b`, `@f`,
/// a message `@c` for `@b` and one that may be purged, a delegation `@d` for
/// testers, a lease `@3` that has ended and one `@5` that has not, and one row of every other table.
const ROWS: &str = "
DELETE FROM caliber_handoff; DELETE FROM caliber_conflict; DELETE FROM caliber_artifact; DELETE FROM caliber_note;
DELETE FROM caliber_turn; DELETE FROM caliber_lock; DELETE FROM caliber_message; DELETE FROM caliber_delegation;
DELETE FROM caliber_agent; DELETE FROM caliber_scope; DELETE FROM caliber_trajectory;
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@1', 'one'), ('@2', 'two');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@8', '@1', 'eight', 8), ('@9', '@1', 'nine', 9), ('@e', '@1', 'ten', 10);
INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@a', 'coder'), ('@b', 'tester'), ('@f', 'tester');
INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, message_type, payload, delivered_at, acknowledged_at) VALUES
    ('@c', '@a', '@b', 'heartbeat', 'p', NULL, NULL), ('@4', '@a', '@b', 'heartbeat', 'p', '2001-01-01', '2001-01-01');
INSERT INTO caliber_delegation (delegation_id, delegator_agent_id, delegatee_agent_type, task_description, parent_trajectory_id)
    VALUES ('@d', '@a', 'tester', 'work', '@1');
INSERT INTO caliber_lock (lock_id, resource_type, resource_id, holder_agent_id, expires_at, mode, level)
    VALUES ('@3', 'file', '@1', '@a', '2001-01-01', 'exclusive', 'lease'), ('@5', 'file', '@9', '@b', now() + interval '1 day', 'exclusive', 'lease');
SELECT caliber_note_create('fact', 'note', 'content', source_trajectory_ids => '{@1}', embedding => '[1,2,3]', id => '@7');
SELECT caliber_handoff_create('@a', NULL, 'tester', '@1', '@e', '@e', id => '@0');
SELECT caliber_conflict_create('goal_conflict', 'artifact', '@1', 'note', '@2', id => '@2');
SELECT caliber_artifact_create('@1', '@e', 'fact', 'artifact', 'content', id => '@4');";

/// Asks until a session says yes.
fn until(session: &mut Session, question: &str) -> Result<()> {
    desk::until(session, question, Duration::from_secs(20))
}

/// Heap and indexes agree, rows keep their rules.
fn truth(session: &mut Session) -> Result<()> {
    let problems = session
        .value("SELECT string_agg(concat_ws(' ', relation, index, item, problem), E'\\n') FROM caliber_check()")?;
    ensure!(problems.is_none(), "caliber_check(): {problems:?}");
    Ok(())
}

/// As [`truth`], by PostgreSQL's own tools. False if it has none.
fn amcheck(session: &mut Session) -> Result<bool> {
    let there = session.value("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'")?;
    if there.is_none() {
        return Ok(false);
    }
    let tables =
        "SELECT c.oid FROM pg_class c WHERE c.relkind = 'r' AND c.relname LIKE 'caliber\\_%'";
    session.batch(&format!(
        "SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
         JOIN pg_am a ON a.oid = x.relam WHERE a.amname = 'btree' AND i.indisvalid AND i.indrelid IN ({tables})"
    ))?;
    let broken = session.value(&format!(
        "SELECT string_agg(t.oid::regclass || ': ' || v.msg, E'\\n') FROM ({tables}) t, verify_heapam(t.oid) v"
    ))?;
    ensure!(broken.is_none(), "verify_heapam: {broken:?}");
    Ok(true)
}

fn released(context: &Context) -> Result<Outcome> {
    if context.server.description.contains("-faults-") {
        return Ok(Outcome::NotCovered("this is the faults build".to_owned()));
    }
    let database = context.server.database()?;
    let mut session = database.connect()?;
    session.batch("SELECT caliber_version()")?;
    for setting in ["caliber.wait_at", "caliber.fault"] {
        let error = session.error(&format!("SET {setting} = 'insert.after_heap'"))?;
        ensure!(error.sqlstate == "42602", "{setting}: {error}");
    }
    Ok(Outcome::Passed(String::new()))
}

fn points() -> Result<Outcome> {
    let points = faults::wait_points()?;
    let (known, used): (BTreeSet<_>, Vec<_>) = (
        points.iter().map(|point| point.name.clone()).collect(),
        faults::wait_points_used()?,
    );
    let places: BTreeSet<_> = used.iter().cloned().collect();
    ensure!(
        places.len() == used.len(),
        "a point is in two places: {used:?}"
    );
    ensure!(known == places, "listed {known:?}\nin the code {places:?}");
    let tried: BTreeSet<_> = cases::all_points().map(str::to_owned).collect();
    ensure!(
        known == tried,
        "nobody is interrupted at {:?}",
        known.symmetric_difference(&tried).collect::<Vec<_>>()
    );
    Ok(Outcome::Passed(format!("{} points", known.len())))
}
