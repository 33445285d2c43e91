//! Which check comes first: argument, schema, relation, read-only transaction,
//! parallel mode, table, row.

use super::super::bad_input::rows::insert_trajectory;
use super::super::bad_input::stage::{expand, Stage, ROWS};
use super::{away, qualified, roles, works, IN_CALIBER};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use anyhow::Result;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "rights::order_of_checks",
            "argument < schema USAGE < relation < read-only < table rights < row",
            order,
        ),
        Test::new(
            "rights::parallel",
            "in a parallel worker a write is the client's 25000, before table rights; reads work",
            parallel,
        ),
        Test::new(
            "rights::row_security_off",
            "row_security = off with a policy in force raises what SQL raises, at its place",
            row_security_off,
        ),
    ]
}

/// A call with a bad argument and its SQLSTATE, the call with good ones, the
/// client's statement, and the SQLSTATE of its row.
struct Ladder {
    entity: &'static str,
    bad: (&'static str, &'static str),
    good: &'static str,
    client: String,
    /// `None`: a read, which no row refuses.
    row: Option<&'static str>,
}

fn ladder(
    entity: &'static str,
    bad: (&'static str, &'static str),
    good: &'static str,
    client: impl Into<String>,
    row: Option<&'static str>,
) -> Ladder {
    Ladder {
        entity,
        bad,
        good,
        client: client.into(),
        row,
    }
}

#[rustfmt::skip]
fn ladders() -> Vec<Ladder> {
    const T: &str = "trajectory";
    const S: &str = "scope";
    vec![
        ladder(T, ("caliber_trajectory_create('', id => '@1')", "22023"), "caliber_trajectory_create('x', id => '@1')",
            insert_trajectory("@1", "x", "NULL", "NULL"), Some("23505")),
        ladder(T, ("caliber_trajectory_set_status('@2', 'x')", "22023"), "caliber_trajectory_set_status('@2', 'active')",
            "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@2'; \
             UPDATE caliber_trajectory SET status = 'active', updated_at = now() WHERE trajectory_id = '@2' AND false", Some("55000")),
        ladder(T, ("caliber_trajectory_update('@1', '{\"parent_trajectory_id\": \"x\"}')", "22P02"),
            "caliber_trajectory_update('@1', '{\"parent_trajectory_id\": \"@7\"}')",
            "SELECT x FROM caliber_trajectory x WHERE trajectory_id = '@7'; UPDATE caliber_trajectory \
             SET parent_trajectory_id = '@7', root_trajectory_id = '@1', updated_at = now() WHERE trajectory_id = '@1'", Some("23514")),
        ladder(T, ("caliber_trajectory_update('@1', '{\"name\": null, \"x\": 1}')", "22023"), "caliber_trajectory_update('@1', '{\"name\": null}')",
            "UPDATE caliber_trajectory SET name = NULL, updated_at = now() WHERE trajectory_id = '@1'", Some("23502")),
        ladder(T, ("caliber_trajectory_delete(NULL)", "22004"), "caliber_trajectory_delete('@1')",
            "DELETE FROM caliber_trajectory WHERE trajectory_id = '@1'", Some("23503")),
        ladder(T, ("count(*) FROM caliber_trajectory_list_by_status('active', -1)", "2201W"),
            "count(*) FROM caliber_trajectory_list_by_status('active')",
            "SELECT x FROM caliber_trajectory x WHERE status = 'active' ORDER BY trajectory_id", None),
        ladder(S, ("caliber_scope_create('@99', 'x', token_budget => NULL)", "22004"), "caliber_scope_create('@99', 'x', id => '@50')",
            super::super::bad_input::rows::insert_scope("@50", "@99", "NULL", 8000), Some("23503")),
        ladder(S, ("caliber_scope_update_tokens('@22', NULL)", "22004"), "caliber_scope_update_tokens('@22', -1)",
            "SELECT x FROM caliber_scope x WHERE scope_id = '@22'; UPDATE caliber_scope SET tokens_used = -1 WHERE scope_id = '@22' AND is_active", Some("55000")),
        ladder(S, ("caliber_scope_update('@21', '{\"token_budget\": 1e10}')", "22003"), "caliber_scope_update('@21', '{\"token_budget\": 0}')",
            "UPDATE caliber_scope SET token_budget = 0 WHERE scope_id = '@21'", Some("23514")),
    ]
}

fn order(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(
        context.server.empty_database()?,
        &format!("{IN_CALIBER}{ROWS}"),
    )?;
    roles(&mut stage, &["verify_climber"])?;
    away(&mut stage)?;
    for ladder in &ladders() {
        climb(&mut stage, ladder)?;
    }
    stage.verdict()
}

/// Everything is wrong at first; one thing after the other is put right.
fn climb(stage: &mut Stage, ladder: &Ladder) -> Result<()> {
    let table = format!("caliber_{}", ladder.entity);
    let (bad, good) = ("EXECUTE bad", "EXECUTE good");
    let client = qualified(&ladder.client);
    let healthy = stage.good.take();
    let tables = std::mem::take(&mut stage.tables);
    stage.admin(&format!(
        "REVOKE ALL ON SCHEMA caliber FROM verify_climber; REVOKE ALL ON {table} FROM verify_climber;
         ALTER TABLE {table} RENAME TO aside"
    ))?;
    // A superuser's plans, made after all that would have them made again.
    for at in 0..3 {
        let sql = format!(
            "DEALLOCATE ALL; PREPARE bad AS SELECT {}; PREPARE good AS SELECT {}",
            ladder.bad.0, ladder.good
        );
        stage.sessions[at].1.batch(&expand(&qualified(&sql)))?;
    }
    stage.before = "BEGIN READ ONLY; SET LOCAL ROLE verify_climber".to_owned();
    stage.refused(bad, None, ladder.bad.1, &[])?;
    stage.refused(
        good,
        None,
        "42501",
        &["permission denied for schema caliber"],
    )?;
    stage.admin("GRANT USAGE ON SCHEMA caliber TO verify_climber")?;
    let missing = format!("relation \"caliber.{table}\" does not exist");
    stage.refused(good, None, "42P01", &[&missing])?;
    stage.admin(&format!(
        "ALTER TABLE aside RENAME TO {table}; ALTER TABLE {table} NOT OF"
    ))?;
    stage.refused(good, None, "42804", &[&table])?;
    stage.admin(&format!("ALTER TABLE {table} OF {table}_row"))?;
    (stage.good, stage.tables) = (healthy, tables);
    if ladder.row.is_some() {
        // A superuser's SELECT before it shows that only the write is refused.
        stage.admin(&format!("GRANT SELECT ON {table} TO verify_climber"))?;
        stage.refused(good, Some(&client), "25006", &["read-only transaction"])?;
        stage.admin(&format!("REVOKE ALL ON {table} FROM verify_climber"))?;
    }
    stage.refused(
        good,
        None,
        if ladder.row.is_some() {
            "25006"
        } else {
            "42501"
        },
        &[],
    )?;
    stage.before = "BEGIN; SET LOCAL ROLE verify_climber".to_owned();
    let denied = format!("permission denied for table {table}");
    stage.refused(good, Some(&client), "42501", &[&denied])?;
    stage.admin(&format!("GRANT ALL ON {table} TO verify_climber"))?;
    match ladder.row {
        Some(sqlstate) => drop(stage.refused(good, None, sqlstate, &[])?),
        None => works(stage, good)?,
    }
    Ok(())
}

/// Schemas for functions of the same name, `ours` for the engines and `plain` for the client, so
/// that the CONTEXT of their errors is the same; and the setting that makes a worker carry them out.
pub(super) fn workers(context: &Context, stage: &mut Stage, role: &str) -> Result<&'static str> {
    stage.admin(&format!(
        "CREATE SCHEMA ours; CREATE SCHEMA plain; GRANT USAGE ON SCHEMA ours, plain TO {role}"
    ))?;
    for (engine, session) in &mut stage.sessions {
        let schema = if *engine == Engine::Client {
            "plain"
        } else {
            "ours"
        };
        session.batch(&format!("SET search_path = {schema}, public"))?;
    }
    Ok(if context.major >= 16 {
        "debug_parallel_query"
    } else {
        "force_parallel_mode"
    })
}

/// Calls and the client's statements, each in a function that claims to be
/// parallel safe, so that a worker carries it out.
fn parallel(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    roles(&mut stage, &["verify_stranger"])?;
    let setting = workers(context, &mut stage, "verify_stranger")?;
    for (number, need) in super::needs::all().iter().enumerate() {
        let call = format!("SELECT {}", need.call);
        let statement = need.client.rsplit("; ").next().unwrap_or_default();
        for (schema, sql) in [("ours", call.as_str()), ("plain", statement)] {
            stage.admin(&format!(
                "CREATE FUNCTION {schema}.f{number}() RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS
                    $f$ BEGIN EXECUTE $q$ {sql} $q$; RETURN pg_backend_pid(); END $f$"
            ))?;
        }
        let call = format!("SELECT f{number}()");
        let writes = !statement.starts_with("SELECT");
        // A write is refused before table rights are looked at.
        let roles: &[&str] = if writes {
            &["; SET LOCAL ROLE verify_stranger"]
        } else {
            &["", "; SET LOCAL ROLE verify_stranger"]
        };
        for role in roles {
            stage.before = format!("BEGIN; SET LOCAL {setting} = on{role}");
            if writes {
                let says = ["during a parallel operation"];
                stage.refused(&call, Some(&call), "25000", &says)?;
            } else if role.is_empty() {
                in_a_worker(&mut stage, &call)?;
            } else {
                let says = ["permission denied for table"];
                stage.refused(&call, Some(&call), "42501", &says)?;
            }
        }
    }
    stage.verdict()
}

/// It really was another process that carried it out.
pub(super) fn in_a_worker(stage: &mut Stage, call: &str) -> Result<()> {
    for at in 0..3 {
        let own = stage.sessions[at].1.pid()?.to_string();
        match stage.send(at, call)? {
            Ok(rows) if rows.concat() != [Some(own)] => {}
            other => stage.problem(&format!("* {call} ran in no worker: {other:?}")),
        }
    }
    Ok(())
}

fn row_security_off(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    roles(&mut stage, &["verify_guest"])?;
    stage.admin(
        "ALTER TABLE caliber_trajectory ENABLE ROW LEVEL SECURITY; ALTER TABLE caliber_scope ENABLE ROW LEVEL SECURITY",
    )?;
    for (grant, mode) in [
        ("GRANT ALL", ""),
        ("REVOKE ALL", ""),
        ("GRANT ALL", " READ ONLY"),
        ("REVOKE ALL", " READ ONLY"),
    ] {
        let to = if grant.starts_with("GRANT") {
            "TO"
        } else {
            "FROM"
        };
        stage.admin(&format!(
            "{grant} ON caliber_trajectory, caliber_scope {to} verify_guest"
        ))?;
        stage.before =
            format!("BEGIN{mode}; SET LOCAL row_security = off; SET LOCAL ROLE verify_guest");
        for need in super::needs::all() {
            let call = format!("SELECT {}", need.call);
            let says = ["row-level security policy", "caliber_"];
            stage.refused(&call, Some(&need.client), "42501", &says)?;
        }
    }
    stage.verdict()
}
