//! Taking work back from an agent that is not heard of any more.

use super::column::*;
use super::{status_of, DELEGATION};
use crate::engine::consulted::Consulted;
use crate::engine::{Table, Verdict};
use crate::entity::agent::AGENT;
use crate::entity::{args, eligibility};
use crate::error::{CaliberError, Rule};
use crate::pg::call::Call;
use crate::pg::datum::{IntervalArg, TextArg, ToValue, UuidArg, Value};
use crate::pg::function::Returned;
use crate::pg::relation::ColumnType;
use crate::pg::rights::Rights;
use pgrx::prelude::*;

/// Takes accepted work back from an agent whose last heartbeat is older than
/// `stale_after`: it is pending again for the new target, or else for the type
/// that was asked, or else for the same agent. The child trajectory stays, and
/// the next agent takes it over. False in every other case.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_delegation_reclaim(
    delegation_id: UuidArg,
    stale_after: IntervalArg,
    delegatee_agent_id: default!(UuidArg, "NULL"),
    delegatee_agent_type: default!(TextArg, "NULL"),
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("delegation_id", &delegation_id)?;
        let stale_after = args::required("stale_after", &stale_after)?;
        let (new_agent, new_type) = (delegatee_agent_id.value(), delegatee_agent_type.value());
        args::check_not_empty("delegatee_agent_type", new_type)?;
        if !new_agent.is_null() && !new_type.is_null() {
            return Err(CaliberError::argument(
                Rule::Value,
                "a delegation is for an agent or for a type, not for both",
                None,
            ));
        }
        let changed = vec![
            DELEGATEE_AGENT_ID,
            DELEGATEE_AGENT_TYPE,
            STATUS,
            ACCEPTED_AT,
        ];
        let rights = Rights::update(DELEGATION_ID, changed).and_select();
        let read = Rights::select();
        let wanted = [(&DELEGATION, &rights), (&AGENT, &read)];
        let [table, agents] = Table::open_several(&call, wanted, false)?;
        let agents = Consulted::from(agents);
        let engine = table.engine();
        engine.change(&table, Value::uuid(id), &mut |stored| {
            let status = status_of(stored);
            // Copies: what is written must outlive the version that it comes from.
            let (agent, agent_type) = (
                stored.get(DELEGATEE_AGENT_ID).copied(ColumnType::Uuid),
                stored.get(DELEGATEE_AGENT_TYPE).copied(ColumnType::Text),
            );
            let is_held = status == "accepted" || status == "in_progress";
            if !is_held || !eligibility::is_stale(&agents, agent, stale_after)? {
                return Ok(Verdict::Answer(false));
            }
            let (agent, agent_type) = if !new_agent.is_null() {
                (new_agent, Value::NULL)
            } else if !new_type.is_null() {
                (Value::NULL, new_type)
            } else if !agent_type.is_null() {
                (Value::NULL, agent_type)
            } else {
                (agent, Value::NULL)
            };
            Ok(Verdict::Write {
                changes: vec![
                    (DELEGATEE_AGENT_ID, agent),
                    (DELEGATEE_AGENT_TYPE, agent_type),
                    (STATUS, Value::text("pending")),
                    (ACCEPTED_AT, Value::NULL),
                ],
                checked: vec![STATUS, DELEGATEE_AGENT_ID, DELEGATEE_AGENT_TYPE],
            })
        })
    })
}
