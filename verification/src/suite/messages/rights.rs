//! What a role needs, and what policies and read-only transactions leave of it.

use super::{ids, put, receive, AGENTS};
use crate::runner::{Context, Outcome, Test, PASSED};
use crate::suite::desk::{self, Desk};
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "messages::rights",
            "each call works with just its rights, and misses each of them as the client's statement does",
            rights,
        ),
        Test::new(
            "messages::policies",
            "row policies of messages and agents decide what is listed, received and purged",
            policies,
        ).with_takeovers(),
        Test::new(
            "messages::read_only",
            "a read-only transaction refuses in PostgreSQL's words",
            read_only,
        ).with_takeovers(),
    ]
}

/// A call, the client's statement (empty: none that needs the same rights), and
/// the rights it needs.
struct Need {
    call: &'static str,
    client: fn() -> String,
    rights: &'static [&'static str],
}

const SHOWN: &str = "count(*)";

const NEEDS: &[Need] = &[
    Need {
        call: "SELECT count(*) FROM caliber_message_receive('@a0')",
        client: || receive("@a0", 10, None, SHOWN),
        rights: &[
            "SELECT ON caliber_message",
            "UPDATE (delivered_at, received_by) ON caliber_message",
            "SELECT ON caliber_agent",
        ],
    },
    Need {
        call: "SELECT count(*) FROM caliber_message_list_for_agent('@a0')",
        client: || {
            "SELECT count(*) FROM caliber_message m, caliber_agent a WHERE a.agent_id = '@a0'
                AND (m.to_agent_id = a.agent_id OR m.to_agent_type = a.agent_type)"
                .to_owned()
        },
        rights: &["SELECT ON caliber_message", "SELECT ON caliber_agent"],
    },
    Need {
        call: "SELECT caliber_message_purge('2001-01-01')",
        client: String::new,
        rights: &["SELECT ON caliber_message", "DELETE ON caliber_message"],
    },
    Need {
        call: "SELECT caliber_message_acknowledge('@01')",
        client: || {
            "UPDATE caliber_message SET acknowledged_at = now(), delivered_at = now() WHERE message_id = '@01'"
                .to_owned()
        },
        rights: &[
            "SELECT ON caliber_message",
            "UPDATE (acknowledged_at, delivered_at) ON caliber_message",
        ],
    },
    Need {
        call: "SELECT caliber_message_send_many('[{\"from_agent_id\": \"@b0\", \"message_type\": \"interrupt\", \"payload\": \"x\"}]')",
        client: || {
            "INSERT INTO caliber_message (message_id, from_agent_id, message_type, payload)
                VALUES (caliber_new_id(), '@b0', 'interrupt', 'x') RETURNING message_id"
                .to_owned()
        },
        rights: &["INSERT ON caliber_message", "SELECT (message_id) ON caliber_message"],
    },
    Need {
        call: "SELECT caliber_message_delete('@01')",
        client: || "DELETE FROM caliber_message WHERE message_id = '@01'".to_owned(),
        rights: &["DELETE ON caliber_message", "SELECT (message_id) ON caliber_message"],
    },
];

fn prepare() -> String {
    let messages = [
        put("@01", "coder", "high"),
        put("@02", "@a0", "low"),
        put("@03", "coder", "normal"),
    ];
    ids(&format!("{AGENTS}; {}", messages.join("; ")))
}

/// A role of this desk's own.
fn role(desk: &mut Desk) -> Result<String> {
    let role = format!("reader_{}", desk.session.pid()?);
    desk.session.batch(&format!("CREATE ROLE {role}"))?;
    Ok(role)
}

fn drop_role(desk: &mut Desk, role: &str) -> Result<()> {
    desk.session.batch(&format!(
        "RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}"
    ))
}

fn rights(context: &Context) -> Result<Outcome> {
    let mut count = 0;
    let mut desks = desk::open(context, &desk::ALL, &prepare())?;
    let roles = desks.iter_mut().map(role).collect::<Result<Vec<_>>>()?;
    for need in NEEDS {
        let (call, client) = (ids(need.call), ids(&(need.client)()));
        // With all of them, and without each.
        for missing in (0..=need.rights.len()).rev() {
            let mut answers = Vec::new();
            for (desk, role) in desks.iter_mut().zip(&roles) {
                for (number, right) in need.rights.iter().enumerate() {
                    if number != missing {
                        desk.session.batch(&format!("GRANT {right} TO {role}"))?;
                    }
                }
                let sql = desk.text(&call, &client).to_owned();
                if !sql.is_empty() {
                    desk.session
                        .batch(&format!("BEGIN; SET LOCAL ROLE {role}"))?;
                    let answer = desk::answer(desk.session.run(&sql));
                    desk.session.batch("ROLLBACK")?;
                    answers.push((desk.engine, answer.err()));
                }
                desk.session.batch(&format!("DROP OWNED BY {role}"))?;
            }
            let [(_, first), others @ ..] = &answers[..] else {
                continue;
            };
            for (engine, other) in others {
                ensure!(
                    first == other,
                    "{call}\nwithout {:?}: {first:?}\n{}: {other:?}",
                    need.rights.get(missing),
                    engine.name()
                );
            }
            let state = first.as_ref().map(|error| error.sqlstate.as_str());
            let wanted = (missing < need.rights.len()).then_some("42501");
            ensure!(
                state == wanted,
                "{call}\nwithout {:?}: {first:?}",
                need.rights.get(missing)
            );
            count += 1;
        }
    }
    for (desk, role) in desks.iter_mut().zip(&roles) {
        drop_role(desk, role)?;
    }
    Ok(Outcome::Passed(format!("{count} grants")))
}

fn policies(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{}; ALTER TABLE caliber_message ENABLE ROW LEVEL SECURITY;
        CREATE POLICY look ON caliber_message FOR SELECT USING (priority <> 'low');
        CREATE POLICY change ON caliber_message FOR UPDATE USING (priority <> 'normal');
        CREATE POLICY remove ON caliber_message FOR DELETE USING (priority <> 'critical');
        ALTER TABLE caliber_agent ENABLE ROW LEVEL SECURITY;
        CREATE POLICY look ON caliber_agent USING (agent_id <> '{}')",
        prepare(),
        ids("@a1")
    );
    let mut desks = desk::open(context, &desk::ALL, &prepare)?;
    let shown = "string_agg(right(m.message_id::text, 2), ' ')";
    let listed = |agent: &str| {
        let call = format!("SELECT {shown} FROM caliber_message_list_for_agent('{agent}') m");
        let client = format!(
            "SELECT {shown} FROM (SELECT m.* FROM caliber_message m, caliber_agent a WHERE a.agent_id = '{agent}'
                AND (m.to_agent_id = a.agent_id OR m.to_agent_type = a.agent_type) AND m.acknowledged_at IS NULL ORDER BY {}) m",
            super::RANK
        );
        (call, client)
    };
    let received = |agent: &str| {
        let call = format!("SELECT {shown} FROM caliber_message_receive('{agent}') m");
        (call, receive(agent, 10, None, shown))
    };
    let purged = (
        "SELECT caliber_message_purge('2002-01-01')".to_owned(),
        "WITH s AS MATERIALIZED (SELECT message_id FROM caliber_message WHERE acknowledged_at < '2002-01-01' FOR UPDATE SKIP LOCKED),
            d AS (DELETE FROM caliber_message m USING s WHERE m.message_id = s.message_id RETURNING 1) SELECT count(*) FROM d"
            .to_owned(),
    );
    for desk in &mut desks {
        let role = role(desk)?;
        desk.session.batch(&format!(
            "GRANT ALL ON caliber_message, caliber_agent TO {role}; SET ROLE {role}"
        ))?;
        let mut ask = |(call, client): (String, String), expected: &str| -> Result<()> {
            let sql = ids(desk.text(&call, &client));
            let told = desk
                .session
                .value(&sql)
                .with_context(|| desk.engine.name())?;
            let told = told.unwrap_or_default();
            ensure!(told == expected, "{}: {sql}: {told}", desk.engine.name());
            Ok(())
        };
        ask(listed("@a0"), "01 03")?;
        ask(listed("@a1"), "")?;
        ask(received("@a1"), "")?;
        ask(received("@a0"), "01")?;
        ask(received("@a0"), "")?;
        desk.session.batch(&ids(
            "RESET ROLE; UPDATE caliber_message SET acknowledged_at = '2001-01-01';
            UPDATE caliber_message SET priority = 'critical' WHERE message_id = '@01';
            UPDATE caliber_message SET priority = 'high' WHERE message_id = '@02'",
        ))?;
        desk.session.batch(&format!("SET ROLE {role}"))?;
        let mut ask = |(call, client): &(String, String), expected: &str| -> Result<()> {
            let sql = ids(desk.text(call, client));
            let told = desk
                .session
                .value(&sql)
                .with_context(|| desk.engine.name())?;
            let told = told.unwrap_or_default();
            ensure!(told == expected, "{}: {sql}: {told}", desk.engine.name());
            Ok(())
        };
        ask(&purged, "1")?;
        ask(&purged, "0")?;
        drop_role(desk, &role)?;
        let left = desk.session.value("SELECT string_agg(right(message_id::text, 2), ' ' ORDER BY message_id) FROM caliber_message")?;
        ensure!(left.as_deref() == Some("01 03"), "{left:?}");
    }
    Ok(PASSED)
}

fn read_only(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &desk::ALL, &prepare())?;
    for desk in &mut desks {
        desk.session
            .batch("SET default_transaction_read_only = on")?;
    }
    for (call, client) in [
        (
            "SELECT count(*) FROM caliber_message_receive('@a0')".to_owned(),
            receive("@a0", 10, None, SHOWN),
        ),
        (
            "SELECT caliber_message_acknowledge('@01')".to_owned(),
            "UPDATE caliber_message SET acknowledged_at = now() WHERE message_id = '@01'".to_owned(),
        ),
        (
            "SELECT caliber_message_purge(now())".to_owned(),
            "DELETE FROM caliber_message WHERE acknowledged_at < now()".to_owned(),
        ),
        (
            "SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'x', id => '@09')".to_owned(),
            "INSERT INTO caliber_message (message_id, from_agent_id, to_agent_id, message_type, payload) VALUES ('@09', '@b0', '@a0', 'interrupt', 'x')".to_owned(),
        ),
    ] {
        desk::same_error(&mut desks, &ids(&call), &ids(&client), "25006")?;
    }
    Ok(PASSED)
}
