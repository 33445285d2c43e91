//! Time: messages expire by the wall clock, also in the middle of a
//! transaction, and are delivered by it; they are acknowledged at its start.

use super::{ids, receive, AGENTS, ENGINES, RANK};
use crate::runner::{Context, Outcome, Test, PASSED};
use crate::suite::desk;
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "messages::expire_by_the_wall_clock",
            "a message that expires while a transaction runs is neither listed nor received in it any more",
            expiry,
        ),
        Test::new(
            "messages::moments",
            "delivered_at is the wall clock's moment, acknowledged_at and created_at the transaction's start",
            moments,
        ),
        Test::new(
            "messages::redeliver_after",
            "any interval may be given, also one beyond all timestamps",
            intervals,
        ),
    ]
}

/// Three messages: to the agent, to its type, to all; they expire soon.
const SEND: &str = "INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, to_agent_type, message_type, payload, expires_at)
    VALUES ('@01', '@b0', '@a0', NULL, 'interrupt', 'x', clock_timestamp() + interval '400 ms'),
        ('@02', '@b0', NULL, 'coder', 'interrupt', 'x', clock_timestamp() + interval '400 ms'),
        ('@03', '@b0', NULL, NULL, 'interrupt', 'x', clock_timestamp() + interval '400 ms'),
        ('@04', '@b0', '@a0', NULL, 'interrupt', 'x', 'infinity'), ('@05', '@b0', '@a0', NULL, 'interrupt', 'x', '-infinity')";

fn expiry(context: &Context) -> Result<Outcome> {
    let shown = "string_agg(right(m.message_id::text, 2), ' ')";
    let list = format!(
        "SELECT {shown} FROM (SELECT m.* FROM caliber_message m, caliber_agent a WHERE a.agent_id = '@a0'
            AND (m.to_agent_id = a.agent_id OR m.to_agent_type = a.agent_type OR m.to_agent_id IS NULL AND m.to_agent_type IS NULL)
            AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp()) ORDER BY {RANK}) m"
    );
    let all = [
        (
            format!("SELECT {shown} FROM caliber_message_list_for_agent('@a0') m"),
            list.clone(),
        ),
        (
            format!("SELECT {shown} FROM caliber_message_list_for_agent('@a0', false) m"),
            list,
        ),
    ];
    let receive = (
        format!("SELECT {shown} FROM caliber_message_receive('@a0') m"),
        receive("@a0", 10, None, shown),
    );
    for desk in &mut desk::open(context, &desk::ALL, &ids(AGENTS))? {
        let name = desk.engine.name();
        desk.session.batch(&ids(&format!("BEGIN; {SEND}")))?;
        for (expected, wait) in [("01 02 03 04", "0"), ("04", "0.6")] {
            desk.session.batch(&format!("SELECT pg_sleep({wait})"))?;
            for (call, client) in &all {
                let told = desk.session.value(&ids(desk.text(call, client)))?;
                ensure!(
                    told.as_deref() == Some(expected),
                    "{name}: {call}: {told:?}"
                );
            }
        }
        let told = desk
            .session
            .value(&ids(desk.text(&receive.0, &receive.1)))?;
        ensure!(told.as_deref() == Some("04"), "{name}: received {told:?}");
        desk.session.batch("ROLLBACK")?;
    }
    Ok(PASSED)
}

fn moments(context: &Context) -> Result<Outcome> {
    for desk in &mut desk::open(context, &ENGINES, &ids(AGENTS))? {
        let send = |id: &str| {
            ids(&format!(
                "SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'x', id => '{id}')"
            ))
        };
        desk.session
            .batch(&format!("{}; {}", send("@01"), send("@02")))?;
        desk.session.batch(&ids(&format!(
            "BEGIN; SELECT pg_sleep(0.05); {}; SELECT count(*) FROM caliber_message_receive('@a0', 1);
            SELECT caliber_message_acknowledge('@01'); SELECT caliber_message_acknowledge('@02')",
            send("@03")
        )))?;
        let told = desk.session.query(
            "SELECT right(message_id::text, 2), created_at = now(), acknowledged_at = now(),
                delivered_at BETWEEN now() + interval '50 ms' AND clock_timestamp(), received_by IS NOT NULL
            FROM caliber_message ORDER BY message_id",
        ).map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let rows: Vec<String> = told
            .rows
            .into_iter()
            .map(|row| {
                let cells: Vec<String> = row
                    .into_iter()
                    .map(|cell| cell.unwrap_or("-".into()))
                    .collect();
                cells.join(" ")
            })
            .collect();
        ensure!(
            rows == ["01 f t t t", "02 f t t f", "03 t - - f"],
            "{}: {rows:?}",
            desk.engine.name()
        );
        desk.session.batch("ROLLBACK")?;
    }
    Ok(PASSED)
}

fn intervals(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{AGENTS}; INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, message_type, payload, delivered_at)
            VALUES ('@01', '@b0', '@a0', 'interrupt', 'x', now() - interval '1 month'), ('@02', '@b0', '@a0', 'interrupt', 'x', '-infinity')"
    );
    for desk in &mut desk::open(context, &desk::ALL, &ids(&prepare))? {
        for (interval, expected) in [
            ("40 days", Ok("1")),
            ("1 day", Ok("2")),
            ("0", Ok("2")),
            ("-100 years", Ok("2")),
            ("6000 years", Ok("1")),
            ("290000 years", Err("22008")),
        ] {
            let call = format!("SELECT count(*) FROM caliber_message_receive('@a0', redeliver_after => '{interval}')");
            let client = receive("@a0", 10, Some(interval), "count(*)");
            let sql = ids(desk.text(&call, &client));
            let told = desk::answer(desk.session.run(&format!("BEGIN; {sql}")));
            desk.session.batch("ROLLBACK")?;
            let name = desk.engine.name();
            match (told, expected) {
                (Ok(rows), Ok(count)) => {
                    let told = rows
                        .into_iter()
                        .flatten()
                        .flatten()
                        .last()
                        .context("no row")?;
                    ensure!(told == count, "{name}: {interval}: {told}");
                }
                (Err(error), Err(state)) if error.sqlstate == state => {}
                (told, _) => anyhow::bail!("{name}: {interval}: {told:?}"),
            }
        }
    }
    Ok(PASSED)
}
