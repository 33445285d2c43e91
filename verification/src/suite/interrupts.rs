//! Every loop over rows asks whether the statement was cancelled: a timeout ends a long call
//! in its midst, not at its end.

use super::desk;
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};
use std::time::{Duration, Instant};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "interrupts::loops",
        "a timeout ends a long list, a page of a bitmap, a purge and many at once in their midst",
        loops,
    )]
}

/// Many rows under one key, many notes of one task, and many messages that may go.
const ROWS: &str = "
SET session_replication_role = replica;
INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('00000000-0000-7000-8000-0000000000b1', 'task');
INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget)
    VALUES ('00000000-0000-7000-8000-0000000000c1', '00000000-0000-7000-8000-0000000000b1', 's', 1);
INSERT INTO caliber_turn (turn_id, scope_id, sequence, role, content, token_count)
    SELECT gen_random_uuid(), '00000000-0000-7000-8000-0000000000c1', n, 'user', 'x', 1 FROM generate_series(0, 39999) n;
INSERT INTO caliber_note (note_id, note_type, title, content, content_hash, source_trajectory_ids)
    SELECT gen_random_uuid(), 'fact', 't', 'c', sha256('c'), '{00000000-0000-7000-8000-0000000000b1}' FROM generate_series(1, 40000);
INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, message_type, payload, delivered_at, acknowledged_at, created_at)
    SELECT gen_random_uuid(), '00000000-0000-7000-8000-0000000000a1', '00000000-0000-7000-8000-0000000000a2', 'heartbeat', 'p', '2001-01-01', '2001-01-01', '2001-01-01'
    FROM generate_series(1, 10000);
RESET session_replication_role;
CREATE TABLE elements AS SELECT jsonb_agg('{\"role\": \"user\", \"content\": \"x\"}'::jsonb) AS turns FROM generate_series(1, 5000);
ANALYZE;";

/// Calls of which nearly all the time is one loop.
const CALLS: [(&str, &str); 5] = [
    (
        "list",
        "SELECT count(*) FROM caliber_turn_get_by_scope('00000000-0000-7000-8000-0000000000c1')",
    ),
    (
        "last",
        "SELECT count(*) FROM caliber_turn_get_recent('00000000-0000-7000-8000-0000000000c1', 40000)",
    ),
    (
        "bitmap",
        "SELECT count(*) FROM caliber_note_query_by_trajectory('00000000-0000-7000-8000-0000000000b1')",
    ),
    (
        "purge",
        "SELECT caliber_message_purge('2020-01-01', 10000)",
    ),
    (
        "many",
        "SELECT count(*) FROM elements, caliber_turn_create_many('00000000-0000-7000-8000-0000000000c1', turns)",
    ),
];

/// Tries: on a busy machine one may be late.
const TRIES: u32 = 8;

fn loops(context: &Context) -> Result<Outcome> {
    let mut desk = desk::open(context, &[Engine::Heap], ROWS)?
        .pop()
        .context("a desk")?;
    let mut shown = Vec::new();
    for (name, call) in CALLS {
        let whole = (0..3)
            .map(|_| timed(&mut desk.session, call))
            .collect::<Result<Vec<_>>>()?;
        let whole = whole.into_iter().min().unwrap_or_default();
        let mut soonest = Duration::MAX;
        for _ in 0..TRIES {
            soonest = soonest.min(interrupted(&mut desk.session, call, whole / 4)?);
            if soonest < whole * 3 / 5 {
                break;
            }
        }
        ensure!(
            soonest < whole * 3 / 5,
            "{name} takes {whole:?}; told to end after a quarter of that it ends after {soonest:?} at best"
        );
        shown.push(format!(
            "{name} {} of {} ms",
            soonest.as_millis(),
            whole.as_millis()
        ));
    }
    Ok(Outcome::Passed(shown.join(", ")))
}

/// How long the call takes if nobody interrupts it.
fn timed(session: &mut Session, call: &str) -> Result<Duration> {
    session.batch("BEGIN")?;
    let began = Instant::now();
    session.value(call)?;
    let time = began.elapsed();
    session.batch("ROLLBACK")?;
    Ok(time)
}

/// How long until it ends by a timeout.
fn interrupted(session: &mut Session, call: &str, after: Duration) -> Result<Duration> {
    let limit = after.as_millis().max(1);
    session.batch(&format!("BEGIN; SET LOCAL statement_timeout = {limit}"))?;
    let began = Instant::now();
    let error = session.error(call)?;
    let time = began.elapsed();
    session.batch("ROLLBACK")?;
    ensure!(error.sqlstate == "57014", "{error}");
    Ok(time)
}
