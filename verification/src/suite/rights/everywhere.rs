//! Roles, kept plans, the order of checks, row security and parallel workers,
//! for every function of every entity: `roles` and `order` go deeper, with few.

use super::super::bad_input::stage::Stage;
use super::super::sampled::{in_public, tables, walk_all, Case};
use super::order::in_a_worker;
use super::{roles, works};
use crate::entity::Kind;
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::value::Value;
use anyhow::Result;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "rights::every_function",
            "argument < schema USAGE < relation < read-only < table rights, with kept plans; owner; definer; row_security = off",
            every_function,
        ),
        Test::new(
            "rights::every_function_in_a_worker",
            "in a parallel worker each write is the client's 25000, before table rights; reads work",
            in_workers,
        ),
    ]
}

/// Has no right.
const NOBODY: &str = "verify_nobody";
/// Has all rights, or owns the tables.
const OWNER: &str = "verify_somebody";

/// The client's statement, where it is the measure.
fn client(case: &Case) -> Option<String> {
    case.is_of_statements().then(|| case.statements())
}

fn names(case: &Case) -> String {
    let names: Vec<&str> = case.tables.iter().map(|table| table.name).collect();
    names.join(", ")
}

fn every_function(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    roles(&mut stage, &[NOBODY, OWNER])?;
    let all: Vec<&str> = tables().map(|table| table.name).collect();
    stage.admin(&format!(
        "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO {OWNER};
         GRANT ALL ON {} TO {OWNER}",
        all.join(", ")
    ))?;
    walk_all(context, &mut stage, |stage, case| {
        kept_plan(stage, case)?;
        stage.admin(&format!("GRANT USAGE ON SCHEMA public TO {NOBODY}"))?;
        checks(stage, case)?;
        row_security_off(stage, case)?;
        owner(stage, case)?;
        definer(stage, case)?;
        stage.admin(&format!("REVOKE USAGE ON SCHEMA public FROM {NOBODY}"))
    })?;
    stage.verdict()
}

/// Somebody's plan in nobody's hands: the argument, and then the schema.
fn kept_plan(stage: &mut Stage, case: &Case) -> Result<()> {
    // What a path means depends on the role, and another meaning makes
    // PostgreSQL plan again; this one means the same for all.
    let mut sql = format!(
        "SET search_path = pg_catalog; DEALLOCATE ALL; PREPARE good AS {}",
        in_public(&case.sql())
    );
    let null = case.function.params.iter().find(|param| param.not_null);
    if let Some(param) = null {
        let bad = case.call.clone().with(param.name, Value::Null);
        sql += &format!("; PREPARE bad AS SELECT l FROM {} l", in_public(&bad.sql()));
    }
    for (engine, session) in &mut stage.sessions {
        if *engine != Engine::Client {
            session.batch(&sql)?;
        }
    }
    stage.before = "BEGIN".to_owned();
    works(stage, "EXECUTE good")?;
    stage.before = format!("BEGIN READ ONLY; SET LOCAL ROLE {NOBODY}");
    if null.is_some() {
        stage.refused("EXECUTE bad", None, "22004", &[])?;
    }
    let says = ["permission denied for schema public"];
    let client = client(case).map(|sql| in_public(&sql));
    stage.refused("EXECUTE good", client.as_deref(), "42501", &says)?;
    for (_, session) in &mut stage.sessions {
        session.batch("RESET search_path")?;
    }
    Ok(())
}

/// The relation, then read-only, then its rights.
fn checks(stage: &mut Stage, case: &Case) -> Result<()> {
    let call = case.sql();
    let role = format!("SET TRANSACTION READ ONLY; SET LOCAL ROLE {NOBODY}");
    for table in &case.tables {
        let name = table.name;
        stage.before = format!("BEGIN; ALTER TABLE {name} RENAME TO gone; {role}");
        stage.refused(&call, None, "42P01", &[name])?;
        stage.before = format!("BEGIN; ALTER TABLE {name} NOT OF; {role}");
        stage.refused(&call, None, "42804", &[name])?;
    }
    if case.function.kind != Kind::Get && case.function.kind != Kind::List {
        stage.before = format!("BEGIN; {role}");
        stage.refused(&call, None, "25006", &["read-only transaction"])?;
    }
    stage.before = format!("BEGIN; SET LOCAL ROLE {NOBODY}");
    stage.refused(&call, None, "42501", &["permission denied for table"])?;
    // Each table in turn, as the client's statements read them in another order.
    for table in &case.tables {
        stage.before = format!(
            "BEGIN; GRANT ALL ON {} TO {NOBODY}; REVOKE ALL ON {} FROM {NOBODY}; SET LOCAL ROLE {NOBODY}",
            names(case),
            table.name
        );
        let says = format!("permission denied for table {}", table.name);
        stage.refused(&call, client(case).as_deref(), "42501", &[&says])?;
    }
    Ok(())
}

/// Policies in force on one table and `row_security = off`: with all rights, and
/// without any on this one.
fn row_security_off(stage: &mut Stage, case: &Case) -> Result<()> {
    for table in &case.tables {
        let name = table.name;
        for revoked in ["", "REVOKE ALL ON X FROM Y; "] {
            stage.before = format!(
                "BEGIN; ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; {}SET LOCAL row_security = off; SET LOCAL ROLE {OWNER}",
                revoked.replace('X', name).replace('Y', OWNER)
            );
            let says = ["row-level security policy", name];
            stage.refused(&case.sql(), client(case).as_deref(), "42501", &says)?;
        }
    }
    Ok(())
}

/// An owner needs no grants, but can lose its rights.
fn owner(stage: &mut Stage, case: &Case) -> Result<()> {
    let mut sql = format!("BEGIN; REVOKE ALL ON {} FROM {OWNER}", names(case));
    for table in &case.tables {
        sql += &format!("; ALTER TABLE {} OWNER TO {OWNER}", table.name);
    }
    stage.before = format!("{sql}; SET LOCAL ROLE {OWNER}");
    works(stage, &case.sql())?;
    for table in &case.tables {
        let name = table.name;
        stage.before = format!(
            "BEGIN; ALTER TABLE {name} OWNER TO {OWNER}; REVOKE ALL ON {name} FROM {OWNER}; SET LOCAL ROLE {OWNER}"
        );
        let says = format!("permission denied for table {name}");
        stage.refused(&case.sql(), client(case).as_deref(), "42501", &[&says])?;
    }
    Ok(())
}

/// Functions of somebody and of nobody, called by the other.
fn definer(stage: &mut Stage, case: &Case) -> Result<()> {
    for role in [OWNER, NOBODY] {
        stage.admin(&format!(
            "CREATE OR REPLACE FUNCTION of_{role}() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
                SET search_path = pg_catalog, public AS $f$ BEGIN RETURN (SELECT count(*) FROM {} l); END $f$;
             ALTER FUNCTION of_{role}() OWNER TO {role}",
            case.call.sql()
        ))?;
    }
    let says = ["permission denied for table"];
    stage.before = format!("BEGIN; SET LOCAL ROLE {NOBODY}");
    works(stage, &format!("SELECT of_{OWNER}()"))?;
    // The caller's own rights are back afterwards.
    let sql = format!("SELECT of_{OWNER}(); {}", case.sql());
    stage.refused(&sql, None, "42501", &says)?;
    // Even a superuser has only nobody's rights in there.
    for role in ["NONE", OWNER] {
        stage.before = format!("BEGIN; SET LOCAL ROLE {role}");
        stage.refused(&format!("SELECT of_{NOBODY}()"), None, "42501", &says)?;
    }
    Ok(())
}

/// Calls and the client's statements, each in a function that claims to be
/// parallel safe, so that a worker carries it out.
fn in_workers(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    roles(&mut stage, &[NOBODY])?;
    let setting = super::order::workers(context, &mut stage, NOBODY)?;
    let call = "SELECT f()";
    walk_all(context, &mut stage, |stage, case| {
        let reads = matches!(case.function.kind, Kind::Get | Kind::List);
        let statement = case
            .first_write()
            .or(case.client.first().map(String::as_str))
            .unwrap_or_default()
            .to_owned();
        for (schema, sql) in [("ours", case.sql()), ("plain", statement)] {
            stage.admin.batch(&format!(
                "CREATE OR REPLACE FUNCTION {schema}.f() RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS
                    $f$ BEGIN EXECUTE $q$ {sql} $q$; RETURN pg_backend_pid(); END $f$"
            ))?;
        }
        let before = format!("BEGIN; SET LOCAL {setting} = on");
        // A call that may write is refused also where it comes to nothing.
        let stands = reads || case.first_write().is_some();
        let client = (case.is_of_statements() && stands).then_some(call);
        if reads {
            stage.before.clone_from(&before);
            in_a_worker(stage, call)?;
        }
        let (sqlstate, says) = if reads {
            ("42501", "permission denied for table")
        } else {
            ("25000", "during a parallel operation")
        };
        stage.before = format!("{before}; SET LOCAL ROLE {NOBODY}");
        stage.refused(call, client, sqlstate, &[says]).map(drop)
    })?;
    stage.verdict()
}
