//! What listeners hear, and when.

use super::{ids, AGENTS, ENGINES};
use crate::runner::{Context, Outcome, Test, PASSED};
use crate::session::Session;
use crate::suite::desk::{self, Desk};
use anyhow::{ensure, Context as _, Result};
use postgres::fallible_iterator::FallibleIterator;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "messages::notify_says_what_is_stored",
            "one notification for each message that is stored, on the channel of its target, whatever a trigger made of it",
            content,
        ).with_takeovers(),
        Test::new(
            "messages::notify_at_commit_only",
            "listeners hear of a message when it is committed; a rollback, also to a savepoint, takes it back",
            moment,
        ),
        Test::new(
            "messages::channel",
            "the channel of an agent, of any type however it is written or long, and of all",
            channel,
        ),
    ]
}

/// A session that listens.
struct Listener {
    session: Session,
}

impl Listener {
    fn new(desk: &Desk, types: &[&str]) -> Result<Self> {
        let mut session = desk.database.connect()?;
        session.batch("LISTEN sentinel")?;
        for target in ["", "'@a0'", "'@a1'"] {
            Self::listen(&mut session, &ids(target))?;
        }
        for name in types {
            Self::listen(&mut session, &format!("agent_type => $type${name}$type$"))?;
        }
        Ok(Self { session })
    }

    fn listen(session: &mut Session, target: &str) -> Result<()> {
        let listen = session
            .value(&format!(
                "SELECT format('LISTEN %I', caliber_channel({target}))"
            ))?
            .context("no channel")?;
        session.batch(&listen)
    }

    /// What has been said until now: `channel: message_id type priority sender`,
    /// with the last digits of ids. `other` commits something that is heard last.
    fn heard(&mut self, other: &mut Session) -> Result<Vec<String>> {
        other.batch("NOTIFY sentinel")?;
        let mut heard = Vec::new();
        let mut notifications = self.session.client().notifications();
        let mut waiting = notifications.timeout_iter(Duration::from_secs(20));
        loop {
            let said = waiting.next()?.context("the last word was never heard")?;
            if said.channel() == "sentinel" {
                return Ok(heard);
            }
            let payload: serde_json::Value = serde_json::from_str(said.payload())
                .with_context(|| format!("payload {}", said.payload()))?;
            let object = payload.as_object().context("no object")?;
            ensure!(object.len() == 4, "{payload}");
            let text = |key: &str| {
                object
                    .get(key)
                    .and_then(|value| value.as_str())
                    .unwrap_or("-")
            };
            let last = |key| {
                let id = text(key);
                id.get(id.len().saturating_sub(2)..).unwrap_or_default()
            };
            let channel = said.channel().replace(&ids("@"), "@");
            heard.push(format!(
                "{channel}: {} {} {} {}",
                last("message_id"),
                text("message_type"),
                text("priority"),
                last("from_agent_id")
            ));
        }
    }
}

/// A BEFORE trigger does what the payload says.
const MEDDLE: &str = "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        CASE NEW.payload
            WHEN 'veto' THEN RETURN NULL;
            WHEN 'to a type' THEN NEW.to_agent_id = NULL; NEW.to_agent_type = 'other type';
            WHEN 'to all' THEN NEW.to_agent_id = NULL;
            WHEN 'to another' THEN NEW.to_agent_id = '@a1';
            WHEN 'urgent' THEN NEW.priority = 'critical';
            WHEN 'kind' THEN NEW.message_type = 'heartbeat';
            WHEN 'id' THEN NEW.message_id = '@ee';
            ELSE NULL;
        END CASE;
        RETURN NEW; END $$;
    CREATE TRIGGER meddle BEFORE INSERT ON caliber_message FOR EACH ROW EXECUTE FUNCTION meddle()";

/// A call, and what is heard.
const SAID: &[(&str, &[&str])] = &[
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'plain', id => '@01')",
        &["caliber_agent_@a0: 01 interrupt normal b0"]),
    ("SELECT caliber_message_send('@b0', NULL, 'coder', 'task_result', 'plain', priority => 'low', id => '@02')",
        &["caliber_type_coder: 02 task_result low b0"]),
    ("SELECT caliber_message_send('@a0', NULL, NULL, 'handoff', 'plain', priority => 'high', id => '@03')",
        &["caliber_broadcast: 03 handoff high a0"]),
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'veto', id => '@04')", &[]),
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'to a type', id => '@05')",
        &["caliber_type_other type: 05 interrupt normal b0"]),
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'to all', id => '@06')",
        &["caliber_broadcast: 06 interrupt normal b0"]),
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'to another', id => '@07')",
        &["caliber_agent_@a1: 07 interrupt normal b0"]),
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'urgent', id => '@08')",
        &["caliber_agent_@a0: 08 interrupt critical b0"]),
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'kind', id => '@09')",
        &["caliber_agent_@a0: 09 heartbeat normal b0"]),
    // Equal notifications of one transaction would be one: these differ.
    ("BEGIN; SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'plain', id => '@0a'),
        caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'plain', id => '@0b'); COMMIT",
        &["caliber_agent_@a0: 0a interrupt normal b0", "caliber_agent_@a0: 0b interrupt normal b0"]),
    ("SELECT count(*) FROM caliber_message_send_many('[
            {\"from_agent_id\": \"@b0\", \"to_agent_id\": \"@a0\", \"message_type\": \"interrupt\", \"payload\": \"plain\", \"id\": \"@11\"},
            {\"from_agent_id\": \"@b0\", \"to_agent_id\": \"@a0\", \"message_type\": \"interrupt\", \"payload\": \"veto\", \"id\": \"@12\"},
            {\"from_agent_id\": \"@b0\", \"to_agent_id\": \"@a0\", \"message_type\": \"interrupt\", \"payload\": \"to another\", \"id\": \"@13\"},
            {\"from_agent_id\": \"@b0\", \"to_agent_type\": \"coder\", \"message_type\": \"interrupt\", \"payload\": \"urgent\", \"id\": \"@14\"},
            {\"from_agent_id\": \"@b0\", \"message_type\": \"interrupt\", \"payload\": \"plain\", \"id\": \"@15\"}]')",
        &["caliber_agent_@a0: 11 interrupt normal b0", "caliber_agent_@a1: 13 interrupt normal b0",
            "caliber_type_coder: 14 interrupt critical b0", "caliber_broadcast: 15 interrupt normal b0"]),
    ("SELECT count(*) FROM caliber_message_send_many('[]')", &[]),
    ("SET caliber.notify = off; SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'plain', id => '@21');
        SELECT caliber_message_send_many('[{\"from_agent_id\": \"@b0\", \"message_type\": \"interrupt\", \"payload\": \"plain\", \"id\": \"@22\"}]');
        SET caliber.notify = on", &[]),
    ("SET caliber.on_duplicate = return; SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'plain', id => '@01')", &[]),
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'to another', id => '@23')",
        &["caliber_agent_@a1: 23 interrupt normal b0"]),
    ("SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'veto', id => '@24')", &[]),
    ("SELECT caliber_message_send_many('[
            {\"from_agent_id\": \"@b0\", \"to_agent_id\": \"@a0\", \"message_type\": \"interrupt\", \"payload\": \"plain\", \"id\": \"@11\"},
            {\"from_agent_id\": \"@b0\", \"to_agent_id\": \"@a0\", \"message_type\": \"interrupt\", \"payload\": \"urgent\", \"id\": \"@25\"}]');
        SET caliber.on_duplicate = error",
        &["caliber_agent_@a0: 25 interrupt critical b0"]),
];

/// With the trigger's own key, which only whoever may read the row is told.
const OTHER_ID: (&str, &[&str]) = (
    "SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'id', id => '@31')",
    &["caliber_agent_@a0: ee interrupt normal b0"],
);

fn content(context: &Context) -> Result<Outcome> {
    let prepare = ids(&format!("{AGENTS}; {MEDDLE}"));
    let mut desks = desk::open(context, &ENGINES, &prepare)?;
    let mut count = 0;
    for desk in &mut desks {
        let role = format!("sender_{}", desk.session.pid()?);
        let mut control = desk.another()?;
        let mut listener = Listener::new(desk, &["coder", "other type"])?;
        control.batch(&format!(
            "CREATE ROLE {role}; GRANT INSERT, SELECT (message_id) ON caliber_message TO {role}"
        ))?;
        // As a superuser; as a role that may only send; with policies in force.
        let policies = "ALTER TABLE caliber_message ENABLE ROW LEVEL SECURITY;
            CREATE POLICY send ON caliber_message FOR INSERT WITH CHECK (true);
            CREATE POLICY look ON caliber_message FOR SELECT USING (message_id <> '@07')";
        for (role, before, read) in [
            (None, "", true),
            (Some(&role), "", false),
            (Some(&role), policies, false),
        ] {
            control.batch(&ids(before))?;
            if let Some(role) = role {
                desk.session.batch(&format!("SET ROLE {role}"))?;
            }
            let own = if read { &[OTHER_ID][..] } else { &[] };
            for (call, expected) in SAID.iter().chain(own) {
                desk.session.batch(&ids(call))?;
                let heard = listener.heard(&mut control)?;
                ensure!(
                    heard == *expected,
                    "{}, {role:?}: {call}\nheard {heard:#?}\nnot {expected:#?}",
                    desk.engine.name()
                );
                count += heard.len();
            }
            desk.session.batch("RESET ROLE")?;
            control.batch("TRUNCATE caliber_message")?;
        }
        control.batch(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))?;
    }
    Ok(Outcome::Passed(format!("{count} notifications")))
}

fn moment(context: &Context) -> Result<Outcome> {
    let send = |id: &str| {
        ids(&format!(
            "SELECT caliber_message_send('@b0', '@a0', NULL, 'interrupt', 'x', id => '{id}')"
        ))
    };
    let said = |id: &str| format!("caliber_agent_@a0: {} interrupt normal b0", &id[1..]);
    for desk in &mut desk::open(context, &ENGINES, &ids(AGENTS))? {
        let mut other = desk.another()?;
        let mut listener = Listener::new(desk, &[])?;
        let name = desk.engine.name();
        let mut expect = |other: &mut Session, what: &str, expected: &[String]| -> Result<()> {
            let heard = listener.heard(other)?;
            ensure!(heard == expected, "{name}, {what}: {heard:?}");
            Ok(())
        };
        desk.session.batch(&format!("BEGIN; {}", send("@01")))?;
        expect(&mut other, "before the commit", &[])?;
        desk.session.batch("COMMIT")?;
        expect(&mut other, "after the commit", &[said("@01")])?;
        desk.session
            .batch(&format!("BEGIN; {}; ROLLBACK", send("@02")))?;
        expect(&mut other, "after a rollback", &[])?;
        desk.session.batch(&format!(
            "BEGIN; {}; SAVEPOINT s; {}; ROLLBACK TO s; {}; SAVEPOINT t; {}; RELEASE t; COMMIT",
            send("@03"),
            send("@04"),
            send("@05"),
            send("@06")
        ))?;
        expect(
            &mut other,
            "after savepoints",
            &[said("@03"), said("@05"), said("@06")],
        )?;
        // The statement fails at its end, or the transaction does.
        let broken = format!(
            "{}, 1 / (SELECT count(*) FROM caliber_message WHERE payload = 'none')",
            send("@07")
        );
        let error = desk.session.error(&broken)?;
        ensure!(error.sqlstate == "22012", "{error}");
        let error = desk.session.error(&ids(
            "SELECT caliber_message_send('@cc', '@a0', NULL, 'interrupt', 'x', id => '@08')",
        ))?;
        ensure!(error.sqlstate == "23503", "{error}");
        let error = desk.session.error(&ids(
            "SELECT caliber_message_send_many('[
                {\"from_agent_id\": \"@b0\", \"to_agent_id\": \"@a0\", \"message_type\": \"interrupt\", \"payload\": \"x\", \"id\": \"@09\"},
                {\"from_agent_id\": \"@b0\", \"to_agent_id\": \"@cc\", \"message_type\": \"interrupt\", \"payload\": \"x\", \"id\": \"@0a\"}]')",
        ))?;
        ensure!(error.sqlstate == "23503", "{error}");
        expect(&mut other, "after errors", &[])?;
        desk.session.batch(&format!("BEGIN; {}", send("@0b")))?;
        let pid = desk.session.pid()?;
        other.batch(&format!("SELECT pg_terminate_backend({pid}, 10000)"))?;
        expect(&mut other, "after the sender's end", &[])?;
    }
    Ok(PASSED)
}

fn channel(context: &Context) -> Result<Outcome> {
    let long: String = "ü".repeat(100);
    let (fifty, more) = ("t".repeat(50), "t".repeat(51));
    let types = [
        "coder",
        "x; DROP TABLE y --",
        "\"quoted\" and 'quoted'",
        "Upper CASE",
        "日本 🦀",
        "new\nline",
        "'; NOTIFY x; '",
        " ",
        &fifty,
        &more,
        &long,
    ];
    let mut desks = desk::open(context, &ENGINES, &ids(AGENTS))?;
    for desk in &mut desks {
        let mut other = desk.another()?;
        let mut listener = Listener::new(desk, &types)?;
        for name in types {
            let expected = if name.len() > 50 {
                let digits: String = Sha256::digest(name.as_bytes())
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                format!("caliber_type_{}", &digits[..50])
            } else {
                format!("caliber_type_{name}")
            };
            let told = desk.session.value(&format!(
                "SELECT caliber_channel(agent_type => $type${name}$type$)"
            ))?;
            ensure!(told.as_deref() == Some(&expected), "{name}: {told:?}");
            desk.session.batch(&ids(&format!(
                "SELECT caliber_message_send('@b0', NULL, $type${name}$type$, 'interrupt', 'x')"
            )))?;
            let heard = listener.heard(&mut other)?;
            ensure!(
                heard.len() == 1 && heard[0].starts_with(&format!("{expected}: ")),
                "{name}: {heard:?}"
            );
        }
        for (arguments, answer) in [
            ("", "caliber_broadcast"),
            ("NULL, NULL", "caliber_broadcast"),
            ("'@A0'", "caliber_agent_@a0"),
        ] {
            let told = desk
                .session
                .value(&ids(&format!("SELECT caliber_channel({arguments})")))?;
            ensure!(told == Some(ids(answer)), "{arguments}: {told:?}");
        }
        for arguments in ["'@a0', 'coder'", "agent_type => ''", "'@a0', ''"] {
            let error = desk
                .session
                .error(&ids(&format!("SELECT caliber_channel({arguments})")))?;
            ensure!(error.sqlstate == "22023", "{arguments}: {error}");
        }
        // Good for an index, so that nothing about it may change.
        desk.session
            .batch("CREATE INDEX ON caliber_agent (caliber_channel(agent_type => agent_type))")?;
    }
    Ok(PASSED)
}
