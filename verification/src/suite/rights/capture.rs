//! What a caller puts into its search_path, or beside our tables, is never used.

use super::super::bad_input::stage::{Stage, ROWS};
use super::super::bad_input::CALLS;
use crate::runner::{Context, Outcome, Test};
use anyhow::Result;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "rights::capture",
            "operators, functions, types and tables of a search_path capture nothing",
            capture,
        ),
        Test::new(
            "rights::capture_by_temporary_table",
            "a temporary table of the same name captures nothing",
            temporary,
        ),
    ]
}

/// Whatever is called here raises.
fn evil() -> String {
    let mut sql = "CREATE SCHEMA evil;
        CREATE TABLE evil.caliber_trajectory (LIKE public.caliber_trajectory);
        CREATE TABLE evil.caliber_scope (LIKE public.caliber_scope);
        CREATE TYPE evil.caliber_trajectory_row AS (a int); CREATE TYPE evil.caliber_scope_row AS (a int);
        CREATE DOMAIN evil.uuid AS int; CREATE DOMAIN evil.text AS int; CREATE DOMAIN evil.jsonb AS int;
        CREATE DOMAIN evil.int8 AS pg_catalog.text; CREATE DOMAIN evil.bool AS int;
        CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured now'; END $$;
        CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured clock'; END $$;
        CREATE FUNCTION evil.caliber_new_id() RETURNS pg_catalog.uuid LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured id'; END $$;
        CREATE FUNCTION evil.format_type(oid, int) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured format_type'; END $$;
        CREATE FUNCTION evil.pg_get_constraintdef(oid) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured constraintdef'; END $$;
        CREATE FUNCTION evil.pg_get_indexdef(oid) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured indexdef'; END $$;\n"
        .to_owned();
    for (number, kind) in [
        "uuid",
        "text",
        "bool",
        "int4",
        "int8",
        "timestamptz",
        "jsonb",
        "oid",
        "name",
    ]
    .iter()
    .enumerate()
    {
        sql += &format!(
            "CREATE FUNCTION evil.compare{number}(pg_catalog.{kind}, pg_catalog.{kind}) RETURNS pg_catalog.bool
                LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured an operator of {kind}'; END $$;\n"
        );
        for operator in ["=", "<>", "<", ">", "<=", ">="] {
            sql += &format!(
                "CREATE OPERATOR evil.{operator} (FUNCTION = evil.compare{number}, LEFTARG = pg_catalog.{kind}, RIGHTARG = pg_catalog.{kind});\n"
            );
        }
    }
    sql.replace("evil.compare", "evil.compare_")
}

/// The calls with their schema written out, since another comes first.
fn calls() -> impl Iterator<Item = String> {
    CALLS
        .iter()
        .map(|(_, call)| format!("SELECT {}", call.replace("caliber_", "public.caliber_")))
        .chain([
            "SELECT count(*) FROM public.caliber_trajectory_list_by_status('active', 2, '@1')"
                .to_owned(),
            "SELECT count(*) FROM public.caliber_scope_list_by_trajectory('@1', 2, '@21')"
                .to_owned(),
            "SELECT public.caliber_trajectory_update('@5', '{\"parent_trajectory_id\": null}')"
                .to_owned(),
            "SELECT public.caliber_schema_exists()".to_owned(),
        ])
}

/// What a session answers to all calls, each rolled back, under a search_path.
fn answers(stage: &mut Stage, path: &str) -> Result<Vec<Vec<String>>> {
    stage.before = format!("BEGIN; SET LOCAL search_path = {path}");
    let mut all = Vec::new();
    for call in calls() {
        let mut answers = Vec::new();
        for setting in ["error", "return"] {
            for at in 0..3 {
                let sql = format!("SET LOCAL caliber.on_duplicate = {setting}; {call}");
                answers.push(format!("{:?}", stage.send(at, &sql)?));
            }
        }
        if answers.iter().any(|answer| *answer != answers[0]) {
            stage.problem(&format!(
                "* {call} with search_path = {path}\n  {}",
                answers.join("\n  ")
            ));
        }
        all.push(answers);
    }
    Ok(all)
}

fn capture(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    stage.admin(&evil())?;
    // Planned under the bad path first, then under the good one, and again.
    let bad = answers(&mut stage, "evil, pg_temp, pg_catalog")?;
    let good = answers(&mut stage, "public")?;
    for path in ["evil, pg_catalog, public, pg_temp", "''", "pg_temp, evil"] {
        let other = answers(&mut stage, path)?;
        compare(&mut stage, path, &other, &good);
    }
    compare(&mut stage, "evil, pg_temp, pg_catalog", &bad, &good);
    let shown = format!("{good:?}");
    for word in ["captured", "Err("] {
        if shown.contains(word) {
            stage.problem(&format!("* {word} in {shown}"));
        }
    }
    stage.before = "BEGIN".to_owned();
    stage.answers(
        "SELECT (SELECT count(*) FROM evil.caliber_trajectory) + (SELECT count(*) FROM evil.caliber_scope)",
        Some("0"),
    )?;
    // The cold path makes what is missing where it belongs.
    stage.before = "BEGIN; DROP TABLE public.caliber_conflict; SET LOCAL search_path = evil, pg_temp, pg_catalog".to_owned();
    for at in 0..3 {
        let call = "SELECT position('created table caliber_conflict' in public.caliber_init(7)) OPERATOR(pg_catalog.>) 0";
        stage.answers_on(at, call, Some("t"))?;
        stage.answers_on(at, "SELECT public.caliber_init() IS NOT NULL; SELECT count(*)::text FROM public.caliber_conflict", Some("0"))?;
    }
    stage.verdict()
}

fn compare(stage: &mut Stage, path: &str, left: &[Vec<String>], right: &[Vec<String>]) {
    for (call, (left, right)) in calls().zip(left.iter().zip(right)) {
        if left != right {
            stage.problem(&format!(
                "* {call} with search_path = {path}\n  {left:?}\n  {right:?}"
            ));
        }
    }
}

fn temporary(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::open(context.server.fresh_database()?, ROWS)?;
    let good = answers(&mut stage, "public")?;
    for (_, session) in &mut stage.sessions {
        session.batch(
            "CREATE TEMP TABLE caliber_trajectory (LIKE public.caliber_trajectory);
             CREATE TEMP VIEW caliber_scope AS SELECT * FROM public.caliber_scope WHERE false;
             CREATE TYPE pg_temp.caliber_scope_row AS (a int)",
        )?;
    }
    for path in ["public", "pg_temp, public", "public, pg_temp"] {
        let other = answers(&mut stage, path)?;
        compare(&mut stage, path, &other, &good);
    }
    stage.before = "BEGIN".to_owned();
    for at in 0..3 {
        let call = "SELECT public.caliber_trajectory_create('x'); SELECT count(*) FROM pg_temp.caliber_trajectory";
        stage.answers_on(at, call, Some("0"))?;
    }
    stage.verdict()
}
