//! Rows: the dead ones, who sweeps them, leases that are extended meanwhile,
//! releases that are not committed yet.

use super::{acquire, acquired, busy, fill, for_each, gives, refused, run, shown, value, Stage};
use crate::isolation::{run as play, Options, Script};
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use crate::suite::desk;
use anyhow::{ensure, Context as _, Result};
use std::time::Duration;

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::dead_rows",
            "dead rows of each level are not shown, are no obstacle, and are purged",
            dead_rows,
        ),
        Test::new(
            "locks::two_sweeps",
            "two sessions sweep at once: nobody waits, nothing is swept twice",
            two_sweeps,
        ),
        Test::new(
            "locks::extend",
            "an extension that races with a sweep: exclusion holds",
            extend,
        ),
        Test::new(
            "locks::extend_waits",
            "an extension waits for a sweep, and then says what became of the lease",
            extend_waits,
        ),
        Test::new(
            "locks::wall_clock",
            "leases end by the wall clock, also inside a transaction",
            wall_clock,
        ),
        Test::new(
            "locks::release_pending",
            "until a release commits the lock is held, for everybody",
            release_pending,
        ),
    ]
}

/// Longer than the leases of one millisecond that the tests take.
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// An expired lease, a session row of a lost connection, a transaction row that
/// is left; and a lease that is alive.
fn leave_dead(stage: &mut Stage) -> Result<()> {
    acquired(
        &mut stage.two,
        'b',
        "timeout_ms => 1, mode => 'shared', id => '@1'",
    )?;
    let mut lost = stage.desk.another()?;
    acquired(
        &mut lost,
        'b',
        "level => 'session', mode => 'shared', id => '@2'",
    )?;
    let pid = lost.pid()?;
    drop(lost);
    run(
        &mut stage.two,
        "INSERT INTO caliber_lock VALUES
        ('@3', 'file', '@r', '@b', now(), 'infinity', 'shared', 'transaction', 1);
        SELECT caliber_lock_acquire('@b', 'file', '@s', id => '@4')",
    )?;
    let gone = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid}");
    while value(stage.look(), &gone)? != "0" {
        pause();
    }
    pause();
    Ok(())
}

fn dead_rows(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for level in ["lease", "session", "transaction"] {
            leave_dead(stage)?;
            ensure!(stage.shown()?.is_empty(), "dead rows are shown");
            gives(
                &mut stage.one,
                "SELECT string_agg(right(lock_id::text, 2), ' ') FROM caliber_lock_list_by_agent('@b')",
                "34",
            )?;
            gives(
                &mut stage.one,
                "SELECT (caliber_lock_get('@1')).mode",
                "shared",
            )?;
            for lock in ["@1", "@2", "@3"] {
                refused(
                    &mut stage.one,
                    &format!("SELECT caliber_lock_assert('{lock}')"),
                    "55000",
                )?;
            }
            // Shared beside dead shared rows: they are not in the way, and stay.
            let id = acquired(
                &mut stage.one,
                'a',
                &format!("level => '{level}', mode => 'shared'"),
            )?;
            let left = if level == "transaction" { "4" } else { "5" };
            ensure!(stage.rows()? == left, "not {left} rows");
            // Exclusive: they go.
            let same = acquired(&mut stage.one, 'a', &format!("level => '{level}'"))?;
            ensure!(level == "transaction" || same == id, "another lock");
            let left = if level == "transaction" { "1" } else { "2" };
            ensure!(stage.rows()? == left, "not {left} rows are left");
            run(&mut stage.one, "SELECT caliber_lock_release(lock_id) FROM caliber_lock WHERE holder_agent_id = '@a'")?;
            run(&mut stage.one, "DELETE FROM caliber_lock")?;
        }
        leave_dead(stage)?;
        refused(&mut stage.one, "SELECT caliber_agent_delete('@b')", "23503")?;
        let before = value(
            &mut stage.one,
            "SELECT value FROM caliber_counters() WHERE name = 'path.lock_swept'",
        )?;
        gives(&mut stage.one, "SELECT caliber_lock_purge_expired()", "3")?;
        gives(
            &mut stage.one,
            &format!(
                "SELECT value - {before} FROM caliber_counters() WHERE name = 'path.lock_swept'"
            ),
            "3",
        )?;
        gives(&mut stage.one, "SELECT caliber_lock_purge_expired()", "0")?;
        gives(
            &mut stage.one,
            "SELECT string_agg(right(lock_id::text, 2), ' ') FROM caliber_lock",
            "34",
        )?;
        // A dead exclusive row makes way for a shared lock, too; of one's own
        // agent as well, with the same id.
        run(&mut stage.one, "DELETE FROM caliber_lock")?;
        acquired(&mut stage.one, 'a', "timeout_ms => 1, id => '@1'")?;
        pause();
        acquired(
            &mut stage.one,
            'a',
            "mode => 'shared', id => '@1', timeout_ms => 1",
        )?;
        pause();
        acquired(&mut stage.two, 'b', "mode => 'shared'")?;
        ensure!(stage.rows()? == "2", "a dead shared lease was in the way");
        acquired(&mut stage.one, 'a', "mode => 'shared'")?;
        ensure!(stage.rows()? == "2", "two leases of one agent");
        Ok(())
    })
}

fn two_sweeps(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for end in ["COMMIT", "ROLLBACK"] {
            leave_dead(stage)?;
            run(&mut stage.one, "BEGIN")?;
            gives(&mut stage.one, "SELECT caliber_lock_purge_expired()", "3")?;
            gives(&mut stage.two, "SELECT caliber_lock_purge_expired()", "0")?;
            // What cannot be locked may be alive.
            busy(&mut stage.two, 'a', "")?;
            run(&mut stage.one, end)?;
            acquired(&mut stage.two, 'a', "")?;
            run(&mut stage.one, "DELETE FROM caliber_lock")?;
        }
        // Two that make way for a shared lock at the same time.
        acquired(&mut stage.one, 'c', "timeout_ms => 1")?;
        pause();
        run(&mut stage.one, "BEGIN")?;
        run(&mut stage.two, "BEGIN")?;
        acquired(&mut stage.one, 'a', "mode => 'shared'")?;
        busy(&mut stage.two, 'b', "mode => 'shared'")?;
        run(&mut stage.one, "COMMIT")?;
        acquired(&mut stage.two, 'b', "mode => 'shared'")?;
        run(&mut stage.two, "COMMIT")?;
        ensure!(stage.shown()?.len() == 2, "not two locks");
        Ok(())
    })
}

/// Begins a transaction that extends a short lease just before it ends; how long that
/// takes at most. Where the machine was slower than the lease, a longer one is tried.
fn extended(session: &mut Session, mode: &str) -> Result<Duration> {
    let mut late = None;
    for ms in [60, 240, 960, 3840] {
        run(session, "DELETE FROM caliber_lock")?;
        let how = format!("timeout_ms => {ms}, mode => '{mode}', id => '@1'");
        acquired(session, 'a', &how)?;
        run(session, "BEGIN")?;
        match value(session, "SELECT caliber_lock_extend('@1', 60000)") {
            Ok(answer) => {
                ensure!(answer == "t", "{answer}");
                return Ok(Duration::from_millis(ms + 5));
            }
            Err(error) => late = Some(error),
        }
        run(session, "ROLLBACK")?;
    }
    Err(late.context("no lease was tried")?)
}

fn extend(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for mode in ["exclusive", "shared"] {
            for level in ["lease", "session", "transaction"] {
                for end in ["COMMIT", "ROLLBACK"] {
                    // The lease ends while its extension is not yet committed.
                    let end_of_lease = extended(&mut stage.one, mode)?;
                    std::thread::sleep(end_of_lease);
                    busy(&mut stage.two, 'b', &format!("level => '{level}'"))?;
                    gives(&mut stage.two, "SELECT caliber_lock_purge_expired()", "0")?;
                    run(&mut stage.one, end)?;
                    let taken = acquire(&mut stage.two, 'b', &format!("level => '{level}'"))?;
                    ensure!(
                        taken.is_some() == (end == "ROLLBACK"),
                        "{mode}, {level}, {end}: {taken:?}"
                    );
                    run(
                        &mut stage.two,
                        "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
                    )?;
                }
            }
        }
        // What extend says.
        acquired(&mut stage.one, 'a', "timeout_ms => 1, id => '@1'")?;
        pause();
        let error = refused(
            &mut stage.one,
            "SELECT caliber_lock_extend('@1', 1000)",
            "55000",
        )?;
        ensure!(error.message.ends_with("has expired"), "{error}");
        gives(
            &mut stage.one,
            "SELECT caliber_lock_extend('@2', 1000)",
            "f",
        )?;
        acquired(&mut stage.one, 'b', "timeout_ms => 31622400000, id => '@2'")?;
        refused(
            &mut stage.one,
            "SELECT caliber_lock_extend('@2', 1000)",
            "22023",
        )?;
        run(
            &mut stage.one,
            "UPDATE caliber_lock SET expires_at = 'infinity'",
        )?;
        refused(
            &mut stage.one,
            "SELECT caliber_lock_extend('@2', 1)",
            "22023",
        )?;
        run(
            &mut stage.one,
            "UPDATE caliber_lock SET expires_at = clock_timestamp() + '1 minute'",
        )?;
        gives(
            &mut stage.two,
            "SELECT caliber_lock_extend('@2', 3600000)",
            "t",
        )?;
        gives(
            &mut stage.one,
            "SELECT expires_at - clock_timestamp() BETWEEN '1 hour' AND '61 minutes' FROM caliber_lock_get('@2')",
            "t",
        )?;
        for level in ["session", "transaction"] {
            run(&mut stage.one, "DELETE FROM caliber_lock")?;
            run(&mut stage.one, "BEGIN")?;
            acquired(
                &mut stage.one,
                'a',
                &format!("level => '{level}', id => '@3'"),
            )?;
            refused(
                &mut stage.one,
                "SELECT caliber_lock_extend('@3', 1000)",
                "55000",
            )?;
            run(&mut stage.one, "ROLLBACK")?;
        }
        Ok(())
    })
}

fn extend_waits(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        let setup = desk::setup(stage.engine);
        let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
        // The row is locked while the lease ends: the answer rests on the clock
        // after the wait.
        for (end, answer) in [("COMMIT", Some("f")), ("ROLLBACK", None)] {
            run(&mut stage.one, "DELETE FROM caliber_lock")?;
            acquired(&mut stage.one, 'a', "timeout_ms => 300, id => '@1'")?;
            let script = Script::new(2, &setup)
                .step(
                    0,
                    &fill("BEGIN; DELETE FROM caliber_lock WHERE lock_id = '@1'"),
                )
                .step(1, &fill("SELECT caliber_lock_extend('@1', 60000)"))
                .step(0, "SELECT pg_sleep(0.4)")
                .step(0, end);
            let told = play(&stage.desk.database.target, &script, Options::default())?;
            ensure!(told.waited(1), "{end}: nobody waited:\n{told}");
            let found = told.answer(1).context("no answer")?;
            ensure!(
                found.value() == answer && found.sqlstate() == answer.is_none().then_some("55000"),
                "{end}:\n{told}"
            );
        }
        Ok(())
    })
}

fn wall_clock(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        acquired(&mut stage.two, 'b', "timeout_ms => 500")?;
        run(&mut stage.one, "BEGIN; SELECT now()")?;
        busy(&mut stage.one, 'a', "")?;
        std::thread::sleep(Duration::from_millis(505));
        ensure!(
            shown(&mut stage.one)?.is_empty(),
            "an expired lease is shown"
        );
        acquired(&mut stage.one, 'a', "timeout_ms => 60000, id => '@1'")?;
        gives(
            &mut stage.one,
            "SELECT acquired_at > now() + '100 ms' AND expires_at = acquired_at + '1 minute'
             AND backend_pid = pg_backend_pid() FROM caliber_lock_get('@1')",
            "t",
        )?;
        let before = value(
            &mut stage.one,
            "SELECT acquired_at FROM caliber_lock_get('@1')",
        )?;
        acquired(&mut stage.one, 'a', "timeout_ms => 3600000")?;
        gives(
            &mut stage.one,
            &format!(
                "SELECT acquired_at = '{before}' AND expires_at > clock_timestamp() + '59 minutes'
                 FROM caliber_lock_get('@1')"
            ),
            "t",
        )?;
        run(&mut stage.one, "ROLLBACK")?;
        for level in ["session", "transaction"] {
            run(&mut stage.one, "BEGIN")?;
            acquired(
                &mut stage.one,
                'a',
                &format!("level => '{level}', id => '@1'"),
            )?;
            gives(
                &mut stage.one,
                "SELECT expires_at FROM caliber_lock_get('@1')",
                "infinity",
            )?;
            run(&mut stage.one, "ROLLBACK")?;
        }
        Ok(())
    })
}

fn release_pending(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for level in ["lease", "session"] {
            for end in ["ROLLBACK", "COMMIT"] {
                acquired(
                    &mut stage.one,
                    'a',
                    &format!("level => '{level}', id => '@1'"),
                )?;
                run(&mut stage.one, "BEGIN")?;
                gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
                gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "f")?;
                ensure!(
                    shown(&mut stage.one)?.is_empty(),
                    "a released lock is shown to its own transaction"
                );
                ensure!(
                    stage.shown()?.len() == 1,
                    "a lock that is held is not shown"
                );
                gives(&mut stage.two, "SELECT caliber_lock_purge_expired()", "0")?;
                busy(&mut stage.two, 'b', "mode => 'shared'")?;
                run(&mut stage.one, end)?;
                let held = usize::from(end == "ROLLBACK");
                ensure!(stage.shown()?.len() == held, "after {end}");
                if held == 1 {
                    busy(&mut stage.two, 'b', "mode => 'shared'")?;
                    gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
                }
                stage.one_holds(&[])?;
            }
        }
        // The row went by other SQL: what the session still holds is given back
        // by release.
        acquired(&mut stage.one, 'a', "level => 'session', id => '@1'")?;
        run(&mut stage.two, "DELETE FROM caliber_lock")?;
        busy(&mut stage.two, 'b', "")?;
        gives(&mut stage.two, "SELECT caliber_lock_release('@1')", "f")?;
        run(&mut stage.one, "BEGIN")?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "f")?;
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])?;
        run(&mut stage.one, "ROLLBACK")?;
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "t")?;
        stage.one_holds(&[])?;
        gives(&mut stage.one, "SELECT caliber_lock_release('@1')", "f")
    })
}
