//! Locks on tables: a call holds to the end of its transaction what the
//! client's statement holds, and so keeps DDL away as SQL does
//! (`integrity.md` §1 and §3).

use super::bad_input::stage::Stage;
use super::desk;
use super::sampled::walk_all;
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{bail, ensure, Result};
use std::collections::BTreeSet;

/// All tests.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "relation_locks::as_the_statement",
            "each function locks the tables that its statement locks, as strongly, to the end of the transaction",
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

/// The strongest lock that a session holds on each of our tables, as `table
/// mode`. A weaker one beside it (a verb of the client reads its row first, and
/// then writes it) keeps nothing more away.
fn held(session: &mut Session) -> Result<BTreeSet<String>> {
    let reply = session
        .query(
            "SELECT relname || ' ' || modes[max(array_position(modes, mode))]
             FROM pg_locks l JOIN pg_class c ON c.oid = l.relation, (SELECT ARRAY['AccessShareLock', 'RowShareLock',
                'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                'AccessExclusiveLock'] AS modes) m
             WHERE l.pid = pg_backend_pid() AND l.granted AND l.locktype = 'relation'
             AND c.relkind = 'r' AND c.relname LIKE 'caliber\\_%' GROUP BY relname, modes",
        )
        .map_err(anyhow::Error::new)?;
    Ok(reply.column().into_iter().flatten().collect())
}

fn as_the_statement(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    let mut count = 0;
    walk_all(context, &mut stage, |stage, case| {
        let mut seen: Vec<(&str, BTreeSet<String>)> = Vec::new();
        for (engine, session) in &mut stage.sessions {
            let is_client = *engine == Engine::Client;
            if is_client && !case.is_of_statements() {
                continue;
            }
            let sql = if is_client {
                case.statements()
            } else {
                case.sql()
            };
            session.batch(&format!("BEGIN; {sql}"))?;
            seen.push((engine.name(), held(session)?));
            session.batch("ROLLBACK")?;
        }
        let Some((_, wanted)) = seen.last() else {
            bail!("no sessions")
        };
        count += wanted.len();
        // What it touches is locked by its statements, or nothing is shown here.
        let names: BTreeSet<&str> = wanted
            .iter()
            .filter_map(|held| held.split(' ').next())
            .collect();
        if !case.tables.iter().all(|table| names.contains(table.name)) {
            stage.problem(&format!("* {} holds only {wanted:?}", case.statements()));
        }
        if seen.iter().any(|(_, locks)| locks != wanted) {
            stage.problem(&format!("* {}\n  {seen:?}", case.sql()));
        }
        Ok(())
    })?;
    stage
        .verdict()
        .map(|_| Outcome::Passed(format!("{count} locks of statements")))
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
