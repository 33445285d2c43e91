//! What many committed calls leave behind: the share of HOT updates with autovacuum on, the
//! size of the tables, and the memory of the backend.

use crate::bar::Verdict;
use crate::config::{Config, Effort};
use crate::server::Server;
use crate::world::{self, SCATTER};
use anyhow::{Context, Result};
use serde::Serialize;
use verification::session::Session;

/// Calls in a transaction, each of another row.
const BATCH: u32 = 1_000;
/// The share of HOT updates that is promised.
pub const PROMISED: f64 = 0.95;
/// Kilobytes by which memory may grow and be called flat: caches of the server that fill late,
/// and what its allocator keeps. A leak of a byte a call would be as much in a million calls.
const FLAT: f64 = 1_024.0;
/// How much larger a table may become by updates that vacuum keeps up with.
const BOUNDED: f64 = 2.0;

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
    /// Rows of the table.
    pub rows: u32,
    /// How often autovacuum worked on the table meanwhile.
    pub vacuums: u64,
    /// Megabytes of the table before.
    pub before: f64,
    /// Megabytes of the table after.
    pub after: f64,
    /// Kilobytes of the backend's memory contexts before, after the first calls.
    pub memory_before: f64,
    /// Kilobytes after the last.
    pub memory_after: f64,
    /// Kilobytes of private memory that the operating system says the backend holds, before.
    pub resident_before: f64,
    /// The same, after.
    pub resident_after: f64,
    /// Megabytes that the table may have afterwards.
    pub size_allowed: f64,
    /// Kilobytes by which the backend may grow and be called flat.
    pub memory_allowed: f64,
}

impl Updates {
    /// Were as many updates HOT as is promised?
    #[must_use]
    pub fn hot_verdict(&self) -> Verdict {
        within(1.0 - self.hot, 1.0 - PROMISED)
    }

    /// Is the table's size bounded?
    #[must_use]
    pub fn size_verdict(&self) -> Verdict {
        within(self.after, self.size_allowed)
    }

    /// Is the memory flat, by the server's own count and by the operating system's?
    #[must_use]
    pub fn memory_verdict(&self) -> Verdict {
        within(self.grown(), self.memory_allowed)
    }

    /// Kilobytes by which the memory grew, by whichever count it grew more.
    #[must_use]
    pub fn grown(&self) -> f64 {
        (self.memory_after - self.memory_before).max(self.resident_after - self.resident_before)
    }
}

/// A count has no spread.
fn within(value: f64, allowed: f64) -> Verdict {
    if value <= allowed {
        Verdict::Met
    } else {
        Verdict::Missed {
            by: value / allowed - 1.0,
        }
    }
}

/// What a backend holds.
struct Held {
    contexts: f64,
    resident: f64,
}

impl Held {
    fn by(session: &mut Session) -> Result<Self> {
        let contexts = number(
            session,
            "SELECT sum(total_bytes) / 1024.0 FROM pg_backend_memory_contexts",
        )?;
        let status = session.value("SELECT pg_read_file('/proc/self/status', 0, 100000)")?;
        let resident = status
            .iter()
            .flat_map(|text| text.lines())
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .context("the server's machine does not say what a process holds")?;
        Ok(Self { contexts, resident })
    }
}

fn number(session: &mut Session, sql: &str) -> Result<f64> {
    let text = session.value(sql)?.unwrap_or_default();
    text.parse().with_context(|| format!("{text:?} by {sql}"))
}

/// Heartbeats and changes of token counts, committed, with autovacuum on.
///
/// # Errors
/// When a statement fails, or autovacuum cannot be switched on.
pub fn measure(server: &Server, session: &mut Session, config: &Config) -> Result<Vec<Updates>> {
    let calls = match config.effort {
        Effort::Quick => 50_000,
        Effort::Full => 1_000_000,
    };
    server.autovacuum(true)?;
    let found = [
        ("agent", "caliber_agent_heartbeat(bench.agent(r))"),
        ("scope", "caliber_scope_update_tokens(bench.scope(r), n)"),
    ]
    .into_iter()
    .map(|(entity, call)| {
        updates(
            session,
            &format!("caliber_{entity}"),
            call,
            calls,
            config.rows,
        )
    })
    .collect();
    server.autovacuum(false)?;
    found
}

fn updates(
    session: &mut Session,
    table: &str,
    call: &'static str,
    calls: u32,
    rows: u32,
) -> Result<Updates> {
    let size = format!("SELECT pg_table_size('{table}') / 1048576.0");
    let count = |session: &mut Session, what: &str| -> Result<f64> {
        session.batch("SELECT pg_stat_force_next_flush()")?;
        session.batch("SELECT pg_stat_clear_snapshot()")?;
        number(
            session,
            &format!("SELECT {what} FROM pg_stat_user_tables WHERE relid = '{table}'::regclass"),
        )
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
    // The first calls, and the first look at what is held, fill caches.
    for i in 0..3 {
        batch(session, i)?;
        Held::by(session)?;
    }
    let held = Held::by(session)?;
    let (hot, all) = (
        count(session, "n_tup_hot_upd")?,
        count(session, "n_tup_upd")?,
    );
    let vacuums = count(session, "autovacuum_count")?;
    for i in 3..calls / BATCH + 3 {
        batch(session, i)?;
    }
    let after = Held::by(session)?;
    let hot_after = count(session, "n_tup_hot_upd")? - hot;
    Ok(Updates {
        what: call.split_once('(').map_or(call, |(name, _)| name),
        fillfactor: world::fillfactor(session, table)?,
        calls,
        hot: hot_after / (count(session, "n_tup_upd")? - all),
        rows,
        vacuums: (count(session, "autovacuum_count")? - vacuums) as u64,
        before,
        after: number(session, &size)?,
        memory_before: held.contexts,
        memory_after: after.contexts,
        resident_before: held.resident,
        resident_after: after.resident,
        size_allowed: before * BOUNDED,
        memory_allowed: FLAT,
    })
}
