//! Many sessions at once, and a referee who is told of every lock: no two hold
//! a resource that exclude each other.

use super::{desk, Engine};
use crate::runner::{Context, Outcome, Test};
use crate::session::{Failure, Session};
use anyhow::{bail, ensure, Context as _, Result};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

/// All tests of this topic.
pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "locks::stress",
        "eight sessions, two resources, every level, mode and end: a referee sees exclusion hold",
        stress,
    )]
}

const SESSIONS: usize = 8;

/// What is held of a resource: the number of shared locks, or -1.
struct Referee([AtomicI32; 2]);

impl Referee {
    fn enter(&self, resource: usize, exclusive: bool) -> Result<()> {
        let place = &self.0[resource];
        let before = if exclusive {
            place.swap(-1, Ordering::SeqCst)
        } else {
            place.fetch_add(1, Ordering::SeqCst)
        };
        let fits = if exclusive { before == 0 } else { before >= 0 };
        ensure!(
            fits,
            "resource {resource} is held twice: exclusive {exclusive} beside {before}"
        );
        Ok(())
    }

    fn leave(&self, resource: usize, exclusive: bool) {
        let place = &self.0[resource];
        if exclusive {
            place.store(0, Ordering::SeqCst);
        } else {
            place.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A generator of numbers that needs no dependency.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn stress(context: &Context) -> Result<Outcome> {
    let rounds = context.config.cases;
    let mut told = Vec::new();
    for engine in [Engine::Heap, Engine::Sql] {
        let desk = desk::open(context, &[engine], "")?
            .pop()
            .context("a desk")?;
        let mut sessions = Vec::new();
        for n in 0..SESSIONS {
            let mut session = desk.another()?;
            session.batch(&format!(
                "SET statement_timeout = '20s'; INSERT INTO caliber_agent (agent_id, agent_type, capabilities, can_delegate_to)
                VALUES ('00000000-0000-7000-8000-{n:012}', 'worker', '{{}}', '{{}}')"
            ))?;
            sessions.push(session);
        }
        let referee = Referee([AtomicI32::new(0), AtomicI32::new(0)]);
        let held = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = sessions
                .iter_mut()
                .enumerate()
                .map(|(n, session)| {
                    let (referee, held) = (&referee, &held);
                    let dice = Dice(
                        context.config.seed ^ (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                            | 1,
                    );
                    scope.spawn(move || {
                        work(session, n, rounds, dice, referee, held)
                            .with_context(|| format!("session {n}"))
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
        })
        .with_context(|| format!("engine {}", engine.name()))?;
        // Nothing is left but what is dead.
        let mut look = desk.another()?;
        let left = look.value(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )?;
        ensure!(
            left.as_deref() == Some("0"),
            "{left:?} advisory locks are left"
        );
        look.batch("SELECT pg_sleep(0.01); SELECT caliber_lock_purge_expired()")?;
        let left = look.value("SELECT count(*) FROM caliber_lock")?;
        ensure!(left.as_deref() == Some("0"), "{left:?} rows are left");
        let held = held.into_inner();
        ensure!(held > rounds / 2, "only {held} locks were held");
        told.push(format!("{}: {held} held", engine.name()));
    }
    Ok(Outcome::Passed(told.join(", ")))
}

/// The lock that the call got: a new one, or one of its own that is alive. At
/// REPEATABLE READ a change at this very moment is a serialization failure, as
/// SQL's; and its own lease of a millisecond may still be alive when it asks
/// for another level. The transaction is then over.
fn got(session: &mut Session, sql: &str) -> Result<Option<String>> {
    match session.query(sql) {
        Ok(reply) => Ok(reply.column().into_iter().flatten().next()),
        Err(Failure::Error(error)) if ["40001", "55000"].contains(&&*error.sqlstate) => Ok(None),
        Err(other) => bail!("{other}\n  STATEMENT: {sql}"),
    }
}

fn work(
    session: &mut Session,
    number: usize,
    rounds: u32,
    mut dice: Dice,
    referee: &Referee,
    held: &AtomicU32,
) -> Result<()> {
    for round in 0..rounds {
        let resource = dice.roll(2) as usize;
        let exclusive = dice.roll(2) == 0;
        let level = ["lease", "session", "transaction"][dice.roll(3) as usize];
        let isolation = ["READ COMMITTED", "REPEATABLE READ"][dice.roll(2) as usize];
        let lock = format!("{:08x}-0000-7000-8000-{number:012x}", round + 1);
        let mode = if exclusive { "exclusive" } else { "shared" };
        let call = |mode: &str, ms: u32| {
            format!(
                "SELECT caliber_lock_acquire('00000000-0000-7000-8000-{number:012}', 'file', '00000000-0000-7000-8000-00000000000{resource}', {ms}, '{mode}', '{level}', '{lock}')"
            )
        };
        session.batch(&format!("BEGIN ISOLATION LEVEL {isolation}; SELECT 1"))?;
        match dice.roll(8) {
            // A lease that is over at once: a dead row for somebody to sweep.
            0 if level == "lease" => {
                got(session, &call(mode, 1))?;
                session.batch("COMMIT")?;
                continue;
            }
            // Acquired and undone.
            1 => {
                session.batch("SAVEPOINT s")?;
                got(session, &call(mode, 60_000))?;
                session.batch("ROLLBACK TO s; COMMIT")?;
                continue;
            }
            // A session that loses its lock: another dead row.
            2 if level == "session" => {
                got(session, &call(mode, 60_000))?;
                session.batch("COMMIT; SELECT pg_advisory_unlock_all()")?;
                continue;
            }
            _ => {}
        }
        let mut exclusive = exclusive;
        let Some(lock) = got(session, &call(mode, 60_000))? else {
            session.batch("ROLLBACK")?;
            continue;
        };
        if level != "transaction" {
            session.batch("COMMIT; BEGIN")?;
        }
        referee.enter(resource, exclusive)?;
        held.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(dice.roll(1500)));
        if !exclusive && dice.roll(2) == 0 {
            // The referee hears of it when nobody else may hold it any more.
            if got(session, &call("exclusive", 60_000))?.is_some() {
                referee.leave(resource, false);
                referee.enter(resource, true)?;
                exclusive = true;
            }
        }
        referee.leave(resource, exclusive);
        if level == "lease" && dice.roll(4) == 0 {
            // Others may sweep it, once it has expired.
            session.batch(&format!(
                "UPDATE caliber_lock SET expires_at = clock_timestamp() WHERE lock_id = '{lock}'; COMMIT"
            ))?;
            continue;
        }
        if level == "transaction" {
            session.batch("COMMIT")?;
        } else {
            let released = session.value(&format!("SELECT caliber_lock_release('{lock}')"))?;
            session.batch("COMMIT")?;
            ensure!(
                released.as_deref() == Some("t"),
                "releasing {lock} gave {released:?}"
            );
        }
    }
    Ok(())
}
