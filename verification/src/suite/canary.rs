//! Is the harness alive? Damage is done behind the judges' backs, and the
//! checks must see it.

use crate::entity::ids::Ids;
use crate::entity::trajectory;
use crate::judge::{execute, Bench, Engine};
use crate::plan::{Plan, Step};
use crate::runner::{Context, Outcome, Test};
use crate::server::Own;
use crate::session::Failure;
use anyhow::{bail, ensure, Result};

/// One per kind of check.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "canary::changed_row",
            "a row that differs between judges is caught",
            changed_row,
        ),
        Test::new(
            "canary::missing_index_entry",
            "an index entry that is missing is caught",
            missing_entry,
        ),
        Test::new(
            "canary::stale_index_entry",
            "an index entry at the wrong place is caught",
            stale_entry,
        ),
        Test::new(
            "canary::server_log",
            "a crash, a failed assertion and a leak are found in a server's log",
            server_log,
        ),
    ]
}

fn plan(steps: Vec<Step>) -> Plan {
    Plan {
        property: "canary".to_owned(),
        entity: "trajectory".to_owned(),
        on_duplicate_return: false,
        savepoint_each: false,
        steps,
    }
}

fn create() -> Step {
    Step::Call(trajectory::plain(&Ids::new(1), 0))
}

/// The first judge's database gets the damage, the plan must find it.
fn caught(bench: &mut Bench, steps: Vec<Step>) -> Result<Outcome> {
    match execute(bench, &plan(steps)) {
        Ok(_) => bail!("the damage went unnoticed"),
        Err(mismatch) => Ok(Outcome::Passed(format!("caught: {}", mismatch.why))),
    }
}

fn changed_row(context: &Context) -> Result<Outcome> {
    let mut bench = Bench::open_fresh(&context.server, &[Engine::Client, Engine::Client])?;
    bench.judges[0].session().batch(
        "CREATE FUNCTION quietly() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.description := 'changed'; RETURN NEW; END $$;
         CREATE TRIGGER quietly BEFORE INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION quietly()",
    )?;
    caught(&mut bench, vec![create(), Step::CheckTables])
}

const STATUS_INDEX: &str =
    "(SELECT indexrelid FROM pg_index WHERE indrelid = 'caliber_trajectory'::regclass
    AND NOT indisunique AND indpred IS NULL)";

fn missing_entry(context: &Context) -> Result<Outcome> {
    let mut bench = Bench::open_fresh(&context.server, &[Engine::Client])?;
    let ready = |ready: bool| {
        format!("UPDATE pg_index SET indisready = {ready} WHERE indexrelid = {STATUS_INDEX}")
    };
    bench.prepare(&ready(false))?;
    execute(&mut bench, &plan(vec![create(), Step::CheckTables]))?;
    bench.prepare(&ready(true))?;
    caught(&mut bench, vec![Step::CheckIndexes])
}

fn stale_entry(context: &Context) -> Result<Outcome> {
    let mut bench = Bench::open_fresh(&context.server, &[Engine::Client])?;
    let mut creates: Vec<Step> = (0..6)
        .map(|slot| Step::Call(trajectory::plain(&Ids::new(1), slot)))
        .collect();
    creates.push(Step::CheckIndexes);
    execute(&mut bench, &plan(creates))?;
    // While the index counts as dead, an UPDATE of its column is HOT and leaves
    // the entry where it was.
    // (The touched pg_class row makes sessions read the list of indexes again.)
    let live = |live: bool| {
        format!(
            "UPDATE pg_index SET indislive = {live} WHERE indexrelid = {STATUS_INDEX};
             UPDATE pg_class SET relname = relname WHERE oid = 'caliber_trajectory'::regclass"
        )
    };
    bench.prepare(&live(false))?;
    bench.prepare(&format!(
        "UPDATE caliber_trajectory SET status = 'suspended' WHERE trajectory_id = '{}'",
        Ids::new(1).of("trajectory", 0)
    ))?;
    bench.prepare(&live(true))?;
    caught(&mut bench, vec![Step::CheckIndexes])
}

fn server_log(context: &Context) -> Result<Outcome> {
    let Some(mut own) = Own::start(context.major, &[])? else {
        return Ok(Outcome::NotCovered(
            "only servers in containers are made to crash".to_owned(),
        ));
    };
    let mut session = own.connect()?;
    session.batch("DO $$ BEGIN RAISE WARNING 'resource was not closed: a canary'; END $$")?;
    let heard = own.complaints();
    ensure!(heard.len() == 1, "a leak went unnoticed: {heard:?}");
    let assertions = session.value("SHOW debug_assertions")?;
    // A window function without a window: its first assertion fails, or, where
    // assertions are off, it follows a null pointer.
    session
        .batch("CREATE FUNCTION trap() RETURNS bigint LANGUAGE internal AS 'window_row_number'")?;
    let answer = session.run("SELECT trap()");
    ensure!(matches!(answer, Err(Failure::Lost(_))), "{answer:?}");
    own.wait()?;
    let heard = own.complaints();
    let tells = |words: &str| heard.iter().any(|complaint| complaint.contains(words));
    ensure!(
        tells("was terminated by signal"),
        "a crash went unnoticed: {heard:?}"
    );
    let failed = tells("TRAP: failed Assert(");
    ensure!(
        failed == (assertions.as_deref() == Some("on")),
        "debug_assertions is {assertions:?}: {heard:?}"
    );
    Ok(Outcome::Passed(if failed {
        "caught, assertions are on".to_owned()
    } else {
        "caught".to_owned()
    }))
}
