//! Rights: who may call what, in which order checks come, and that nothing of
//! a caller's search_path or a definer's rights is captured.

mod capture;
mod everywhere;
mod functions;
mod needs;
mod order;
mod roles;

use super::bad_input::stage::Stage;
use crate::runner::Test;
use anyhow::Result;

/// All of them.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = needs::tests();
    tests.extend(functions::tests());
    tests.extend(roles::tests());
    tests.extend(order::tests());
    tests.extend(capture::tests());
    tests.extend(everywhere::tests());
    tests
}

/// The role whose rights change.
const CALLER: &str = "verify_caller";

/// Makes roles; they belong to the server, and other tests may make them too.
fn roles(stage: &mut Stage, names: &[&str]) -> Result<()> {
    for name in names {
        stage.admin(&format!(
            "DO $$ BEGIN CREATE ROLE {name}; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
        ))?;
    }
    Ok(())
}

/// Every engine carries the call out, whatever it answers.
fn works(stage: &mut Stage, call: &str) -> Result<()> {
    for at in 0..3 {
        if let Err(error) = stage.send(at, call)? {
            let name = stage.sessions[at].0.name();
            stage.problem(&format!("* {call} must work\n  {name}: {error}"));
        }
    }
    Ok(())
}

/// The extension in a schema of its own, named `caliber`, which PUBLIC may not use.
const IN_CALIBER: &str = "
CREATE EXTENSION vector; CREATE SCHEMA caliber; CREATE EXTENSION caliber_pg SCHEMA caliber;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = caliber, public', current_database()); END $$;
SET search_path = caliber, public; SELECT caliber_init();
";

/// With the schema before each of our names.
fn qualified(sql: &str) -> String {
    sql.replace("caliber_", "caliber.caliber_")
}

/// Leaves the schema out of the sessions' search_path. What a path means
/// depends on the role, and another meaning makes PostgreSQL plan again: with
/// `public` alone a plan is kept from role to role.
fn away(stage: &mut Stage) -> Result<()> {
    for (_, session) in &mut stage.sessions {
        session.batch("SET search_path = public")?;
    }
    stage.good = stage
        .good
        .take()
        .map(|(sql, value)| (qualified(&sql), value));
    Ok(())
}
