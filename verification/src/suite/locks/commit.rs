//! Rows of level transaction are deleted just before commit: which, and with whose
//! rights.

use super::{acquired, busy, fill, for_each, gives, refused, run, value, AGENTS};
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Result};

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::id_used_again",
            "the end of a transaction lock takes no other lock that got its id",
            id_used_again,
        ),
        Test::new(
            "locks::busy_keeps_no_row",
            "an acquire that comes to nothing keeps no row of the table locked",
            busy_keeps_no_row,
        ),
        Test::new(
            "locks::nothing_runs_at_commit",
            "the end of a transaction lock runs no trigger of who refers to it, with nobody's rights",
            nothing_runs_at_commit,
        ),
        Test::new(
            "locks::end_of_transaction",
            "when a transaction is over, whichever way, nothing of the server's memory is allocated for its locks",
            end_of_transaction,
        )
        .with_faults(),
    ]
}

fn id_used_again(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for (level, left) in [("lease", 1), ("session", 1), ("transaction", 0)] {
            run(
                &mut stage.one,
                &format!(
                    "BEGIN;
                    SELECT caliber_lock_acquire('@a', 'file', '@r', level => 'transaction', id => '@1');
                    SELECT caliber_lock_release('@1');
                    SELECT caliber_lock_acquire('@a', 'file', '@r', level => '{level}', id => '@1');
                    COMMIT"
                ),
            )?;
            let rows = stage.rows()?;
            ensure!(rows == left.to_string(), "{level}: {rows} rows");
            let released = if left == 1 { "t" } else { "f" };
            gives(
                &mut stage.one,
                "SELECT caliber_lock_release('@1')",
                released,
            )?;
            stage.one_holds(&[])?;
        }
        Ok(())
    })
}

fn busy_keeps_no_row(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        // Two leases, both over; the second is still asserted by somebody.
        run(
            &mut stage.two,
            "SELECT caliber_lock_acquire('@b', 'file', '@r', 1, 'shared', id => '@2');
            SELECT caliber_lock_acquire('@c', 'file', '@r', 400, 'shared', id => '@3');
            BEGIN; SELECT caliber_lock_assert('@3'); SELECT pg_sleep(0.5)",
        )?;
        run(&mut stage.one, "BEGIN")?;
        busy(&mut stage.one, 'a', "")?;
        stage.one_holds(&[])?;
        run(
            stage.look(),
            "SET lock_timeout = '2s'; DELETE FROM caliber_lock WHERE lock_id = '@2'",
        )?;
        // The same behind a row of its own, which would become exclusive.
        acquired(&mut stage.one, 'a', "mode => 'shared', id => '@1'")?;
        run(&mut stage.one, "COMMIT; BEGIN")?;
        busy(&mut stage.one, 'a', "")?;
        run(stage.look(), "SELECT caliber_lock_extend('@1', 5)")?;
        run(&mut stage.two, "COMMIT")?;
        run(&mut stage.one, "COMMIT")?;
        acquired(&mut stage.one, 'a', "").map(|_| ())
    })
}

/// Somebody's table that refers to locks, with a deferred trigger that tells whose
/// rights it has.
const SNARE: &str = "
    DO $$ BEGIN CREATE ROLE verify_snarer; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
    GRANT USAGE, CREATE ON SCHEMA public TO verify_snarer;
    GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES ON ALL TABLES IN SCHEMA public TO verify_snarer;
    SET ROLE verify_snarer;
    CREATE TABLE snare (lock_id uuid REFERENCES caliber_lock ON DELETE CASCADE);
    CREATE TABLE told (who text);
    GRANT ALL ON told TO PUBLIC;
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.told VALUES (current_user); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER tell AFTER DELETE ON snare DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION tell();
    CREATE TRIGGER tell_at_once AFTER DELETE ON snare FOR EACH ROW EXECUTE FUNCTION tell();
    CREATE FUNCTION take() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.snare VALUES (public.caliber_lock_acquire('@a', 'file', '@r', level => 'transaction'));
    END $$;
    CREATE TABLE bait (n int);
    INSERT INTO bait VALUES (1), (2);
    CREATE FUNCTION harmless(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$;
    CREATE INDEX ON bait (harmless(n));
    CREATE OR REPLACE FUNCTION harmless(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
        $$ BEGIN PERFORM public.take(); RETURN $1; END $$;
    RESET ROLE";

fn nothing_runs_at_commit(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        run(&mut stage.two, SNARE)?;
        run(
            &mut stage.two,
            "CREATE FUNCTION of_the_owner() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS
                $$ SELECT public.caliber_lock_acquire('@a', 'file', '@r', level => 'transaction') $$",
        )?;
        for (before, last) in [
            // A superuser's, inside which the snarer's function runs.
            ("", "ANALYZE bait"),
            (
                "BEGIN; SET LOCAL ROLE verify_snarer; SELECT take(); RESET ROLE",
                "COMMIT",
            ),
            (
                "BEGIN; SET LOCAL ROLE verify_snarer; INSERT INTO snare SELECT of_the_owner()",
                "COMMIT",
            ),
        ] {
            run(&mut stage.one, before)?;
            let error = refused(&mut stage.one, last, "23503")?;
            ensure!(
                error.constraint.as_deref() == Some("snare_lock_id_fkey"),
                "{error}"
            );
            stage.one_holds(&[])?;
            let told = value(&mut stage.two, "SELECT count(*) FROM told")?;
            ensure!(told == "0", "{before}: a trigger ran");
        }
        let rows = value(&mut stage.two, "SELECT count(*) FROM caliber_lock")?;
        ensure!(rows == "0", "{rows} rows");
        // Who refers to it no longer is in nobody's way.
        run(
            &mut stage.one,
            "BEGIN; SET LOCAL ROLE verify_snarer; SELECT take(); DELETE FROM snare; TRUNCATE told; COMMIT",
        )
    })
}

/// Ends of transactions with locks of each level. The faults build says if memory is
/// allocated where an ERROR would be a PANIC.
fn end_of_transaction(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let (mut session, warnings) = Session::connect_and_hear(&database.target)?;
    session.batch(&fill(AGENTS))?;
    let mut ends = 0;
    for level in ["lease", "session", "transaction"] {
        let acquire = format!(
            "SELECT caliber_lock_acquire('@a', 'file', '@1', level => '{level}', id => '@2')"
        );
        let release = "SELECT caliber_lock_release('@2')";
        for work in [
            format!("BEGIN; {acquire}; ROLLBACK"),
            format!("BEGIN; SAVEPOINT s; {acquire}; ROLLBACK TO s; COMMIT"),
            format!("BEGIN; SAVEPOINT s; {acquire}; RELEASE s; ROLLBACK"),
            format!("BEGIN; {acquire}; SAVEPOINT s; {release}; ROLLBACK TO s; COMMIT"),
            format!("BEGIN; SAVEPOINT s; {release}; RELEASE s; COMMIT"),
            format!("{acquire}; {release}"),
            format!("BEGIN; {acquire}; {release}; COMMIT"),
        ] {
            run(&mut session, &work)?;
            ends += 1;
        }
    }
    let heard = warnings
        .lock()
        .map(|heard| heard.clone())
        .unwrap_or_default();
    ensure!(heard.is_empty(), "{heard:?}");
    Ok(Outcome::Passed(format!("{ends} ends")))
}
