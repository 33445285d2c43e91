//! Delegation: work that one agent asks of another.

mod accept;
mod reclaim;

use super::agent::{AGENT, ANY_TYPE};
use super::args::{self, Page};
use super::common;
use super::eligibility::Addressed;
use super::life::LifeCycle;
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Stored, Table, Verdict};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::call::Call;
use crate::pg::datum::{
    BoolArg, Id, IntArg, JsonbArg, TextArg, TimestampArg, ToValue, UuidArg, UuidArrayArg, Value,
};
use crate::pg::function::Returned;
use crate::pg::json;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use crate::pg::test::Test;
use pgrx::prelude::*;
use uuid::Uuid;

/// Columns of `caliber_delegation`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const DELEGATION_ID: usize = 0;
    pub const DELEGATOR_AGENT_ID: usize = 1;
    pub const DELEGATEE_AGENT_ID: usize = 2;
    pub const DELEGATEE_AGENT_TYPE: usize = 3;
    pub const TASK_DESCRIPTION: usize = 4;
    pub const PARENT_TRAJECTORY_ID: usize = 5;
    pub const CHILD_TRAJECTORY_ID: usize = 6;
    pub const STATUS: usize = 12;
    pub const RESULT: usize = 13;
    pub const ACCEPTED_AT: usize = 15;
    pub const COMPLETED_AT: usize = 16;
}
use column::*;

/// The entity.
pub static DELEGATION: Entity = Entity {
    name: "delegation",
    shape: Shape {
        table: "caliber_delegation",
        row_type: Delegation::NAME,
        columns: &[
            Column::new("delegation_id", ColumnType::Uuid),
            Column::new("delegator_agent_id", ColumnType::Uuid),
            Column::new("delegatee_agent_id", ColumnType::Uuid),
            Column::new("delegatee_agent_type", ColumnType::Text),
            Column::new("task_description", ColumnType::Text),
            Column::new("parent_trajectory_id", ColumnType::Uuid),
            Column::new("child_trajectory_id", ColumnType::Uuid),
            Column::new("shared_artifacts", ColumnType::UuidArray),
            Column::new("shared_notes", ColumnType::UuidArray),
            Column::new("additional_context", ColumnType::Text),
            Column::new("constraints", ColumnType::Jsonb),
            Column::new("deadline", ColumnType::Timestamp),
            Column::new("status", ColumnType::Text),
            Column::new("result", ColumnType::Jsonb),
            Column::new("created_at", ColumnType::Timestamp),
            Column::new("accepted_at", ColumnType::Timestamp),
            Column::new("completed_at", ColumnType::Timestamp),
        ],
    },
    key: DELEGATION_ID,
};

/// The life of a delegation; taking it back from a dead agent is a rule of its
/// own.
pub static LIFE: LifeCycle = LifeCycle {
    entity: "delegation",
    states: &[
        "pending",
        "accepted",
        "rejected",
        "in_progress",
        "completed",
        "failed",
    ],
    moves: &[
        ("pending", "accepted"),
        ("pending", "rejected"),
        ("accepted", "in_progress"),
        ("accepted", "completed"),
        ("accepted", "failed"),
        ("in_progress", "completed"),
        ("in_progress", "failed"),
    ],
};

static ADDRESSED: Addressed = Addressed {
    from: DELEGATOR_AGENT_ID,
    agent: DELEGATEE_AGENT_ID,
    agent_type: DELEGATEE_AGENT_TYPE,
    foreign_key: "caliber_delegation_delegatee_agent_id_fkey",
};

/// Names the row type.
#[derive(Debug)]
pub struct Delegation;

impl RowType for Delegation {
    const NAME: &'static str = "caliber_delegation_row";
}

/// Asks an agent, or any agent of a type (`*`: of any type), for work (R9.1).
/// Returns the id, or NULL if a trigger vetoes the row. The deadline is
/// recorded, not enforced.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_delegation_create(
    delegator_agent_id: UuidArg,
    delegatee_agent_id: UuidArg,
    delegatee_agent_type: TextArg,
    task_description: TextArg,
    parent_trajectory_id: UuidArg,
    shared_artifacts: default!(UuidArrayArg, "'{}'"),
    shared_notes: default!(UuidArrayArg, "'{}'"),
    additional_context: default!(TextArg, "NULL"),
    constraints: default!(JsonbArg, "'{}'"),
    deadline: default!(TimestampArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let delegator = args::required("delegator_agent_id", &delegator_agent_id)?;
        let agent_type = delegatee_agent_type.value();
        args::check_not_empty("delegatee_agent_type", agent_type)?;
        let task = args::required("task_description", &task_description)?;
        let parent = args::required("parent_trajectory_id", &parent_trajectory_id)?;
        let artifacts = args::array("shared_artifacts", &shared_artifacts)?;
        let notes = args::array("shared_notes", &shared_notes)?;
        let constraints = args::required("constraints", &constraints)?;
        let (id, given) = args::id_or_new(&id);
        let table = Table::open_to_create(&call, &DELEGATION, Rights::insert(), given)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        let row = [
            Value::uuid(id),
            delegator,
            delegatee_agent_id.value(),
            agent_type,
            task,
            parent,
            Value::NULL,
            artifacts,
            notes,
            additional_context.value(),
            constraints,
            deadline.value(),
            Value::text("pending"),
            Value::NULL,
            Value::transaction_start(),
            Value::NULL,
            Value::NULL,
        ];
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// A delegation by id, or NULL (R9.2).
#[pg_extern(stable, parallel_safe)]
fn caliber_delegation_get(delegation_id: UuidArg, call: Call) -> Returned<Row<Delegation>> {
    common::get(&call, &DELEGATION, &delegation_id)
}

/// Says that the agent has begun. An agent that is given must be the one that
/// accepted (42501). False if there is none, or it is in progress already;
/// 55000 from any other state than accepted.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_delegation_start(
    delegation_id: UuidArg,
    agent_id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("delegation_id", &delegation_id)?;
        let agent = agent_id.value().as_uuid();
        move_to(&call, id, agent, "in_progress", &[])
    })
}

/// Ends the work (R9.4), with its result and `{"summary"}`. An agent that is
/// given must be the one that accepted (42501): not one from which the work was
/// taken back. False if there is none, or it ended so already; 55000 if it
/// ended otherwise, or was not accepted.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_delegation_complete(
    delegation_id: UuidArg,
    success: BoolArg,
    summary: default!(TextArg, "NULL"),
    result: default!(JsonbArg, "NULL"),
    agent_id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("delegation_id", &delegation_id)?;
        let success = args::required("success", &success)?;
        let result = with_summary(result.value(), summary.value())?;
        let agent = agent_id.value().as_uuid();
        let to = match success.as_bool() {
            Some(true) => "completed",
            _ => "failed",
        };
        let changes = [(RESULT, result), (COMPLETED_AT, Value::transaction_start())];
        move_to(&call, id, agent, to, &changes)
    })
}

/// `result` with the member `summary`; NULL if there is neither.
fn with_summary(result: Value, summary: Value) -> CaliberResult<Value> {
    if !result.is_null() && !json::is_object(result) {
        return Err(CaliberError::argument(
            Rule::Value,
            "\"result\" must be a JSON object",
            None,
        ));
    }
    if summary.is_null() {
        return Ok(result);
    }
    let summary = json::object(&[("summary", summary)]);
    Ok(if result.is_null() {
        summary
    } else {
        json::merged(result, summary)
    })
}

/// Declines the work, with `{"reason"}` as its result. False if there is none,
/// or it is rejected already; 55000 if it was accepted.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_delegation_reject(
    delegation_id: UuidArg,
    reason: default!(TextArg, "NULL"),
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("delegation_id", &delegation_id)?;
        let reason = reason.value();
        let result = if reason.is_null() {
            Value::NULL
        } else {
            json::object(&[("reason", reason)])
        };
        move_to(&call, id, None, "rejected", &[(RESULT, result)])
    })
}

/// Moves a delegation to `to`, with other changes. An agent that is given must
/// be the one that it is recorded for.
fn move_to(
    call: &Call,
    id: Uuid,
    agent: Option<Uuid>,
    to: &str,
    others: &[(usize, Value)],
) -> CaliberResult<bool> {
    let mut changes = vec![(STATUS, Value::text(to))];
    changes.extend_from_slice(others);
    let named = changes.iter().map(|c| c.0).collect();
    let rights = Rights::update(DELEGATION_ID, named).and_select();
    let table = Table::open(call, &DELEGATION, &rights)?;
    let engine = table.engine();
    engine.change(&table, Value::uuid(id), &mut |stored| {
        // Before the state: whoever lost the work learns that, whatever became
        // of it since.
        ADDRESSED.check_recorded(&table, stored, id, agent)?;
        if !LIFE.leads(id, &status_of(stored), to)? {
            return Ok(Verdict::Answer(false));
        }
        let mut checked = vec![STATUS];
        checked.extend(agent.map(|_| DELEGATEE_AGENT_ID));
        Ok(Verdict::Write {
            changes: changes.clone(),
            checked,
        })
    })
}

/// The pending delegations for agents of a type or of any, by id; without a
/// type, all that are pending (R9.5).
#[pg_extern(stable, parallel_safe)]
fn caliber_delegation_list_pending(
    agent_type: default!(TextArg, "NULL"),
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Delegation>> {
    Returned::always(|| {
        let agent_type = agent_type.value();
        args::check_not_empty("agent_type", agent_type)?;
        let page = Page::new(&max_rows, &after)?;
        let pending = |range: Range| range.test(STATUS, Test::Word("pending"));
        let list = if agent_type.is_null() {
            let all = Range::of([]).sorted_through(&[DELEGATEE_AGENT_TYPE, DELEGATION_ID]);
            List::of([pending(all)])
        } else {
            let any = Value::text(ANY_TYPE);
            List::of([agent_type, any].map(|t| pending(Range::of([(DELEGATEE_AGENT_TYPE, t)]))))
        };
        common::list(&call, &DELEGATION, &list.page(page))
    })
}

/// The delegations that are addressed to an agent or were accepted by it and
/// are not final, and the pending ones for the type that it has now, or for
/// any, that it did not make; by id.
#[pg_extern(stable, parallel_safe)]
fn caliber_delegation_list_for_agent(
    agent_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Delegation>> {
    Returned::always(|| {
        let agent = args::required("agent_id", &agent_id)?;
        let page = Page::new(&max_rows, &after)?;
        let mut rows = Rows::new(&call)?;
        let read = Rights::select();
        let both = [(&DELEGATION, &read), (&AGENT, &read)];
        let [table, agents] = Table::open_several(&call, both, false)?;
        let open = LIFE.states.iter().filter(|state| !LIFE.is_final(state));
        let mut ranges: Vec<Range> = open
            .map(|state| {
                let status = Value::text(state);
                Range::of([(DELEGATEE_AGENT_ID, agent), (STATUS, status)])
            })
            .collect();
        let others = Range::of_others(STATUS, LIFE.states);
        ranges.push(others.test(DELEGATEE_AGENT_ID, Test::Is(agent)));
        ranges.extend(ADDRESSED.open_to(&agents, agent, STATUS, "pending")?);
        let list = List::any(ranges).page(page);
        table.engine().list(&table, &list, rows.sink())?;
        Ok(rows)
    })
}

/// The delegations that an agent made, by id.
#[pg_extern(stable, parallel_safe)]
fn caliber_delegation_list_by_delegator(
    agent_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Delegation>> {
    Returned::always(|| {
        let agent = args::required("agent_id", &agent_id)?;
        let column = DELEGATOR_AGENT_ID;
        common::list_by(&call, &DELEGATION, column, agent, &max_rows, &after)
    })
}

/// Deletes a delegation. False if there is none.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_delegation_delete(delegation_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &DELEGATION, &delegation_id)
}

/// The state of a delegation.
fn status_of(stored: &Stored) -> String {
    stored.get(STATUS).as_text().unwrap_or_default()
}
