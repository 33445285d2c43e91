//! Tables that are not there, or not what the library knows.

use super::stage::{Stage, ROWS};
use super::{all_work, broken, CALLS};
use crate::entity;
use crate::runner::{Context, Outcome, Test};
use crate::session::ServerError;
use crate::value::Value;
use anyhow::Result;
use uuid::Uuid;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "bad_input::before_init",
            "before caliber_init() every function is 42P01 and says what to call",
            before_init,
        ),
        Test::new(
            "bad_input::dropped_table",
            "a dropped table is 42P01 from every function that touches it; the HINT brings it back",
            broken::dropped,
        ),
        Test::new(
            "bad_input::dropped_elsewhere",
            "what another session drops for good is 42P01 at once, and caliber_init() brings it back",
            dropped,
        ),
        Test::new(
            "bad_input::not_of_our_type",
            "a table that is not OF our type is 42804 from every function that touches it; the HINT repairs it",
            broken::not_of,
        ),
        Test::new(
            "bad_input::not_of_our_type_quoted",
            "the same in a schema whose name must be quoted",
            quoted,
        ),
        Test::new(
            "bad_input::altered_type",
            "an altered row type is 42804 saying what differs; attributes at the end are NULL",
            altered,
        ),
        Test::new(
            "bad_input::renamed_attribute",
            "a row type with another name in it is 42804 from every function that touches its table",
            broken::renamed,
        ),
        Test::new(
            "bad_input::modified_attribute",
            "an attribute with a modifier, or of a domain named as its type, is 42804",
            broken::modified,
        ),
        Test::new(
            "bad_input::missing_key",
            "without its key the heap engine is 55000, with a HINT that repairs it",
            missing_key,
        ),
    ]
}

/// Every function of an entity is refused, with these words in message, DETAIL
/// and HINT.
fn all_refused(
    stage: &mut Stage,
    entity: &str,
    sqlstate: &str,
    says: &[&str],
) -> Result<Option<ServerError>> {
    let mut last = None;
    for (_, call) in CALLS.iter().filter(|(of, _)| *of == entity) {
        let call = format!("SELECT {call}");
        let table = format!("caliber_{entity}");
        let error = stage.refused(&call, None, sqlstate, &[&table])?;
        if let Some(error) = &error {
            let text = error.to_string();
            if let Some(missing) = says.iter().find(|word| !text.contains(**word)) {
                stage.problem(&format!("* {call}\n  {text}\n  does not say {missing:?}"));
            }
        }
        last = error.or(last);
    }
    Ok(last)
}

fn before_init(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(
        context.server.empty_database()?,
        "CREATE EXTENSION caliber_pg CASCADE",
    )?;
    let good = stage.good.take();
    stage.tables = &[];
    for entity in ["trajectory", "scope"] {
        let says = ["does not exist", "HINT", "caliber_init()"];
        all_refused(&mut stage, entity, "42P01", &says)?;
    }
    stage.answers("SELECT caliber_schema_exists()", Some("f"))?;
    stage.answers("SELECT caliber_new_id() IS NOT NULL", Some("t"))?;
    stage.answers("SELECT count(*) > 0 FROM caliber_counters()", Some("t"))?;
    // The same sessions go on when it is there.
    stage.admin("SELECT caliber_init()")?;
    stage.admin(ROWS)?;
    (stage.good, stage.tables) = (good, super::stage::TABLES);
    stage.answers("SELECT caliber_schema_exists()", Some("t"))?;
    all_work(&mut stage, "")?;
    stage.verdict()
}

fn dropped(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    // What was compiled and planned before must not be used any more.
    all_work(&mut stage, "")?;
    let good = stage.good.take();
    for (table, other) in [
        ("caliber_scope", "trajectory"),
        ("caliber_trajectory", "scope"),
    ] {
        stage.admin(&format!("DROP TABLE {table} CASCADE"))?;
        stage.tables = &[];
        let entity = &table["caliber_".len()..];
        all_refused(
            &mut stage,
            entity,
            "42P01",
            &["does not exist", "caliber_init()"],
        )?;
        stage.answers("SELECT caliber_schema_exists()", Some("f"))?;
        if other == "trajectory" {
            all_work(&mut stage, entity)?;
        }
        stage.admin("SELECT caliber_init()")?;
        stage.answers("SELECT caliber_schema_exists()", Some("t"))?;
    }
    stage.admin(&format!("DELETE FROM caliber_scope; {ROWS}"))?;
    (stage.good, stage.tables) = (good, super::stage::TABLES);
    all_work(&mut stage, "")?;
    stage.verdict()
}

/// A schema whose name must be quoted wherever a message gives SQL.
const ELSEWHERE: &str = "
CREATE EXTENSION vector; CREATE SCHEMA \"My Schema\"; CREATE EXTENSION caliber_pg SCHEMA \"My Schema\";
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = \"My Schema\", public', current_database()); END $$;
SET search_path = \"My Schema\", public; SELECT caliber_init();
";

fn quoted(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(
        context.server.empty_database()?,
        &format!("{ELSEWHERE}{ROWS}"),
    )?;
    all_work(&mut stage, "")?;
    let good = stage.good.take();
    for entity in entity::all() {
        let table = entity.table();
        let get = format!("SELECT {}", entity.get(Value::Uuid(Uuid::nil())).sql());
        stage.admin(&format!("ALTER TABLE {} NOT OF", table.name))?;
        let error = stage.refused(&get, None, "42804", &[table.name])?;
        all_refused(&mut stage, table.entity, "42804", &[table.name, "HINT"])?;
        stage.answers("SELECT caliber_schema_exists()", Some("f"))?;
        let hint = error.and_then(|error| error.hint).unwrap_or_default();
        stage.admin(&hint)?;
        stage.answers("SELECT caliber_schema_exists()", Some("t"))?;
        stage.answers(&get, None)?;
    }
    stage.good = good;
    all_work(&mut stage, "")?;
    stage.verdict()
}

/// Changes of a row type, how they are undone, and words that say what differs.
const ALTERED: &[(&str, &str, &str, &[&str])] = &[
    (
        "trajectory",
        "RENAME ATTRIBUTE description TO what CASCADE",
        "RENAME ATTRIBUTE what TO description CASCADE",
        &["what", "description"],
    ),
    (
        "trajectory",
        "ALTER ATTRIBUTE agent_id TYPE text CASCADE",
        "",
        &["agent_id", "text", "uuid"],
    ),
    (
        "scope",
        "DROP ATTRIBUTE metadata CASCADE",
        "",
        &["metadata", "missing"],
    ),
    (
        "scope",
        "DROP ATTRIBUTE purpose CASCADE",
        "",
        &["purpose", "is_active"],
    ),
];

fn altered(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    all_work(&mut stage, "")?;
    let good = stage.good.take();
    for (entity, change, undo, says) in ALTERED {
        stage.admin(&format!("ALTER TYPE caliber_{entity}_row {change}"))?;
        let mut words = vec!["DETAIL"];
        words.extend(*says);
        all_refused(&mut stage, entity, "42804", &words)?;
        if !undo.is_empty() {
            stage.admin(&format!("ALTER TYPE caliber_{entity}_row {undo}"))?;
            stage.good.clone_from(&good);
            all_work(&mut stage, "")?;
            stage.good = None;
        }
    }
    stage.verdict()?;
    added(context)
}

/// Attributes that a later version adds.
fn added(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    all_work(&mut stage, "")?;
    for table in ["caliber_trajectory", "caliber_scope"] {
        stage.admin(&format!(
            "ALTER TYPE {table}_row ADD ATTRIBUTE later text CASCADE, ADD ATTRIBUTE more int CASCADE;
             UPDATE {table} SET later = 'kept', more = 7"
        ))?;
    }
    all_work(&mut stage, "")?;
    stage.before = "BEGIN".to_owned();
    stage.answers("SELECT caliber_schema_exists()", Some("t"))?;
    stage.answers("SELECT caliber_init() IS NOT NULL", Some("t"))?;
    let created = [
        "SELECT caliber_trajectory_create('x', id => '@50'); SELECT later IS NULL AND more IS NULL FROM caliber_trajectory WHERE trajectory_id = '@50'",
        "SELECT caliber_scope_create('@1', 'x', id => '@50'); SELECT later IS NULL AND more IS NULL FROM caliber_scope WHERE scope_id = '@50'",
    ];
    let kept = [
        "SELECT later = 'kept' AND more = 7 FROM caliber_trajectory_get('@1')",
        "SELECT later = 'kept' AND more = 7 FROM caliber_scope_get('@21')",
        "SELECT bool_and(later = 'kept' AND more = 7) FROM caliber_trajectory_list_by_status('active')",
        "SELECT bool_and(later = 'kept' AND more = 7) FROM caliber_scope_list_by_trajectory('@1')",
        "SELECT caliber_trajectory_update('@1', '{\"name\": \"x\"}'); SELECT name = 'x' AND later = 'kept' AND more = 7 FROM caliber_trajectory_get('@1')",
        "SELECT caliber_trajectory_set_status('@1', 'failed'); SELECT status = 'failed' AND later = 'kept' AND more = 7 FROM caliber_trajectory_get('@1')",
        "SELECT caliber_scope_close('@21'); SELECT closed_at = now() AND later = 'kept' AND more = 7 FROM caliber_scope_get('@21')",
    ];
    for sql in created.iter().chain(&kept) {
        stage.answers(sql, Some("t"))?;
    }
    // Written as NULL, whatever default somebody gave the column.
    for table in ["caliber_trajectory", "caliber_scope"] {
        stage.admin(&format!(
            "ALTER TABLE {table} ALTER COLUMN later SET DEFAULT 'a default'"
        ))?;
    }
    for sql in created {
        stage.answers(sql, Some("t"))?;
    }
    // And a domain is asked whether it wants that.
    stage.admin(
        "CREATE DOMAIN wanted AS int; ALTER TYPE caliber_trajectory_row ADD ATTRIBUTE must wanted CASCADE;
         UPDATE caliber_trajectory SET must = 1;
         ALTER DOMAIN wanted SET NOT NULL",
    )?;
    for (call, client) in [
        (
            "caliber_trajectory_create('x')",
            "INSERT INTO caliber_trajectory (name) VALUES ('x')",
        ),
        (
            "caliber_trajectory_create('x', id => '@50')",
            "INSERT INTO caliber_trajectory (trajectory_id, name) VALUES ('@50', 'x')",
        ),
    ] {
        stage.refused(
            &format!("SELECT {call}"),
            Some(client),
            "23502",
            &["domain wanted does not allow null values"],
        )?;
    }
    stage.verdict()
}

/// The index of a constraint, which `caliber_init()` does not make again: the
/// HINT must say what does.
fn missing_key(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    stage.admin("ALTER TABLE caliber_scope DROP CONSTRAINT caliber_scope_pkey CASCADE")?;
    check_broken(&mut stage, "caliber_scope_close('@21')")?;
    check_broken(&mut stage, "caliber_scope_delete('@24')")?;
    let call = "(caliber_scope_get('@21')).name";
    check_broken(&mut stage, call)?;
    stage.admin("SELECT caliber_init()")?;
    if let Err(error) = stage.send(0, &format!("SELECT {call}"))? {
        let hint = error.hint.as_deref().unwrap_or_default();
        if !hint.contains("PRIMARY KEY") && !hint.contains("constraint") {
            stage.problem(&format!(
                "* {call} after caliber_init()\n  the HINT does not repair it: {error}"
            ));
        }
    }
    stage.admin(
        "ALTER TABLE caliber_scope ADD CONSTRAINT caliber_scope_pkey PRIMARY KEY (scope_id)",
    )?;
    all_work(&mut stage, "")?;
    stage.verdict()
}

/// 55000 with a HINT from the heap engine, an answer from the others.
fn check_broken(stage: &mut Stage, call: &str) -> Result<()> {
    let before = stage.fingerprint()?;
    stage.before = "BEGIN".to_owned();
    for at in 0..3 {
        let engine = stage.sessions[at].0;
        let heap = engine == crate::judge::Engine::Heap;
        match stage.send(at, &format!("SELECT {call}"))? {
            Ok(_) if !heap => {}
            Err(error)
                if heap
                    && error.sqlstate == "55000"
                    && error.message.contains("index")
                    && error.message.contains("caliber_")
                    && error.hint.is_some() => {}
            other => stage.problem(&format!(
                "* {call} without its index\n  {}: {other:?}",
                engine.name()
            )),
        }
    }
    stage.before = String::new();
    if stage.fingerprint()? != before {
        stage.problem(&format!("* {call} changed rows"));
    }
    Ok(())
}
