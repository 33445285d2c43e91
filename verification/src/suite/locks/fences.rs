//! The fence around a write, the rows of level transaction, and row policies.

use super::{acquired, busy, fill, for_each, gives, refused, run, shown, value};
use crate::isolation::{run as play, Options, Script};
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use anyhow::{ensure, Context as _, Result};
use std::time::Duration;

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::fence",
            "an asserted lock stays until the transaction ends, released or expired",
            fence,
        ),
        Test::new(
            "locks::transaction_rows",
            "rows of level transaction are gone at commit, whatever was done to them",
            transaction_rows,
        ),
        Test::new(
            "locks::policies_of_the_owner",
            "what acquire reads without policies changes nothing for other calls of the session, nor they for it",
            policies_of_the_owner,
        ).with_takeovers(),
        Test::new(
            "locks::policies",
            "hidden rows exclude, and are neither swept nor renewed",
            policies,
        ).with_takeovers(),
    ]
}

fn fence(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        let setup = desk::setup(stage.engine);
        let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
        run(&mut stage.one, "DELETE FROM caliber_lock")?;
        acquired(&mut stage.one, 'a', "id => '@1'")?;
        let script = Script::new(2, &setup)
            .step(0, &fill("BEGIN; SELECT caliber_lock_assert('@1')"))
            .step(1, &fill("SELECT caliber_lock_release('@1')"))
            .step(0, "COMMIT")
            .step(0, &fill("SELECT caliber_lock_assert('@1')"));
        let told = play(&stage.desk.database.target, &script, Options::default())?;
        ensure!(
            told.answer(0).and_then(|a| a.value()) == Some("t") && told.waited(1),
            "{told}"
        );
        ensure!(
            told.answer(1).and_then(|a| a.value()) == Some("t"),
            "{told}"
        );
        ensure!(
            told.answer(3).and_then(|a| a.sqlstate()) == Some("55000"),
            "{told}"
        );

        // Asserted while an extension is under way: what becomes the row then is
        // held too, at each isolation level.
        for isolation in Isolation::ALL {
            run(&mut stage.one, "DELETE FROM caliber_lock")?;
            acquired(&mut stage.one, 'a', "id => '@1'")?;
            let begin = format!(
                "BEGIN ISOLATION LEVEL {}; SELECT caliber_lock_assert('@1')",
                isolation.sql()
            );
            let script = Script::new(3, &setup)
                .step(0, &fill("BEGIN; SELECT caliber_lock_extend('@1', 1000)"))
                .step(1, &fill(&begin))
                .step(0, "COMMIT")
                .step(2, &fill("SELECT caliber_lock_release('@1')"))
                .step(1, "COMMIT");
            let told = play(&stage.desk.database.target, &script, Options::default())?;
            ensure!(!told.waited(1) && told.waited(3), "{told}");
        }
        run(&mut stage.one, "DELETE FROM caliber_lock")?;

        // An expired lease that somebody asserted is not swept meanwhile, but
        // it may be extended, and others may assert it.
        acquired(&mut stage.one, 'a', "timeout_ms => 100, id => '@1'")?;
        run(&mut stage.one, "BEGIN")?;
        gives(&mut stage.one, "SELECT caliber_lock_assert('@1')", "t")?;
        gives(&mut stage.two, "SELECT caliber_lock_assert('@1')", "t")?;
        std::thread::sleep(Duration::from_millis(105));
        busy(&mut stage.two, 'b', "")?;
        gives(&mut stage.two, "SELECT caliber_lock_purge_expired()", "0")?;
        let error = refused(&mut stage.two, "SELECT caliber_lock_assert('@1')", "55000")?;
        ensure!(error.message.ends_with("is not held"), "{error}");
        run(&mut stage.one, "COMMIT")?;
        acquired(&mut stage.two, 'b', "id => '@2'")?;
        refused(&mut stage.one, "SELECT caliber_lock_assert('@1')", "55000")?;
        run(&mut stage.one, "BEGIN")?;
        gives(&mut stage.one, "SELECT caliber_lock_assert('@2')", "t")?;
        gives(
            &mut stage.two,
            "SELECT caliber_lock_extend('@2', 1000)",
            "t",
        )?;
        run(&mut stage.one, "COMMIT")?;

        // Locks of other levels, and of another session.
        run(&mut stage.one, "DELETE FROM caliber_lock")?;
        acquired(&mut stage.one, 'a', "level => 'session', id => '@3'")?;
        gives(&mut stage.two, "SELECT caliber_lock_assert('@3')", "t")?;
        run(&mut stage.one, "SELECT caliber_lock_release('@3')")?;
        run(&mut stage.one, "BEGIN")?;
        acquired(&mut stage.one, 'a', "level => 'transaction', id => '@4'")?;
        gives(&mut stage.one, "SELECT caliber_lock_assert('@4')", "t")?;
        refused(&mut stage.two, "SELECT caliber_lock_assert('@4')", "55000")?;
        run(&mut stage.one, "COMMIT")
    })
}

const NOTES: &str = "
    CREATE TABLE fired (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO fired VALUES (TG_OP || ' ' || TG_WHEN || ' ' || TG_LEVEL); RETURN coalesce(NEW, OLD); END $$;
    CREATE TRIGGER a BEFORE INSERT OR DELETE ON caliber_lock FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER b AFTER DELETE ON caliber_lock FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER c AFTER DELETE ON caliber_lock FOR EACH STATEMENT EXECUTE FUNCTION note();
    CREATE CONSTRAINT TRIGGER d AFTER DELETE ON caliber_lock DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()";

fn transaction_rows(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        let level = "level => 'transaction', id => '@1'";
        let meanwhile = [
            "",
            "SAVEPOINT s; UPDATE caliber_lock SET mode = 'shared' WHERE lock_id = '@1'; RELEASE s",
            "UPDATE caliber_lock SET expires_at = now() WHERE lock_id = '@1'",
            "CLUSTER caliber_lock USING caliber_lock_pkey",
            "DELETE FROM caliber_lock",
            "TRUNCATE caliber_lock",
            "SELECT caliber_lock_acquire('@a', 'file', '@s', level => 'transaction')",
            "SAVEPOINT s; SELECT caliber_lock_release('@1'); ROLLBACK TO s",
            "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM caliber_lock",
            "SET TRANSACTION READ ONLY",
        ];
        for work in meanwhile {
            run(&mut stage.one, "BEGIN")?;
            acquired(&mut stage.one, 'a', level)?;
            run(&mut stage.one, work).with_context(|| work.to_owned())?;
            run(&mut stage.one, "COMMIT").with_context(|| work.to_owned())?;
            ensure!(stage.rows()? == "0", "{work}: a row is left");
            stage.one_holds(&[])?;
        }
        run(&mut stage.one, "CLOSE ALL")?;
        // Only the transaction itself sees it.
        run(&mut stage.one, "BEGIN")?;
        acquired(&mut stage.one, 'a', level)?;
        ensure!(
            shown(&mut stage.one)?.len() == 1,
            "not shown to its own transaction"
        );
        ensure!(stage.shown()?.is_empty(), "shown to others");
        run(&mut stage.one, "ROLLBACK")?;
        // Rows that SQL wrote in this transaction are this transaction's.
        run(
            &mut stage.one,
            "BEGIN; INSERT INTO caliber_lock VALUES
            ('@3', 'file', '@r', '@b', now(), 'infinity', 'exclusive', 'transaction', 1)",
        )?;
        ensure!(
            shown(&mut stage.one)?.len() == 1,
            "not shown to its own transaction"
        );
        busy(&mut stage.one, 'a', "")?;
        run(&mut stage.one, "ROLLBACK")?;

        // Users' triggers fire for the insert, not for the removal.
        run(&mut stage.one, NOTES)?;
        acquired(&mut stage.one, 'a', level)?;
        gives(
            &mut stage.one,
            "SELECT string_agg(what, ', ') FROM fired",
            "INSERT BEFORE ROW",
        )?;
        ensure!(stage.rows()? == "0", "a row is left");

        // A key of a user's table that still refers to the row is checked.
        for deferred in ["", "DEFERRABLE INITIALLY DEFERRED"] {
            run(
                &mut stage.one,
                &format!("CREATE TABLE mine (lock_id uuid REFERENCES caliber_lock {deferred})"),
            )?;
            run(&mut stage.one, "BEGIN")?;
            acquired(&mut stage.one, 'a', level)?;
            run(&mut stage.one, "INSERT INTO mine VALUES ('@1')")?;
            let error = refused(&mut stage.one, "COMMIT", "23503")?;
            ensure!(
                error.constraint.as_deref() == Some("mine_lock_id_fkey"),
                "{error}"
            );
            stage.one_holds(&[])?;
            ensure!(stage.rows()? == "0", "a row is left");
            run(&mut stage.one, "DROP TABLE mine")?;
        }
        run(
            &mut stage.one,
            "CREATE TABLE mine (lock_id uuid REFERENCES caliber_lock ON DELETE CASCADE)",
        )?;
        run(&mut stage.one, "BEGIN")?;
        acquired(&mut stage.one, 'a', level)?;
        // The key is checked; its action would be somebody's code at the end of the
        // transaction.
        run(&mut stage.one, "INSERT INTO mine VALUES ('@1')")?;
        refused(&mut stage.one, "COMMIT", "23503")?;
        ensure!(stage.rows()? == "0", "a row is left");
        run(&mut stage.one, "DROP TABLE mine")?;

        // Without the index that finds it the row stays, and is dead.
        run(&mut stage.one, "BEGIN")?;
        acquired(&mut stage.one, 'a', level)?;
        run(
            &mut stage.one,
            "ALTER TABLE caliber_lock DROP CONSTRAINT caliber_lock_pkey; COMMIT",
        )?;
        ensure!(stage.rows()? == "1", "the row is gone");
        run(
            &mut stage.one,
            "ALTER TABLE caliber_lock ADD PRIMARY KEY (lock_id)",
        )?;
        ensure!(stage.shown()?.is_empty(), "a dead row is shown");
        gives(&mut stage.one, "SELECT caliber_lock_purge_expired()", "1")?;
        // A table that is gone by then.
        run(&mut stage.one, "BEGIN")?;
        acquired(&mut stage.one, 'a', level)?;
        run(&mut stage.one, "DROP TABLE caliber_lock; COMMIT")
    })
}

const POLICIES: &str = "
    DO $$ BEGIN CREATE ROLE verify_locker; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO verify_locker;
    ALTER TABLE caliber_lock ENABLE ROW LEVEL SECURITY;
    CREATE POLICY mine ON caliber_lock USING (holder_agent_id <> '@c') WITH CHECK (holder_agent_id <> '@c')";

fn policies(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        run(&mut stage.two, POLICIES)?;
        run(&mut stage.one, "SET ROLE verify_locker")?;
        let taken = "SELECT value FROM caliber_counters() WHERE name = 'takeover.row_security'";
        let before = value(&mut stage.one, taken)?;
        // Hidden and alive: busy, and nothing but that is given away.
        for level in ["lease", "session"] {
            let id = acquired(
                &mut stage.two,
                'c',
                &format!("level => '{level}', mode => 'shared'"),
            )?;
            busy(&mut stage.one, 'a', "")?;
            ensure!(shown(&mut stage.one)?.is_empty(), "a hidden row is shown");
            gives(
                &mut stage.one,
                &format!("SELECT caliber_lock_release('{id}')"),
                "f",
            )?;
            gives(
                &mut stage.one,
                &format!("SELECT caliber_lock_extend('{id}', 1)"),
                "f",
            )?;
            refused(
                &mut stage.one,
                &format!("SELECT caliber_lock_assert('{id}')"),
                "55000",
            )?;
            acquired(&mut stage.one, 'a', "mode => 'shared'")?;
            run(
                &mut stage.one,
                "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
            )?;
            run(
                &mut stage.two,
                "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
            )?;
        }
        // Hidden and dead counts as alive; only who sees it may sweep it.
        acquired(&mut stage.two, 'c', "timeout_ms => 1")?;
        std::thread::sleep(Duration::from_millis(5));
        busy(&mut stage.one, 'a', "")?;
        gives(&mut stage.one, "SELECT caliber_lock_purge_expired()", "0")?;
        gives(&mut stage.two, "SELECT caliber_lock_purge_expired()", "1")?;
        let id = acquired(&mut stage.one, 'a', "")?;
        gives(
            &mut stage.one,
            &format!("SELECT caliber_lock_extend('{id}', 1000)"),
            "t",
        )?;
        gives(
            &mut stage.one,
            &format!("SELECT caliber_lock_assert('{id}')"),
            "t",
        )?;
        run(
            &mut stage.one,
            "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
        )?;
        // Its own, hidden: neither renewed nor written beside.
        acquired(&mut stage.two, 'c', "mode => 'shared'")?;
        busy(&mut stage.one, 'c', "mode => 'shared'")?;
        busy(&mut stage.one, 'c', "mode => 'shared', level => 'session'")?;
        run(&mut stage.two, "DELETE FROM caliber_lock")?;
        // What it may not write is refused as SQL refuses it.
        refused(
            &mut stage.one,
            "SELECT caliber_lock_acquire('@c', 'file', '@r')",
            "42501",
        )?;
        run(&mut stage.one, "SET row_security = off")?;
        refused(
            &mut stage.one,
            "SELECT caliber_lock_acquire('@a', 'file', '@r')",
            "42501",
        )?;
        run(&mut stage.one, "RESET row_security")?;
        // The owner is exempt from nothing under FORCE, but for this reading.
        run(
            &mut stage.two,
            "ALTER TABLE caliber_lock FORCE ROW LEVEL SECURITY; ALTER TABLE caliber_lock OWNER TO verify_locker",
        )?;
        acquired(&mut stage.two, 'c', "mode => 'shared'")?;
        busy(&mut stage.one, 'a', "")?;
        if stage.engine == crate::judge::Engine::Heap {
            let after = value(&mut stage.one, taken)?;
            ensure!(after != before, "no takeover was counted");
        }
        // A session lock under policies holds what it must.
        run(&mut stage.two, "DELETE FROM caliber_lock")?;
        run(&mut stage.one, "SAVEPOINT s")
            .err()
            .context("no transaction is running")?;
        acquired(&mut stage.one, 'a', "level => 'session', id => '@1'")?;
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
        stage.one_holds(&[])?;
        acquired(&mut stage.one, 'a', "level => 'transaction'")?;
        ensure!(stage.rows()? == "0", "a row is left");
        Ok(())
    })
}

/// The owner of the table under FORCE ROW LEVEL SECURITY: the protocol reads as the
/// owner without policies, the owner's own calls read with them, in either order.
fn policies_of_the_owner(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        run(&mut stage.two, POLICIES)?;
        run(
            &mut stage.two,
            "ALTER TABLE caliber_lock FORCE ROW LEVEL SECURITY; ALTER TABLE caliber_lock OWNER TO verify_locker",
        )?;
        acquired(&mut stage.two, 'c', "mode => 'shared', id => '@1'")?;
        let hidden = "SELECT count(*) FROM caliber_lock_list_by_resource('file', '@r')";
        let get = "SELECT caliber_lock_get('@1') IS NULL";

        // Policies first.
        run(&mut stage.one, "SET ROLE verify_locker")?;
        gives(&mut stage.one, hidden, "0")?;
        gives(&mut stage.one, get, "t")?;
        busy(&mut stage.one, 'a', "")?;

        // None first, in a session that has no plans yet.
        let mut other = stage.desk.another()?;
        run(&mut other, "SET ROLE verify_locker")?;
        busy(&mut other, 'a', "")?;
        run(
            &mut other,
            "SELECT caliber_lock_acquire('@a', 'file', '@s', id => '@2')",
        )?;
        gives(&mut other, "SELECT caliber_lock_release('@2')", "t")?;
        gives(&mut other, hidden, "0")?;
        gives(&mut other, get, "t")
    })
}
