//! Two sessions × three levels × two modes × (commit | rollback | savepoint),
//! in every order of their steps, against a small model.

use super::{desk, fill, Engine};
use crate::plan::Isolation;
use crate::runner::{Context, Outcome, Test};
use crate::session::{Failure, Session};
use anyhow::{bail, ensure, Context as _, Result};

/// All tests of the model.
pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "locks::model",
        "two sessions, every level, mode, end and order: as a small model says",
        exhaustive,
    )]
}

const LEVELS: [&str; 3] = ["lease", "session", "transaction"];
const MODES: [&str; 2] = ["exclusive", "shared"];

/// How a session's transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Commit,
    Rollback,
    /// A rollback to the savepoint before the acquire; then a commit.
    Savepoint,
}
const ENDS: [End; 3] = [End::Commit, End::Rollback, End::Savepoint];

/// What a session does.
#[derive(Clone, Copy, Debug)]
struct Part {
    level: &'static str,
    mode: &'static str,
    end: End,
    agent: char,
}

/// One step of a session, after BEGIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Acquire,
    RollbackTo,
    Finish,
}

impl Part {
    fn steps(&self) -> Vec<Step> {
        match self.end {
            End::Savepoint => vec![Step::Acquire, Step::RollbackTo, Step::Finish],
            _ => vec![Step::Acquire, Step::Finish],
        }
    }
}

/// Every order of `left` steps of the first and `right` of the second session;
/// the first session begins, since they could change places.
fn orders(left: usize, right: usize) -> Vec<Vec<usize>> {
    fn go(counts: [usize; 2], so_far: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
        if counts == [0, 0] {
            all.push(so_far.clone());
        }
        for session in [0, 1] {
            if counts[session] > 0 && !(so_far.is_empty() && session == 1) {
                let mut rest = counts;
                rest[session] -= 1;
                so_far.push(session);
                go(rest, so_far, all);
                so_far.pop();
            }
        }
    }
    let mut all = Vec::new();
    go([left, right], &mut Vec::new(), &mut all);
    all
}

/// A lock in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lock {
    id: usize,
    agent: char,
    level: &'static str,
    mode: &'static str,
    session: usize,
}

/// What acquire answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Id(usize),
    Busy,
    /// 55000
    Refused,
}

/// What a transaction that is still running has done.
#[derive(Clone, Debug, Default)]
struct Open {
    /// The resource's advisory lock to the end of the transaction, in a mode,
    /// and with it the holder's.
    key: Option<(&'static str, char)>,
    written: Option<Lock>,
    /// A committed lock of its own that it has made exclusive.
    upgraded: Option<usize>,
    failed: bool,
}

/// The model: committed locks that are alive, and both transactions.
#[derive(Clone, Debug, Default)]
struct World {
    locks: Vec<Lock>,
    open: [Open; 2],
}

fn go_together(one: &str, two: &str) -> bool {
    one == "shared" && two == "shared"
}

impl World {
    fn acquire(&mut self, session: usize, part: &Part) -> Answer {
        let other = &self.open[1 - session];
        if let Some((mode, agent)) = other.key {
            if !go_together(mode, part.mode) || agent == part.agent {
                return Answer::Busy;
            }
        }
        // Session locks hold the resource's advisory lock, too. (The same
        // session's are no obstacle to itself.)
        let held_elsewhere = self.locks.iter().any(|l| {
            l.level == "session" && l.session != session && !go_together(l.mode, part.mode)
        });
        if held_elsewhere {
            return Answer::Busy;
        }
        let is_own =
            |l: &Lock| l.agent == part.agent && (l.level == "lease" || l.session == session);
        if self
            .locks
            .iter()
            .any(|l| !is_own(l) && !go_together(l.mode, part.mode))
        {
            return Answer::Busy;
        }
        let own = self.locks.iter().find(|l| is_own(l)).cloned();
        let answer = match own {
            Some(own) if own.level != part.level => {
                self.open[session].failed = true;
                return Answer::Refused;
            }
            Some(own) => {
                if own.mode == "shared" && part.mode == "exclusive" {
                    self.open[session].upgraded = Some(own.id);
                }
                Answer::Id(own.id)
            }
            None => {
                self.open[session].written = Some(Lock {
                    id: session + 1,
                    agent: part.agent,
                    level: part.level,
                    mode: part.mode,
                    session,
                });
                Answer::Id(session + 1)
            }
        };
        self.open[session].key = Some((part.mode, part.agent));
        answer
    }

    fn step(&mut self, session: usize, part: &Part, step: Step) -> Option<Answer> {
        match step {
            Step::Acquire => return Some(self.acquire(session, part)),
            Step::RollbackTo => self.open[session] = Open::default(),
            Step::Finish => {
                let open = std::mem::take(&mut self.open[session]);
                if part.end == End::Commit && !open.failed {
                    if let Some(id) = open.upgraded {
                        for lock in self.locks.iter_mut().filter(|l| l.id == id) {
                            lock.mode = "exclusive";
                        }
                    }
                    self.locks
                        .extend(open.written.filter(|l| l.level != "transaction"));
                }
            }
        }
        None
    }
}

/// A case: both parts and the order of their steps.
#[derive(Clone, Debug)]
struct Case {
    number: usize,
    parts: [Part; 2],
    order: Vec<usize>,
}

fn cases() -> Vec<Case> {
    let mut parts = Vec::new();
    for level in LEVELS {
        for mode in MODES {
            for end in ENDS {
                parts.push(Part {
                    level,
                    mode,
                    end,
                    agent: 'a',
                });
            }
        }
    }
    let mut cases = Vec::new();
    for one in &parts {
        for two in &parts {
            for agent in ['a', 'b'] {
                let two = Part { agent, ..*two };
                for order in orders(one.steps().len(), two.steps().len()) {
                    cases.push(Case {
                        number: cases.len(),
                        parts: [*one, two],
                        order,
                    });
                }
            }
        }
    }
    cases
}

fn exhaustive(context: &Context) -> Result<Outcome> {
    let runs = [
        (Engine::Heap, Isolation::ReadCommitted),
        (Engine::Heap, Isolation::RepeatableRead),
        (Engine::Sql, Isolation::ReadCommitted),
        (Engine::Sql, Isolation::RepeatableRead),
    ];
    let cases = cases();
    std::thread::scope(|scope| {
        let threads = runs.map(|(engine, isolation)| {
            let cases = &cases;
            scope.spawn(move || {
                run(context, engine, isolation, cases)
                    .with_context(|| format!("engine {}, {}", engine.name(), isolation.sql()))
            })
        });
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    Ok(Outcome::Passed(format!(
        "{} orders of two sessions, {} times",
        cases.len(),
        runs.len()
    )))
}

fn run(context: &Context, engine: Engine, isolation: Isolation, cases: &[Case]) -> Result<()> {
    let mut desk = desk::open(context, &[engine], &fill(super::AGENTS))?
        .pop()
        .context("a desk")?;
    let mut sessions = [desk.another()?, desk.another()?];
    let mut pids = Vec::new();
    for session in &mut sessions {
        session.batch("SET statement_timeout = '10s'")?;
        pids.push(session.pid()?.to_string());
    }
    let pids = pids.join(", ");
    for case in cases {
        one(&mut sessions, &mut desk.session, &pids, isolation, case)
            .with_context(|| format!("{case:?}"))?;
    }
    Ok(())
}

fn id(case: usize, lock: usize) -> String {
    format!("00000000-0000-7000-8000-{case:08x}000{lock}")
}

fn one(
    sessions: &mut [Session; 2],
    look: &mut Session,
    pids: &str,
    isolation: Isolation,
    case: &Case,
) -> Result<()> {
    let resource = id(case.number, 0);
    let begin = format!(
        "BEGIN ISOLATION LEVEL {}; SELECT 1; SAVEPOINT s",
        isolation.sql()
    );
    for session in sessions.iter_mut() {
        session.batch(&begin)?;
    }
    let mut world = World::default();
    let mut taken = [0, 0];
    for (at, &number) in case.order.iter().enumerate() {
        let part = &case.parts[number];
        let step = part.steps()[taken[number]];
        taken[number] += 1;
        let session = &mut sessions[number];
        let expected = world.step(number, part, step);
        match step {
            Step::Acquire => {
                let sql = fill(&format!(
                    "SELECT caliber_lock_acquire('@{}', 'file', '{resource}', 60000, '{}', '{}', '{}')",
                    part.agent,
                    part.mode,
                    part.level,
                    id(case.number, number + 1)
                ));
                let found = match session.query(&sql) {
                    Ok(reply) => match reply.column().into_iter().next().flatten() {
                        None => Answer::Busy,
                        Some(found) => Answer::Id(found[35..].parse()?),
                    },
                    Err(Failure::Error(error)) if error.sqlstate == "55000" => Answer::Refused,
                    Err(other) => bail!("step {at}: {other}"),
                };
                ensure!(
                    Some(&found) == expected.as_ref(),
                    "step {at} gave {found:?}, the model says {expected:?}"
                );
            }
            Step::RollbackTo => session.batch("ROLLBACK TO s")?,
            Step::Finish => session.batch(match part.end {
                End::Rollback => "ROLLBACK",
                _ => "COMMIT",
            })?,
        }
    }
    check(look, pids, case, &world)?;
    for session in sessions.iter_mut() {
        session.batch("SELECT pg_advisory_unlock_all()")?;
    }
    Ok(())
}

/// What is left: the rows that are alive, the advisory locks, and who may come.
fn check(look: &mut Session, pids: &str, case: &Case, world: &World) -> Result<()> {
    let resource = id(case.number, 0);
    let mut wanted: Vec<String> = world
        .locks
        .iter()
        .map(|l| format!("{} {} {}", id(case.number, l.id), l.mode, l.level))
        .collect();
    wanted.sort();
    let advisory = 2 * world.locks.iter().filter(|l| l.level == "session").count();
    let free = world.locks.is_empty();
    let reply = look
        .query(&fill(&format!(
            "SELECT coalesce((SELECT string_agg(lock_id || ' ' || mode || ' ' || level, ', ' ORDER BY lock_id)
                     FROM caliber_lock_list_by_resource('file', '{resource}')), ''),
                (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid IN ({pids})),
                (SELECT count(*) FROM caliber_lock WHERE resource_id = '{resource}'),
                caliber_lock_acquire('@c', 'file', '{resource}', level => 'transaction') IS NOT NULL"
        )))
        .map_err(anyhow::Error::new)?;
    let row: Vec<&str> = reply
        .rows
        .first()
        .map(|row| row.iter().map(|c| c.as_deref().unwrap_or("NULL")).collect())
        .unwrap_or_default();
    let free = if free { "t" } else { "f" };
    let expected = [
        wanted.join(", "),
        advisory.to_string(),
        wanted.len().to_string(),
        free.to_owned(),
    ];
    ensure!(
        row == expected,
        "alive, advisory locks, rows, free: {row:?}, the model says {expected:?}"
    );
    Ok(())
}
