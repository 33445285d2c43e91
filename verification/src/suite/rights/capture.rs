//! What a caller puts into its search_path, or beside our tables, is never used.

use super::super::bad_input::stage::Stage;
use super::super::sampled::{in_public, tables, walk_all, Case};
use crate::entity::Kind;
use crate::judge::without_moments;
use crate::runner::{Context, Outcome, Test};
use crate::session::shorten;
use anyhow::Result;
use std::fmt::Write as _;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "rights::capture",
            "no operator, function, type or table of a search_path is used by any function",
            capture,
        ),
        Test::new(
            "rights::capture_by_temporary_table",
            "temporary tables and views of our tables' names capture nothing",
            temporary,
        ),
    ]
}

/// A schema with the names of all tables and types of ours, of the usual types,
/// and of all operators and functions of PostgreSQL and pgvector that can be
/// written in PL/pgSQL. Whatever is called here raises.
const EVIL: &str = "CREATE SCHEMA evil;
    CREATE FUNCTION evil.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured a table'; END $$;
    SET check_function_bodies = off; SET search_path = pg_catalog;
    DO $do$
    DECLARE
        one record;
        number int := 0;
        body CONSTANT text := 'LANGUAGE plpgsql AS $$ BEGIN RAISE ''captured %'', ';
    BEGIN
        FOR one IN SELECT oprname, format_type(oprleft, NULL) AS l, format_type(oprright, NULL) AS r, format_type(oprresult, NULL) AS result
            FROM pg_operator o JOIN pg_type a ON a.oid = oprleft JOIN pg_type b ON b.oid = oprright
            WHERE oprkind = 'b' AND oprnamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
            AND (a.typtype <> 'p' OR a.typname LIKE 'any_%') AND (b.typtype <> 'p' OR b.typname LIKE 'any_%')
        LOOP
            number := number + 1;
            EXECUTE format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s %s%L; END $$', number, one.l, one.r, one.result, body, one.oprname);
            EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.operator_%s, LEFTARG = %s, RIGHTARG = %s)', one.oprname, number, one.l, one.r);
        END LOOP;
        FOR one IN SELECT proname, proretset, format_type(prorettype, NULL) AS result,
                (SELECT coalesce(string_agg(format_type(t, NULL), ', ' ORDER BY n), '') FROM unnest(proargtypes::oid[]) WITH ORDINALITY u (t, n)) AS args
            FROM pg_proc p JOIN pg_type r ON r.oid = prorettype
            WHERE pronamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace) AND proname NOT LIKE 'caliber%'
            AND (r.typtype <> 'p' OR r.typname LIKE 'any_%' OR r.typname IN ('record', 'void'))
            AND NOT EXISTS (SELECT FROM unnest(proargtypes::oid[]) t JOIN pg_type ON pg_type.oid = t WHERE typtype = 'p' AND typname NOT LIKE 'any_%')
        LOOP
            EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s %s %s%L; END $$', one.proname, one.args,
                CASE WHEN one.proretset THEN 'SETOF' END, one.result, body, one.proname);
        END LOOP;
    END $do$;
    CREATE FUNCTION evil.caliber_new_id() RETURNS pg_catalog.uuid LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured id'; END $$;
    RESET search_path; RESET check_function_bodies;
    CREATE DOMAIN evil.uuid AS int; CREATE DOMAIN evil.text AS int; CREATE DOMAIN evil.jsonb AS int;
    CREATE DOMAIN evil.int8 AS pg_catalog.text; CREATE DOMAIN evil.bool AS int; CREATE DOMAIN evil.vector AS int;
    CREATE DOMAIN evil.timestamptz AS int";

fn evil() -> String {
    let mut sql = EVIL.to_owned();
    for table in tables() {
        // A row to compare with, so that operators are called.
        let _ = write!(
            sql,
            "; CREATE TABLE evil.{0} AS TABLE public.{0} WITH NO DATA; INSERT INTO evil.{0} DEFAULT VALUES;
             CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON evil.{0} EXECUTE FUNCTION evil.trap();
             CREATE TYPE evil.{0}_row AS (a int)",
            table.name
        );
    }
    sql
}

/// What a session answers to a statement in a transaction that is rolled back,
/// and the rows of the tables afterwards.
fn answer(stage: &mut Stage, at: usize, case: &Case, before: &str, sql: &str) -> Result<String> {
    stage.before = format!("BEGIN; {before}");
    let mut look = format!("{sql}; SET LOCAL search_path = pg_catalog, public");
    for table in &case.tables {
        // Each session has a pid of its own, and a child that an accept makes an
        // id of its own.
        let makes = case.call.function == "caliber_delegation_accept";
        let alike = |column: &&str| {
            *column != "backend_pid"
                && !(makes && ["trajectory_id", "child_trajectory_id"].contains(column))
        };
        let names = table.columns.iter().map(|column| column.name);
        let columns: Vec<&str> = names.filter(alike).collect();
        let _ = write!(
            look,
            "; SELECT ROW({}) FROM public.{} ORDER BY {}",
            columns.join(", "),
            table.name,
            table.key
        );
    }
    let answer = format!("{:?}", stage.send(at, &look)?);
    Ok(without_moments(&answer))
}

/// Settings under which a call goes other ways.
fn settings(case: &Case) -> &'static [&'static str] {
    if matches!(case.function.kind, Kind::Create | Kind::Many) {
        &["error", "return"]
    } else {
        &["error"]
    }
}

/// All engines answer as `wanted` under each path.
fn same(stage: &mut Stage, case: &Case, paths: &[&str], setting: &str, wanted: &str) -> Result<()> {
    let sql = in_public(&case.sql());
    for path in paths {
        for at in 0..3 {
            let before = format!(
                "SET LOCAL search_path = {path}; SET LOCAL caliber.on_duplicate = {setting}"
            );
            let seen = answer(stage, at, case, &before, &sql)?;
            if seen != wanted {
                let name = stage.sessions[at].0.name();
                stage.problem(&format!(
                    "* {} with search_path = {path}\n  {name}: {}\n  wanted: {}",
                    shorten(&sql, 300),
                    shorten(&seen, 600),
                    shorten(wanted, 600)
                ));
            }
        }
    }
    Ok(())
}

/// Under each path every engine answers as a session without traps does.
fn as_without(stage: &mut Stage, case: &Case, paths: &[&str]) -> Result<()> {
    let client = stage.sessions.len() - 1;
    for setting in settings(case) {
        let good = format!("SET LOCAL caliber.on_duplicate = {setting}");
        let wanted = answer(stage, client, case, &good, &in_public(&case.sql()))?;
        if wanted.starts_with("Err") {
            stage.problem(&format!("* {}\n  {wanted}", case.sql()));
        }
        same(stage, case, paths, setting, &wanted)?;
    }
    Ok(())
}

fn capture(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, &evil())?;
    let mut caught = 0;
    // Planned under a bad path first, then under the good one, and again.
    let first = "evil, pg_temp, pg_catalog";
    let paths = [first, "public", "evil, pg_catalog, public, pg_temp", "''"];
    walk_all(context, &mut stage, |stage, case| {
        let client = stage.sessions.len() - 1;
        as_without(stage, case, &paths)?;
        // The client's own statement is captured: the traps are where they must be.
        let bad = format!("SET LOCAL search_path = {first}");
        let seen = answer(stage, client, case, &bad, &case.statements())?;
        if seen.starts_with("Err") {
            caught += 1;
        } else if case.changes {
            // (A list that asks for no rows compares nothing.)
            stage.problem(&format!(
                "* nothing captures the client's {}\n  {seen}",
                case.statements()
            ));
        }
        Ok(())
    })?;
    stage.before = "BEGIN".to_owned();
    let kept: Vec<String> = tables()
        .map(|table| format!("(SELECT count(*) FROM evil.{})", table.name))
        .collect();
    let number = kept.len().to_string();
    stage.answers(&format!("SELECT {}", kept.join(" + ")), Some(&number))?;
    // The cold path makes what is missing where it belongs.
    stage.before = "BEGIN; DROP TABLE public.caliber_conflict; SET LOCAL search_path = evil, pg_temp, pg_catalog".to_owned();
    for at in 0..3 {
        let call = "SELECT pg_catalog.strpos(public.caliber_init(7), 'created table caliber_conflict') OPERATOR(pg_catalog.>) 0";
        stage.answers_on(at, call, Some("t"))?;
        stage.answers_on(at, "SELECT public.caliber_init() IS NOT NULL; SET LOCAL search_path = pg_catalog; SELECT count(*)::text FROM public.caliber_conflict", Some("0"))?;
        stage.answers_on(at, "SELECT public.caliber_schema_exists()", Some("f"))?;
    }
    let calls = stage.count;
    stage
        .verdict()
        .map(|_| Outcome::Passed(format!("{calls} calls; {caught} statements were captured")))
}

fn temporary(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, "")?;
    let client = stage.sessions.len() - 1;
    // The client's session, which has none, says what is right.
    for (number, (_, session)) in stage.sessions.iter_mut().take(client).enumerate() {
        for (at, table) in tables().enumerate() {
            let name = table.name;
            let temporary = if (number + at) % 4 == 3 {
                format!("CREATE TEMP VIEW {name} AS SELECT * FROM public.{name} WHERE false")
            } else {
                format!("CREATE TEMP TABLE {name} (LIKE public.{name})")
            };
            session.batch(&format!(
                "{temporary}; CREATE TYPE pg_temp.{name}_row AS (a int)"
            ))?;
        }
    }
    let paths = ["public", "pg_temp, public"];
    walk_all(context, &mut stage, |stage, case| {
        as_without(stage, case, &paths)
    })?;
    stage.before = "BEGIN".to_owned();
    let kept: Vec<String> = tables()
        .map(|table| format!("(SELECT count(*) FROM pg_temp.{})", table.name))
        .collect();
    stage.answers(&format!("SELECT {}", kept.join(" + ")), Some("0"))?;
    stage.verdict()
}
