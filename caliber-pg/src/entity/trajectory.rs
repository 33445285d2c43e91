//! Trajectory: a task.

use super::args;
use super::common;
use super::life::LifeCycle;
use super::tree;
use super::updates::{self, Field};
use crate::engine::{Entity, Table, Verdict};
use crate::pg::call::Call;
use crate::pg::datum::{Id, IntArg, JsonbArg, TextArg, ToValue, UuidArg, Value};
use crate::pg::function::Returned;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use pgrx::prelude::*;
use uuid::Uuid;

/// Columns of `caliber_trajectory`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const TRAJECTORY_ID: usize = 0;
    pub const NAME: usize = 1;
    pub const DESCRIPTION: usize = 2;
    pub const STATUS: usize = 3;
    pub const PARENT_TRAJECTORY_ID: usize = 4;
    pub const ROOT_TRAJECTORY_ID: usize = 5;
    pub const AGENT_ID: usize = 6;
    pub const UPDATED_AT: usize = 8;
    pub const COMPLETED_AT: usize = 9;
    pub const OUTCOME: usize = 10;
    pub const METADATA: usize = 11;
}
use column::*;

/// The entity.
pub static TRAJECTORY: Entity = Entity {
    name: "trajectory",
    shape: Shape {
        table: "caliber_trajectory",
        row_type: Trajectory::NAME,
        columns: &[
            Column::new("trajectory_id", ColumnType::Uuid),
            Column::new("name", ColumnType::Text),
            Column::new("description", ColumnType::Text),
            Column::new("status", ColumnType::Text),
            Column::new("parent_trajectory_id", ColumnType::Uuid),
            Column::new("root_trajectory_id", ColumnType::Uuid),
            Column::new("agent_id", ColumnType::Uuid),
            Column::new("created_at", ColumnType::Timestamp),
            Column::new("updated_at", ColumnType::Timestamp),
            Column::new("completed_at", ColumnType::Timestamp),
            Column::new("outcome", ColumnType::Jsonb),
            Column::new("metadata", ColumnType::Jsonb),
        ],
    },
    key: TRAJECTORY_ID,
};

/// The life of a trajectory.
pub static LIFE: LifeCycle = LifeCycle {
    entity: "trajectory",
    states: &["active", "completed", "failed", "suspended"],
    moves: &[
        ("active", "completed"),
        ("active", "failed"),
        ("active", "suspended"),
        ("suspended", "active"),
        ("suspended", "failed"),
    ],
};

const UPDATABLE: &[Field] = &[
    Field::non_empty(NAME),
    Field::any(DESCRIPTION),
    Field::any(AGENT_ID),
    Field::any(PARENT_TRAJECTORY_ID),
    Field::any(OUTCOME),
    Field::any(METADATA),
];

/// Names the row type.
#[derive(Debug)]
pub struct Trajectory;

impl RowType for Trajectory {
    const NAME: &'static str = "caliber_trajectory_row";
}

/// Starts a task (R1.1). Returns its id, or NULL if a trigger vetoes the row.
///
/// With a parent, the root is the parent's root, or the parent.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_trajectory_create(
    name: TextArg,
    description: default!(TextArg, "NULL"),
    agent_id: default!(UuidArg, "NULL"),
    parent_trajectory_id: default!(UuidArg, "NULL"),
    metadata: default!(JsonbArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let name = args::non_empty("name", &name)?;
        let parent = parent_trajectory_id.value();
        let (id, given) = args::id_or_new(&id);
        let mut rights = Rights::insert();
        if !parent.is_null() {
            rights = rights.and_select();
        }
        let table = Table::open_to_create(&call, &TRAJECTORY, rights, given)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        let place = match parent.as_uuid() {
            Some(parent) => Some((parent, tree::join(&table, parent)?)),
            None => None,
        };
        let (description, agent) = (description.value(), agent_id.value());
        let row = new_row(id, name, description, place, agent, metadata.value());
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// An active trajectory that begins now; `place` is its parent and its root.
pub(super) fn new_row(
    id: Uuid,
    name: Value,
    description: Value,
    place: Option<(Uuid, Uuid)>,
    agent: Value,
    metadata: Value,
) -> [Value; 12] {
    let now = Value::transaction_start();
    [
        Value::uuid(id),
        name,
        description,
        Value::text("active"),
        Value::maybe_uuid(place.map(|(parent, _)| parent)),
        Value::maybe_uuid(place.map(|(_, root)| root)),
        agent,
        now,
        now,
        Value::NULL,
        Value::NULL,
        metadata,
    ]
}

/// A task by id, or NULL (R1.2).
#[pg_extern(stable, parallel_safe)]
fn caliber_trajectory_get(trajectory_id: UuidArg, call: Call) -> Returned<Row<Trajectory>> {
    common::get(&call, &TRAJECTORY, &trajectory_id)
}

/// Changes name, description, agent_id, parent_trajectory_id, outcome or
/// metadata (R1.3). False if there is no such task.
///
/// Naming the parent moves the task and everything below it to another tree.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_trajectory_update(
    trajectory_id: UuidArg,
    updates: JsonbArg,
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("trajectory_id", &trajectory_id)?;
        let mut changes = updates::read(&TRAJECTORY, &updates, UPDATABLE)?;
        let parent = changes
            .iter()
            .find(|c| c.0 == PARENT_TRAJECTORY_ID)
            .map(|c| c.1.as_uuid());
        changes.push((UPDATED_AT, Value::transaction_start()));
        let Some(parent) = parent else {
            return common::update(&call, &TRAJECTORY, Value::uuid(id), &changes);
        };
        let mut named: Vec<usize> = changes.iter().map(|c| c.0).collect();
        named.push(ROOT_TRAJECTORY_ID);
        let rights = Rights::update(TRAJECTORY_ID, named).and_select();
        let table = Table::open(&call, &TRAJECTORY, &rights)?;
        tree::move_to(&table, id, parent, changes)
    })
}

/// Moves a task to another status (R1.4). False if there is no such task; true
/// if it is in that status already. `outcome`, where given, is stored with the
/// move, and replaces the outcome of a task that is final in that status.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_trajectory_set_status(
    trajectory_id: UuidArg,
    status: TextArg,
    outcome: default!(JsonbArg, "NULL"),
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("trajectory_id", &trajectory_id)?;
        let status = args::one_of("trajectory", "status", &status, LIFE.states)?;
        let outcome = outcome.value();
        let ends = LIFE.is_final(status);
        let now = Value::transaction_start();
        let mut changes = vec![(STATUS, Value::text(status)), (UPDATED_AT, now)];
        if ends {
            changes.push((COMPLETED_AT, now));
        }
        if !outcome.is_null() {
            changes.push((OUTCOME, outcome));
        }
        let named = changes.iter().map(|c| c.0).collect();
        let rights = Rights::update(TRAJECTORY_ID, named).and_select();
        let table = Table::open(&call, &TRAJECTORY, &rights)?;
        table
            .engine()
            .change(&table, Value::uuid(id), &mut |stored| {
                let current = stored.get(STATUS).as_text().unwrap_or_default();
                let changes = if current != status {
                    if !LIFE.allows(&current, status) {
                        return Err(LIFE.refuse(id, &current, status));
                    }
                    changes.clone()
                } else if ends && !outcome.is_null() {
                    vec![(OUTCOME, outcome), (UPDATED_AT, now)]
                } else {
                    return Ok(Verdict::Answer(true));
                };
                Ok(Verdict::Write {
                    changes,
                    checked: vec![STATUS],
                })
            })
    })
}

/// Tasks in one status, by id (R1.5).
#[pg_extern(stable, parallel_safe)]
fn caliber_trajectory_list_by_status(
    status: TextArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Trajectory>> {
    Returned::always(|| {
        args::one_of("trajectory", "status", &status, LIFE.states)?;
        let status = status.value();
        common::list_by(&call, &TRAJECTORY, STATUS, status, &max_rows, &after)
    })
}

/// The tasks directly below a task, by id.
#[pg_extern(stable, parallel_safe)]
fn caliber_trajectory_list_children(
    trajectory_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Trajectory>> {
    Returned::always(|| {
        let parent = args::required("trajectory_id", &trajectory_id)?;
        let column = PARENT_TRAJECTORY_ID;
        common::list_by(&call, &TRAJECTORY, column, parent, &max_rows, &after)
    })
}

/// The tasks of an agent, by id.
#[pg_extern(stable, parallel_safe)]
fn caliber_trajectory_list_by_agent(
    agent_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Trajectory>> {
    Returned::always(|| {
        let agent = args::required("agent_id", &agent_id)?;
        common::list_by(&call, &TRAJECTORY, AGENT_ID, agent, &max_rows, &after)
    })
}

/// Deletes a task. False if there is none; 23503 while any row refers to it.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_trajectory_delete(trajectory_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &TRAJECTORY, &trajectory_id)
}
