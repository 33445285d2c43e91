//! Handoff: a scope passed on from one agent to another.

use super::agent::AGENT;
use super::args::{self, Page};
use super::common;
use super::eligibility::Addressed;
use super::life::LifeCycle;
use crate::engine::consulted::Consulted;
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Table, Verdict};
use crate::pg::call::Call;
use crate::pg::datum::{Id, IntArg, TextArg, TextArrayArg, ToValue, UuidArg, Value};
use crate::pg::function::Returned;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use pgrx::prelude::*;

/// Columns of `caliber_handoff`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const HANDOFF_ID: usize = 0;
    pub const FROM_AGENT_ID: usize = 1;
    pub const TO_AGENT_ID: usize = 2;
    pub const TO_AGENT_TYPE: usize = 3;
    pub const TRAJECTORY_ID: usize = 4;
    pub const STATUS: usize = 11;
    pub const ACCEPTED_AT: usize = 13;
    pub const COMPLETED_AT: usize = 14;
}
use column::*;

/// The entity.
pub static HANDOFF: Entity = Entity {
    name: "handoff",
    shape: Shape {
        table: "caliber_handoff",
        row_type: Handoff::NAME,
        columns: &[
            Column::new("handoff_id", ColumnType::Uuid),
            Column::new("from_agent_id", ColumnType::Uuid),
            Column::new("to_agent_id", ColumnType::Uuid),
            Column::new("to_agent_type", ColumnType::Text),
            Column::new("trajectory_id", ColumnType::Uuid),
            Column::new("scope_id", ColumnType::Uuid),
            Column::new("context_snapshot_id", ColumnType::Uuid),
            Column::new("handoff_notes", ColumnType::Text),
            Column::new("next_steps", ColumnType::TextArray),
            Column::new("blockers", ColumnType::TextArray),
            Column::new("open_questions", ColumnType::TextArray),
            Column::new("status", ColumnType::Text),
            Column::new("initiated_at", ColumnType::Timestamp),
            Column::new("accepted_at", ColumnType::Timestamp),
            Column::new("completed_at", ColumnType::Timestamp),
            Column::new("reason", ColumnType::Text),
        ],
    },
    key: HANDOFF_ID,
};

/// The life of a handoff.
pub static LIFE: LifeCycle = LifeCycle {
    entity: "handoff",
    states: &["initiated", "accepted", "completed", "rejected"],
    moves: &[
        ("initiated", "accepted"),
        ("initiated", "rejected"),
        ("accepted", "completed"),
    ],
};

/// Why an agent hands a scope over.
const REASONS: &[&str] = &[
    "capability_mismatch",
    "load_balancing",
    "specialization",
    "escalation",
    "timeout",
    "failure",
    "scheduled",
];

static ADDRESSED: Addressed = Addressed {
    from: FROM_AGENT_ID,
    agent: TO_AGENT_ID,
    agent_type: TO_AGENT_TYPE,
    foreign_key: "caliber_handoff_to_agent_id_fkey",
};

/// Names the row type.
#[derive(Debug)]
pub struct Handoff;

impl RowType for Handoff {
    const NAME: &'static str = "caliber_handoff_row";
}

/// Offers a scope to an agent, or to any agent of a type (`*`: of any type)
/// (R10.1). Returns its id, or NULL if a trigger vetoes the row.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_handoff_create(
    from_agent_id: UuidArg,
    to_agent_id: UuidArg,
    to_agent_type: TextArg,
    trajectory_id: UuidArg,
    scope_id: UuidArg,
    context_snapshot_id: UuidArg,
    reason: default!(TextArg, "'scheduled'"),
    handoff_notes: default!(TextArg, "''"),
    next_steps: default!(TextArrayArg, "'{}'"),
    blockers: default!(TextArrayArg, "'{}'"),
    open_questions: default!(TextArrayArg, "'{}'"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let from = args::required("from_agent_id", &from_agent_id)?;
        args::check_not_empty("to_agent_type", to_agent_type.value())?;
        let trajectory = args::required("trajectory_id", &trajectory_id)?;
        let scope = args::required("scope_id", &scope_id)?;
        let snapshot = args::required("context_snapshot_id", &context_snapshot_id)?;
        args::one_of("handoff", "reason", &reason, REASONS)?;
        let notes = args::required("handoff_notes", &handoff_notes)?;
        let next_steps = args::array("next_steps", &next_steps)?;
        let blockers = args::array("blockers", &blockers)?;
        let open_questions = args::array("open_questions", &open_questions)?;
        let (id, given) = args::id_or_new(&id);
        let table = Table::open_to_create(&call, &HANDOFF, Rights::insert(), given)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        let row = [
            Value::uuid(id),
            from,
            to_agent_id.value(),
            to_agent_type.value(),
            trajectory,
            scope,
            snapshot,
            notes,
            next_steps,
            blockers,
            open_questions,
            Value::text("initiated"),
            Value::transaction_start(),
            Value::NULL,
            Value::NULL,
            reason.value(),
        ];
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// A handoff by id, or NULL (R10.2).
#[pg_extern(stable, parallel_safe)]
fn caliber_handoff_get(handoff_id: UuidArg, call: Call) -> Returned<Row<Handoff>> {
    common::get(&call, &HANDOFF, &handoff_id)
}

/// Takes a handoff over (R10.3): the agent that it is addressed to, or one of
/// the type, but never the sender (42501; 23503 for an unknown agent). Exactly
/// one call returns true. False if there is none, or it was accepted already;
/// 55000 if it was rejected.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_handoff_accept(
    handoff_id: UuidArg,
    accepting_agent_id: UuidArg,
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("handoff_id", &handoff_id)?;
        let agent = args::required_id("accepting_agent_id", &accepting_agent_id)?;
        let changed = vec![TO_AGENT_ID, STATUS, ACCEPTED_AT];
        let rights = Rights::update(HANDOFF_ID, changed).and_select();
        let read = Rights::select();
        let wanted = [(&HANDOFF, &rights), (&AGENT, &read)];
        let [table, agents] = Table::open_several(&call, wanted, false)?;
        let agents = Consulted::from(agents);
        table
            .engine()
            .change(&table, Value::uuid(id), &mut |stored| {
                ADDRESSED.check(&table, &agents, stored, id, agent)?;
                let status = stored.get(STATUS).as_text().unwrap_or_default();
                if !LIFE.allows(&status, "accepted") {
                    if status == "rejected" {
                        return Err(LIFE.refuse(id, &status, "accepted"));
                    }
                    return Ok(Verdict::Answer(false));
                }
                let mut checked = vec![STATUS];
                checked.extend(ADDRESSED.columns());
                Ok(Verdict::Write {
                    changes: vec![
                        (TO_AGENT_ID, Value::uuid(agent)),
                        (STATUS, Value::text("accepted")),
                        (ACCEPTED_AT, Value::transaction_start()),
                    ],
                    checked,
                })
            })
    })
}

/// Ends a handoff (R10.4). An agent that is given must be the one that accepted
/// it (42501). False if there is none, or it is completed already; 55000 if it
/// was not accepted.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_handoff_complete(
    handoff_id: UuidArg,
    agent_id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("handoff_id", &handoff_id)?;
        let agent = agent_id.value().as_uuid();
        let rights = Rights::update(HANDOFF_ID, vec![STATUS, COMPLETED_AT]).and_select();
        let table = Table::open(&call, &HANDOFF, &rights)?;
        table
            .engine()
            .change(&table, Value::uuid(id), &mut |stored| {
                ADDRESSED.check_recorded(&table, stored, id, agent)?;
                let status = stored.get(STATUS).as_text().unwrap_or_default();
                if !LIFE.leads(id, &status, "completed")? {
                    return Ok(Verdict::Answer(false));
                }
                let mut checked = vec![STATUS];
                checked.extend(agent.map(|_| TO_AGENT_ID));
                Ok(Verdict::Write {
                    changes: vec![
                        (STATUS, Value::text("completed")),
                        (COMPLETED_AT, Value::transaction_start()),
                    ],
                    checked,
                })
            })
    })
}

/// Declines a handoff. False if there is none, or it is rejected already; 55000
/// if it was accepted.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_handoff_reject(handoff_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("handoff_id", &handoff_id)?;
        let rights = Rights::update(HANDOFF_ID, vec![STATUS]).and_select();
        let table = Table::open(&call, &HANDOFF, &rights)?;
        table
            .engine()
            .change(&table, Value::uuid(id), &mut |stored| {
                let status = stored.get(STATUS).as_text().unwrap_or_default();
                if !LIFE.leads(id, &status, "rejected")? {
                    return Ok(Verdict::Answer(false));
                }
                Ok(Verdict::Write {
                    changes: vec![(STATUS, Value::text("rejected"))],
                    checked: vec![STATUS],
                })
            })
    })
}

/// The handoffs in one status that are addressed to an agent or were accepted
/// by it, by id; for `initiated` also those for the type that it has now, or
/// for any, that it did not send.
#[pg_extern(stable, parallel_safe)]
fn caliber_handoff_list_for_agent(
    agent_id: UuidArg,
    status: default!(TextArg, "'initiated'"),
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Handoff>> {
    Returned::always(|| {
        let agent = args::required("agent_id", &agent_id)?;
        let wanted = args::one_of("handoff", "status", &status, LIFE.states)?;
        let status = status.value();
        let page = Page::new(&max_rows, &after)?;
        let mut rows = Rows::new(&call)?;
        let read = Rights::select();
        let both = [(&HANDOFF, &read), (&AGENT, &read)];
        let [table, agents] = Table::open_several(&call, both, false)?;
        let mut ranges = vec![Range::of([(TO_AGENT_ID, agent), (STATUS, status)])];
        if wanted == "initiated" {
            ranges.extend(ADDRESSED.open_to(&agents, agent, STATUS, wanted)?);
        }
        let list = List::any(ranges).page(page);
        table.engine().list(&table, &list, rows.sink())?;
        Ok(rows)
    })
}

/// The handoffs of a task, by id.
#[pg_extern(stable, parallel_safe)]
fn caliber_handoff_list_by_trajectory(
    trajectory_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Handoff>> {
    Returned::always(|| {
        let trajectory = args::required("trajectory_id", &trajectory_id)?;
        common::list_by(
            &call,
            &HANDOFF,
            TRAJECTORY_ID,
            trajectory,
            &max_rows,
            &after,
        )
    })
}

/// Deletes a handoff. False if there is none.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_handoff_delete(handoff_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &HANDOFF, &handoff_id)
}
