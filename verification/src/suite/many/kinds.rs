//! What all three functions that take many at once have in common.

use super::{numbers, ENGINES, ROWS};
use crate::runner::{Context, Outcome, PASSED};
use crate::session::Session;
use crate::suite::bad_input::stage::expand;
use crate::suite::desk;
use anyhow::{ensure, Result};

/// A function, and what it takes.
struct Kind {
    table: &'static str,
    /// The call; `*` is the array.
    call: &'static str,
    /// An element without its id.
    element: &'static str,
    /// Arguments of the create function that are given for all elements.
    outside: &'static [&'static str],
    /// An element that only the table refuses, and how.
    refused: (&'static str, &'static str),
}

static KINDS: [Kind; 3] = [
    Kind {
        table: "caliber_turn",
        call: "caliber_turn_create_many('@21', '*')",
        element: r#""role": "user", "content": "c", "tool_results": [1.50], "token_count": 7"#,
        outside: &["scope_id"],
        refused: (
            r#""role": "user", "content": "c", "token_count": -1"#,
            "23514",
        ),
    },
    Kind {
        table: "caliber_artifact",
        call: "caliber_artifact_create_many('@1', '@21', '*')",
        element: r#""artifact_type": "fact", "name": "n", "content": "c", "confidence": 0.25, "embedding": [1, 2.5, 3], "ttl": "session", "source_turn": 3"#,
        outside: &["trajectory_id", "scope_id"],
        refused: (
            r#""artifact_type": "fact", "name": "n", "content": "c", "embedding": "[]""#,
            "22000",
        ),
    },
    Kind {
        table: "caliber_message",
        call: "caliber_message_send_many('*')",
        element: r#""from_agent_id": "@61", "to_agent_type": "coder", "message_type": "heartbeat", "payload": "p", "artifact_ids": ["@9", "@8"], "priority": "low", "expires_at": "2100-01-01 00:00:00+00""#,
        outside: &[],
        refused: (
            r#""from_agent_id": "@61", "to_agent_id": "@61", "to_agent_type": "coder", "message_type": "heartbeat", "payload": "p""#,
            "23514",
        ),
    },
];

const VETO: &str = "
INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@61', 'coder');
CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_ARGV[0] = (row_to_json(NEW) ->> TG_ARGV[1]) THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER veto BEFORE INSERT ON caliber_turn FOR EACH ROW EXECUTE FUNCTION veto('@104', 'turn_id');
CREATE TRIGGER veto BEFORE INSERT ON caliber_artifact FOR EACH ROW EXECUTE FUNCTION veto('@104', 'artifact_id');
CREATE TRIGGER veto BEFORE INSERT ON caliber_message FOR EACH ROW EXECUTE FUNCTION veto('@104', 'message_id');
";

impl Kind {
    fn call(&self, elements: &[String]) -> String {
        let array = format!("[{}]", elements.join(", "));
        expand(&format!("SELECT {}", self.call.replace('*', &array)))
    }

    fn good(&self, id: u32) -> String {
        format!(r#"{{{}, "id": "@{id}"}}"#, self.element)
    }

    fn count(&self, session: &mut Session) -> Result<String> {
        let count = session.value(&format!("SELECT count(*) FROM {}", self.table))?;
        Ok(count.unwrap_or_default())
    }
}

/// Order, vetoes, unknown keys, refusals and duplicates of each function.
pub(super) fn every_function(context: &Context) -> Result<Outcome> {
    for mut desk in desk::open(context, &ENGINES, &expand(&format!("{ROWS}{VETO}")))? {
        for kind in &KINDS {
            let name = format!("{}: {}", desk.engine.name(), kind.table);
            let session = &mut desk.session;
            let before = kind.count(session)?;
            let good = |ids: &[u32]| ids.iter().map(|&id| kind.good(id)).collect::<Vec<_>>();
            let mut wrong = vec![
                (
                    r#"{"colour": 1}"#.to_owned(),
                    "22023",
                    "unknown key \"colour\"",
                ),
                ("7".to_owned(), "22023", "must be a JSON object"),
                ("{}".to_owned(), "22004", "must not be null"),
            ];
            for key in kind.outside {
                wrong.push((
                    format!(r#"{{"{key}": "@1"}}"#),
                    "22023",
                    "is given outside already",
                ));
            }
            for (element, sqlstate, message) in wrong {
                let mut elements = good(&[101, 102]);
                elements.push(element);
                let error = session.error(&kind.call(&elements))?;
                ensure!(
                    error.sqlstate == sqlstate
                        && error.message.contains(message)
                        && error.context.as_deref() == Some("element 2"),
                    "{name}: {error}"
                );
            }
            let mut elements = good(&[101, 102]);
            elements.push(format!("{{{}}}", kind.refused.0));
            let error = session.error(&kind.call(&elements))?;
            ensure!(error.sqlstate == kind.refused.1, "{name}: {error}");
            let after = kind.count(session)?;
            ensure!(after == before, "{name}: {before} rows, then {after}");

            let ids = session.query(&kind.call(&good(&[103, 104, 101])))?.column();
            ensure!(numbers(&ids) == "103 - 101", "{name}: {ids:?}");
            let error = session.error(&kind.call(&good(&[102, 101])))?;
            let key = format!("{}_pkey", kind.table);
            ensure!(
                error.sqlstate == "23505" && error.constraint.as_deref() == Some(&key),
                "{name}: {error}"
            );
            session.batch("SET caliber.on_duplicate = return")?;
            let ids = session.query(&kind.call(&good(&[102, 101, 104, 102])))?;
            session.batch("RESET caliber.on_duplicate")?;
            let ids = ids.column();
            ensure!(numbers(&ids) == "102 101 - 102", "{name}: {ids:?}");
            let count = kind.count(session)?;
            ensure!(
                count.parse::<u32>()? == before.parse::<u32>()? + 3,
                "{name}: {before} rows, then {count}"
            );
            let ids = session.query(&kind.call(&[]))?.column();
            ensure!(ids.is_empty(), "{name}: {ids:?}");
        }
    }
    Ok(PASSED)
}
