//! Locks on tables: a call holds to the end of its transaction what the
//! client's statement holds, and so keeps DDL away as SQL does
//! (`integrity.md` §1 and §3).

use super::desk::{self, Desk};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Result};
use std::collections::BTreeSet;

/// All tests.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "relation_locks::as_the_statement",
            "a call locks its tables at least as the client's statement does, to the end of the transaction",
            as_the_statement,
        ),
        Test::new(
            "relation_locks::writers_keep_ddl_away",
            "an uncommitted write blocks TRUNCATE, ALTER TABLE, DROP and CREATE INDEX",
            keep_ddl_away,
        ),
    ]
}

const ENGINES: [Engine; 4] = desk::ALL;

const ROWS: &str = "
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES
    ('00000000-0000-7000-8000-000000000001', 'one'), ('00000000-0000-7000-8000-000000000002', 'two');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES
    ('00000000-0000-7000-8000-000000000003', '00000000-0000-7000-8000-000000000001', 'scope', 10);
";

/// What is called, the client's statement for it, the table it is about, and whether it writes.
static CALLS: [(&str, &str, &str, bool); 8] = [
    (
        "SELECT caliber_trajectory_create('new', id => '00000000-0000-7000-8000-000000000009')",
        "INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('00000000-0000-7000-8000-000000000009', 'new')",
        "caliber_trajectory",
        true,
    ),
    (
        "SELECT caliber_trajectory_update('00000000-0000-7000-8000-000000000001', '{\"name\": \"x\"}')",
        "UPDATE caliber_trajectory SET name = 'x' WHERE trajectory_id = '00000000-0000-7000-8000-000000000001'",
        "caliber_trajectory",
        true,
    ),
    (
        "SELECT caliber_trajectory_delete('00000000-0000-7000-8000-000000000002')",
        "DELETE FROM caliber_trajectory WHERE trajectory_id = '00000000-0000-7000-8000-000000000002'",
        "caliber_trajectory",
        true,
    ),
    (
        "SELECT caliber_trajectory_get('00000000-0000-7000-8000-000000000001')",
        "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '00000000-0000-7000-8000-000000000001'",
        "caliber_trajectory",
        false,
    ),
    (
        "SELECT caliber_scope_create('00000000-0000-7000-8000-000000000001', 'new', id => '00000000-0000-7000-8000-000000000009')",
        "INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) \
         VALUES ('00000000-0000-7000-8000-000000000009', '00000000-0000-7000-8000-000000000001', 'new', 8000)",
        "caliber_scope",
        true,
    ),
    (
        "SELECT caliber_scope_close('00000000-0000-7000-8000-000000000003')",
        "UPDATE caliber_scope SET is_active = false, closed_at = now() \
         WHERE scope_id = '00000000-0000-7000-8000-000000000003' AND is_active IS NOT DISTINCT FROM true",
        "caliber_scope",
        true,
    ),
    (
        "SELECT caliber_scope_delete('00000000-0000-7000-8000-000000000003')",
        "DELETE FROM caliber_scope WHERE scope_id = '00000000-0000-7000-8000-000000000003'",
        "caliber_scope",
        true,
    ),
    (
        "SELECT count(*) FROM caliber_scope_list_by_trajectory('00000000-0000-7000-8000-000000000001')",
        "SELECT count(*) FROM caliber_scope WHERE trajectory_id = '00000000-0000-7000-8000-000000000001'",
        "caliber_scope",
        false,
    ),
];

/// The locks on our tables that a session holds, as `table mode`.
fn held(desk: &mut Desk) -> Result<BTreeSet<String>> {
    let reply = desk
        .session
        .query(
            "SELECT c.relname || ' ' || l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
             WHERE l.pid = pg_backend_pid() AND l.granted AND l.locktype = 'relation'
             AND c.relkind = 'r' AND c.relname LIKE 'caliber\\_%'",
        )
        .map_err(anyhow::Error::new)?;
    Ok(reply.column().into_iter().flatten().collect())
}

fn as_the_statement(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, ROWS)?;
    for (call, client, table, writes) in &CALLS {
        let mut seen = Vec::new();
        for desk in &mut desks {
            let sql = desk.text(call, client).to_owned();
            desk.session.batch(&format!("BEGIN; {sql}"))?;
            seen.push((desk.engine, held(desk)?));
            desk.session.batch("ROLLBACK")?;
        }
        let wanted = seen
            .last()
            .map(|(_, locks)| locks.clone())
            .unwrap_or_default();
        let mode = if *writes {
            "RowExclusiveLock"
        } else {
            "AccessShareLock"
        };
        ensure!(
            wanted.contains(&format!("{table} {mode}")),
            "plain SQL holds {wanted:?} after {client}"
        );
        for (engine, locks) in &seen {
            let missing: Vec<&String> = wanted.difference(locks).collect();
            ensure!(
                missing.is_empty(),
                "{} after {call}: {missing:?} is not held, only {locks:?}",
                engine.name()
            );
        }
    }
    Ok(Outcome::Passed(format!("{} calls", CALLS.len())))
}

fn keep_ddl_away(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, ROWS)?;
    for desk in &mut desks {
        let mut other = desk.database.connect()?;
        other.batch("SET lock_timeout = '30ms'")?;
        for (call, client, table, writes) in &CALLS {
            let sql = desk.text(call, client).to_owned();
            desk.session.batch(&format!("BEGIN; {sql}"))?;
            // What a read keeps away is less: an index may be built beside it.
            let index = format!("CREATE INDEX ON {table} (name)");
            let ddl = [
                format!("TRUNCATE {table} CASCADE"),
                format!("ALTER TABLE {table} ADD CONSTRAINT extra CHECK (name <> '')"),
                format!("DROP TABLE {table} CASCADE"),
            ];
            for ddl in ddl.iter().chain(writes.then_some(&index)) {
                let error = other.error(ddl)?;
                ensure!(
                    error.sqlstate == "55P03",
                    "{}: {ddl} beside {sql}: {error}",
                    desk.engine.name()
                );
            }
            desk.session.batch("ROLLBACK")?;
        }
    }
    Ok(Outcome::Passed(format!("{} calls", CALLS.len())))
}
