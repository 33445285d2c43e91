//! What delegations and handoffs have in common: work that is addressed to an
//! agent or to any agent of a type, and that exactly one agent takes.

pub mod eligibility;
pub mod lists;
pub mod race;
pub mod schedules;

use super::desk::{self, Desk};
use crate::judge::Engine;
use crate::session::{Failure, ServerError, Session};
use anyhow::{bail, Result};

/// The engines that a topic goes through.
pub const ENGINES: [Engine; 3] = [Engine::Heap, Engine::Sql, Engine::SqlOneshot];

/// One of the two entities.
#[derive(Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Column of the agent that it comes from.
    pub from: &'static str,
    /// Column of the agent that it is for, or that took it.
    pub agent: &'static str,
    /// Column of the type of agents that it is for.
    pub agent_type: &'static str,
    /// The state of one that nobody has taken.
    pub open: &'static str,
    /// All states.
    pub states: &'static [&'static str],
    /// Other columns of a row, and their values.
    pub others: (&'static str, &'static str),
    /// A column that no rule rests on, and a value for it.
    pub idle: (&'static str, &'static str),
    /// The foreign key of `agent`.
    pub foreign_key: &'static str,
}

/// Delegations.
pub static DELEGATION: Kind = Kind {
    name: "delegation",
    from: "delegator_agent_id",
    agent: "delegatee_agent_id",
    agent_type: "delegatee_agent_type",
    open: "pending",
    states: &[
        "pending",
        "accepted",
        "rejected",
        "in_progress",
        "completed",
        "failed",
    ],
    others: (
        "task_description, parent_trajectory_id",
        "'Mend the roof', '@2'",
    ),
    idle: ("deadline", "now()"),
    foreign_key: "caliber_delegation_delegatee_agent_id_fkey",
};

/// Handoffs.
pub static HANDOFF: Kind = Kind {
    name: "handoff",
    from: "from_agent_id",
    agent: "to_agent_id",
    agent_type: "to_agent_type",
    open: "initiated",
    states: &["initiated", "accepted", "completed", "rejected"],
    others: (
        "trajectory_id, scope_id, context_snapshot_id, reason",
        "'@2', '@3', '@4', 'failure'",
    ),
    idle: ("handoff_notes", "'more'"),
    foreign_key: "caliber_handoff_to_agent_id_fkey",
};

/// Four agents, a task below another one, and a scope. `@a` asks; `@b` and
/// `@c` are workers; `@d` is of another type.
pub const PEOPLE: &str = "
    INSERT INTO caliber_agent (agent_id, agent_type) VALUES ('@a', 'boss'), ('@b', 'worker'), ('@c', 'worker'), ('@d', 'other');
    INSERT INTO caliber_trajectory (trajectory_id, name, parent_trajectory_id, root_trajectory_id)
        VALUES ('@1', 'root', NULL, NULL), ('@2', 'below', '@1', '@1');
    INSERT INTO caliber_scope (scope_id, trajectory_id, name, token_budget) VALUES ('@3', '@2', 's', 8);";

/// Writes ids out.
#[must_use]
pub fn ids(text: &str) -> String {
    text.replace('@', "00000000-0000-7000-8000-00000000000")
}

impl Kind {
    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        format!("caliber_{}", self.name)
    }

    /// The key column.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}_id", self.name)
    }

    /// The statement that writes a row. `target` is an agent (`@b`), a type
    /// (`worker`), or both (`@b worker`).
    #[must_use]
    pub fn put(&self, id: &str, target: &str, status: &str) -> String {
        let (agent, kind) = match target.split_once(' ') {
            Some((agent, kind)) => (format!("'{agent}'"), format!("'{kind}'")),
            None if target.starts_with('@') => (format!("'{target}'"), "NULL".to_owned()),
            None => ("NULL".to_owned(), format!("'{target}'")),
        };
        ids(&format!(
            "INSERT INTO {} ({}, {}, {}, {}, status, {}) VALUES ('{id}', '@a', {agent}, {kind}, '{status}', {})",
            self.table(),
            self.key(),
            self.from,
            self.agent,
            self.agent_type,
            self.others.0,
            self.others.1
        ))
    }

    /// The statement that writes many open rows for the type `worker`.
    #[must_use]
    pub fn put_many(&self, count: usize) -> String {
        ids(&format!(
            "INSERT INTO {} ({}, {}, {}, status, {}) SELECT md5(i::text)::uuid, '@a', 'worker', '{}', {}
             FROM generate_series(1, {count}) i",
            self.table(),
            self.key(),
            self.from,
            self.agent_type,
            self.others.0,
            self.open,
            self.others.1
        ))
    }

    /// The call by which an agent takes it.
    #[must_use]
    pub fn accept(&self, id: &str, agent: &str) -> String {
        ids(&format!(
            "SELECT caliber_{}_accept('{id}', '{agent}')",
            self.name
        ))
    }

    /// What a row says: agent, type, state.
    #[must_use]
    pub fn see(&self, id: &str) -> String {
        ids(&format!(
            "SELECT concat_ws(' ', chr(64) || right({}::text, 1), {}, status) FROM {} WHERE {} = '{id}'",
            self.agent,
            self.agent_type,
            self.table(),
            self.key()
        ))
    }

    /// Opens desks with [`PEOPLE`].
    ///
    /// # Errors
    /// When a server refuses.
    pub fn desks(
        &self,
        context: &crate::runner::Context,
        engines: &[Engine],
        more: &str,
    ) -> Result<Vec<Desk>> {
        desk::open(context, engines, &ids(&format!("{PEOPLE}{more}")))
    }
}

/// The value that a call gives, or the SQLSTATE that it raises.
///
/// # Errors
/// When the connection is lost.
pub fn told(session: &mut Session, sql: &str) -> Result<String> {
    Ok(match outcome(session, sql)? {
        Ok(value) => value.unwrap_or_else(|| "NULL".to_owned()),
        Err(error) => error.sqlstate,
    })
}

/// The value that a call gives, or the ERROR that it raises, without SPI's line.
///
/// # Errors
/// When the connection is lost.
pub fn outcome(
    session: &mut Session,
    sql: &str,
) -> Result<std::result::Result<Option<String>, ServerError>> {
    match session.run(sql) {
        Ok(mut replies) => Ok(Ok(replies
            .pop()
            .and_then(|reply| reply.column().pop())
            .flatten())),
        Err(Failure::Error(error)) => Ok(Err(error.without_spi_context())),
        Err(lost) => bail!("{lost}: {sql}"),
    }
}

/// Undoes what `work` does.
///
/// # Errors
/// Those of `work`.
pub fn undone<T>(session: &mut Session, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
    session.batch("BEGIN")?;
    let result = work(session);
    session.batch("ROLLBACK")?;
    result
}
