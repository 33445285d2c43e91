//! Users' triggers on the table: those that say no, and those that change what
//! a lock is.

use super::{acquired, busy, fill, for_each, gives, refused, run, Stage};
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::vetoes",
            "a trigger that says no leaves neither row nor advisory lock",
            vetoes,
        ),
        Test::new(
            "locks::changed_by_a_trigger",
            "a trigger that changes what a lock is, is refused",
            changed,
        ),
        Test::new(
            "locks::swept_by_a_trigger_too",
            "a purge whose triggers change the rows to come is refused as the DELETE is",
            swept_by_a_trigger_too,
        ),
        Test::new(
            "locks::swept_in_vain",
            "an acquire that comes to nothing deletes no dead row, and one that fails neither",
            swept_in_vain,
        ),
        Test::new(
            "locks::release_of_none",
            "the release of a lock that is not there is a DELETE all the same, and fires its statement's triggers",
            release_of_none,
        ),
    ]
}

fn release_of_none(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        run(
            &mut stage.two,
            "CREATE TABLE fired (what text);
            CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO fired VALUES (TG_WHEN || ' ' || (SELECT count(*) FROM caliber_lock)); RETURN NULL; END $$;
            CREATE TRIGGER one BEFORE DELETE ON caliber_lock FOR EACH STATEMENT EXECUTE FUNCTION act();
            CREATE TRIGGER two AFTER DELETE ON caliber_lock FOR EACH STATEMENT EXECUTE FUNCTION act()",
        )?;
        let fired = "SELECT string_agg(what, ', ' ORDER BY ctid) FROM fired";
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "f")?;
        gives(&mut stage.one, fired, "BEFORE 0, AFTER 0")?;
        acquired(&mut stage.one, 'a', "id => '@1'")?;
        run(&mut stage.one, "TRUNCATE fired")?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
        gives(&mut stage.one, fired, "BEFORE 1, AFTER 0")
    })
}

/// Creates the trigger function with this body.
pub(super) fn function(stage: &mut Stage, body: &str) -> Result<()> {
    run(
        &mut stage.two,
        &format!(
            "CREATE OR REPLACE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        ),
    )
}

pub(super) fn trigger(stage: &mut Stage, event: &str) -> Result<()> {
    run(
        &mut stage.two,
        &format!(
            "DROP TRIGGER IF EXISTS act ON caliber_lock;
            CREATE TRIGGER act {event} ON caliber_lock FOR EACH ROW EXECUTE FUNCTION act()"
        ),
    )
}

pub(super) fn drop_trigger(stage: &mut Stage) -> Result<()> {
    run(
        &mut stage.two,
        "DROP TRIGGER act ON caliber_lock; DELETE FROM caliber_lock",
    )
}

fn vetoes(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        function(stage, "RETURN NULL;")?;
        trigger(stage, "BEFORE INSERT")?;
        for level in ["lease", "session", "transaction"] {
            for (begin, end) in [("BEGIN", "COMMIT"), ("SELECT 1", "SELECT 1")] {
                run(&mut stage.one, begin)?;
                busy(&mut stage.one, 'a', &format!("level => '{level}'"))?;
                // At once, not only when the transaction ends.
                stage.one_holds(&[])?;
                run(&mut stage.one, end)?;
                ensure!(stage.rows()? == "0", "a row is left");
            }
        }
        drop_trigger(stage)?;

        // An upgrade, an extension by acquire and by extend.
        for level in ["lease", "session", "transaction"] {
            run(&mut stage.one, "BEGIN")?;
            acquired(
                &mut stage.one,
                'a',
                &format!("level => '{level}', mode => 'shared', id => '@1'"),
            )?;
            run(&mut stage.one, "CREATE TRIGGER act BEFORE UPDATE ON caliber_lock FOR EACH ROW EXECUTE FUNCTION act()")?;
            busy(&mut stage.one, 'a', &format!("level => '{level}'"))?;
            gives(&mut stage.one, "SELECT mode FROM caliber_lock", "shared")?;
            if level == "lease" {
                busy(&mut stage.one, 'a', "mode => 'shared'")?;
                gives(
                    &mut stage.one,
                    "SELECT caliber_lock_extend('@1', 1000)",
                    "f",
                )?;
            } else {
                // Nothing to write, nothing to veto.
                acquired(
                    &mut stage.one,
                    'a',
                    &format!("level => '{level}', mode => 'shared'"),
                )?;
            }
            run(&mut stage.one, "DROP TRIGGER act ON caliber_lock; COMMIT")?;
            if level == "session" {
                stage.one_holds(&["1 ShareLock", "3 ExclusiveLock"])?;
            } else {
                stage.one_holds(&[])?;
            }
            run(
                &mut stage.one,
                "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
            )?;
        }

        // A release, and a sweep.
        acquired(&mut stage.one, 'a', "level => 'session', id => '@1'")?;
        acquired(&mut stage.two, 'b', "timeout_ms => 1")
            .err()
            .context("not busy")?;
        trigger(stage, "BEFORE DELETE")?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "f")?;
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])?;
        run(&mut stage.one, "SELECT pg_advisory_unlock_all()")?;
        busy(&mut stage.two, 'b', "")?;
        gives(&mut stage.two, "SELECT caliber_lock_purge_expired()", "0")?;
        stage.one_holds(&[])?;
        // The removal of rows of level transaction asks nobody.
        run(&mut stage.one, "TRUNCATE caliber_lock")?;
        acquired(&mut stage.one, 'a', "level => 'transaction'")?;
        ensure!(stage.rows()? == "0", "a row is left");
        drop_trigger(stage)
    })
}

fn changed(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        let changes = [
            ("lock_id", "'@9'"),
            ("resource_type", "'other'"),
            ("resource_id", "'@s'"),
            ("holder_agent_id", "'@b'"),
            (
                "mode",
                "CASE NEW.mode WHEN 'shared' THEN 'exclusive' ELSE 'shared' END",
            ),
            (
                "level",
                "CASE NEW.level WHEN 'session' THEN 'lease' ELSE 'session' END",
            ),
        ];
        for (column, value) in changes {
            function(stage, &format!("NEW.{column} := {value}; RETURN NEW;"))?;
            trigger(stage, "BEFORE INSERT")?;
            for level in ["lease", "session", "transaction"] {
                let call = format!("SELECT caliber_lock_acquire('@a', 'file', '@r', level => '{level}', id => '@1')");
                run(&mut stage.one, "BEGIN; SAVEPOINT s")?;
                let error = refused(&mut stage.one, &call, "55000")?;
                ensure!(
                    error.message == fill(&format!("a trigger changed \"{column}\" of lock @1")),
                    "{error}"
                );
                run(&mut stage.one, "ROLLBACK TO s; COMMIT")?;
                stage.one_holds(&[])?;
            }
            trigger(stage, "BEFORE UPDATE")?;
            for level in ["lease", "session", "transaction"] {
                run(&mut stage.one, "BEGIN")?;
                acquired(
                    &mut stage.one,
                    'a',
                    &format!("level => '{level}', mode => 'shared', id => '@1'"),
                )?;
                run(&mut stage.one, "SAVEPOINT s")?;
                refused(
                    &mut stage.one,
                    &format!("SELECT caliber_lock_acquire('@a', 'file', '@r', level => '{level}')"),
                    "55000",
                )?;
                run(&mut stage.one, "ROLLBACK TO s")?;
                if level == "lease" {
                    refused(
                        &mut stage.one,
                        "SELECT caliber_lock_extend('@1', 1)",
                        "55000",
                    )?;
                    run(&mut stage.one, "ROLLBACK TO s")?;
                }
                run(&mut stage.one, "COMMIT")?;
                let held: &[&str] = if level == "session" {
                    &["1 ShareLock", "3 ExclusiveLock"]
                } else {
                    &[]
                };
                stage.one_holds(held)?;
                run(
                    &mut stage.one,
                    "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
                )?;
                stage.one_holds(&[])?;
            }
        }
        // When a lock ends is no part of what it is.
        function(
            stage,
            "NEW.expires_at := clock_timestamp() + '1 hour'; NEW.backend_pid := 7; RETURN NEW;",
        )?;
        trigger(stage, "BEFORE INSERT OR UPDATE")?;
        let id = acquired(&mut stage.one, 'a', "timeout_ms => 1")?;
        gives(
            &mut stage.one,
            &format!("SELECT caliber_lock_extend('{id}', 1)"),
            "t",
        )?;
        busy(&mut stage.two, 'b', "")?;
        gives(&mut stage.one, "SELECT backend_pid FROM caliber_lock", "7")?;
        drop_trigger(stage)
    })
}

/// Two dead leases are in the way; a trigger stops the row that would follow them,
/// or the second of their own deletions.
fn swept_in_vain(context: &Context) -> Result<Outcome> {
    let dead = "SELECT caliber_lock_acquire('@b', 'file', '@r', 1, 'shared', id => '@2');
        SELECT caliber_lock_acquire('@c', 'file', '@r', 1, 'shared', id => '@3');
        SELECT pg_sleep(0.01)";
    let left = "SELECT string_agg(right(lock_id::text, 2) || mode, ' ' ORDER BY lock_id) FROM caliber_lock";
    for_each(context, |stage| {
        run(&mut stage.two, dead)?;
        for level in ["lease", "session", "transaction"] {
            let level = format!("level => '{level}'");
            function(stage, "RETURN NULL;")?;
            trigger(stage, "BEFORE INSERT")?;
            run(&mut stage.one, "BEGIN")?;
            busy(&mut stage.one, 'a', &level)?;
            gives(&mut stage.one, left, "32shared 33shared")?;
            stage.one_holds(&[])?;
            run(&mut stage.one, "COMMIT")?;
            gives(&mut stage.two, left, "32shared 33shared")?;

            // The second deletion only; whichever comes second.
            function(
                stage,
                "IF (SELECT count(*) FROM caliber_lock) < 2 THEN RETURN NULL; END IF; RETURN OLD;",
            )?;
            trigger(stage, "BEFORE DELETE")?;
            busy(&mut stage.one, 'a', &level)?;
            gives(&mut stage.two, left, "32shared 33shared")?;

            // An upgrade: the agent's own shared row beside the dead ones.
            run(&mut stage.one, "DROP TRIGGER act ON caliber_lock; BEGIN")?;
            acquired(
                &mut stage.one,
                'a',
                &format!("mode => 'shared', id => '@1', {level}"),
            )?;
            function(stage, "RETURN NULL;")?;
            run(&mut stage.one, "CREATE TRIGGER act BEFORE UPDATE ON caliber_lock FOR EACH ROW EXECUTE FUNCTION act()")?;
            busy(&mut stage.one, 'a', &level)?;
            gives(&mut stage.one, left, "31shared 32shared 33shared")?;
            run(&mut stage.one, "ROLLBACK")?;

            // An error of the trigger, caught: its words are its own.
            function(stage, "RAISE 'not today' USING ERRCODE = '45000';")?;
            trigger(stage, "BEFORE INSERT")?;
            run(&mut stage.one, "BEGIN; SAVEPOINT s")?;
            let call = format!("SELECT caliber_lock_acquire('@a', 'file', '@r', {level})");
            let error = refused(&mut stage.one, &call, "45000")?;
            ensure!(error.message == "not today", "{error}");
            run(&mut stage.one, "ROLLBACK TO s; COMMIT")?;
            stage.one_holds(&[])?;
            gives(&mut stage.two, left, "32shared 33shared")?;

            // And without a word from a trigger they go, in a transaction or not.
            run(&mut stage.one, "DROP TRIGGER act ON caliber_lock; BEGIN")?;
            acquired(&mut stage.one, 'a', &format!("id => '@1', {level}"))?;
            gives(&mut stage.one, left, "31exclusive")?;
            run(&mut stage.one, "ROLLBACK")?;
            stage.one_holds(&[])?;
            gives(&mut stage.two, left, "32shared 33shared")?;
        }
        run(&mut stage.two, "DELETE FROM caliber_lock")
    })
}

fn swept_by_a_trigger_too(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for n in 1..4 {
            let agent = ["@a", "@b", "@c"][n - 1];
            run(
                &mut stage.two,
                &format!("SELECT caliber_lock_acquire('{agent}', 'file', '@r', 1, 'shared', id => '@{n}')"),
            )?;
        }
        run(&mut stage.two, "SELECT pg_sleep(0.01)")?;
        function(
            stage,
            "UPDATE caliber_lock SET acquired_at = now() WHERE lock_id <> OLD.lock_id; RETURN OLD;",
        )?;
        trigger(stage, "BEFORE DELETE")?;
        let plain = refused(&mut stage.one, "DELETE FROM caliber_lock", "27000")?;
        for call in [
            "SELECT caliber_lock_purge_expired()",
            "SELECT caliber_lock_acquire('@a', 'file', '@r')",
        ] {
            let error = refused(&mut stage.one, call, "27000")?;
            ensure!(
                error.message == plain.message && error.hint == plain.hint,
                "{error}"
            );
        }
        stage.one_holds(&[])?;
        ensure!(stage.rows()? == "3", "a row went");
        drop_trigger(stage)
    })
}
