//! Locks: exclusion under every isolation level, row and advisory lock never
//! disagreeing whatever ends a transaction or a session, and every rule of the
//! API's section "Lock".
//!
//! Not here: the death of the server and of single backends by SIGKILL, and a
//! standby, which need servers of their own.

mod calls;
mod commit;
mod company;
mod ends;
mod fences;
mod model;
mod rows;
mod savepoints;
mod sharing;
mod stress;
mod triggers;

use super::desk::{self, Desk};
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::{ServerError, Session};
use anyhow::{ensure, Context as _, Result};

/// All tests of this topic.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(model::tests());
    tests.extend(savepoints::tests());
    tests.extend(ends::tests());
    tests.extend(sharing::tests());
    tests.extend(rows::tests());
    tests.extend(fences::tests());
    tests.extend(triggers::tests());
    tests.extend(company::tests());
    tests.extend(commit::tests());
    tests.extend(stress::tests());
    tests.extend(calls::tests());
    tests
}

const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// `@a`, `@b`, `@c` are agents, `@r` and `@s` resources, `@1` … `@9` ids.
fn fill(text: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        filled += before;
        let mut letters = after.chars();
        match letters.next() {
            Some(letter) if letter.is_ascii_alphanumeric() => {
                filled += &format!("00000000-0000-7000-8000-0000000000{:02x}", letter as u32);
            }
            Some(other) => filled.extend(['@', other]),
            None => filled.push('@'),
        }
        rest = letters.as_str();
    }
    filled + rest
}

const AGENTS: &str = "INSERT INTO caliber_agent (agent_id, agent_type, capabilities, can_delegate_to)
    VALUES ('@a', 'worker', '{}', '{}'), ('@b', 'worker', '{}', '{}'), ('@c', 'worker', '{}', '{}')";

/// A database with agents for each engine.
fn desks(context: &Context) -> Result<Vec<Desk>> {
    desk::open(context, &ENGINES, &fill(AGENTS))
}

/// Runs `body` for each engine in a database of its own with agents.
fn for_each(context: &Context, body: impl Fn(&mut Stage) -> Result<()>) -> Result<Outcome> {
    for desk in desks(context)? {
        let engine = desk.engine;
        Stage::new(desk)
            .and_then(|mut stage| body(&mut stage))
            .with_context(|| format!("engine {}", engine.name()))?;
    }
    Ok(Outcome::Passed(format!("{} engines", ENGINES.len())))
}

/// Two sessions of one engine, and an observer, whose database ends last: sessions
/// are asked what they counted.
struct Stage {
    engine: Engine,
    one: Session,
    two: Session,
    desk: Desk,
}

impl Stage {
    fn new(desk: Desk) -> Result<Self> {
        let engine = desk.engine;
        let mut sessions = [desk.another()?, desk.another()?];
        for session in &mut sessions {
            // Nothing here may wait, but where a test says so.
            session.batch("SET statement_timeout = '10s'")?;
        }
        let [one, two] = sessions;
        Ok(Self {
            engine,
            desk,
            one,
            two,
        })
    }

    /// A third session, a superuser's.
    fn look(&mut self) -> &mut Session {
        &mut self.desk.session
    }

    /// The advisory locks of a session, as `objsubid mode`, in order.
    fn advisory(&mut self, pid: i32) -> Result<Vec<String>> {
        let reply = self
            .look()
            .query(&format!(
                "SELECT objsubid || ' ' || mode FROM pg_locks
                 WHERE locktype = 'advisory' AND pid = {pid} AND granted ORDER BY 1"
            ))
            .map_err(anyhow::Error::new)?;
        Ok(reply.column().into_iter().flatten().collect())
    }

    /// The advisory locks of the first session are these.
    fn one_holds(&mut self, wanted: &[&str]) -> Result<()> {
        let pid = self.one.pid()?;
        let held = self.advisory(pid)?;
        ensure!(held == wanted, "advisory locks {held:?}, not {wanted:?}");
        Ok(())
    }

    /// What the observer's list shows of resource `@r`, as `id mode level`.
    fn shown(&mut self) -> Result<Vec<String>> {
        shown(self.look())
    }

    /// The number of rows in the table.
    fn rows(&mut self) -> Result<String> {
        value(self.look(), "SELECT count(*) FROM caliber_lock")
    }
}

/// What a session's list shows of resource `@r`.
fn shown(session: &mut Session) -> Result<Vec<String>> {
    let reply = session
        .query(&fill(
            "SELECT right(lock_id::text, 2) || ' ' || mode || ' ' || level
             FROM caliber_lock_list_by_resource('file', '@r')",
        ))
        .map_err(anyhow::Error::new)?;
    Ok(reply.column().into_iter().flatten().collect())
}

/// Runs statements with the names filled in.
fn run(session: &mut Session, sql: &str) -> Result<()> {
    session.batch(&fill(sql))
}

/// The value of a statement, `NULL` for NULL.
fn value(session: &mut Session, sql: &str) -> Result<String> {
    Ok(session.value(&fill(sql))?.unwrap_or_else(|| "NULL".into()))
}

/// Acquires resource `@r` with further arguments.
fn acquire(session: &mut Session, agent: char, more: &str) -> Result<Option<String>> {
    session.value(&fill(&format!(
        "SELECT caliber_lock_acquire('@{agent}', 'file', '@r'{}{more})",
        if more.is_empty() { "" } else { ", " }
    )))
}

/// It is acquired.
fn acquired(session: &mut Session, agent: char, more: &str) -> Result<String> {
    acquire(session, agent, more)?.with_context(|| format!("busy: {agent} {more}"))
}

/// It is busy.
fn busy(session: &mut Session, agent: char, more: &str) -> Result<()> {
    let id = acquire(session, agent, more)?;
    ensure!(id.is_none(), "not busy: {agent} {more} got {id:?}");
    Ok(())
}

/// The statement is refused with this SQLSTATE.
fn refused(session: &mut Session, sql: &str, sqlstate: &str) -> Result<ServerError> {
    let sql = fill(sql);
    let error = session.error(&sql)?;
    ensure!(
        error.sqlstate == sqlstate,
        "{sql}\nexpected {sqlstate}: {error}"
    );
    Ok(error)
}

/// The statement gives this value.
fn gives(session: &mut Session, sql: &str, wanted: &str) -> Result<()> {
    let found = value(session, sql)?;
    let wanted = fill(wanted);
    ensure!(found == wanted, "{}\ngave {found}, not {wanted}", fill(sql));
    Ok(())
}
