//! What reading an inbox costs: as many pages as it holds open messages,
//! however many it has held.

use super::{ids, AGENTS};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use crate::suite::desk;
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "messages::an_inbox_costs_what_is_open",
        "an inbox with 20 open messages is read from a handful of pages, after 100,000 acknowledged ones too",
        cost,
    )]
}

/// To the agent, to its type, to all: 20 that are open.
const OPEN: &str = "INSERT INTO caliber_message (from_agent_id, to_agent_id, to_agent_type, message_type, payload, priority)
    SELECT '@b0', CASE WHEN i % 5 < 2 THEN uuid '@a0' END, CASE WHEN i % 5 IN (2, 3) THEN 'coder' END, 'interrupt', 'open ' || i,
        (ARRAY['low', 'normal', 'high', 'critical'])[1 + i % 4] FROM generate_series(1, 20) i";

/// Those that are done with.
const HISTORY: &str = "INSERT INTO caliber_message (from_agent_id, to_agent_id, to_agent_type, message_type, payload, priority,
        delivered_at, acknowledged_at, received_by)
    SELECT '@b0', CASE WHEN i % 2 = 0 THEN uuid '@a0' END, CASE WHEN i % 2 = 1 THEN 'coder' END, 'interrupt', 'done ' || i,
        (ARRAY['low', 'normal', 'high', 'critical'])[1 + i % 4], now(), now(), '@a0' FROM generate_series(1, 100000) i";

/// Messages that are acknowledged one after the other, as life goes.
const LIFE: &str = "INSERT INTO caliber_message (from_agent_id, to_agent_id, to_agent_type, message_type, payload, priority)
    SELECT '@b0', CASE WHEN i % 2 = 0 THEN uuid '@a0' END, CASE WHEN i % 2 = 1 THEN 'coder' END, 'interrupt', 'done ' || i,
        (ARRAY['low', 'normal', 'high', 'critical'])[1 + i % 4] FROM generate_series(1, 20000) i;
    UPDATE caliber_message SET delivered_at = now(), received_by = '@a0' WHERE payload LIKE 'done %' AND delivered_at IS NULL;
    UPDATE caliber_message SET acknowledged_at = now() WHERE payload LIKE 'done %' AND acknowledged_at IS NULL";

const LIST: &str = "SELECT count(*) FROM caliber_message_list_for_agent('@a0')";
const FIRST: &str = "SELECT count(*) FROM caliber_message_list_for_agent('@a0', max_rows => 5)";
const RECEIVE: &str = "SELECT count(*) FROM caliber_message_receive('@a0', 5)";

/// Pages that a statement touches when all that it needs of the catalog is
/// known to the backend.
fn pages(session: &mut Session, sql: &str) -> Result<i64> {
    let plan = |session: &mut Session| -> Result<i64> {
        let plan = session
            .value(&format!(
                "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, FORMAT JSON) {sql}"
            ))?
            .context("no plan")?;
        let plan: serde_json::Value = serde_json::from_str(&plan)?;
        let count = |key: &str| {
            plan[0]["Plan"][key]
                .as_i64()
                .with_context(|| format!("no {key} in {plan}"))
        };
        Ok(count("Shared Hit Blocks")? + count("Shared Read Blocks")?)
    };
    // A receive takes from what is there, so that each is undone.
    session.batch("BEGIN")?;
    for _ in 0..2 {
        session.batch(&format!("SAVEPOINT s; {sql}; ROLLBACK TO s"))?;
    }
    let count = plan(session)?;
    session.batch("ROLLBACK")?;
    Ok(count)
}

fn cost(context: &Context) -> Result<Outcome> {
    let mut shown = Vec::new();
    for desk in &mut desk::open(context, &[Engine::Heap, Engine::Sql], &ids(AGENTS))? {
        let name = desk.engine.name();
        let mut told = Vec::new();
        // The sql engine's plan is the planner's, who must know what is there.
        for (history, limit) in [("", 90), (HISTORY, 120), (LIFE, 120)] {
            if desk.engine == Engine::Sql && history == LIFE {
                continue;
            }
            desk.session.batch(&ids(history))?;
            if told.is_empty() {
                desk.session.batch(&ids(OPEN))?;
            }
            desk.session
                .batch("VACUUM (ANALYZE, FREEZE) caliber_message")?;
            let rows = desk.session.value(&ids(LIST))?;
            ensure!(rows.as_deref() == Some("20"), "{name}: {rows:?} open");
            for sql in [LIST, FIRST, RECEIVE] {
                let count = pages(&mut desk.session, &ids(sql))?;
                told.push(count.to_string());
                ensure!(
                    count < limit,
                    "{name}: {sql} touches {count} pages after {history}"
                );
            }
        }
        shown.push(format!("{name}: {} pages", told.join(", ")));
    }
    Ok(Outcome::Passed(shown.join("; ")))
}
