//! Messages where SQL takes over: children, rules.

use super::{ids, put, receive, AGENTS, RANK};
use crate::runner::{Context, Outcome, Test, PASSED};
use crate::suite::desk::{self, Desk};
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "messages::inheritance",
            "the rows of a child table are listed, received and purged too",
            inheritance,
        )
        .with_takeovers(),
        Test::new(
            "messages::rules",
            "rules do to a receive, a purge and a send what they do to the client's statements",
            rules,
        )
        .with_takeovers(),
    ]
}

const SHOWN: &str = "string_agg(right(m.message_id::text, 2), ' ')";

fn prepare(more: &str) -> String {
    let messages = [
        put("@01", "coder", "high"),
        put("@02", "@a0", "low"),
        put("@03", "coder", "normal"),
    ];
    ids(&format!("{AGENTS}; {}; {more}", messages.join("; ")))
}

fn ask(desk: &mut Desk, (call, client): (&str, &str)) -> Result<String> {
    let sql = ids(desk.text(call, client));
    let told = desk.session.value(&sql);
    Ok(told
        .with_context(|| desk.engine.name())?
        .unwrap_or_default())
}

const PURGE: (&str, &str) = (
    "SELECT caliber_message_purge('2002-01-01')",
    "WITH s AS MATERIALIZED (SELECT message_id FROM caliber_message WHERE acknowledged_at < '2002-01-01' FOR UPDATE SKIP LOCKED),
        d AS (DELETE FROM caliber_message m USING s WHERE m.message_id = s.message_id RETURNING 1) SELECT count(*) FROM d",
);

fn inheritance(context: &Context) -> Result<Outcome> {
    let prepare = prepare(
        "CREATE TABLE more () INHERITS (caliber_message);
        INSERT INTO more (message_id, from_agent_id, to_agent_type, message_type, payload, artifact_ids, created_at, priority)
            VALUES ('@00', '@b0', 'coder', 'interrupt', 'x', '{}', now(), 'normal'), ('@05', '@b0', 'coder', 'interrupt', 'x', '{}', now(), 'critical')",
    );
    let list = (
        format!("SELECT {SHOWN} FROM caliber_message_list_for_agent('@a0') m"),
        format!("SELECT {SHOWN} FROM (SELECT * FROM caliber_message m ORDER BY {RANK}) m"),
    );
    let receive = (
        format!("SELECT {SHOWN} FROM caliber_message_receive('@a0', 3) m"),
        receive("@a0", 3, None, SHOWN),
    );
    for desk in &mut desk::open(context, &desk::ALL, &prepare)? {
        let name = desk.engine.name();
        for (question, expected) in [
            ((list.0.as_str(), list.1.as_str()), "05 01 00 03 02"),
            ((&receive.0, &receive.1), "05 01 00"),
            ((&receive.0, &receive.1), "03 02"),
        ] {
            let told = ask(desk, question)?;
            ensure!(told == expected, "{name}: {question:?}: {told}");
        }
        desk.session.batch(
            "UPDATE caliber_message SET acknowledged_at = '2001-01-01' WHERE priority <> 'low'",
        )?;
        let told = ask(desk, PURGE)?;
        ensure!(told == "4", "{name}: purged {told}");
    }
    Ok(PASSED)
}

fn rules(context: &Context) -> Result<Outcome> {
    let call = format!("SELECT {SHOWN} FROM caliber_message_receive('@a0', 3) m");
    let client = receive("@a0", 3, None, SHOWN);
    let mut desks = desk::open(
        context,
        &desk::ALL,
        &prepare("CREATE TABLE log (line text)"),
    )?;
    let mut each = |sql: &str| -> Result<()> {
        desks
            .iter_mut()
            .try_for_each(|desk| desk.session.batch(sql))
    };
    each("CREATE RULE r AS ON UPDATE TO caliber_message DO INSTEAD NOTHING")?;
    desk::same_error(&mut desks, &ids(&call), &ids(&client), "0A000")?;
    for desk in &mut desks {
        let name = desk.engine.name();
        desk.session.batch(
            "DROP RULE r ON caliber_message; UPDATE caliber_message SET acknowledged_at = '2001-01-01';
            CREATE RULE r AS ON DELETE TO caliber_message DO ALSO INSERT INTO log VALUES ('deleted');
            CREATE RULE s AS ON INSERT TO caliber_message DO ALSO INSERT INTO log VALUES ('sent ' || NEW.message_id)",
        )?;
        // The client's own would be refused in a CTE.
        let purge = (
            PURGE.0,
            "DELETE FROM caliber_message WHERE acknowledged_at < '2002-01-01'; SELECT 3",
        );
        let told = ask(desk, purge)?;
        ensure!(told == "3", "{name}: purged {told}");
        let send = (
            "SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'x', id => '@09')",
            "INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, message_type, payload)
                VALUES ('@09', '@b0', '@a0', 'interrupt', 'x') RETURNING message_id",
        );
        let told = ask(desk, send)?;
        ensure!(told == ids("@09"), "{name}: sent {told}");
        let log = desk
            .session
            .value("SELECT string_agg(line, ', ' ORDER BY line) FROM log")?;
        let expected = ids("deleted, deleted, deleted, sent @09");
        ensure!(log.as_deref() == Some(&expected), "{name}: {log:?}");
    }
    Ok(PASSED)
}
