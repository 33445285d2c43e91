//! A create with an id that exists, under both settings of `caliber.on_duplicate`.

use super::stage::{Stage, ROWS};
use crate::runner::{Context, Outcome, Test};
use anyhow::Result;

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "bad_input::on_duplicate",
        "error: 23505; return: the id, nothing written, no trigger; a veto: NULL",
        on_duplicate,
    )]
}

/// Notes each firing of a trigger; vetoes the names that say so.
const TRIGGERS: &str = "
CREATE TABLE fired (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO fired VALUES (concat_ws(' ', TG_TABLE_NAME, TG_WHEN, TG_LEVEL)); RETURN NEW; END $$;
CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RETURN CASE WHEN NEW.name = 'veto' THEN NULL ELSE NEW END; END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER b AFTER INSERT OR UPDATE ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER c BEFORE INSERT OR UPDATE ON caliber_trajectory FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER d AFTER INSERT OR UPDATE ON caliber_trajectory FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER e BEFORE INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION veto();
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON caliber_scope FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER c BEFORE INSERT OR UPDATE ON caliber_scope FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER d AFTER INSERT OR UPDATE ON caliber_scope FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER e BEFORE INSERT ON caliber_scope FOR EACH ROW EXECUTE FUNCTION veto();
";

/// Ids that exist. The row is looked for before anything else of step 3, so
/// that parents do not matter.
const EXISTING: &[(&str, &str)] = &[
    ("caliber_trajectory_create('x', id => '@1')", "@1"),
    ("caliber_trajectory_create('veto', id => '@2')", "@2"),
    ("caliber_trajectory_create('x', parent_trajectory_id => '@1', id => '@5')", "@5"),
    ("caliber_trajectory_create('x', parent_trajectory_id => '@99', id => '@5')", "@5"),
    ("caliber_trajectory_create('x', parent_trajectory_id => '@7', id => '@1')", "@1"),
    ("caliber_trajectory_create('x', parent_trajectory_id => '@1', id => '@1')", "@1"),
    ("caliber_scope_create('@1', 'x', id => '@21')", "@21"),
    ("caliber_scope_create('@99', 'x', id => '@22')", "@22"),
    ("caliber_scope_create('@2', 'veto', parent_scope_id => '@21', token_budget => -1, id => '@21')", "@21"),
];

/// Ids that do not.
const NEW: &[(&str, Option<&str>)] = &[
    ("caliber_trajectory_create('x', id => '@51')", Some("@51")),
    (
        "caliber_trajectory_create('x', parent_trajectory_id => '@5', id => '@51')",
        Some("@51"),
    ),
    ("caliber_trajectory_create('veto', id => '@51')", None),
    ("caliber_trajectory_create('veto')", None),
    (
        "caliber_trajectory_create('veto', parent_trajectory_id => '@99', id => '@51')",
        None,
    ),
    ("caliber_scope_create('@1', 'x', id => '@51')", Some("@51")),
    ("caliber_scope_create('@99', 'veto', id => '@51')", None),
    ("caliber_scope_create('@1', 'veto')", None),
];

fn on_duplicate(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(
        context.server.fresh_database()?,
        &format!("{ROWS}{TRIGGERS}"),
    )?;
    stage.tables = &["caliber_trajectory", "caliber_scope", "fired"];
    let before = stage.fingerprint()?;
    stage.before = "BEGIN; SET LOCAL caliber.on_duplicate = return".to_owned();
    for (call, id) in EXISTING {
        let call = format!("SELECT {call}");
        stage.answers(&call, Some(id))?;
        let fired = format!("{call}; SELECT count(*) FROM fired");
        stage.answers(&fired, Some("0"))?;
        // Nothing written: not even a row version.
        let versions = format!(
            "{call}; SELECT count(*) FROM caliber_trajectory WHERE xmin = pg_current_xact_id_if_assigned()::xid"
        );
        stage.answers(&versions, Some("0"))?;
    }
    for (call, id) in NEW {
        stage.answers(&format!("SELECT {call}"), *id)?;
        // Twice in one transaction, and twice in one statement.
        if let (Some(_), true) = (id, call.contains("id => '@51'")) {
            let calls = format!("SELECT {call}; SELECT {call}");
            stage.answers(&calls, *id)?;
            stage.answers(
                &format!(
                    "SELECT max(id::text) FROM (SELECT {call} AS id FROM generate_series(1, 3)) x"
                ),
                *id,
            )?;
        }
        if id.is_none() {
            let rows = format!(
                "SELECT {call}; SELECT count(*) FROM caliber_trajectory t FULL JOIN caliber_scope s ON false"
            );
            stage.answers(&rows, Some("12"))?;
        }
    }
    // Without an id there is nothing to look for.
    stage.answers(
        "SELECT caliber_trajectory_create('x') IS NOT NULL",
        Some("t"),
    )?;
    stage.answers(
        "SELECT caliber_scope_create('@1', 'x') IS NOT NULL",
        Some("t"),
    )?;
    // Every other rule stays: step 1 comes before, and keys after.
    for (call, sqlstate) in [
        ("caliber_trajectory_create('', id => '@1')", "22023"),
        ("caliber_scope_create(NULL, 'x', id => '@21')", "22004"),
        (
            "caliber_trajectory_create('x', parent_trajectory_id => '@99', id => '@51')",
            "23503",
        ),
        ("caliber_scope_create('@99', 'x', id => '@51')", "23503"),
        (
            "caliber_scope_create('@1', 'x', token_budget => 0, id => '@51')",
            "23514",
        ),
    ] {
        stage.refused(&format!("SELECT {call}"), None, sqlstate, &[])?;
    }
    // Another unique index is not the key.
    stage.admin("CREATE UNIQUE INDEX one_name ON caliber_trajectory (name)")?;
    stage.refused(
        "SELECT caliber_trajectory_create('alone', id => '@51')",
        Some(&super::rows::insert_trajectory(
            "@51", "alone", "NULL", "NULL",
        )),
        "23505",
        &[],
    )?;
    stage.before = "BEGIN; SET LOCAL caliber.on_duplicate = error".to_owned();
    stage.admin("DROP INDEX one_name")?;
    for (call, id) in NEW {
        stage.answers(&format!("SELECT {call}"), *id)?;
    }
    // A CHECK comes before the key.
    let own_parent = "parent_trajectory_id => '@1', id => '@1'";
    for (call, _) in EXISTING
        .iter()
        .filter(|(call, _)| !call.contains(own_parent))
    {
        if call.contains("veto") {
            stage.answers(&format!("SELECT {call}"), None)?;
        } else {
            let says = ["duplicate key"];
            stage.refused(&format!("SELECT {call}"), None, "23505", &says)?;
        }
    }
    if stage.fingerprint()? != before {
        stage.problem("* rows are changed after ROLLBACK");
    }
    stage.verdict()
}
