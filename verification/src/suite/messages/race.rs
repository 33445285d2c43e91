//! Many receivers at once: each message goes to exactly one of them, whoever
//! rolls back, is terminated, or purges.

use super::{ids, put, AGENTS};
use crate::judge::Engine;
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test, PASSED};
use crate::session::{Failure, Session};
use crate::suite::desk::{self, Desk};
use anyhow::{anyhow, bail, ensure, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "messages::each_to_exactly_one",
            "eight receivers share 2,000 messages: each goes to exactly one, and nobody waits for another",
            each_to_one,
        ),
        Test::new(
            "messages::a_lost_receiver",
            "what a receiver had that is terminated before its commit is received by another",
            terminated,
        ),
        Test::new(
            "messages::cancelled",
            "a receive that is cancelled or runs out of time leaves nothing behind",
            cancelled,
        ),
    ]
}

const RECEIVERS: usize = 8;
const MESSAGES: usize = 2_000;

/// A quarter to each of the three coders, and the rest to their type.
const SEND: &str = "INSERT INTO caliber_message (from_agent_id, to_agent_id, to_agent_type, message_type, payload, priority)
    SELECT '@b0', to_agent, CASE WHEN to_agent IS NULL THEN 'coder' END, 'interrupt', i::text,
        (ARRAY['low', 'normal', 'high', 'critical'])[1 + i % 4]
    FROM generate_series(1, 2000) i, LATERAL (SELECT (ARRAY[uuid '@a0', '@a1', '@a2', NULL])[1 + (i / 4) % 4]) t (to_agent)";

fn each_to_one(context: &Context) -> Result<Outcome> {
    let mut skipped = 0;
    for engine in [Engine::Heap, Engine::Sql] {
        for level in [Isolation::ReadCommitted, Isolation::RepeatableRead] {
            let mut desks = desk::open(context, &[engine], &ids(&format!("{AGENTS}; {SEND}")))?;
            let Some(desk) = desks.first_mut() else {
                continue;
            };
            skipped += share(desk, level)?;
        }
    }
    ensure!(skipped > 0, "no row was ever skipped");
    Ok(Outcome::Passed(format!("{skipped} rows skipped")))
}

/// Lets all receivers take what there is, beside a purge; returns how many
/// rows the heap engine skipped.
fn share(desk: &mut Desk, level: Isolation) -> Result<usize> {
    let taken = AtomicUsize::new(0);
    let sessions = (0..=RECEIVERS)
        .map(|_| {
            let mut session = desk.another()?;
            // Whoever waited for another's transaction would be told.
            session.batch("SET lock_timeout = '2s'")?;
            Ok(session)
        })
        .collect::<Result<Vec<_>>>()?;
    let told: Vec<(Vec<String>, usize)> = std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .into_iter()
            .enumerate()
            .map(|(number, mut session)| {
                let taken = &taken;
                scope.spawn(move || {
                    if number == RECEIVERS {
                        return purge(&mut session, taken);
                    }
                    let mut mine = Vec::new();
                    take(&mut session, number, level, taken, &mut mine)?;
                    let skipped = session.value(
                        "SELECT value FROM caliber_counters() WHERE name = 'path.lock_skipped'",
                    )?;
                    Ok((mine, skipped.unwrap_or_default().parse()?))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a session panicked"))?)
            .collect::<Result<_>>()
    })?;
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for id in told.iter().flat_map(|(ids, _)| ids) {
        *count.entry(id).or_default() += 1;
    }
    let twice: Vec<_> = count.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(
        twice.is_empty(),
        "{} were received twice, {:?} among them",
        twice.len(),
        twice.first()
    );
    ensure!(count.len() == MESSAGES, "{} were received", count.len());
    let left = desk.session.value(
        "SELECT format('%s %s', count(*) FILTER (WHERE delivered_at IS NULL OR received_by IS NULL),
            count(*) FILTER (WHERE to_agent_id <> received_by)) FROM caliber_message",
    )?;
    ensure!(left.as_deref() == Some("0 0"), "left: {left:?}");
    let busy = told.iter().filter(|(ids, _)| !ids.is_empty()).count();
    ensure!(busy > 1, "only {busy} received anything");
    Ok(told.iter().map(|(_, skipped)| skipped).sum())
}

/// Receives until all are taken; each fifth time the transaction is rolled back.
fn take(
    session: &mut Session,
    number: usize,
    level: Isolation,
    taken: &AtomicUsize,
    mine: &mut Vec<String>,
) -> Result<()> {
    let agent = ids(["@a0", "@a1", "@a2"][number % 3]);
    let began = Instant::now();
    let mut round = 0;
    while taken.load(Ordering::Relaxed) < MESSAGES {
        ensure!(
            began.elapsed() < Duration::from_secs(120),
            "only {} were taken",
            taken.load(Ordering::Relaxed)
        );
        round += 1;
        session.batch(&format!("BEGIN ISOLATION LEVEL {}", level.sql()))?;
        let answer = session.query(&format!(
            "SELECT message_id FROM caliber_message_receive('{agent}', 7)"
        ));
        let received = match answer {
            Ok(reply) => reply.column().into_iter().flatten().collect::<Vec<_>>(),
            Err(Failure::Error(error)) if error.sqlstate == "40001" => {
                ensure!(level != Isolation::ReadCommitted, "{error}");
                session.batch("ROLLBACK")?;
                continue;
            }
            Err(failure) => bail!("{failure}"),
        };
        if round % 5 == 0 {
            session.batch("ROLLBACK")?;
            continue;
        }
        session.batch("COMMIT")?;
        taken.fetch_add(received.len(), Ordering::Relaxed);
        mine.extend(received);
    }
    Ok(())
}

/// Acknowledges and purges meanwhile; receives nothing.
fn purge(session: &mut Session, taken: &AtomicUsize) -> Result<(Vec<String>, usize)> {
    let began = Instant::now();
    while taken.load(Ordering::Relaxed) < MESSAGES && began.elapsed() < Duration::from_secs(120) {
        session.batch(
            "SELECT caliber_message_acknowledge(message_id)
                FROM (SELECT message_id FROM caliber_message WHERE delivered_at IS NOT NULL AND acknowledged_at IS NULL LIMIT 5) m;
            SELECT caliber_message_purge(clock_timestamp(), 3)",
        )?;
    }
    Ok((Vec::new(), 0))
}

const ENGINES: [Engine; 2] = [Engine::Heap, Engine::Sql];

fn two_messages() -> String {
    let messages = [put("@01", "coder", "high"), put("@02", "@a0", "low")];
    ids(&format!("{AGENTS}; {}", messages.join("; ")))
}

fn terminated(context: &Context) -> Result<Outcome> {
    for desk in &mut desk::open(context, &ENGINES, &two_messages())? {
        let mut receiver = desk.another()?;
        let pid = receiver.pid()?;
        let receive = ids("SELECT count(*) FROM caliber_message_receive('@a0')");
        receiver.batch("BEGIN")?;
        // Whoever waits for another receiver must not do so for ever.
        desk.session.batch("SET lock_timeout = '5s'")?;
        for (session, expected) in [(&mut receiver, "2"), (&mut desk.session, "0")] {
            let count = session.value(&receive)?;
            ensure!(count.as_deref() == Some(expected), "{count:?}");
        }
        desk.session
            .batch(&format!("SELECT pg_terminate_backend({pid}, 10000)"))?;
        let count = desk.session.value(&receive)?;
        ensure!(count.as_deref() == Some("2"), "{count:?} came back");
    }
    Ok(PASSED)
}

fn cancelled(context: &Context) -> Result<Outcome> {
    // The third row is never done with.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.priority = 'low' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE UPDATE ON caliber_message FOR EACH ROW EXECUTE FUNCTION slow()";
    let prepare = format!("{}; {slow}", two_messages());
    for desk in &mut desk::open(context, &ENGINES, &prepare)? {
        let receive = ids("SELECT count(*) FROM caliber_message_receive('@a0')");
        desk.session.batch("SET statement_timeout = '100ms'")?;
        let error = desk.session.error(&receive)?;
        ensure!(error.sqlstate == "57014", "{error}");
        let mut other = desk.another()?;
        let left = other.value("SELECT count(*) FROM caliber_message WHERE delivered_at IS NULL AND received_by IS NULL")?;
        ensure!(left.as_deref() == Some("2"), "{left:?} are left");
        other.batch("DROP TRIGGER slow ON caliber_message")?;
        let count = other.value(&receive)?;
        ensure!(count.as_deref() == Some("2"), "{count:?}");
    }
    Ok(PASSED)
}
