//! Interruption at each wait point: nothing is half done, no lock is left, and
//! the session, if it still is there, goes on.

use super::cases::{Writer, WRITERS};
use super::{amcheck, ids, key, truth, until, ROWS};
use crate::runner::{Context, Outcome, Test};
use crate::server::complaints::complaints;
use crate::server::Database;
use crate::session::{Failure, Reply, Session};
use anyhow::{bail, ensure, Context as _, Result};
use std::thread::JoinHandle;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "waits::interrupted",
            "a call that is interrupted at any point leaves nothing half done and no lock",
            interrupted,
        )
        .with_faults(),
        Test::new(
            "waits::idle",
            "a transaction that ends by an idle timeout after a call leaves nothing",
            idle,
        ),
    ]
}

/// What interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Cancel,
    StatementTimeout,
    LockTimeout,
    Terminate,
}

impl Way {
    const ALL: [Self; 4] = [
        Self::Cancel,
        Self::StatementTimeout,
        Self::LockTimeout,
        Self::Terminate,
    ];

    /// A timeout of so many times its least.
    fn setting(self, times: u32) -> String {
        match self {
            Self::StatementTimeout => {
                format!("SET LOCAL statement_timeout = '{}ms';", 60 * times)
            }
            Self::LockTimeout => format!("SET LOCAL lock_timeout = '{}ms';", 20 * times),
            Self::Cancel | Self::Terminate => String::new(),
        }
    }

    fn sqlstate(self) -> &'static str {
        match self {
            Self::LockTimeout => "55P03",
            _ => "57014",
        }
    }
}

/// All rows of all tables, with where they are.
const EVERYTHING: &str = "SELECT md5(string_agg(line, E'\\n')) FROM (
    SELECT 'task' || x.ctid || x::text AS line FROM caliber_trajectory x UNION ALL SELECT 'scope' || x.ctid || x::text FROM caliber_scope x
    UNION ALL SELECT 'agent' || x.ctid || x::text FROM caliber_agent x UNION ALL SELECT 'message' || x.ctid || x::text FROM caliber_message x
    UNION ALL SELECT 'work' || x.ctid || x::text FROM caliber_delegation x UNION ALL SELECT 'lock' || x.ctid || x::text FROM caliber_lock x
    UNION ALL SELECT 'turn' || x.ctid || x::text FROM caliber_turn x UNION ALL SELECT 'note' || x.ctid || x::text FROM caliber_note x
    UNION ALL SELECT 'artifact' || x.ctid || x::text FROM caliber_artifact x UNION ALL SELECT 'handoff' || x.ctid || x::text FROM caliber_handoff x
    UNION ALL SELECT 'conflict' || x.ctid || x::text FROM caliber_conflict x
    ORDER BY 1) lines";

struct Stage {
    database: Database,
    control: Session,
    /// None while it is busy.
    worker: Option<Session>,
    pid: i32,
}

impl Stage {
    fn enter(&mut self) -> Result<()> {
        let mut worker = self.database.connect()?;
        worker.batch("SELECT caliber_version()")?;
        self.pid = worker.pid()?;
        self.worker = Some(worker);
        Ok(())
    }

    fn worker(&mut self) -> Result<&mut Session> {
        self.worker.as_mut().context("the worker is busy")
    }

    /// What the worker holds besides the locks of a transaction on itself.
    fn held(&mut self) -> Result<Option<String>> {
        self.control.value(&format!(
            "SELECT string_agg(concat_ws(' ', locktype, relation::regclass, mode, objsubid, granted), ', ') FROM pg_locks
             WHERE pid = {} AND locktype NOT IN ('virtualxid', 'transactionid')",
            self.pid
        ))
    }
}

type Ended = (Session, Result<Vec<Reply>, Failure>);

fn send(mut session: Session, sql: String) -> JoinHandle<Ended> {
    std::thread::spawn(move || {
        let answer = session.run(&sql);
        (session, answer)
    })
}

fn interrupted(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut control = database.connect()?;
    control.batch(&ids(ROWS))?;
    let mut stage = Stage {
        database,
        control,
        worker: None,
        pid: 0,
    };
    stage.enter()?;
    let mut count = 0;
    for writer in WRITERS {
        for point in writer.points {
            for way in Way::ALL {
                // What must first wait for somebody else needs more time.
                let mut times = if writer.after.is_some() { 8 } else { 1 };
                while !one(&mut stage, writer, point, way, times)
                    .with_context(|| format!("{way:?} at {point} of {}", writer.call))?
                {
                    ensure!(times < 64, "{} never reaches {point}", writer.call);
                    times *= 2;
                }
                count += 1;
            }
        }
    }
    truth(&mut stage.control)?;
    let checked = amcheck(&mut stage.control)?;
    // Warnings about leaks come when a transaction ends well, crashes at once.
    let complaints = complaints(&context.server.log());
    ensure!(
        complaints.is_empty(),
        "the server's log: {}",
        complaints.join("\n")
    );
    Ok(Outcome::Passed(format!(
        "{count} interruptions{}",
        if checked { ", amcheck" } else { "" }
    )))
}

/// Interrupts a call at a point. False if a timeout came before it was there, and left
/// nothing either.
fn one(stage: &mut Stage, writer: &Writer, point: &str, way: Way, times: u32) -> Result<bool> {
    let call = ids(&format!("SELECT {}", writer.call));
    let mut before = stage.control.value(EVERYTHING)?;
    stage
        .control
        .batch(&format!("SELECT pg_advisory_lock({})", key(point)))?;
    stage.worker()?.batch("BEGIN; SAVEPOINT s")?;
    let mut other = match writer.after {
        Some(sql) => {
            let mut other = stage.database.connect()?;
            other.batch(&format!("BEGIN; {}", ids(sql)))?;
            Some(other)
        }
        None => None,
    };
    let timed = way.setting(times);
    let sql = format!("SET LOCAL caliber.wait_at = '{point}'; {timed} {call}");
    let pid = stage.pid;
    let worker = stage.worker.take().context("the worker is busy")?;
    let sent = send(worker, sql);
    let waits = format!("SELECT count(*) > 0 FROM pg_locks WHERE pid = {pid} AND NOT granted");
    if let Some(other) = &mut other {
        until(&mut stage.control, &waits)?;
        other.batch("COMMIT")?;
        before = stage.control.value(EVERYTHING)?;
    }
    let parked = format!(
        "SELECT count(*) > 0 FROM pg_locks WHERE pid = {pid} AND NOT granted AND locktype = 'advisory' AND objsubid = 1
         AND classid::bigint << 32 | objid::bigint = {}",
        key(point)
    );
    match way {
        Way::Cancel => {
            until(&mut stage.control, &parked)?;
            stage
                .control
                .batch(&format!("SELECT pg_cancel_backend({pid})"))?;
        }
        Way::Terminate => {
            until(&mut stage.control, &parked)?;
            stage
                .control
                .batch(&format!("SELECT pg_terminate_backend({pid})"))?;
            let gone = format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {pid}");
            until(&mut stage.control, &gone)?;
        }
        Way::StatementTimeout | Way::LockTimeout => {}
    }
    let mut seen = matches!(way, Way::Cancel | Way::Terminate);
    while !seen && !sent.is_finished() {
        seen = stage.control.value(&parked)?.as_deref() == Some("t");
    }
    let Ok((worker, answer)) = sent.join() else {
        bail!("the session's thread panicked")
    };
    stage
        .control
        .batch(&format!("SELECT pg_advisory_unlock({})", key(point)))?;
    match (way, answer) {
        (Way::Terminate, Err(Failure::Lost(_))) => {
            ensure!(stage.held()?.is_none(), "left: {:?}", stage.held()?);
            stage.enter()?;
        }
        (_, Err(Failure::Error(error))) if error.sqlstate == way.sqlstate() => {
            stage.worker = Some(worker);
            stage.worker()?.batch("ROLLBACK TO s")?;
            ensure!(stage.held()?.is_none(), "left: {:?}", stage.held()?);
            let seen = stage.worker()?.value(EVERYTHING)?;
            ensure!(seen == before, "something is half done in the transaction");
            // The session goes on, and the call can still be made.
            stage.worker()?.batch(&format!("RELEASE s; {call}"))?;
            stage.worker()?.batch("ROLLBACK")?;
            ensure!(stage.held()?.is_none(), "left: {:?}", stage.held()?);
        }
        (_, other) => bail!("{other:?}"),
    }
    let after = stage.control.value(EVERYTHING)?;
    ensure!(after == before, "something is half done");
    Ok(seen)
}

/// Not in the middle of a call, but behind one: the transaction is ended by the
/// server.
fn idle(context: &Context) -> Result<Outcome> {
    let database = context.server.fresh_database()?;
    let mut control = database.connect()?;
    control.batch(&ids(ROWS))?;
    let before = control.value(EVERYTHING)?;
    let calls = WRITERS.iter().filter(|writer| writer.after.is_none());
    let mut count = 0;
    for writer in calls {
        let mut worker = database.connect()?;
        let pid = worker.pid()?;
        worker.batch("SET idle_in_transaction_session_timeout = '1ms'")?;
        let call = ids(&format!("BEGIN; SELECT {}", writer.call));
        // The timeout may even come before the answer is read: both end it.
        match worker.run(&call) {
            Err(Failure::Error(error)) if error.sqlstate != "25P03" => {
                bail!("{}: {error}", writer.call)
            }
            _ => {}
        }
        until(
            &mut control,
            &format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {pid}"),
        )?;
        let left = control.value(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid}"))?;
        ensure!(left.as_deref() == Some("0"), "{}: {left:?}", writer.call);
        ensure!(
            control.value(EVERYTHING)? == before,
            "{} is half done",
            writer.call
        );
        count += 1;
    }
    // A session lock that was committed goes with the session.
    let mut worker = database.connect()?;
    let pid = worker.pid()?;
    worker.batch(&ids(
        "SELECT caliber_lock_acquire('@b', 'file', '@2', level => 'session')",
    ))?;
    // It may come before the answer does.
    let _ = worker.run("SET idle_session_timeout = '1ms'");
    until(
        &mut control,
        &format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {pid}"),
    )?;
    let next = control.value(&ids(
        "SELECT caliber_lock_acquire('@a', 'file', '@2') IS NOT NULL",
    ))?;
    ensure!(next.as_deref() == Some("t"), "the lock of an idle session");
    truth(&mut control)?;
    Ok(Outcome::Passed(format!("{count} calls")))
}
