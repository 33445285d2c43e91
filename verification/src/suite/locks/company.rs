//! Users' code that acquires the very resource whose lock is being written.

use super::triggers::{drop_trigger, function, trigger};
use super::{acquired, fill, for_each, gives, refused, run, Stage};
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Result};

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::acquired_by_a_trigger",
            "a trigger gets no lock that the one being written excludes, nor the agent a second",
            acquired_by_a_trigger,
        ),
        Test::new(
            "locks::acquired_by_other_code",
            "nor do a CHECK's function and the triggers of a key that refers to a swept row",
            acquired_by_other_code,
        ),
        Test::new(
            "locks::tolerated",
            "a lock that was there before stands in nobody's way because of a trigger",
            tolerated,
        ),
    ]
}

/// A trigger that acquires the same resource while a lock of agent a is written: for
/// itself (b), or for the agent once more.
fn acquired_by_a_trigger(context: &Context) -> Result<Outcome> {
    let levels = ["lease", "session", "transaction"];
    for_each(context, |stage| {
        // Who acquires how, beside a lock of this mode, and what is said of it.
        let cases = [
            ("@b", "shared", "exclusive", "55000"),
            ("@b", "exclusive", "shared", "55000"),
            // Of two exclusive rows the table's own key speaks first.
            ("@b", "exclusive", "exclusive", "23505"),
            ("@b", "shared", "shared", ""),
            ("@a", "shared", "shared", "55000"),
        ];
        for (agent, inner, mode, sqlstate) in cases {
            for level in levels {
                function(
                    stage,
                    &format!(
                        "IF pg_trigger_depth() = 1 THEN
                            PERFORM caliber_lock_acquire('{agent}', 'file', '@r', mode => '{inner}', level => 'transaction', id => '@2');
                        END IF; RETURN NEW;"
                    ),
                )?;
                trigger(stage, "BEFORE INSERT")?;
                let how = format!("mode => '{mode}', level => '{level}', id => '@1'");
                let call = format!("SELECT caliber_lock_acquire('@a', 'file', '@r', {how})");
                run(&mut stage.one, "BEGIN; SAVEPOINT s")?;
                if sqlstate.is_empty() {
                    acquired(&mut stage.one, 'a', &how)?;
                    gives(&mut stage.one, "SELECT count(*) FROM caliber_lock", "2")?;
                } else {
                    let error = refused(&mut stage.one, &call, sqlstate)?;
                    let message =
                        fill("lock @2 was acquired while lock @1, which excludes it, was written");
                    ensure!(sqlstate == "23505" || error.message == message, "{error}");
                }
                run(&mut stage.one, "ROLLBACK TO s; COMMIT")?;
                stage.one_holds(&[])?;
                ensure!(stage.rows()? == "0", "a row is left");
            }
        }
        // While a shared lock becomes an exclusive one.
        for level in levels {
            function(
                stage,
                "PERFORM caliber_lock_acquire('@b', 'file', '@r', mode => 'shared', id => '@2'); RETURN NEW;",
            )?;
            trigger(stage, "BEFORE UPDATE")?;
            run(&mut stage.one, "BEGIN")?;
            let how = format!("level => '{level}', mode => 'shared', id => '@1'");
            acquired(&mut stage.one, 'a', &how)?;
            run(&mut stage.one, "SAVEPOINT s")?;
            let call =
                format!("SELECT caliber_lock_acquire('@a', 'file', '@r', level => '{level}')");
            refused(&mut stage.one, &call, "55000")?;
            run(&mut stage.one, "ROLLBACK TO s")?;
            gives(
                &mut stage.one,
                "SELECT string_agg(mode, ' ') FROM caliber_lock",
                "shared",
            )?;
            run(&mut stage.one, "ROLLBACK")?;
            stage.one_holds(&[])?;
        }
        // After the row, a trigger sees that the resource is taken.
        function(
            stage,
            "IF caliber_lock_acquire('@b', 'file', '@r') IS NOT NULL THEN RAISE 'two'; END IF; RETURN NULL;",
        )?;
        trigger(stage, "AFTER INSERT")?;
        acquired(&mut stage.one, 'a', "")?;
        drop_trigger(stage)
    })
}

/// Calls that end with a lock beside another's are refused, and leave nothing.
fn refused_whole(stage: &mut Stage) -> Result<()> {
    run(&mut stage.one, "BEGIN; SAVEPOINT s")?;
    let call = "SELECT caliber_lock_acquire('@a', 'file', '@r', id => '@1')";
    let error = refused(&mut stage.one, call, "55000")?;
    let message = fill("lock @2 was acquired while lock @1, which excludes it, was written");
    ensure!(error.message == message, "{error}");
    run(&mut stage.one, "ROLLBACK TO s; COMMIT")?;
    stage.one_holds(&[])
}

fn acquired_by_other_code(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        // A CHECK: true, and not idle.
        run(
            &mut stage.two,
            "CREATE FUNCTION take(id uuid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
                IF id = '@1' THEN PERFORM caliber_lock_acquire('@b', 'file', '@r', mode => 'shared', id => '@2'); END IF;
                RETURN true; END $$;
             ALTER TABLE caliber_lock ADD CONSTRAINT own CHECK (take(lock_id))",
        )?;
        refused_whole(stage)?;
        ensure!(stage.rows()? == "0", "a row is left");
        run(
            &mut stage.two,
            "ALTER TABLE caliber_lock DROP CONSTRAINT own",
        )?;

        // The dead row in the way takes with it a row that has a trigger.
        function(
            stage,
            "PERFORM caliber_lock_acquire('@b', 'file', '@r', mode => 'shared', id => '@2'); RETURN OLD;",
        )?;
        run(
            &mut stage.two,
            "CREATE TABLE job (lock_id uuid REFERENCES caliber_lock ON DELETE CASCADE);
             CREATE TRIGGER act BEFORE DELETE ON job FOR EACH ROW EXECUTE FUNCTION act();
             SELECT caliber_lock_acquire('@b', 'file', '@r', 1, id => '@3');
             INSERT INTO job VALUES ('@3');
             SELECT pg_sleep(0.01)",
        )?;
        refused_whole(stage)?;
        gives(&mut stage.two, "SELECT lock_id FROM job", "@3")?;
        run(&mut stage.two, "DROP TABLE job; DELETE FROM caliber_lock")
    })
}

/// The agent has a lease too, by another session; a trigger only looks on.
fn tolerated(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        function(
            stage,
            "PERFORM caliber_lock_acquire('@b', 'file', '@s', 1000, 'shared'); RETURN NEW;",
        )?;
        trigger(stage, "AFTER UPDATE")?;
        for level in ["session", "transaction"] {
            run(&mut stage.one, "BEGIN")?;
            let how = format!("mode => 'shared', level => '{level}', id => '@1'");
            acquired(&mut stage.one, 'a', &how)?;
            run(
                &mut stage.two,
                "INSERT INTO caliber_lock (lock_id, resource_type, resource_id, holder_agent_id, acquired_at, expires_at, mode, level, backend_pid)
                 VALUES ('@2', 'file', '@r', '@a', now(), now() + '1 hour', 'shared', 'lease', 0)",
            )?;
            let id = acquired(&mut stage.one, 'a', &format!("level => '{level}'"))?;
            ensure!(id == fill("@1"), "{level}: {id}");
            run(&mut stage.one, "ROLLBACK")?;
            run(&mut stage.two, "DELETE FROM caliber_lock")?;
        }
        drop_trigger(stage)
    })
}
