//! What many committed calls leave behind: the share of HOT updates with autovacuum on, the
//! size of the tables, and the memory of the backend.

use crate::config::{Config, Effort};
use crate::world::SCATTER;
use anyhow::Result;
use serde::Serialize;
use verification::session::Session;

/// Calls in a transaction, each of another row.
const BATCH: u32 = 1_000;
/// The share of HOT updates that is promised.
pub const PROMISED: f64 = 0.95;

/// What came of many updates.
#[derive(Clone, Debug, Serialize)]
pub struct Updates {
    /// What was called.
    pub what: &'static str,
    /// Fillfactor of the table.
    pub fillfactor: u32,
    /// How often.
    pub calls: u32,
    /// `n_tup_hot_upd` as a share of `n_tup_upd`.
    pub hot: f64,
    /// Is that as much as is promised?
    pub met: bool,
    /// Megabytes of the table before.
    pub before: f64,
    /// Megabytes of the table after.
    pub after: f64,
    /// Kilobytes of the backend's memory contexts before, after the first calls.
    pub memory_before: f64,
    /// Kilobytes after the last.
    pub memory_after: f64,
}

/// Heartbeats and changes of token counts, committed, with autovacuum on.
///
/// # Errors
/// When a statement fails.
pub fn measure(session: &mut Session, config: &Config) -> Result<Vec<Updates>> {
    let calls = match config.effort {
        Effort::Quick => 50_000,
        Effort::Full => 1_000_000,
    };
    session.batch("ALTER SYSTEM SET autovacuum = on")?;
    session.batch("SELECT pg_reload_conf()")?;
    let found = [
        ("agent", "caliber_agent_heartbeat(bench.agent(r))", 50),
        (
            "scope",
            "caliber_scope_update_tokens(bench.scope(r), n)",
            70,
        ),
    ]
    .into_iter()
    .map(|(entity, call, fillfactor)| {
        updates(
            session,
            &format!("caliber_{entity}"),
            call,
            fillfactor,
            calls,
            config.rows,
        )
    })
    .collect();
    session.batch("ALTER SYSTEM SET autovacuum = off")?;
    session.batch("SELECT pg_reload_conf()")?;
    found
}

fn updates(
    session: &mut Session,
    table: &str,
    call: &'static str,
    fillfactor: u32,
    calls: u32,
    rows: u32,
) -> Result<Updates> {
    let size = format!("SELECT pg_table_size('{table}') / 1048576.0");
    let memory = "SELECT sum(total_bytes) / 1024.0 FROM pg_backend_memory_contexts";
    let counts = format!(
        "SELECT n_tup_hot_upd::float8 || ' ' || n_tup_upd::float8 FROM pg_stat_user_tables WHERE relname = '{table}'"
    );
    let number = |session: &mut Session, sql: &str| -> Result<f64> {
        Ok(session
            .value(sql)?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0.0))
    };
    let both = |session: &mut Session| -> Result<(f64, f64)> {
        session.batch("SELECT pg_stat_force_next_flush(); SELECT pg_stat_clear_snapshot()")?;
        let text = session.value(&counts)?.unwrap_or_default();
        let mut parts = text.split(' ').filter_map(|part| part.parse().ok());
        Ok((parts.next().unwrap_or(0.0), parts.next().unwrap_or(0.0)))
    };
    let batch = |session: &mut Session, i: u32| {
        session.batch(&format!(
            "SELECT count(*) FILTER (WHERE {call}) FROM (SELECT n, n::bigint * {SCATTER} % {rows} AS r
             FROM generate_series({}, {}) n) x",
            i * BATCH,
            (i + 1) * BATCH - 1
        ))
    };
    let before = number(session, &size)?;
    batch(session, 0)?;
    let memory_before = number(session, memory)?;
    let (hot, all) = both(session)?;
    for i in 1..=calls / BATCH {
        batch(session, i)?;
    }
    let memory_after = number(session, memory)?;
    let (hot_after, all_after) = both(session)?;
    let share = (hot_after - hot) / (all_after - all);
    Ok(Updates {
        what: call.split_once('(').map_or(call, |(name, _)| name),
        fillfactor,
        calls,
        hot: share,
        met: share >= PROMISED,
        before,
        after: number(session, &size)?,
        memory_before,
        memory_after,
    })
}
