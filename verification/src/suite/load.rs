//! Load: mixed calls of many sessions while autovacuum never rests; then the
//! tables hold what was acknowledged, and heap and indexes agree.

use super::crew::{self, Crew, Nearest};
use crate::runner::{Context, Outcome, Test};
use crate::server::Own;
use crate::session::{Failure, Session};
use anyhow::{bail, ensure, Result};
use std::time::{Duration, Instant};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "load::mixed_calls",
            "sixteen sessions of mixed calls under autovacuum leave what was acknowledged, and sound indexes",
            |context| mixed(context, Nearest::Dropped, &UPKEEP),
        ),
        Test::new(
            "load::with_hnsw",
            "the same with HNSW indexes, whose tables nobody vacuums meanwhile",
            |context| mixed(context, Nearest::WithoutVacuum, &UPKEEP[..1]),
        ),
    ]
}

const SESSIONS: u64 = 16;

/// What a database administrator does under the writers and readers, over and over. All of it
/// waits for them, and they for some of it.
const UPKEEP: [&str; 10] = [
    "REINDEX TABLE CONCURRENTLY caliber_turn",
    "REINDEX TABLE CONCURRENTLY caliber_lock",
    "CREATE INDEX CONCURRENTLY extra ON caliber_turn (role, token_count) WHERE token_count > 0",
    "ALTER TABLE caliber_scope ADD CONSTRAINT extra CHECK (name <> 'none')",
    "REINDEX TABLE CONCURRENTLY caliber_message",
    "DROP INDEX CONCURRENTLY extra",
    "REINDEX TABLE CONCURRENTLY caliber_delegation",
    "ALTER TABLE caliber_scope DROP CONSTRAINT extra",
    "REINDEX TABLE CONCURRENTLY caliber_scope",
    "REINDEX INDEX CONCURRENTLY caliber_trajectory_pkey",
];

/// Does one of it; a deadlock with a writer is its end for now.
fn keep_up(session: &mut Session, what: &str) -> Result<()> {
    for _ in 0..100 {
        match session.run(what) {
            Ok(_) => return Ok(()),
            Err(Failure::Error(error)) if error.sqlstate == "40P01" => {}
            Err(other) => bail!("{what}: {other}"),
        }
    }
    bail!("{what}: a deadlock each time")
}

fn mixed(context: &Context, nearest: Nearest, upkeep: &[&str]) -> Result<Outcome> {
    let settings = [
        "autovacuum_naptime=1s",
        "autovacuum_max_workers=4",
        "autovacuum_vacuum_cost_delay=0",
        "autovacuum_vacuum_threshold=1",
        "autovacuum_vacuum_scale_factor=0",
        "autovacuum_vacuum_insert_threshold=1",
        "autovacuum_vacuum_insert_scale_factor=0",
        "autovacuum_analyze_threshold=1",
        "autovacuum_analyze_scale_factor=0",
        "deadlock_timeout=100ms",
    ];
    let Some(own) = Own::start(context.major, &settings)? else {
        return Ok(Outcome::NotCovered(
            "autovacuum is made busy only on servers in containers".to_owned(),
        ));
    };
    let mut crew = Crew::new(own.target(), SESSIONS, context.config.seed, nearest)?;
    let time = Duration::from_secs(context.config.seconds);
    let began = Instant::now();
    let work = crew.work(own.target(), |_| {
        let mut session = own.connect()?;
        // Once at least, however slow the sessions are to begin.
        loop {
            for what in upkeep {
                keep_up(&mut session, what)?;
            }
            if began.elapsed() >= time {
                return Ok(());
            }
        }
    })?;
    ensure!(
        work.lost == 0,
        "{} sessions were lost:\n{}",
        work.lost,
        own.log()
    );
    let mut session = own.connect()?;
    let vacuums = session.value(
        "SELECT sum(autovacuum_count) FROM pg_stat_user_tables WHERE relname LIKE 'caliber%'",
    )?;
    crew.agree(&crew::read(&mut session)?)?;
    crew.settle(own.target())?;
    let amcheck = crew::truth(&mut session)?;
    crew.done()?;
    let facts = crew.facts();
    let vacuums: u32 = vacuums.unwrap_or_default().parse()?;
    ensure!(vacuums > 0, "autovacuum has not run");
    Ok(Outcome::Passed(format!(
        "{} s (VERIFY_SECONDS), {} commits, {} retried, {facts} facts, {vacuums} vacuums{}",
        time.as_secs(),
        work.committed,
        crew.retried(),
        if amcheck { "" } else { ", no amcheck here" }
    )))
}
