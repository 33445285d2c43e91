//! Who may take work: the agent that it is addressed to, or any agent of the
//! type that it is addressed to; never the one that it comes from.

use super::agent::column::{AGENT_TYPE, LAST_HEARTBEAT};
use super::agent::ANY_TYPE;
use crate::engine::consulted::Consulted;
use crate::engine::list::Range;
use crate::engine::{Stored, Table};
use crate::error::{AgentError, CaliberError, CaliberResult};
use crate::pg::datum::Value;
use crate::pg::test::Test;
use uuid::Uuid;

/// Where a piece of work says whom it comes from and whom it is for.
#[derive(Debug)]
pub struct Addressed {
    /// Column of the agent that it comes from.
    pub from: usize,
    /// Column of the agent that it is for, or that took it.
    pub agent: usize,
    /// Column of the type of agents that it is for.
    pub agent_type: usize,
    /// The foreign key of `agent`.
    pub foreign_key: &'static str,
}

impl Addressed {
    /// The columns that a decision over eligibility rests on.
    pub fn columns(&self) -> [usize; 3] {
        [self.from, self.agent, self.agent_type]
    }

    /// May `agent` take the work in `row`, whose key is `id`?
    ///
    /// # Errors
    /// 23503 if there is no such agent, 42501 if it may not.
    pub fn check(
        &self,
        table: &Table,
        agents: &Consulted,
        row: &Stored,
        id: Uuid,
        agent: Uuid,
    ) -> CaliberResult<()> {
        let key = Value::uuid(agent);
        let found = agents.read(|agents| agents.engine().fetch(agents, key, &[AGENT_TYPE]))?;
        let Some(found) = found else {
            return Err(CaliberError::from(AgentError::Unknown {
                message: format!("agent {agent} does not exist"),
                object: table.constraint(self.foreign_key),
            }));
        };
        let what = table.entity.name;
        if row.get(self.from).as_uuid() == Some(agent) {
            return Err(not_eligible(format!(
                "{what} {id} comes from agent {agent}, which cannot accept it"
            )));
        }
        let named = row.get(self.agent).as_uuid() == Some(agent);
        let wanted = row.get(self.agent_type).as_bytes();
        let of_type = wanted.is_some_and(|wanted| {
            wanted == ANY_TYPE.as_bytes() || found[0].as_bytes() == Some(wanted)
        });
        if named || of_type || crate::fault::active("any_agent_eligible") {
            return Ok(());
        }
        Err(not_eligible(format!(
            "{what} {id} is not addressed to agent {agent}"
        )))
    }

    /// Is `agent`, where given, the one that the work in `row` is recorded for?
    /// An agent from which it was taken back is not.
    ///
    /// # Errors
    /// 42501 if it is not.
    pub fn check_recorded(
        &self,
        table: &Table,
        row: &Stored,
        id: Uuid,
        agent: Option<Uuid>,
    ) -> CaliberResult<()> {
        if crate::fault::active("late_complete") {
            return Ok(());
        }
        match agent {
            Some(agent) if row.get(self.agent).as_uuid() != Some(agent) => {
                let what = table.entity.name;
                Err(not_eligible(format!(
                    "{what} {id} is not recorded for agent {agent}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The rows in state `open` that are for agents of the type that `agent`
    /// has now, or of any, and do not come from it. None for an agent that is
    /// not there.
    ///
    /// # Errors
    /// 55000 without an index.
    pub fn open_to(
        &self,
        agents: &Table,
        agent: Value,
        status: usize,
        open: &'static str,
    ) -> CaliberResult<Vec<Range>> {
        let Some(row) = agents.engine().get(agents, agent)? else {
            return Ok(Vec::new());
        };
        let columns = agents.entity.shape.columns.len();
        let own = row.values(&agents.relation, columns)[AGENT_TYPE];
        let any = Value::text(ANY_TYPE);
        let of = |agent_type| {
            // Not what is for nobody's type, where an agent has none.
            Range::of([(self.agent_type, agent_type)])
                .test(self.agent_type, Test::NotNull)
                .test(status, Test::Word(open))
                .test(self.from, Test::IsNot(agent))
        };
        Ok(vec![of(own), of(any)])
    }
}

/// Is the last heartbeat of `agent` older than `stale_after`, by the clock of
/// now? An agent that is not there is not known to be dead.
///
/// # Errors
/// 55000 without an index on the key.
pub fn is_stale(agents: &Consulted, agent: Value, stale_after: Value) -> CaliberResult<bool> {
    let found = agents.read(|agents| agents.engine().fetch(agents, agent, &[LAST_HEARTBEAT]))?;
    let since = Value::wall_clock_minus(stale_after).as_int8();
    let heard = found.and_then(|columns| columns[0].as_int8());
    // One that was never heard of is not older than anything.
    Ok(heard.zip(since).is_some_and(|(heard, since)| heard < since))
}

fn not_eligible(message: String) -> CaliberError {
    CaliberError::from(AgentError::NotEligible { message })
}
