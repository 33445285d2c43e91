//! Who may look, when it is refused, and what is left behind if it is stopped.

use super::super::desk;
use super::{check, database, found_after, list, nothing};
use crate::runner::{Context, Outcome, Test};
use crate::session::{Failure, ServerError, Session};
use anyhow::{bail, ensure, Result};
use std::time::Instant;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "check::rights",
            "USAGE, tables that are not ours, SELECT, row-level security",
            rights,
        ),
        Test::new(
            "check::stopped",
            "a check that is stopped at any moment leaves nothing behind",
            stopped,
        ),
        Test::new(
            "check::functions_of_the_owner",
            "functions in CHECKs and indexes run as the table's owner, with a fixed search_path",
            functions_of_the_owner,
        ),
    ]
}

/// The ERROR that a check must raise.
fn refused(session: &mut Session, code: &str, when: &str) -> Result<ServerError> {
    match check(session) {
        Ok(found) => bail!("{when}: {}", list(&found)),
        Err(Failure::Error(error)) => {
            ensure!(error.sqlstate == code, "{when}: {error}");
            Ok(*error)
        }
        Err(lost) => Err(lost.into()),
    }
}

const ROLE: &str = "DO $$ BEGIN CREATE ROLE verify_tenant; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;";

fn rights(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    session.batch(&format!(
        "{ROLE} GRANT USAGE ON SCHEMA public TO verify_tenant"
    ))?;
    for (table, _) in super::TABLES {
        session.batch(&format!("GRANT SELECT ON {table} TO verify_tenant"))?;
    }
    session.batch("SET ROLE verify_tenant")?;
    nothing(&mut session, "with SELECT on everything")?;
    session.batch("RESET ROLE")?;
    for (table, key) in super::TABLES {
        session.batch(&format!("BEGIN; REVOKE SELECT ON {table} FROM verify_tenant; SET LOCAL ROLE verify_tenant; SAVEPOINT s"))?;
        let error = refused(&mut session, "42501", table)?;
        ensure!(
            error.message == format!("permission denied for table {table}"),
            "{error}"
        );
        session.batch(&format!("ROLLBACK TO s; RESET ROLE; GRANT SELECT ({key}) ON {table} TO verify_tenant; SET LOCAL ROLE verify_tenant; SAVEPOINT s"))?;
        refused(&mut session, "42501", "one column is not all")?;
        let columns = format!("SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0");
        session.batch("ROLLBACK TO s; RESET ROLE")?;
        let columns = session.value(&columns)?.unwrap_or_default();
        session.batch(&format!(
            "GRANT SELECT ({columns}) ON {table} TO verify_tenant; SET LOCAL ROLE verify_tenant"
        ))?;
        nothing(&mut session, "each column is all")?;
        session.batch(&format!(
            "ROLLBACK; BEGIN; ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        ))?;
        nothing(&mut session, "the superuser is exempt")?;
        session.batch("SET LOCAL ROLE verify_tenant; SAVEPOINT s")?;
        let error = refused(&mut session, "55000", table)?;
        ensure!(
            error.message.contains(table) && error.hint.is_some(),
            "{error}"
        );
        session.batch("ROLLBACK TO s; SET LOCAL row_security = off; SAVEPOINT s")?;
        refused(&mut session, "42501", "row_security = off")?;
        session.batch(&format!("ROLLBACK TO s; RESET ROLE; ALTER TABLE {table} OWNER TO verify_tenant; SET LOCAL row_security = on; SET LOCAL ROLE verify_tenant"))?;
        nothing(&mut session, "the owner is exempt")?;
        session.batch(&format!(
            "ALTER TABLE {table} FORCE ROW LEVEL SECURITY; SAVEPOINT s"
        ))?;
        refused(&mut session, "55000", "unless it is forced")?;
        session.batch("ROLLBACK")?;
    }
    // What a user's key refers to is read too.
    let own_key = "CREATE TABLE known (id uuid PRIMARY KEY); INSERT INTO known SELECT turn_id FROM caliber_turn;
        ALTER TABLE caliber_turn ADD FOREIGN KEY (turn_id) REFERENCES known";
    session.batch(&format!(
        "BEGIN; {own_key}; SET LOCAL ROLE verify_tenant; SAVEPOINT s"
    ))?;
    refused(&mut session, "42501", "a table of the user's")?;
    session.batch("ROLLBACK TO s; RESET ROLE; GRANT SELECT ON known TO verify_tenant; ALTER TABLE known ENABLE ROW LEVEL SECURITY; SET LOCAL ROLE verify_tenant; SAVEPOINT s")?;
    let error = refused(&mut session, "55000", "policies of the user's")?;
    ensure!(error.message.contains("known"), "{error}");
    session.batch("ROLLBACK; BEGIN; REVOKE USAGE ON SCHEMA public FROM verify_tenant, PUBLIC; SET LOCAL ROLE verify_tenant; SAVEPOINT s")?;
    // The schema is public: without USAGE the function is not found by its name.
    let call = session.error("SELECT * FROM public.caliber_check()")?;
    ensure!(call.sqlstate == "42501", "{call}");
    session.batch("ROLLBACK")?;
    for (damage, code) in [
        ("DROP TABLE caliber_conflict", "42P01"),
        ("ALTER TABLE caliber_conflict NOT OF", "42804"),
        (
            "DROP TABLE caliber_conflict; CREATE VIEW caliber_conflict AS SELECT 1 AS a",
            "42804",
        ),
    ] {
        session.batch(&format!("BEGIN; {damage}; CREATE TEMP TABLE caliber_conflict OF caliber_conflict_row; SAVEPOINT s"))?;
        let error = refused(&mut session, code, damage)?;
        ensure!(
            error.message.contains("public.caliber_conflict") && error.hint.is_some(),
            "{error}"
        );
        session.batch("ROLLBACK")?;
    }
    let error = session.error("SELECT caliber_check() FROM caliber_check(), (SELECT caliber_check()) x WHERE (caliber_check()).item = ''")?;
    ensure!(
        error.sqlstate == "0A000",
        "a set where none can be: {error}"
    );
    Ok(Outcome::Passed(String::new()))
}

fn stopped(context: &Context) -> Result<Outcome> {
    let (database, mut session) = database(context, true)?;
    let mut cancelled = 0;
    let mut finished = 0;
    let held = format!(
        "SELECT count(*) FROM pg_locks l WHERE l.pid = {} AND l.locktype = 'relation' AND l.relation IN
            (SELECT oid FROM pg_class WHERE relname LIKE 'caliber%')",
        session.pid()?
    );
    let mut other = database.connect()?;
    let start = Instant::now();
    nothing(&mut session, "undisturbed")?;
    let whole = start.elapsed().as_millis();
    for step in 1..=40 {
        let time = (whole * step / 40).max(1);
        session.batch(&format!("SET statement_timeout = '{time}ms'"))?;
        match check(&mut session) {
            Ok(found) => {
                ensure!(found.is_empty(), "{}", list(&found));
                finished += 1;
            }
            Err(Failure::Error(error)) if error.sqlstate == "57014" => cancelled += 1,
            Err(failure) => return Err(failure.into()),
        }
        // That is a statement too, and may be too slow for the shortest of them.
        desk::until_done(&mut session, "RESET statement_timeout", "57014")?;
        let count = other.value(&held)?;
        ensure!(count.as_deref() == Some("0"), "{count:?} locks are left");
    }
    ensure!(cancelled > 10, "{cancelled} cancelled, {finished} finished");
    nothing(&mut session, "afterwards")?;
    // Nobody is in its way, and it is in nobody's way but for what SELECT blocks.
    session.batch("BEGIN")?;
    nothing(&mut session, "in a transaction")?;
    let modes = other
        .query(&held.replace("count(*)", "DISTINCT mode"))?
        .column();
    ensure!(modes == [Some("AccessShareLock".to_owned())], "{modes:?}");
    other.batch("SET lock_timeout = '2s'; BEGIN; UPDATE caliber_turn SET token_count = 1; DELETE FROM caliber_conflict; LOCK TABLE caliber_note IN EXCLUSIVE MODE")?;
    nothing(&mut session, "while others write")?;
    other.batch("ROLLBACK")?;
    session.batch("COMMIT")?;
    // Caught, the error leaves nothing either: no lock, no setting, no role.
    let caught = "DO $$ BEGIN
            FOR i IN 1..20 LOOP
                BEGIN
                    PERFORM set_config('statement_timeout', '0', true), count(*) FROM caliber_check();
                    RAISE division_by_zero;
                EXCEPTION WHEN division_by_zero THEN NULL; END;
            END LOOP;
        END $$";
    session.batch(caught)?;
    nothing(&mut session, "after errors that were caught")?;
    Ok(Outcome::Passed(format!(
        "{cancelled} of {} stopped",
        cancelled + finished
    )))
}

fn functions_of_the_owner(context: &Context) -> Result<Outcome> {
    let (_database, mut session) = database(context, false)?;
    session.batch(&format!(
        "{ROLE} ALTER TABLE caliber_turn OWNER TO verify_tenant;
         CREATE FUNCTION me() RETURNS name LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN current_user; END $$;
         CREATE FUNCTION as_owner(x text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN current_user = 'verify_tenant'; END $$;
         CREATE FUNCTION named(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN helper(x); END $$;
         CREATE SCHEMA captured; GRANT USAGE ON SCHEMA captured TO PUBLIC;
         CREATE FUNCTION captured.helper(x text) RETURNS text LANGUAGE sql AS 'SELECT ''captured'' || x'"
    ))?;
    let found = found_after(
        &mut session,
        "ALTER TABLE caliber_turn ADD CONSTRAINT owned CHECK (as_owner(content)) NOT VALID",
    )?;
    ensure!(found.is_empty(), "not as the owner: {}", list(&found));
    let found = found_after(
        &mut session,
        "ALTER TABLE caliber_note ADD CONSTRAINT owned CHECK (as_owner(content)) NOT VALID",
    )?;
    ensure!(found.len() == 50, "{}", list(&found));
    // The caller is itself again: for what comes after, and if an error ends it.
    let me = session.value("SELECT format('%s %s', me(), count(*)) FROM caliber_check()")?;
    let caller = session.value("SELECT format('%s 0', current_user)")?;
    ensure!(me == caller, "{me:?}, not {caller:?}");
    let own = "SET LOCAL search_path = captured, public, verification;
        ALTER TABLE caliber_turn ADD CONSTRAINT named CHECK (named(content) <> '') NOT VALID";
    session.batch(&format!("BEGIN; {own}; SAVEPOINT s"))?;
    let error = refused(
        &mut session,
        "42883",
        "helper() is not in a fixed search_path",
    )?;
    ensure!(error.message.contains("helper"), "{error}");
    session.batch("ROLLBACK TO s")?;
    let kept =
        session.value("SELECT format('%s %s', current_user, current_setting('search_path'))")?;
    ensure!(
        kept.as_deref()
            .is_some_and(|kept| kept.contains("captured")),
        "{kept:?}"
    );
    session.batch("ROLLBACK")?;
    // What the owner may not do in REINDEX, its functions may not do here.
    session.batch("CREATE FUNCTION sneaky(x text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SET ROLE verify_tenant'; RETURN true; END $$")?;
    session.batch("BEGIN; ALTER TABLE caliber_turn ADD CONSTRAINT sneaks CHECK (sneaky(content)) NOT VALID; SAVEPOINT s")?;
    refused(&mut session, "42501", "SET ROLE in a restricted operation")?;
    session.batch("ROLLBACK")?;
    Ok(Outcome::Passed(String::new()))
}
