//! How sessions and statements end: disconnect, terminate, timeout, DISCARD
//! ALL, PREPARE TRANSACTION, transactions inside procedures.

use super::{acquire, acquired, busy, fill, for_each, gives, refused, run, Stage};
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Result};
use std::time::{Duration, Instant};

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::connection_lost",
            "a session lock is free as soon as its connection ends, however it ends",
            lost,
        ),
        Test::new(
            "locks::statement_timeout",
            "a statement that is cancelled while it waits leaves no lock behind",
            timeout,
        ),
        Test::new(
            "locks::discard_all",
            "DISCARD ALL and pg_advisory_unlock_all() free session locks; nothing is given back twice",
            discard,
        ),
        Test::new(
            "locks::prepare",
            "a transaction with a session or transaction lock cannot be prepared, one with a lease can",
            prepare,
        ),
        Test::new(
            "locks::procedures",
            "transactions that a procedure commits end locks as others do",
            procedures,
        ),
    ]
}

/// Waits until the backend is gone.
fn gone(look: &mut Session, pid: i32) -> Result<()> {
    let started = Instant::now();
    let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    while look.value(&alive)?.as_deref() != Some("0") {
        ensure!(
            started.elapsed() < Duration::from_secs(10),
            "backend {pid} does not end"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn lost(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        // How it ends, and whether a transaction that took a lock is running.
        for (terminated, running) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut session = stage.desk.another()?;
            let pid = session.pid()?;
            if running {
                run(&mut session, "BEGIN")?;
            }
            acquired(&mut session, 'a', "level => 'session'")?;
            if running {
                // In the middle of giving back, too.
                run(
                    &mut session,
                    "SAVEPOINT s; SELECT caliber_lock_release(lock_id) FROM caliber_lock",
                )?;
            } else {
                ensure!(stage.shown()?.len() == 1, "the lock is not shown");
            }
            busy(&mut stage.two, 'b', "")?;
            busy(&mut stage.two, 'a', "level => 'session'")?;
            if terminated {
                stage
                    .look()
                    .batch(&format!("SELECT pg_terminate_backend({pid})"))?;
            }
            drop(session);
            gone(stage.look(), pid)?;
            ensure!(stage.advisory(pid)?.is_empty(), "advisory locks are left");
            ensure!(stage.shown()?.is_empty(), "a dead lock is shown");
            let left = if running { "0" } else { "1" };
            ensure!(stage.rows()? == left, "not {left} rows");
            gives(
                &mut stage.two,
                "SELECT count(*) FROM caliber_lock_list_by_agent('@a')",
                "0",
            )?;
            acquired(&mut stage.two, 'b', "")?;
            ensure!(stage.rows()? == "1", "the dead row was not swept");
            run(&mut stage.two, "DELETE FROM caliber_lock")?;
        }
        Ok(())
    })
}

fn timeout(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        // A row that SQL wrote, which no advisory lock tells of.
        run(
            &mut stage.two,
            "BEGIN; INSERT INTO caliber_lock VALUES
            ('@9', 'file', '@r', '@b', now(), 'infinity', 'exclusive', 'lease', 1)",
        )?;
        for level in ["lease", "session", "transaction"] {
            for savepoint in [true, false] {
                let begin = if savepoint {
                    "BEGIN; SAVEPOINT s"
                } else {
                    "BEGIN"
                };
                run(&mut stage.one, begin)?;
                run(&mut stage.one, "SET LOCAL statement_timeout = '50ms'")?;
                refused(
                    &mut stage.one,
                    &format!("SELECT caliber_lock_acquire('@a', 'file', '@r', level => '{level}')"),
                    "57014",
                )?;
                let end = if savepoint {
                    "ROLLBACK TO s; COMMIT"
                } else {
                    "COMMIT"
                };
                run(&mut stage.one, end)?;
                stage.one_holds(&[])?;
            }
        }
        run(&mut stage.two, "ROLLBACK")?;
        acquired(&mut stage.one, 'a', "level => 'session'")?;
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])
    })
}

fn discard(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        let setting = format!("SET caliber.engine = {}", stage.engine.name());
        for freed in ["DISCARD ALL", "SELECT pg_advisory_unlock_all()"] {
            let id = acquired(&mut stage.one, 'a', "level => 'session', id => '@1'")?;
            run(&mut stage.one, freed)?;
            run(&mut stage.one, &setting)?;
            stage.one_holds(&[])?;
            ensure!(stage.shown()?.is_empty(), "a freed lock is shown");
            refused(&mut stage.one, "SELECT caliber_lock_assert('@1')", "55000")?;
            // Dead for its own session, too; and released by anybody.
            gives(
                &mut stage.two,
                &format!("SELECT caliber_lock_release('{id}')"),
                "t",
            )?;
            acquired(&mut stage.one, 'a', "level => 'session', id => '@1'")?;
            stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])?;
            gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
            stage.one_holds(&[])?;
        }
        // A lock of the user's on the same key, taken since, is not given back.
        for end in ["COMMIT", "ROLLBACK"] {
            run(&mut stage.one, "DELETE FROM caliber_lock")?;
            acquired(&mut stage.one, 'a', "level => 'session', id => '@1'")?;
            run(
                &mut stage.one,
                "BEGIN; SELECT caliber_lock_release('@1'); SELECT pg_advisory_unlock_all();
                SELECT pg_advisory_lock(caliber_lock_key('file', '@r'))",
            )?;
            run(&mut stage.one, end)?;
            stage.one_holds(&["1 ExclusiveLock"])?;
            busy(&mut stage.two, 'b', "")?;
            run(&mut stage.one, "SELECT pg_advisory_unlock_all()")?;
        }
        // Freed in the middle of the transaction that took it.
        for end in ["COMMIT", "ROLLBACK"] {
            run(&mut stage.one, "DELETE FROM caliber_lock")?;
            run(&mut stage.one, "BEGIN")?;
            acquired(&mut stage.one, 'a', "level => 'session', id => '@1'")?;
            run(&mut stage.one, "SELECT pg_advisory_unlock_all()")?;
            run(&mut stage.one, end)?;
            stage.one_holds(&[])?;
            ensure!(stage.shown()?.is_empty(), "a freed lock is shown");
            acquired(&mut stage.two, 'b', "timeout_ms => 1")?;
        }
        // A user who frees one key makes row and advisory lock disagree: that
        // is documented, the row stays alive by its own tag.
        run(&mut stage.one, "DELETE FROM caliber_lock")?;
        acquired(&mut stage.one, 'a', "level => 'session', id => '@1'")?;
        run(
            &mut stage.one,
            "SELECT pg_advisory_unlock(caliber_lock_key('file', '@r'))",
        )?;
        stage.one_holds(&["3 ExclusiveLock"])?;
        busy(&mut stage.two, 'b', "")?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
        stage.one_holds(&[])?;
        acquired(&mut stage.two, 'b', "").map(drop)
    })
}

fn prepare(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        let cannot = |stage: &mut Stage, work: &str| -> Result<()> {
            run(&mut stage.one, &format!("BEGIN; {work}"))?;
            let error = refused(&mut stage.one, "PREPARE TRANSACTION 'locks'", "0A000")?;
            ensure!(
                error
                    .message
                    .starts_with("cannot PREPARE a transaction that has acquired or released"),
                "{error}"
            );
            run(&mut stage.one, "ROLLBACK")
        };
        let acquire_of = |level: &str| {
            format!(
                "SELECT caliber_lock_acquire('@a', 'file', '@r', level => '{level}', id => '@1')"
            )
        };
        for level in ["session", "transaction"] {
            cannot(stage, &acquire_of(level))?;
            cannot(
                stage,
                &format!("SAVEPOINT s; {}; RELEASE s", acquire_of(level)),
            )?;
            // Released again is acquired all the same.
            cannot(
                stage,
                &format!("{}; SELECT caliber_lock_release('@1')", acquire_of(level)),
            )?;
            stage.one_holds(&[])?;
            ensure!(stage.rows()? == "0", "a row is left");
            // Undone is not acquired.
            run(
                &mut stage.one,
                &format!(
                    "BEGIN; SAVEPOINT s; {}; ROLLBACK TO s; PREPARE TRANSACTION 'locks'",
                    acquire_of(level)
                ),
            )?;
            run(&mut stage.one, "ROLLBACK PREPARED 'locks'")?;
            stage.one_holds(&[])?;
        }
        run(&mut stage.one, &acquire_of("session"))?;
        cannot(stage, "SELECT caliber_lock_release('@1')")?;
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])?;
        ensure!(stage.shown()?.len() == 1, "the lock is gone");
        // What the session holds from before is none of the transaction's.
        run(
            &mut stage.one,
            "BEGIN; SELECT caliber_lock_get('@1'); PREPARE TRANSACTION 'locks'",
        )?;
        run(&mut stage.one, "COMMIT PREPARED 'locks'")?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
        stage.one_holds(&[])?;

        // A lease: busy while prepared, whoever ends it.
        for (end, free) in [("COMMIT", false), ("ROLLBACK", true)] {
            run(
                &mut stage.one,
                &format!(
                    "BEGIN; {}; PREPARE TRANSACTION 'locks'",
                    acquire_of("lease")
                ),
            )?;
            stage.one_holds(&[])?;
            busy(&mut stage.two, 'b', "")?;
            busy(&mut stage.one, 'a', "")?;
            run(&mut stage.two, &format!("{end} PREPARED 'locks'"))?;
            ensure!(
                acquire(&mut stage.two, 'b', "timeout_ms => 1")?.is_some() == free,
                "after {end}"
            );
            run(&mut stage.one, "DELETE FROM caliber_lock")?;
        }
        // Nothing of it is left for the next transaction.
        acquired(&mut stage.one, 'a', "level => 'session', id => '@2'")?;
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])
    })
}

const PROCEDURE: &str = "CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
BEGIN
    PERFORM caliber_lock_acquire('@a', 'file', '@r', level => 'transaction', id => '@1');
    COMMIT;
    IF EXISTS (SELECT FROM caliber_lock) THEN RAISE 'a row of level transaction is left'; END IF;
    PERFORM caliber_lock_acquire('@a', 'file', '@r', level => 'session', id => '@2');
    ROLLBACK;
    PERFORM caliber_lock_acquire('@a', 'file', '@r', level => 'session', id => '@3');
    COMMIT;
    PERFORM caliber_lock_release('@3');
    ROLLBACK;
END $$";

fn procedures(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        run(&mut stage.one, PROCEDURE)?;
        stage.one.batch("CALL work()")?;
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])?;
        let shown = stage.shown()?;
        let wanted = format!("{} exclusive session", &fill("@3")[34..]);
        ensure!(shown == [wanted.clone()], "{shown:?}, not {wanted}");
        Ok(())
    })
}
