//! Purging beside a user's triggers.

use super::{ids, put, AGENTS};
use crate::runner::{Context, Outcome, Test, PASSED};
use crate::suite::desk;
use anyhow::{ensure, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "messages::purged_by_a_trigger_too",
        "a purge whose triggers change or delete the rows to come is refused as the DELETE is",
        purged_by_a_trigger_too,
    )]
}

const DELETE: &str = "DELETE FROM caliber_message WHERE message_id = ANY (ARRAY(
    SELECT message_id FROM caliber_message WHERE acknowledged_at < '2002-01-01' FOR UPDATE SKIP LOCKED))";

fn purged_by_a_trigger_too(context: &Context) -> Result<Outcome> {
    let messages = ["@01", "@02", "@03"].map(|id| put(id, "coder", "normal"));
    let prepare = format!(
        "{AGENTS}; {}; UPDATE caliber_message SET acknowledged_at = '2001-01-01'",
        messages.join("; ")
    );
    let mut desks = desk::open(context, &desk::ALL, &ids(&prepare))?;
    for act in [
        "UPDATE caliber_message SET payload = 'x' WHERE message_id > OLD.message_id",
        "DELETE FROM caliber_message WHERE message_id > OLD.message_id",
    ] {
        for desk in &mut desks {
            desk.session.batch(&format!(
                "CREATE OR REPLACE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF pg_trigger_depth() = 1 THEN {act}; END IF; RETURN OLD; END $$;
                CREATE OR REPLACE TRIGGER act BEFORE DELETE ON caliber_message
                    FOR EACH ROW EXECUTE FUNCTION act()"
            ))?;
        }
        desk::same_error(
            &mut desks,
            "SELECT caliber_message_purge('2002-01-01')",
            DELETE,
            "27000",
        )?;
        for desk in &mut desks {
            let left = desk.session.value("SELECT count(*) FROM caliber_message")?;
            ensure!(left.as_deref() == Some("3"), "{act}: {left:?} are left");
        }
    }
    Ok(PASSED)
}
