//! Messages: announced when they are committed and only then, received by
//! exactly one, and cheap to read however long their history is.

mod cases;
mod clock;
mod inbox;
mod notify;
mod purge;
mod race;
mod rights;
mod schedules;
mod takeover;

use crate::judge::Engine;
use crate::runner::Test;

/// The engines that a topic goes through.
const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(notify::tests());
    tests.extend(schedules::tests());
    tests.extend(race::tests());
    tests.extend(inbox::tests());
    tests.extend(rights::tests());
    tests.extend(clock::tests());
    tests.extend(takeover::tests());
    tests.extend(purge::tests());
    tests
}

/// `@xx` is the id that ends in these digits.
fn ids(text: &str) -> String {
    text.replace('@', "00000000-0000-7000-8000-0000000000")
}

/// Three coders, and a tester who sends.
const AGENTS: &str = "INSERT INTO caliber_agent (agent_id, agent_type)
    VALUES ('@a0', 'coder'), ('@a1', 'coder'), ('@a2', 'coder'), ('@b0', 'tester')";

/// The order of reading.
const RANK: &str = "CASE m.priority WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'normal' THEN 2 WHEN 'low' THEN 3 END, m.message_id";

/// A message from `@b0`; the target is an agent or a type.
fn put(id: &str, target: &str, priority: &str) -> String {
    let (agent, kind) = match target.starts_with('@') {
        true => (format!("'{target}'"), "NULL".to_owned()),
        false => ("NULL".to_owned(), format!("'{target}'")),
    };
    format!(
        "INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, to_agent_type, message_type, payload, priority)
        VALUES ('{id}', '@b0', {agent}, {kind}, 'interrupt', 'payload', '{priority}')"
    )
}

/// The client's statement for `caliber_message_receive`, whose rows are `shown`.
fn receive(agent: &str, max_rows: i64, again: Option<&str>, shown: &str) -> String {
    let due = again.map_or_else(
        || "m.delivered_at IS NULL".to_owned(),
        |again| {
            format!("(m.delivered_at IS NULL OR m.delivered_at < clock_timestamp() - interval '{again}')")
        },
    );
    format!(
        "WITH s AS MATERIALIZED (SELECT m.message_id FROM caliber_message m, caliber_agent a
            WHERE a.agent_id = '{agent}' AND (m.to_agent_id = a.agent_id OR m.to_agent_type = a.agent_type)
            AND m.acknowledged_at IS NULL AND {due} AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
            ORDER BY {RANK} LIMIT {max_rows} FOR NO KEY UPDATE OF m SKIP LOCKED),
        u AS (UPDATE caliber_message m SET delivered_at = clock_timestamp(), received_by = '{agent}' FROM s
            WHERE m.message_id = s.message_id RETURNING m.*)
        SELECT {shown} FROM (SELECT m.* FROM u m ORDER BY {RANK}) m"
    )
}
