//! Load: mixed calls of many sessions while autovacuum never rests; then the
//! tables hold what was acknowledged, and heap and indexes agree.

use super::crew::{self, Crew};
use crate::runner::{Context, Outcome, Test};
use crate::server::Own;
use anyhow::{ensure, Result};
use std::time::{Duration, Instant};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "load::mixed_calls",
        "sixteen sessions of mixed calls under autovacuum leave what was acknowledged, and sound indexes",
        mixed,
    )]
}

const SESSIONS: u64 = 16;

fn mixed(context: &Context) -> Result<Outcome> {
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
    let mut crew = Crew::new(own.target(), SESSIONS, context.config.seed)?;
    let time = Duration::from_secs(context.config.seconds);
    let began = Instant::now();
    let work = crew.work(own.target(), |_| {
        let mut session = own.connect()?;
        while began.elapsed() < time {
            // Rebuilt under the writers, now and then.
            session.batch("REINDEX TABLE CONCURRENTLY caliber_turn")?;
            session.batch("REINDEX TABLE CONCURRENTLY caliber_lock")?;
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
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
