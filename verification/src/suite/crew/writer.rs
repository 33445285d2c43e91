//! A writer: transactions of many calls, of which it knows beforehand what
//! they leave behind.

mod deeds;
mod reads;

use super::ledger::{Changes, Ledger};
use crate::session::{Failure, Session};
use anyhow::{anyhow, Result};
use std::collections::BTreeSet;

/// A generator of numbers that needs no dependency.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Throws that a seed decides.
    pub fn new(seed: u64, number: u64) -> Self {
        Self((seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// How a transaction came out.
pub enum Done {
    /// It was acknowledged.
    Committed,
    /// It was undone: on purpose, or since others were in its way.
    Undone,
    /// The connection is gone.
    Lost,
}

/// Why a deed stops before its end.
enum Stop {
    Failed(Failure),
    Wrong(anyhow::Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Wrong(error)
    }
}

type Deed = Result<Changes, Stop>;

/// One writer, who outlives his sessions.
pub struct Writer {
    number: u64,
    dice: Dice,
    /// Transactions begun.
    begun: u64,
    next: u64,
    /// What it was told.
    pub ledger: Ledger,
    /// Which deeds it has committed.
    pub deeds: BTreeSet<&'static str>,
    /// How many transactions it has committed.
    pub committed: u64,
    /// How many were undone by the server (deadlocks, serialization failures).
    pub retried: u64,
}

/// Kinds of rows, in the second group of their ids.
const KINDS: [&str; 10] = [
    "agent",
    "task",
    "scope",
    "turn",
    "artifact",
    "note",
    "lock",
    "message",
    "delegation",
    "conflict",
];

/// The deeds, and how often each is chosen.
const DEEDS: [(&str, u64); 16] = [
    ("task", 4),
    ("tokens", 6),
    ("agent", 3),
    ("finish", 2),
    ("remove", 1),
    ("send", 3),
    ("receive", 3),
    ("delegate", 2),
    ("accept", 3),
    ("handoff", 2),
    ("lock", 3),
    ("unlock", 3),
    ("fence", 2),
    ("move", 2),
    ("conflict", 1),
    ("read", 4),
];

fn id_of(writer: u64, kind: &str, n: u64) -> String {
    let kind = KINDS.iter().position(|name| *name == kind).unwrap_or(15);
    format!("{writer:08x}-{kind:04x}-7000-8000-{n:012x}")
}

/// The number in an id.
fn number_in(id: &str) -> u64 {
    u64::from_str_radix(id.rsplit('-').next().unwrap_or_default(), 16).unwrap_or(0)
}

/// What others compete for.
fn resource(n: u64) -> String {
    format!("00000000-00f0-7000-8000-{n:012x}")
}

const RESOURCES: u64 = 5;
const LONG: u64 = 9000;

impl Writer {
    /// A writer whose agent and tree [`Writer::introduction`] makes.
    pub fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            dice: Dice::new(seed, number),
            begun: 0,
            next: 10,
            ledger: Ledger::default(),
            deeds: BTreeSet::new(),
            committed: 0,
            retried: 0,
        }
    }

    fn id(&self, kind: &str, n: u64) -> String {
        id_of(self.number, kind, n)
    }

    fn agent(&self) -> String {
        self.id("agent", 1)
    }

    /// The agent; two trees, and a branch of two tasks under the first, which
    /// moves about.
    pub fn introduction(&mut self, session: &mut Session) -> Result<()> {
        let agent = self.agent();
        let [a, b, branch, leaf] = [1, 2, 3, 4].map(|n| self.id("task", n));
        session.batch(&format!(
            "SELECT caliber_agent_register('worker', id => '{agent}');
             SELECT caliber_trajectory_create('a', id => '{a}');
             SELECT caliber_trajectory_create('b', id => '{b}');
             SELECT caliber_trajectory_create('branch', parent_trajectory_id => '{a}', id => '{branch}');
             SELECT caliber_trajectory_create('leaf', parent_trajectory_id => '{branch}', id => '{leaf}')"
        ))?;
        self.ledger.sent(
            [
                (format!("agent/{agent}"), Some("idle|".to_owned())),
                (format!("task/{a}"), Some("active||".to_owned())),
                (format!("task/{b}"), Some("active||".to_owned())),
                (format!("task/{branch}"), Some(format!("active|{a}|{a}"))),
                (format!("task/{leaf}"), Some(format!("active|{branch}|{a}"))),
            ]
            .into(),
            "introduction".to_owned(),
        );
        self.ledger.acknowledged();
        Ok(())
    }

    /// One transaction.
    ///
    /// # Errors
    /// When the server does what it must not.
    pub fn transaction(&mut self, session: &mut Session) -> Result<Done> {
        let deed = self.choose();
        let isolation = match self.dice.roll(8) {
            0 => "SERIALIZABLE",
            1 | 2 => "REPEATABLE READ",
            _ => "READ COMMITTED",
        };
        let outcome = self.attempt(session, deed, isolation);
        match outcome {
            Ok(true) => {
                self.deeds.insert(deed);
                self.committed += 1;
                Ok(Done::Committed)
            }
            Ok(false) => Ok(Done::Undone),
            Err(Stop::Failed(Failure::Lost(_))) => Ok(Done::Lost),
            // As SQL: who meets others' changes begins again.
            Err(Stop::Failed(Failure::Error(error)))
                if ["40001", "40P01"].contains(&error.sqlstate.as_str()) =>
            {
                self.ledger.refused();
                self.retried += 1;
                match session.run("ROLLBACK") {
                    Err(Failure::Lost(_)) => Ok(Done::Lost),
                    _ => Ok(Done::Undone),
                }
            }
            Err(Stop::Failed(Failure::Error(error))) => Err(anyhow!(
                "writer {}, {deed}, {isolation}: {error}",
                self.number
            )),
            Err(Stop::Wrong(error)) => {
                Err(error.context(format!("writer {}, {deed}, {isolation}", self.number)))
            }
        }
    }

    /// Each deed once, every writer beginning with another; then by weight.
    fn choose(&mut self) -> &'static str {
        self.begun += 1;
        if self.begun <= DEEDS.len() as u64 {
            return DEEDS[(self.number + self.begun) as usize % DEEDS.len()].0;
        }
        let sum = DEEDS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.dice.roll(sum);
        for (deed, weight) in DEEDS {
            if at < weight {
                return deed;
            }
            at -= weight;
        }
        "tokens"
    }

    /// True if it was committed.
    fn attempt(
        &mut self,
        session: &mut Session,
        deed: &str,
        isolation: &str,
    ) -> Result<bool, Stop> {
        session.run(&format!("BEGIN ISOLATION LEVEL {isolation}"))?;
        // What a savepoint takes back is not there either.
        if self.dice.roll(6) == 0 {
            session.run("SAVEPOINT s")?;
            self.carry_out(session, deed)?;
            session.run("ROLLBACK TO s")?;
        }
        let changes = self.carry_out(session, deed)?;
        if self.dice.roll(12) == 0 {
            session.run("ROLLBACK")?;
            return Ok(false);
        }
        // A transaction that notified or took session locks cannot be prepared.
        let prepared =
            ["task", "tokens", "finish", "remove"].contains(&deed) && self.dice.roll(5) == 0;
        let mark = format!("{}-{}", self.number, self.begun);
        session.run(&format!("INSERT INTO crew_mark VALUES ('{mark}')"))?;
        self.ledger.sent(changes, mark);
        if prepared {
            self.next += 1;
            let name = format!("{}-{}", self.number, self.next);
            session.run(&format!("PREPARE TRANSACTION '{name}'"))?;
            // From here on nothing may be lost: whoever comes after a crash
            // finds it prepared, and commits it.
            self.ledger.acknowledged();
            session.run(&format!("COMMIT PREPARED '{name}'"))?;
        } else {
            session.run("COMMIT")?;
            self.ledger.acknowledged();
        }
        Ok(true)
    }

    fn carry_out(&mut self, session: &mut Session, deed: &str) -> Deed {
        match deed {
            "task" => self.task(session),
            "tokens" => self.tokens(session),
            "agent" => self.at_work(session),
            "finish" => self.finish(session),
            "remove" => self.remove(session),
            "send" => self.send(session),
            "receive" => self.receive(session),
            "delegate" => self.delegate(session),
            "accept" => self.accept(session),
            "handoff" => self.take_over(session),
            "lock" => self.lock(session),
            "unlock" => self.unlock(session),
            "fence" => self.fence(session),
            "move" => self.move_branch(session),
            "read" => self.read(session),
            _ => self.conflict(session),
        }
    }

    /// Something of what the ledger has of a kind: the number in its id.
    fn some(&mut self, kind: &str, wanted: impl Fn(&str) -> bool) -> Option<u64> {
        let found: Vec<u64> = self
            .ledger
            .of(kind)
            .filter(|(_, state)| wanted(state))
            .map(|(id, _)| number_in(id))
            .collect();
        let place = self.dice.roll(found.len().max(1) as u64) as usize;
        found.get(place).copied()
    }

    fn new_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn run(session: &mut Session, sql: &str) -> Result<(), Stop> {
    session.run(sql)?;
    Ok(())
}

/// Whether a call says true.
fn yes(session: &mut Session, sql: &str) -> Result<bool, Stop> {
    let answer = session.query(sql)?.column().into_iter().flatten().next();
    Ok(answer.as_deref() == Some("t"))
}

/// The names of all deeds.
pub fn names() -> impl Iterator<Item = &'static str> {
    DEEDS.iter().map(|(name, _)| *name)
}
