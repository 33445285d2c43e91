//! What a write costs the server: the counters that monitoring reads and the
//! write-ahead log are those of the statement.

use super::functions::{self, carry_out, each};
use super::ENGINES;
use crate::entity::samples::Written;
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk::{self, Desk};
use crate::suite::steps::{ids, Id, Moved, Step, ROWS};
use anyhow::{bail, ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "own_objects::statistics",
            "pg_stat counts the rows of a call as those of its statement: inserted, updated, HOT, deleted",
            statistics,
        ),
        Test::new(
            "own_objects::wal",
            "a call writes the records and bytes of WAL that its statement writes",
            wal,
        ),
    ]
}

/// Writes of each kind; those after the first rely on it.
static WRITES: [Step; 12] = [
    Step("caliber_trajectory_create('one', agent_id => '@a', id => '@1')",
        "INSERT INTO caliber_trajectory VALUES ('@1', 'one', NULL, 'active', NULL, NULL, '@a', now(), now(), NULL, NULL, NULL)", Id('1')),
    Step("caliber_scope_create('@8', 'one', id => '@1')",
        "INSERT INTO caliber_scope VALUES ('@1', '@8', NULL, 'one', NULL, true, now(), NULL, NULL, 8000, 0, NULL)", Id('1')),
    Step("caliber_scope_create('@8', 'inner', parent_scope_id => '@8', id => '@2')",
        "INSERT INTO caliber_scope VALUES ('@2', '@8', '@8', 'inner', NULL, true, now(), NULL, NULL, 8000, 0, NULL)", Id('2')),
    Step("caliber_trajectory_update('@8', '{\"name\": \"new\"}')",
        "UPDATE caliber_trajectory SET name = 'new', updated_at = now() WHERE trajectory_id = '@8'", Moved),
    Step("caliber_trajectory_update('@8', '{\"agent_id\": \"@b\"}')",
        "UPDATE caliber_trajectory SET agent_id = '@b', updated_at = now() WHERE trajectory_id = '@8'", Moved),
    Step("caliber_trajectory_update('@f', '{\"name\": \"nobody\"}')",
        "UPDATE caliber_trajectory SET name = 'nobody', updated_at = now() WHERE trajectory_id = '@f'", Moved),
    Step("caliber_trajectory_set_status('@9', 'suspended')",
        "UPDATE caliber_trajectory SET status = 'suspended', updated_at = now()
        WHERE trajectory_id = '@9' AND status IS NOT DISTINCT FROM 'active'", Moved),
    Step("caliber_trajectory_update('@9', jsonb_build_object('description', repeat('x', 1000000)))",
        "UPDATE caliber_trajectory SET description = repeat('x', 1000000), updated_at = now() WHERE trajectory_id = '@9'", Moved),
    Step("caliber_scope_update_tokens('@8', 5)",
        "UPDATE caliber_scope SET tokens_used = 5 WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true", Moved),
    Step("caliber_scope_close('@8')",
        "UPDATE caliber_scope SET is_active = false, closed_at = now() WHERE scope_id = '@8' AND is_active IS NOT DISTINCT FROM true", Moved),
    Step("caliber_scope_delete('@9')", "DELETE FROM caliber_scope WHERE scope_id = '@9'", Moved),
    Step("caliber_trajectory_delete('@e')", "DELETE FROM caliber_trajectory WHERE trajectory_id = '@e'", Moved),
];

/// Indexes of a user's that decide whether an update is HOT.
static INDEXES: [&str; 3] = [
    "SELECT 1",
    "CREATE INDEX own ON caliber_trajectory (name); CREATE INDEX own_too ON caliber_scope (tokens_used)",
    "CREATE INDEX own ON caliber_trajectory USING brin (name); CREATE INDEX own_too ON caliber_scope USING brin (tokens_used)",
];

/// The statements that a desk sends for a step.
fn statements(desk: &Desk, step: &Step) -> Vec<String> {
    let call = format!("SELECT {}", step.0);
    ids(desk.text(&call, step.1))
        .split(';')
        .map(str::to_owned)
        .collect()
}

/// Rows counted in this transaction so far.
fn counted(desk: &mut Desk) -> Result<Vec<i64>> {
    let row = desk.session.query(
        "SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_hot_upd), sum(n_tup_del)
        FROM pg_stat_xact_user_tables WHERE relname LIKE 'caliber\\_%'",
    )?;
    Ok(row
        .rows
        .into_iter()
        .flatten()
        .map(|value| value.and_then(|text| text.parse().ok()).unwrap_or_default())
        .collect())
}

fn statistics(context: &Context) -> Result<Outcome> {
    let mut hot = 0;
    for index in INDEXES {
        let mut desks = desk::open(context, &ENGINES, &ids(&format!("{ROWS}{index}")))?;
        for step in &WRITES {
            let mut answers = Vec::new();
            for desk in &mut desks {
                desk.session.batch("BEGIN")?;
                let before = counted(desk)?;
                for statement in statements(desk, step) {
                    desk.session.batch(&statement)?;
                }
                let after = counted(desk)?;
                desk.session.batch("COMMIT")?;
                let rows: Vec<i64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
                answers.push(rows);
            }
            ensure!(
                answers.iter().all(|rows| *rows == answers[0]),
                "{index}: {}: inserted, updated, HOT, deleted: {answers:?}",
                step.0
            );
            hot += answers[0].get(2).copied().unwrap_or_default();
        }
    }
    let functions = each(context, &ENGINES, "", |desks, written| {
        let mut answers = Vec::new();
        for desk in desks.iter_mut() {
            desk.session.batch("BEGIN")?;
            let before = counted(desk)?;
            for statement in functions::statements(desk, written) {
                desk.session.batch(&statement)?;
            }
            let after = counted(desk)?;
            desk.session.batch("ROLLBACK")?;
            carry_out(desk, written)?;
            let rows: Vec<i64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
            answers.push(rows);
        }
        hot += answers[0].get(2).copied().unwrap_or_default();
        ensure!(
            answers.iter().all(|rows| *rows == answers[0]),
            "inserted, updated, HOT, deleted: {answers:?}"
        );
        ensure!(
            answers[0].iter().any(|rows| *rows > 0),
            "nothing is counted"
        );
        Ok(())
    })?;
    ensure!(hot > 0, "no update was HOT");
    Ok(Outcome::Passed(format!(
        "{functions} functions, {hot} HOT updates"
    )))
}

/// Runs statements inside one, so that what their triggers write counts too.
const CARRY_OUT: &str =
    "CREATE FUNCTION carry_out(statements text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE statement text; BEGIN
    FOREACH statement IN ARRAY statements LOOP EXECUTE statement; END LOOP;
END $$;";

/// Records and bytes of WAL that these statements write, and whole pages in it.
fn written(desk: &mut Desk, statements: &[String]) -> Result<(i64, i64, i64)> {
    let list: Vec<String> = statements
        .iter()
        .map(|text| format!("$s${text}$s$"))
        .collect();
    let plan = desk.session.value(&format!(
        "EXPLAIN (ANALYZE, WAL, COSTS OFF, TIMING OFF, FORMAT JSON)
        SELECT carry_out(ARRAY[{}])",
        list.join(", ")
    ))?;
    let plan: serde_json::Value = serde_json::from_str(&plan.unwrap_or_default())?;
    let number = |name: &str| {
        plan[0]["Plan"][name]
            .as_i64()
            .with_context(|| format!("{name} in {plan}"))
    };
    Ok((
        number("WAL Records")?,
        number("WAL Bytes")?,
        number("WAL FPI")?,
    ))
}

/// What HNSW writes is a matter of chance: the level of an element is drawn.
const NO_CHANCE: &str = "
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'hnsw'
    LOOP EXECUTE 'DROP INDEX ' || name; END LOOP;
END $$";

/// A purge waits for nobody, so that it locks each row first. The client's
/// statement, which is for the rows, does not, since it meets nobody.
fn locking(desk: &Desk, written: &Written, statements: Vec<String>) -> Vec<String> {
    if desk.engine != Engine::Client || !written.call.function.contains("_purge") {
        return statements;
    }
    const NOBODY: &str = "FOR UPDATE SKIP LOCKED";
    let lock = |sql: &String| {
        match (sql.split_once("caliber_lock WHERE "), sql.strip_suffix(')')) {
        (Some((_, dead)), _) => format!(
            "DELETE FROM caliber_lock WHERE lock_id IN (SELECT lock_id FROM caliber_lock WHERE {dead} {NOBODY})"
        ),
        (None, Some(inside)) => format!("{inside} {NOBODY})"),
        (None, None) => sql.clone(),
    }
    };
    statements.iter().map(lock).collect()
}

/// Records and bytes of WAL of these statements, which are rolled back. The
/// least of three: what a pruning adds is nobody's. Where a checkpoint came
/// between, whole pages and hints are written anew, which says nothing.
fn least(desk: &mut Desk, statements: &[String]) -> Result<(i64, i64)> {
    let (mut least, mut clean) = ((i64::MAX, i64::MAX), 0);
    for _ in 0..30 {
        desk.session.batch("BEGIN")?;
        let (records, bytes, pages) = written(desk, statements)?;
        desk.session.batch("ROLLBACK")?;
        if pages == 0 {
            least = least.min((records, bytes));
            clean += 1;
        }
        if clean == 3 {
            break;
        }
    }
    ensure!(clean > 0, "checkpoints all the time");
    Ok(least)
}

/// Bytes of WAL of these statements, which each desk rolls back, and which are the same
/// for all. Where they differ they are asked again after a VACUUM: which pages are full
/// enough to be pruned, and by whom, depends on what was rolled back there before.
fn compared(desks: &mut [Desk], statements: &dyn Fn(&Desk) -> Vec<String>) -> Result<i64> {
    let mut answers = Vec::new();
    for vacuumed in [false, true, true] {
        answers.clear();
        for desk in desks.iter_mut() {
            if vacuumed {
                desk.session.batch("VACUUM")?;
            }
            let statements = statements(desk);
            answers.push(least(desk, &statements)?);
        }
        if answers.iter().all(|wal| *wal == answers[0]) {
            return Ok(answers[0].1);
        }
    }
    bail!("records and bytes of WAL: {answers:?}")
}

fn wal(context: &Context) -> Result<Outcome> {
    let mut bytes = 0;
    for index in INDEXES {
        let mut desks = desk::open(
            context,
            &ENGINES,
            &ids(&format!("{ROWS}{CARRY_OUT}{index}")),
        )?;
        for step in &WRITES {
            bytes += compared(&mut desks, &|desk| statements(desk, step))
                .with_context(|| format!("{index}: {}", step.0))?;
            for desk in &mut desks {
                for statement in statements(desk, step) {
                    desk.session.batch(&statement)?;
                }
            }
        }
    }
    let functions = each(
        context,
        &ENGINES,
        &format!("{CARRY_OUT}{NO_CHANCE}"),
        |desks, written| {
            let more = compared(desks, &|desk| {
                locking(desk, written, functions::statements(desk, written))
            })?;
            ensure!(more > 0, "nothing is written");
            bytes += more;
            for desk in desks.iter_mut() {
                carry_out(desk, written)?;
            }
            Ok(())
        },
    )?;
    ensure!(bytes > 0, "nothing is written");
    Ok(Outcome::Passed(format!(
        "{functions} functions, {bytes} bytes"
    )))
}
