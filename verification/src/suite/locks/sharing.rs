//! Who may hold what together: isolation levels, several agents on one
//! connection, one agent on two connections, and users' own advisory locks.

use super::{acquire, acquired, busy, for_each, gives, refused, run, Stage};
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "locks::isolation_levels",
            "an old snapshot never lets two sessions hold a resource exclusively",
            isolation_levels,
        ),
        Test::new(
            "locks::agents_of_one_connection",
            "agents on one connection exclude each other as others do",
            one_connection,
        ),
        Test::new(
            "locks::agent_on_two_connections",
            "one agent on two connections: a lease is shared, session and transaction locks are not",
            two_connections,
        ),
        Test::new(
            "locks::at_once",
            "of two that acquire at once the second is told busy and never waits",
            at_once,
        ),
        Test::new(
            "locks::counts",
            "a busy acquire gives back what it took and leaves what was held before",
            counts,
        ),
    ]
}

const LEVELS: [&str; 3] = ["lease", "session", "transaction"];

fn isolation_levels(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for isolation in [
            Isolation::ReadCommitted,
            Isolation::RepeatableRead,
            Isolation::Serializable,
        ] {
            for theirs in ["lease", "session"] {
                for ours in LEVELS {
                    old_snapshot(stage, isolation, theirs, ours).with_context(|| {
                        format!("{}, theirs {theirs}, ours {ours}", isolation.sql())
                    })?;
                }
            }
        }
        Ok(())
    })
}

fn old_snapshot(stage: &mut Stage, isolation: Isolation, theirs: &str, ours: &str) -> Result<()> {
    let begin = format!(
        "BEGIN ISOLATION LEVEL {}; SELECT count(*) FROM caliber_lock",
        isolation.sql()
    );
    let (theirs, ours) = (format!("level => '{theirs}'"), format!("level => '{ours}'"));
    // They come after our snapshot: their row is not in it.
    run(&mut stage.one, &begin)?;
    acquired(&mut stage.two, 'b', &theirs)?;
    busy(&mut stage.one, 'a', &ours)?;
    busy(&mut stage.one, 'a', &format!("{ours}, mode => 'shared'"))?;
    // They go after our snapshot: their row is still in it.
    run(
        &mut stage.two,
        "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
    )?;
    acquired(&mut stage.one, 'a', &ours)?;
    busy(&mut stage.two, 'b', "mode => 'shared'")?;
    run(&mut stage.one, "COMMIT")?;
    run(
        &mut stage.one,
        "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
    )?;

    // A dead row that our snapshot does not see is swept, one that it does see
    // and that is gone is no obstacle.
    for dead in ["they", "we"] {
        if dead == "we" {
            acquired(&mut stage.two, 'b', "timeout_ms => 1")?;
        }
        run(&mut stage.one, &begin)?;
        if dead == "they" {
            acquired(&mut stage.two, 'b', "timeout_ms => 1")?;
        }
        std::thread::sleep(std::time::Duration::from_millis(3));
        acquired(&mut stage.one, 'a', &ours)?;
        busy(&mut stage.two, 'b', "")?;
        run(&mut stage.one, "COMMIT")?;
        run(
            &mut stage.one,
            "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
        )?;
        ensure!(stage.rows()? == "0", "a row is left");
    }

    // Our own lease, taken in another session after our snapshot, is extended.
    if ours.contains("lease") {
        run(&mut stage.one, &begin)?;
        let id = acquired(&mut stage.two, 'a', "mode => 'shared'")?;
        let same = acquired(&mut stage.one, 'a', &ours)?;
        ensure!(same == id, "another lock");
        run(&mut stage.one, "COMMIT")?;
        busy(&mut stage.two, 'b', "mode => 'shared'")?;
        run(
            &mut stage.one,
            "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
        )?;
    }
    stage.one_holds(&[])
}

fn one_connection(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for first in LEVELS {
            for second in LEVELS {
                for together in [true, false] {
                    agents(stage, first, second, together).with_context(|| {
                        format!("{first}, {second}, one transaction: {together}")
                    })?;
                }
            }
        }
        Ok(())
    })
}

fn agents(stage: &mut Stage, first: &str, second: &str, together: bool) -> Result<()> {
    let (first, second) = (
        format!("level => '{first}'"),
        format!("level => '{second}'"),
    );
    let shared = |level: &str| format!("{level}, mode => 'shared'");
    let lives = together || !first.contains("transaction");
    if together {
        run(&mut stage.one, "BEGIN")?;
    }
    let one = acquired(&mut stage.one, 'a', &first)?;
    if lives {
        for more in [second.clone(), shared(&second)] {
            busy(&mut stage.one, 'b', &more)?;
        }
        gives(
            &mut stage.one,
            &format!("SELECT caliber_lock_release('{one}')"),
            "t",
        )?;
    }
    let one = acquired(&mut stage.one, 'a', &shared(&first))?;
    let two = acquired(&mut stage.one, 'b', &shared(&second))?;
    ensure!(one != two, "one lock for two agents");
    if lives {
        busy(&mut stage.one, 'b', &second)?;
    }
    if together || !second.contains("transaction") {
        // The first may be gone already: then nobody is in the way.
        busy(&mut stage.one, 'a', &first)?;
        gives(
            &mut stage.one,
            &format!("SELECT caliber_lock_release('{two}')"),
            "t",
        )?;
    }
    let again = acquired(&mut stage.one, 'a', &first)?;
    ensure!(!lives || again == one, "not the same lock");
    if together {
        run(&mut stage.one, "COMMIT")?;
    }
    if first.contains("session") {
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])?;
    }
    run(
        &mut stage.one,
        "SELECT caliber_lock_release(lock_id) FROM caliber_lock",
    )?;
    stage.one_holds(&[])?;
    ensure!(stage.rows()? == "0", "a row is left");
    Ok(())
}

fn two_connections(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        // A lease is the agent's, whoever calls.
        let id = acquired(&mut stage.one, 'a', "mode => 'shared'")?;
        ensure!(acquired(&mut stage.two, 'a', "")? == id, "another lock");
        gives(
            &mut stage.two,
            &format!("SELECT caliber_lock_release('{id}')"),
            "t",
        )?;

        // One of another level belongs to its connection.
        let one = acquired(&mut stage.one, 'a', "level => 'session', mode => 'shared'")?;
        let two = acquired(&mut stage.two, 'a', "level => 'session', mode => 'shared'")?;
        ensure!(one != two, "one lock for two sessions");
        busy(&mut stage.two, 'a', "level => 'session'")?;
        busy(&mut stage.two, 'a', "")?;
        // The other's is no lock of its own at another level.
        gives(
            &mut stage.two,
            &format!("SELECT caliber_lock_release('{two}')"),
            "t",
        )?;
        acquired(&mut stage.two, 'a', "mode => 'shared', timeout_ms => 1")?;
        let error = refused(
            &mut stage.two,
            &format!("SELECT caliber_lock_release('{one}')"),
            "55000",
        )?;
        ensure!(error.message.contains("held by another session"), "{error}");
        gives(
            &mut stage.one,
            &format!("SELECT caliber_lock_release('{one}')"),
            "t",
        )?;
        stage.one_holds(&[])?;
        run(&mut stage.one, "DELETE FROM caliber_lock")?;

        // Its own at another level is refused.
        for (held, asked) in [
            ("lease", "session"),
            ("session", "lease"),
            ("session", "transaction"),
        ] {
            let id = acquired(&mut stage.one, 'a', &format!("level => '{held}'"))?;
            refused(
                &mut stage.one,
                &format!("SELECT caliber_lock_acquire('@a', 'file', '@r', level => '{asked}')"),
                "55000",
            )?;
            gives(
                &mut stage.one,
                &format!("SELECT caliber_lock_release('{id}')"),
                "t",
            )?;
        }
        stage.one_holds(&[])
    })
}

fn at_once(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        for first in LEVELS {
            for second in LEVELS {
                let second = format!("level => '{second}'");
                run(&mut stage.one, "BEGIN")?;
                acquired(
                    &mut stage.one,
                    'a',
                    &format!("level => '{first}', mode => 'shared'"),
                )?;
                busy(&mut stage.two, 'b', &second)?;
                busy(&mut stage.two, 'a', &second)?;
                // Both shared, but one agent: the unique index must not be waited for.
                busy(&mut stage.two, 'a', &format!("{second}, mode => 'shared'"))?;
                run(&mut stage.two, "BEGIN")?;
                acquired(&mut stage.two, 'b', &format!("{second}, mode => 'shared'"))?;
                // Neither may become exclusive now.
                busy(&mut stage.one, 'a', &format!("level => '{first}'"))?;
                busy(&mut stage.two, 'b', &second)?;
                run(&mut stage.two, "ROLLBACK")?;
                acquired(&mut stage.one, 'a', &format!("level => '{first}'"))?;
                run(&mut stage.one, "ROLLBACK")?;
            }
        }
        Ok(())
    })
}

fn counts(context: &Context) -> Result<Outcome> {
    for_each(context, |stage| {
        // A user's lock on the key keeps others away …
        run(
            &mut stage.two,
            "SELECT pg_advisory_lock(caliber_lock_key('file', '@r'))",
        )?;
        for level in LEVELS {
            busy(&mut stage.one, 'a', &format!("level => '{level}'"))?;
            busy(
                &mut stage.one,
                'a',
                &format!("level => '{level}', mode => 'shared'"),
            )?;
            stage.one_holds(&[])?;
        }
        run(
            &mut stage.two,
            "SELECT pg_advisory_unlock(caliber_lock_key('file', '@r'))",
        )?;
        // … and one of its own stays, however often acquire comes to nothing.
        acquired(&mut stage.two, 'b', "")?;
        run(
            &mut stage.one,
            "BEGIN; SELECT pg_advisory_xact_lock(caliber_lock_key('file', '@r'));
            SELECT pg_advisory_lock_shared(caliber_lock_key('file', '@r'))",
        )?;
        for _ in 0..3 {
            for level in LEVELS {
                busy(&mut stage.one, 'a', &format!("level => '{level}'"))?;
                busy(
                    &mut stage.one,
                    'a',
                    &format!("level => '{level}', mode => 'shared'"),
                )?;
            }
        }
        stage.one_holds(&["1 ExclusiveLock", "1 ShareLock"])?;
        run(&mut stage.one, "COMMIT")?;
        stage.one_holds(&["1 ShareLock"])?;
        gives(
            &mut stage.one,
            "SELECT pg_advisory_unlock_shared(caliber_lock_key('file', '@r'))",
            "t",
        )?;
        stage.one_holds(&[])?;

        // An upgrade that comes to nothing leaves the shared lock as it was.
        run(&mut stage.two, "DELETE FROM caliber_lock")?;
        let id = acquired(&mut stage.one, 'a', "level => 'session', mode => 'shared'")?;
        acquired(&mut stage.two, 'b', "mode => 'shared'")?;
        busy(&mut stage.one, 'a', "level => 'session'")?;
        stage.one_holds(&["1 ShareLock", "3 ExclusiveLock"])?;
        run(
            &mut stage.two,
            "DELETE FROM caliber_lock WHERE holder_agent_id = '@b'",
        )?;
        ensure!(
            acquire(&mut stage.one, 'a', "level => 'session'")? == Some(id),
            "not the same lock"
        );
        stage.one_holds(&["1 ExclusiveLock", "3 ExclusiveLock"])
    })
}
