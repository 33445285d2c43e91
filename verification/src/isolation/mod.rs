//! Several sessions, one schedule: a script is plain data, the driver runs one
//! thread per session and sees through `pg_isolation_test_session_is_blocked`
//! whether a step waits for another session, as PostgreSQL's isolationtester
//! does. The result is a transcript, which a test compares or judges.

mod driver;

pub use driver::{run, Options};

use crate::session::{Reply, ServerError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One step of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStep {
    /// Number of the session, from 0.
    pub session: usize,
    /// What it sends; several statements may be one step.
    pub sql: String,
}

/// A script: what each session does first, and the steps in the order in
/// which they are started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// For each session, what it does before the first step. Must not wait.
    pub setup: Vec<Vec<String>>,
    /// The schedule.
    pub steps: Vec<SessionStep>,
}

impl Script {
    /// A script for `sessions` sessions that send `setup` first.
    #[must_use]
    pub fn new(sessions: usize, setup: &[&str]) -> Self {
        let setup: Vec<String> = setup.iter().map(|&sql| sql.to_owned()).collect();
        Self {
            setup: vec![setup; sessions],
            steps: Vec::new(),
        }
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, session: usize, sql: &str) -> Self {
        self.steps.push(SessionStep {
            session,
            sql: sql.to_owned(),
        });
        self
    }
}

/// What a finished step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The replies of its statements.
    Replies(Vec<Reply>),
    /// Its ERROR.
    Error(Box<ServerError>),
    /// The connection is gone.
    Lost(String),
}

impl Answer {
    /// The SQLSTATE, if it is an ERROR.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Error(error) => Some(&error.sqlstate),
            _ => None,
        }
    }

    /// The single value of the last statement.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Replies(replies) => replies.last()?.rows.first()?.first()?.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replies(replies) => {
                let rows: Vec<String> = replies
                    .iter()
                    .flat_map(|reply| &reply.rows)
                    .map(|row| {
                        row.iter()
                            .map(|cell| cell.as_deref().unwrap_or("NULL"))
                            .collect::<Vec<_>>()
                            .join(" | ")
                    })
                    .collect();
                f.write_str(if rows.is_empty() { "ok" } else { "" })?;
                f.write_str(&rows.join(" / "))
            }
            Self::Error(error) => write!(f, "ERROR {}: {}", error.sqlstate, error.message),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
        }
    }
}

/// What happened to one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The step's number in the schedule.
    pub step: usize,
    /// Its session.
    pub session: usize,
    /// `None`: it waits for another session. `Some`: it is finished.
    pub answer: Option<Answer>,
}

/// All events in order. A step that waits has two: when it began to wait and
/// when it finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The events.
    pub events: Vec<Event>,
}

impl Transcript {
    /// The answer of a step.
    #[must_use]
    pub fn answer(&self, step: usize) -> Option<&Answer> {
        self.events
            .iter()
            .filter(|event| event.step == step)
            .find_map(|event| event.answer.as_ref())
    }

    /// Whether a step had to wait: it was seen to, or the server says so itself, since
    /// only what waits ends as a deadlock or by `lock_timeout` (and, in a schedule, by
    /// another timeout or a cancel), perhaps sooner than anybody could look.
    #[must_use]
    pub fn waited(&self, step: usize) -> bool {
        let says = |answer: &Answer| matches!(answer.sqlstate(), Some("40P01" | "55P03" | "57014"));
        self.events
            .iter()
            .any(|event| event.step == step && event.answer.as_ref().is_none_or(says))
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            write!(f, "s{} step {}: ", event.session + 1, event.step)?;
            match &event.answer {
                None => writeln!(f, "waits …")?,
                Some(answer) => writeln!(f, "{answer}")?,
            }
        }
        Ok(())
    }
}
