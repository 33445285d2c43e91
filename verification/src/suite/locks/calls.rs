//! Calls one by one: arguments, rights, the key, refusals of PostgreSQL.

use super::{acquired, desks, fill, for_each, gives, refused, run, value, ENGINES};
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::key",
            "the key of a resource is frozen, and is that of pg_advisory_lock(bigint)",
            key,
        ),
        Test::new(
            "locks::arguments",
            "every argument that cannot be is refused before the table is touched",
            arguments,
        ),
        Test::new(
            "locks::refusals",
            "what PostgreSQL refuses is refused in its words, and leaves no lock behind",
            refusals,
        ),
        Test::new(
            "locks::rights",
            "each call needs the rights of its statement, and read only transactions refuse it",
            rights,
        ),
        Test::new(
            "locks::lists",
            "lists are by id, in pages, of what is alive",
            lists,
        ),
        Test::new(
            "locks::many",
            "hundreds of locks in one transaction, and a session that keeps its memory",
            many,
        ),
    ]
}

/// Computed apart from the extension.
const KEYS: [(&str, &str, &str); 3] = [
    (
        "file",
        "00000000-0000-7000-8000-000000000001",
        "-5970391680190972522",
    ),
    (
        "a",
        "00000000-0000-0000-0000-000000000000",
        "-6356892793488356636",
    ),
    (
        "Datei ä €",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "-5029421848433485327",
    ),
];

fn key(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for (kind, id, key) in KEYS {
            gives(
                &mut stage.one,
                &format!("SELECT caliber_lock_key('{kind}', '{id}')"),
                key,
            )?;
        }
        refused(
            &mut stage.one,
            "SELECT caliber_lock_key(NULL, '@r')",
            "22004",
        )?;
        refused(
            &mut stage.one,
            "SELECT caliber_lock_key('file', NULL)",
            "22004",
        )?;
        refused(&mut stage.one, "SELECT caliber_lock_key('', '@r')", "22023")?;
        gives(
            &mut stage.one,
            "SELECT provolatile::text || proparallel::text FROM pg_proc WHERE proname = 'caliber_lock_key'",
            "is",
        )?;
        // What a session lock holds is what a user's own call would hold, and
        // its own tag is the one that the API gives.
        acquired(
            &mut stage.one,
            'a',
            "level => 'session', id => '00000000-0000-7000-8000-000000000001'",
        )?;
        let tag = "SELECT string_agg(format('%s %s', objsubid, (classid::bigint << 32) | objid::bigint), ', ' ORDER BY objsubid)
            FROM pg_locks WHERE locktype = 'advisory' AND pid = ";
        let pid = stage.one.pid()?;
        let ours = value(stage.look(), &format!("{tag}{pid}"))?;
        let key = value(&mut stage.one, "SELECT caliber_lock_key('file', '@r')")?;
        ensure!(ours == format!("1 {key}, 3 3507289062454245897"), "{ours}");
        run(&mut stage.one, "SELECT pg_advisory_unlock_all()")?;
        run(
            &mut stage.one,
            "SELECT pg_advisory_lock(caliber_lock_key('file', '@r'))",
        )?;
        let users = value(stage.look(), &format!("{tag}{pid}"))?;
        ensure!(users == format!("1 {key}"), "{users}");
        Ok(())
    })
}

/// A call, and how it is refused.
const WRONG: [(&str, &str); 31] = [
    ("acquire(NULL, 'file', '@r')", "22004"),
    ("acquire('@a', NULL, '@r')", "22004"),
    ("acquire('@a', '', '@r')", "22023"),
    ("acquire('@a', 'file', NULL)", "22004"),
    ("acquire('@a', 'file', '@r', NULL)", "22004"),
    ("acquire('@a', 'file', '@r', 0)", "22023"),
    ("acquire('@a', 'file', '@r', -1)", "22023"),
    ("acquire('@a', 'file', '@r', 31622400001)", "22023"),
    ("acquire('@a', 'file', '@r', 9223372036854775807)", "22023"),
    ("acquire('@a', 'file', '@r', -9223372036854775808)", "22023"),
    ("acquire('@a', 'file', '@r', mode => NULL)", "22004"),
    ("acquire('@a', 'file', '@r', mode => 'Exclusive')", "22023"),
    ("acquire('@a', 'file', '@r', mode => '')", "22023"),
    ("acquire('@a', 'file', '@r', level => NULL)", "22004"),
    ("acquire('@a', 'file', '@r', level => 'forever')", "22023"),
    ("release(NULL)", "22004"),
    ("extend(NULL, 1)", "22004"),
    ("extend('@1', NULL)", "22004"),
    ("extend('@1', 0)", "22023"),
    ("extend('@1', 31622400001)", "22023"),
    ("extend('@1', -9223372036854775808)", "22023"),
    ("assert(NULL)", "22004"),
    ("list_by_resource(NULL, '@r')", "22004"),
    ("list_by_resource('', '@r')", "22023"),
    ("list_by_resource('file', NULL)", "22004"),
    ("list_by_resource('file', '@r', -1)", "2201W"),
    ("list_by_agent(NULL)", "22004"),
    ("list_by_agent('@a', -1)", "2201W"),
    ("extend('not an id', 1)", "22P02"),
    ("acquire('@a', 'file', '@r', 'soon')", "22P02"),
    ("purge_expired(1)", "42883"),
];

fn arguments(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        // Before the table: it is not even there.
        run(
            &mut stage.one,
            "BEGIN; DROP TABLE caliber_lock; SAVEPOINT s",
        )?;
        for (call, sqlstate) in WRONG {
            refused(
                &mut stage.one,
                &format!("SELECT caliber_lock_{call}"),
                sqlstate,
            )?;
            run(&mut stage.one, "ROLLBACK TO s")?;
        }
        gives(&mut stage.one, "SELECT caliber_lock_get(NULL) IS NULL", "t")?;
        for call in [
            "acquire('@a', 'file', '@r')",
            "release('@1')",
            "get('@1')",
            "purge_expired()",
            "assert('@1')",
            "extend('@1', 1)",
            "list_by_agent('@a')",
        ] {
            refused(
                &mut stage.one,
                &format!("SELECT caliber_lock_{call}"),
                "42P01",
            )?;
            run(&mut stage.one, "ROLLBACK TO s")?;
        }
        run(&mut stage.one, "ROLLBACK")?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "f")?;
        gives(&mut stage.one, "SELECT caliber_lock_get('@1') IS NULL", "t")?;
        gives(
            &mut stage.one,
            "SELECT count(*) FROM pg_proc WHERE proname = 'caliber_lock_delete'",
            "0",
        )?;
        // The longest and the shortest lease.
        acquired(&mut stage.one, 'a', "31622400000")?;
        gives(
            &mut stage.one,
            "SELECT expires_at - acquired_at = '366 days' FROM caliber_lock",
            "t",
        )?;
        acquired(&mut stage.one, 'a', "1")?;
        gives(
            &mut stage.one,
            "SELECT expires_at < clock_timestamp() FROM caliber_lock, pg_sleep(0.003)",
            "t",
        )
    })
}

fn refusals(context: &Context) -> Result<Outcome> {
    let mut desks = desks(context)?;
    let call = |level: &str, more: &str| {
        fill(&format!(
            "SELECT caliber_lock_acquire({more}, level => '{level}')"
        ))
    };
    for level in ["lease", "session", "transaction"] {
        desk::same_error(
            &mut desks,
            &call(level, "'@z', 'file', '@r', id => '@1'"),
            "",
            "23503",
        )?;
        for desk in &mut desks {
            run(
                &mut desk.session,
                "INSERT INTO caliber_lock VALUES
                ('@1', 'file', '@s', '@b', now(), 'infinity', 'exclusive', 'lease', 1)",
            )?;
        }
        desk::same_error(
            &mut desks,
            &call(level, "'@a', 'file', '@r', id => '@1'"),
            "",
            "23505",
        )?;
        for desk in &mut desks {
            run(&mut desk.session, "ALTER TABLE caliber_lock ADD CONSTRAINT c CHECK (resource_type <> 'file') NOT VALID")?;
            // The failing row shows the process id.
            let sql = call(level, "'@a', 'file', '@r', id => '@2'");
            let error = refused(&mut desk.session, &sql, "23514")?;
            ensure!(error.constraint.as_deref() == Some("c"), "{error}");
        }
        for desk in &mut desks {
            run(
                &mut desk.session,
                "ALTER TABLE caliber_lock DROP CONSTRAINT c; DELETE FROM caliber_lock",
            )?;
            let left = value(
                &mut desk.session,
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            )?;
            ensure!(
                left == "0",
                "{}: {left} advisory locks are left",
                desk.engine.name()
            );
        }
    }
    Ok(Outcome::Passed(format!("{} engines", ENGINES.len())))
}

/// A call, the rights it needs, and what a read only transaction says, if it does.
const RIGHTS: [(&str, &[&str], &str); 8] = [
    (
        "acquire('@a', 'file', '@r')",
        &["SELECT", "INSERT", "DELETE", "UPDATE (expires_at, mode)"],
        "INSERT",
    ),
    ("release('@1')", &["DELETE", "SELECT (lock_id)"], "DELETE"),
    ("get('@1')", &["SELECT"], ""),
    ("list_by_resource('file', '@r')", &["SELECT"], ""),
    ("list_by_agent('@a')", &["SELECT"], ""),
    (
        "extend('@1', 1)",
        &["SELECT", "UPDATE (expires_at)"],
        "UPDATE",
    ),
    (
        "assert('@1')",
        &["SELECT", "UPDATE (backend_pid)"],
        "SELECT FOR KEY SHARE",
    ),
    ("purge_expired()", &["SELECT", "DELETE"], "DELETE"),
];

fn rights(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        run(
            &mut stage.two,
            "DO $$ BEGIN CREATE ROLE verify_guest; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
            INSERT INTO caliber_lock VALUES ('@1', 'file', '@s', '@b', now(), now() + '1 hour', 'exclusive', 'lease', 1)",
        )?;
        for (call, rights, tag) in RIGHTS {
            for left_out in 0..=rights.len() {
                run(&mut stage.two, "REVOKE ALL ON caliber_lock FROM verify_guest; GRANT SELECT, UPDATE ON caliber_agent TO verify_guest")?;
                for (n, right) in rights.iter().enumerate() {
                    if n != left_out {
                        run(
                            &mut stage.two,
                            &format!("GRANT {right} ON caliber_lock TO verify_guest"),
                        )?;
                    }
                }
                run(&mut stage.one, "BEGIN; SET LOCAL ROLE verify_guest")?;
                let sql = format!("SELECT caliber_lock_{call}");
                if left_out < rights.len() {
                    let error = refused(&mut stage.one, &sql, "42501")
                        .with_context(|| format!("without {}", rights[left_out]))?;
                    ensure!(
                        error.message == "permission denied for table caliber_lock",
                        "{error}"
                    );
                } else {
                    run(&mut stage.one, &sql)?;
                }
                run(&mut stage.one, "ROLLBACK")?;
                stage.one_holds(&[])?;
            }
            run(&mut stage.one, "BEGIN READ ONLY")?;
            let sql = format!("SELECT caliber_lock_{call}");
            if tag.is_empty() {
                run(&mut stage.one, &sql)?;
            } else {
                let error = refused(&mut stage.one, &sql, "25006")?;
                ensure!(
                    error.message == format!("cannot execute {tag} in a read-only transaction"),
                    "{error}"
                );
            }
            run(&mut stage.one, "ROLLBACK")?;
        }
        // No lock stronger than SQL's own statement takes on the table.
        run(&mut stage.one, "BEGIN; SELECT caliber_lock_assert('@1')")?;
        gives(
            &mut stage.one,
            "SELECT string_agg(mode, ', ' ORDER BY mode) FROM pg_locks
             WHERE pid = pg_backend_pid() AND relation = 'caliber_lock'::regclass",
            "RowShareLock",
        )?;
        run(&mut stage.one, "ROLLBACK")
    })
}

fn lists(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        run(
            &mut stage.two,
            "INSERT INTO caliber_lock SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'file', '@r',
                caliber_agent_register('worker'), now(), CASE n % 3 WHEN 0 THEN now() ELSE 'infinity' END, 'shared', 'lease', 1
             FROM generate_series(1, 30) n",
        )?;
        let list = |page: &str| {
            format!(
                "SELECT coalesce(string_agg(ltrim(right(lock_id::text, 12), '0'), ' '), '') FROM caliber_lock_list_by_resource('file', '@r'{page})"
            )
        };
        gives(
            &mut stage.one,
            &list(""),
            "1 2 4 5 7 8 10 11 13 14 16 17 19 20 22 23 25 26 28 29",
        )?;
        gives(&mut stage.one, &list(", 3"), "1 2 4")?;
        gives(&mut stage.one, &list(", 0"), "")?;
        gives(
            &mut stage.one,
            &list(", 3, '00000000-0000-7000-8000-000000000005'"),
            "7 8 10",
        )?;
        gives(
            &mut stage.one,
            &list(", 9, '00000000-0000-7000-8000-000000000026'"),
            "28 29",
        )?;
        gives(
            &mut stage.one,
            "SELECT count(*) FROM caliber_lock_list_by_resource('other', '@r')",
            "0",
        )?;
        gives(
            &mut stage.one,
            "SELECT string_agg(proname || proparallel::text, ' ' ORDER BY proname) FROM pg_proc WHERE proname LIKE 'caliber\\_lock\\_list%'",
            "caliber_lock_list_by_agentr caliber_lock_list_by_resourcer",
        )?;
        // In the leader of a parallel query.
        run(
            &mut stage.one,
            "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
            SET max_parallel_workers_per_gather = 2; CREATE TABLE big AS SELECT n FROM generate_series(1, 20000) n; ANALYZE big",
        )?;
        acquired(&mut stage.one, 'a', "level => 'session', mode => 'shared'")?;
        gives(
            &mut stage.one,
            "SELECT count(*) FROM (SELECT n, (SELECT count(*) FROM caliber_lock_list_by_resource('file', '@r') WHERE n > 0) AS locks
             FROM big WHERE n % 5000 = 0) x WHERE locks = 21",
            "4",
        )
    })
}

fn many(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for level in ["lease", "session", "transaction"] {
            run(
                &mut stage.one,
                &format!(
                    "BEGIN; SELECT count(caliber_lock_acquire('@a', 'file', caliber_new_id(), level => '{level}')) FROM generate_series(1, 400);
                    SAVEPOINT s; SELECT count(caliber_lock_acquire('@a', 'file', caliber_new_id(), level => '{level}')) FROM generate_series(1, 100);
                    ROLLBACK TO s; COMMIT"
                ),
            )?;
            let pid = stage.one.pid()?;
            let held = stage.advisory(pid)?.len();
            let wanted = if level == "session" { 800 } else { 0 };
            ensure!(
                held == wanted,
                "{level}: {held} advisory locks, not {wanted}"
            );
            let rows = stage.rows()?;
            ensure!(
                rows == if level == "transaction" { "0" } else { "400" },
                "{rows} rows"
            );
            run(
                &mut stage.one,
                "SELECT count(*) FILTER (WHERE caliber_lock_release(lock_id)) FROM caliber_lock",
            )?;
            stage.one_holds(&[])?;
        }
        // A backend does not grow.
        let size = "SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts";
        let work = "DO $$ BEGIN FOR i IN 1..150 LOOP
                PERFORM caliber_lock_release(caliber_lock_acquire('@a', 'file', '@r', level => 'session'));
                COMMIT;
                PERFORM caliber_lock_acquire('@a', 'file', '@r', level => 'transaction');
                PERFORM caliber_lock_acquire('@b', 'file', '@r');
                COMMIT;
            END LOOP; END $$";
        run(&mut stage.one, work)?;
        let before: i64 = value(&mut stage.one, size)?.parse()?;
        for _ in 0..3 {
            run(&mut stage.one, work)?;
        }
        let after: i64 = value(&mut stage.one, size)?.parse()?;
        ensure!(
            after - before < 65_536,
            "the backend grew from {before} to {after} bytes"
        );
        Ok(())
    })
}
