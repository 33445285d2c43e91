//! Where all is well, nothing is found: whatever was written, by whom, under which
//! settings, and while others write.

use super::{check, database, list, nothing};
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::session::{Failure, Session};
use anyhow::{ensure, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "check::clean",
            "nothing is found in a busy database, at each isolation level, in mid-transaction",
            clean,
        ),
        Test::new(
            "check::clean_under_load",
            "nothing is found while others write, delete, and vacuum",
            under_load,
        ),
        Test::new(
            "check::clean_and_large",
            "many rows are checked in little memory",
            large,
        ),
    ]
}

/// Updates of all kinds: HOT, not HOT, in and out of predicates, undone.
const CHURN: &str = "
UPDATE caliber_turn SET token_count = token_count + 1;
UPDATE caliber_scope SET tokens_used = tokens_used + 1 WHERE tokens_used % 2 = 0;
UPDATE caliber_scope SET is_active = NOT is_active, closed_at = CASE WHEN is_active THEN now() END WHERE tokens_used % 3 = 0;
UPDATE caliber_trajectory SET agent_id = md5('a3')::uuid WHERE agent_id IS NULL AND status <> 'failed';
UPDATE caliber_trajectory SET agent_id = NULL WHERE agent_id = md5('a2')::uuid;
UPDATE caliber_agent SET last_heartbeat = clock_timestamp();
UPDATE caliber_agent SET capabilities = array_append(capabilities, 'more');
UPDATE caliber_note SET access_count = access_count + 1, source_trajectory_ids = source_trajectory_ids[2:] WHERE note_type = 'fact';
UPDATE caliber_note SET embedding = '[3,2,1]' WHERE note_type = 'gotcha';
UPDATE caliber_message SET delivered_at = now(), acknowledged_at = now() WHERE (to_agent_id IS NOT NULL OR to_agent_type IS NOT NULL) AND acknowledged_at IS NULL;
DELETE FROM caliber_turn WHERE sequence IN (3, 4);
DELETE FROM caliber_conflict WHERE status = 'resolved';
BEGIN; DELETE FROM caliber_turn; UPDATE caliber_scope SET name = 'x'; ROLLBACK;
BEGIN; SAVEPOINT a; UPDATE caliber_turn SET content = 'x'; ROLLBACK TO a; UPDATE caliber_turn SET content = content || '!'; COMMIT;
";

fn clean(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, true)?;
    nothing(&mut session, "new rows")?;
    session.batch(CHURN)?;
    nothing(&mut session, "changed rows")?;
    session.batch("VACUUM")?;
    nothing(&mut session, "after VACUUM")?;
    session.batch(CHURN)?;
    for isolation in Isolation::ALL {
        for read in ["READ WRITE", "READ ONLY"] {
            session.batch(&format!(
                "BEGIN ISOLATION LEVEL {} {read}; SELECT 1",
                isolation.sql()
            ))?;
            nothing(&mut session, isolation.sql())?;
            if read == "READ WRITE" {
                session.batch("UPDATE caliber_turn SET content = 'own', token_count = 0; DELETE FROM caliber_conflict WHERE status = 'detected'; SAVEPOINT s; UPDATE caliber_scope SET name = 'own'")?;
                nothing(&mut session, "own writes")?;
                session.batch("ROLLBACK TO s")?;
                nothing(&mut session, "own writes, some undone")?;
            }
            session.batch("ROLLBACK")?;
        }
    }
    // A lock of the running transaction is its own affair.
    session.batch("BEGIN; SAVEPOINT s; INSERT INTO caliber_lock (resource_type, resource_id, holder_agent_id, expires_at, mode, level)
        SELECT 'file', gen_random_uuid(), md5('a1')::uuid, 'infinity', 'exclusive', 'transaction'; RELEASE s")?;
    nothing(&mut session, "a lock of this transaction")?;
    session.batch("ROLLBACK")?;
    for setting in [
        "enable_seqscan = off",
        "quote_all_identifiers = on",
        "search_path = verification",
        "work_mem = '64kB'",
        "maintenance_work_mem = '1MB'",
        "gin_fuzzy_search_limit = 1",
        "standard_conforming_strings = off",
        "default_transaction_isolation = serializable",
        "jit_above_cost = 0",
        "DateStyle = 'German'",
        "IntervalStyle = 'sql_standard'",
    ] {
        let call = "SELECT * FROM public.caliber_check()";
        session.batch(&format!("SET {setting}"))?;
        let rows = session.query(call)?.rows;
        ensure!(rows.is_empty(), "{setting}: {rows:?}");
        session.batch(&format!(
            "RESET {}",
            setting.split(' ').next().unwrap_or_default()
        ))?;
    }
    session.batch(if context.major >= 16 {
        "SET debug_parallel_query = on"
    } else {
        "SET force_parallel_mode = on"
    })?;
    nothing(&mut session, "where parallel plans are forced")?;
    for rewrite in [
        "REINDEX TABLE CONCURRENTLY caliber_turn",
        "VACUUM FULL caliber_scope",
        "CLUSTER caliber_scope USING caliber_scope_pkey",
        "REINDEX TABLE caliber_note",
    ] {
        session.batch(rewrite)?;
    }
    nothing(&mut session, "after rewrites")?;
    Ok(Outcome::Passed(String::new()))
}

const WITHOUT_HNSW: &str = "DO $$ DECLARE name regclass; BEGIN
    FOR name IN SELECT c.oid FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'hnsw'
    LOOP EXECUTE format('DROP INDEX %s', name); END LOOP; END $$";

/// What writers do, over and over.
const WRITES: [&str; 4] = [
    "UPDATE caliber_scope SET tokens_used = tokens_used + 1 WHERE scope_id = md5('s' || (random() * 59)::int)::uuid;
     UPDATE caliber_turn SET token_count = token_count + 1, content = md5(random()::text) WHERE sequence = (random() * 9)::int;
     UPDATE caliber_agent SET last_heartbeat = clock_timestamp(), agent_type = md5(random()::text) WHERE agent_id = md5('a' || (random() * 19)::int)::uuid",
    "BEGIN; INSERT INTO caliber_turn (scope_id, sequence, role, content, token_count)
        SELECT md5('s1')::uuid, coalesce(max(sequence), 0) + 1, 'user', 'x', 1 FROM caliber_turn WHERE scope_id = md5('s1')::uuid;
     DELETE FROM caliber_turn WHERE scope_id = md5('s1')::uuid AND sequence < 5 + (SELECT max(sequence) - 20 FROM caliber_turn WHERE scope_id = md5('s1')::uuid);
     COMMIT",
    "BEGIN; UPDATE caliber_note SET source_trajectory_ids = (gen_random_uuid() || source_trajectory_ids)[:50], embedding = format('[%s,1,2]', random())::vector
        WHERE note_id = md5('n' || (random() * 49)::int)::uuid;
     UPDATE caliber_trajectory SET status = 'completed', completed_at = now() WHERE status = 'active' AND random() < 0.2;
     UPDATE caliber_trajectory SET status = 'active', completed_at = NULL WHERE status = 'completed' AND random() < 0.2; COMMIT",
    "VACUUM (TRUNCATE OFF) caliber_turn, caliber_scope, caliber_note, caliber_agent, caliber_trajectory",
];

fn under_load(context: &Context) -> Result<Outcome> {
    let (database, mut session) = database(context, true)?;
    // Up to 0.8.3 at least, pgvector's HNSW does not bear writers beside VACUUM:
    // "different vector dimensions 3 and 0" (pgvector's pull requests 988 and 990).
    session.batch(WITHOUT_HNSW)?;
    let stop = AtomicBool::new(false);
    let mut looks = 0;
    std::thread::scope(|scope| -> Result<()> {
        let mut writers = Vec::new();
        for sql in WRITES {
            let mut writer = database.connect()?;
            let stop = &stop;
            writers.push(scope.spawn(move || -> Result<u32> {
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                    match writer.run(sql) {
                        Ok(_) => rounds += 1,
                        Err(Failure::Error(error)) if error.sqlstate == "40P01" => {
                            writer.batch("ROLLBACK")?;
                        }
                        Err(failure) => return Err(failure.into()),
                    }
                }
                Ok(rounds)
            }));
        }
        let mut look = || -> Result<()> {
            for isolation in Isolation::ALL.into_iter().cycle().take(9) {
                session.batch(&format!(
                    "BEGIN ISOLATION LEVEL {}; SELECT 1",
                    isolation.sql()
                ))?;
                for pause in [0.0, 0.05] {
                    session.batch(&format!("SELECT pg_sleep({pause})"))?;
                    nothing(&mut session, isolation.sql())?;
                    looks += 1;
                }
                session.batch("COMMIT")?;
            }
            Ok(())
        };
        let looked = look();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            let rounds = writer
                .join()
                .map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            ensure!(rounds > 3, "a writer came round {rounds} times only");
        }
        looked
    })?;
    nothing(&mut session, "when all is quiet again")?;
    Ok(Outcome::Passed(format!("{looks} looks")))
}

/// Memory that the server's process for `session` has used at most, in kB; None
/// where it cannot be seen.
fn memory(session: &mut Session) -> Result<Option<u64>> {
    let status = session.value(
        "SELECT pg_read_file(format('/proc/%s/status', pg_backend_pid()), 0, 100000, true)",
    )?;
    let peak = |status: String| {
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))?
            .to_owned();
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Ok(status.and_then(peak))
}

const LARGE: u32 = 60_000;

fn large(context: &Context) -> Result<Outcome> {
    let (database, mut session) = database(context, false)?;
    session.batch(&format!(
        "INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count)
            SELECT gen_random_uuid(), md5('s' || i % 50)::uuid, 1000 + i, 'user', md5(i::text), i FROM generate_series(1, {LARGE}) i;
         CREATE INDEX own_hash ON caliber_turn USING hash (content);
         CREATE INDEX own_few ON caliber_turn (role)"
    ))?;
    let mut other = database.connect()?;
    other.batch("SET work_mem = '64kB'; SET maintenance_work_mem = '1MB'")?;
    other.batch("SELECT * FROM caliber_check() LIMIT 0")?;
    let before = memory(&mut other)?;
    nothing(&mut other, "many rows")?;
    let after = memory(&mut other)?;
    // One broken key makes a finding of every row that refers to it.
    session.batch("BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM caliber_scope WHERE scope_id = md5('s7')::uuid; COMMIT")?;
    let found = check(&mut other)?;
    let turns = found
        .iter()
        .filter(|finding| finding.relation == "caliber_turn")
        .count();
    ensure!(turns as u32 > LARGE / 50, "{}", list(&found));
    let sorted = found.windows(2).all(|pair| {
        let place = |finding: &super::Finding| {
            let number = super::TABLES
                .iter()
                .position(|(table, _)| *table == finding.relation);
            (number, finding.index.clone(), finding.item.clone())
        };
        place(&pair[0]) <= place(&pair[1])
    });
    ensure!(sorted, "not in order: {}", list(&found));
    let grown = match (before, after) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => 0,
    };
    ensure!(grown < 12_000, "{grown} kB more than before");
    Ok(Outcome::Passed(format!("{grown} kB")))
}
