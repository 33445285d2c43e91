//! Row locks of a write: a user's unique index can make a column a key column,
//! and then a change of it keeps key checks of others away.

use super::ENGINES;
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use crate::suite::steps::{ids, say, Moved, Step, ROWS};
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "own_objects::lock_of_an_update",
        "an update locks its row as ExecUpdateLockMode says, also where a user's unique index makes a column a key",
        lock_of_an_update,
    )]
}

const NAME: Step = Step(
    "caliber_scope_update('@8', '{\"name\": \"n\"}')",
    "UPDATE caliber_scope SET name = 'n' WHERE scope_id = '@8'",
    Moved,
);
const SAME_NAME: Step = Step(
    "caliber_scope_update('@8', '{\"name\": \"eight\"}')",
    "UPDATE caliber_scope SET name = 'eight' WHERE scope_id = '@8'",
    Moved,
);
const PURPOSE: Step = Step(
    "caliber_scope_update('@8', '{\"purpose\": \"p\"}')",
    "UPDATE caliber_scope SET purpose = 'p' WHERE scope_id = '@8'",
    Moved,
);
const DELETE: Step = Step(
    "caliber_scope_delete('@8')",
    "DELETE FROM caliber_scope WHERE scope_id = '@8'",
    Moved,
);

fn lock_of_an_update(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, &ids(ROWS))?;
    let mut seen = Vec::new();
    for index in [
        "SELECT 1",
        // Then the row is locked before the trigger, and written afterwards.
        "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN coalesce(NEW, OLD); END $$;
         CREATE TRIGGER own BEFORE UPDATE OR DELETE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION own()",
        "CREATE UNIQUE INDEX own ON caliber_scope (name)",
        "CREATE UNIQUE INDEX own ON caliber_scope (scope_id, name) INCLUDE (purpose)",
        "CREATE UNIQUE INDEX own ON caliber_scope (name) WHERE is_active",
        "CREATE UNIQUE INDEX own ON caliber_scope (lower(name))",
        "CREATE INDEX own ON caliber_scope (name)",
        "ALTER TABLE caliber_scope ADD CONSTRAINT own UNIQUE (name) DEFERRABLE",
    ] {
        for desk in &mut desks {
            desk.session.batch(index)?;
            desk.await_indexes()?;
        }
        for step in [&NAME, &SAME_NAME, &PURPOSE, &DELETE] {
            let mut answers = Vec::new();
            for desk in &mut desks {
                let mut other = desk.another()?;
                desk.session.batch("BEGIN")?;
                say(desk, step);
                // Held while the write waits to be committed, and after a
                // rollback of its subtransaction.
                let mut free = Vec::new();
                for strength in ["KEY SHARE", "SHARE", "NO KEY UPDATE"] {
                    let sql = format!(
                        "SELECT count(*) FROM (SELECT FROM caliber_scope WHERE scope_id = '@8' FOR {strength} SKIP LOCKED) x"
                    );
                    free.push(other.value(&ids(&sql))?.unwrap_or_default());
                }
                desk.session.batch("ROLLBACK")?;
                answers.push(free.join(""));
            }
            ensure!(
                answers.iter().all(|answer| *answer == answers[0]),
                "{index}: {}: {answers:?}",
                step.0
            );
            seen.push(answers[0].clone());
        }
        for desk in &mut desks {
            desk.session.batch(
                "ALTER TABLE caliber_scope DROP CONSTRAINT IF EXISTS own; DROP INDEX IF EXISTS own; DROP FUNCTION IF EXISTS own CASCADE",
            )?;
        }
    }
    for wanted in ["000", "100"] {
        ensure!(seen.iter().any(|free| free == wanted), "{seen:?}");
    }
    Ok(Outcome::Passed(format!("{} writes", seen.len())))
}
