//! Triggers that change the key of a row: the id that comes back is the one that
//! went in, beside rows that other triggers veto.

use super::{call, desks, numbers, ENGINES};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, PASSED};
use crate::suite::bad_input::stage::expand;
use anyhow::{ensure, Result};

const ACTING: &str = "
INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@41', 'coder');
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF to_jsonb(NEW) ->> TG_ARGV[0] = 'veto' THEN RETURN NULL; END IF;
    IF to_jsonb(NEW) ->> TG_ARGV[0] = 'other' THEN
        NEW := jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[1], gen_random_uuid()));
    END IF;
    RETURN NEW; END $$;
CREATE TRIGGER act BEFORE INSERT ON caliber_turn FOR EACH ROW EXECUTE FUNCTION act('content', 'turn_id');
CREATE TRIGGER act BEFORE INSERT ON caliber_message FOR EACH ROW EXECUTE FUNCTION act('payload', 'message_id');
";

/// What becomes of each element (k: kept, o: written under another key, v: vetoed),
/// and whether SQL can tell.
const CASES: [(&str, bool); 8] = [
    ("kkk", true),
    ("kvk", true),
    ("ooo", true),
    ("kok", true),
    ("vkoo", true),
    ("okvko", true),
    ("vo", false),
    ("koovk", false),
];

fn turns(acts: &str) -> String {
    let element = |(n, act): (usize, char)| {
        let content = what(act);
        format!(r#"{{"id": "@10{n}", "role": "user", "content": "{content}"}}"#)
    };
    let elements: Vec<String> = acts.chars().enumerate().map(element).collect();
    call(21, &format!("[{}]", elements.join(", ")))
}

fn messages(acts: &str) -> String {
    let element = |(n, act): (usize, char)| {
        let payload = what(act);
        format!(
            r#"{{"id": "@10{n}", "from_agent_id": "@41", "to_agent_type": "coder", "message_type": "heartbeat", "payload": "{payload}"}}"#
        )
    };
    let elements: Vec<String> = acts.chars().enumerate().map(element).collect();
    expand(&format!(
        "SELECT caliber_message_send_many('[{}]')",
        elements.join(", ")
    ))
}

fn what(act: char) -> &'static str {
    match act {
        'v' => "veto",
        'o' => "other",
        _ => "kept",
    }
}

pub(super) fn changed(context: &Context) -> Result<Outcome> {
    for mut desk in desks(context, &ENGINES, ACTING)? {
        let name = desk.engine.name();
        for (acts, told) in CASES {
            let id = |(n, act): (usize, char)| match act {
                'v' => "-".to_owned(),
                _ => format!("10{n}"),
            };
            let wanted: Vec<String> = acts.chars().enumerate().map(id).collect();
            let stored = acts.chars().filter(|&act| act != 'v').count();
            for (sql, table) in [
                (turns(acts), "caliber_turn WHERE sequence > 5"),
                (messages(acts), "caliber_message"),
            ] {
                desk.session.batch("BEGIN")?;
                if told || desk.engine == Engine::Heap {
                    let ids = numbers(&desk.session.query(&sql)?.column());
                    ensure!(ids == wanted.join(" "), "{name}: {acts}: {ids}");
                    let count = desk
                        .session
                        .value(&format!("SELECT count(*) FROM {table} "))?;
                    ensure!(
                        count.as_deref() == Some(stored.to_string().as_str()),
                        "{name}: {acts}: {count:?} rows"
                    );
                } else {
                    let error = desk.session.error(&sql)?;
                    ensure!(
                        error.sqlstate == "55000" && error.hint.is_some(),
                        "{name}: {acts}: {error}"
                    );
                }
                desk.session.batch("ROLLBACK")?;
            }
        }
    }
    Ok(PASSED)
}
