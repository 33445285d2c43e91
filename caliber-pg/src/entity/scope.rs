//! Scope: a context window inside a trajectory.

use super::args;
use super::common;
use super::updates::{self, Field};
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Table, Verdict};
use crate::error::{AgentError, CaliberError};
use crate::pg::call::Call;
use crate::pg::datum::{Id, IntArg, JsonbArg, TextArg, ToValue, UuidArg, Value};
use crate::pg::function::Returned;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use crate::pg::test::Test;
use pgrx::prelude::*;

/// Columns of `caliber_scope`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const SCOPE_ID: usize = 0;
    pub const TRAJECTORY_ID: usize = 1;
    pub const NAME: usize = 3;
    pub const PURPOSE: usize = 4;
    pub const IS_ACTIVE: usize = 5;
    pub const CLOSED_AT: usize = 7;
    pub const CHECKPOINT: usize = 8;
    pub const TOKEN_BUDGET: usize = 9;
    pub const TOKENS_USED: usize = 10;
    pub const METADATA: usize = 11;
}
use column::*;

/// The entity.
pub static SCOPE: Entity = Entity {
    name: "scope",
    shape: Shape {
        table: "caliber_scope",
        row_type: Scope::NAME,
        columns: &[
            Column::new("scope_id", ColumnType::Uuid),
            Column::new("trajectory_id", ColumnType::Uuid),
            Column::new("parent_scope_id", ColumnType::Uuid),
            Column::new("name", ColumnType::Text),
            Column::new("purpose", ColumnType::Text),
            Column::new("is_active", ColumnType::Bool),
            Column::new("created_at", ColumnType::Timestamp),
            Column::new("closed_at", ColumnType::Timestamp),
            Column::new("checkpoint", ColumnType::Jsonb),
            Column::new("token_budget", ColumnType::Int4),
            Column::new("tokens_used", ColumnType::Int4),
            Column::new("metadata", ColumnType::Jsonb),
        ],
    },
    key: SCOPE_ID,
};

const UPDATABLE: &[Field] = &[
    Field::non_empty(NAME),
    Field::any(PURPOSE),
    Field::any(CHECKPOINT),
    Field::any(TOKEN_BUDGET),
    Field::any(METADATA),
];

/// Names the row type.
#[derive(Debug)]
pub struct Scope;

impl RowType for Scope {
    const NAME: &'static str = "caliber_scope_row";
}

/// Opens a scope in a trajectory (R2.1). Returns its id, or NULL if a trigger
/// vetoes the row. A parent scope must be of the same trajectory.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_scope_create(
    trajectory_id: UuidArg,
    name: TextArg,
    purpose: default!(TextArg, "NULL"),
    token_budget: default!(IntArg, "8000"),
    parent_scope_id: default!(UuidArg, "NULL"),
    metadata: default!(JsonbArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let trajectory = args::required("trajectory_id", &trajectory_id)?;
        let name = args::non_empty("name", &name)?;
        let budget = args::required("token_budget", &token_budget)?;
        let (id, given) = args::id_or_new(&id);
        let table = Table::open_to_create(&call, &SCOPE, Rights::insert(), given)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        let row = [
            Value::uuid(id),
            trajectory,
            parent_scope_id.value(),
            name,
            purpose.value(),
            Value::boolean(true),
            Value::transaction_start(),
            Value::NULL,
            Value::NULL,
            budget,
            Value::int4(0),
            metadata.value(),
        ];
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// A scope by id, or NULL (R2.2).
#[pg_extern(stable, parallel_safe)]
fn caliber_scope_get(scope_id: UuidArg, call: Call) -> Returned<Row<Scope>> {
    common::get(&call, &SCOPE, &scope_id)
}

/// The active scope of a trajectory with the greatest id, or NULL.
#[pg_extern(stable, parallel_safe)]
fn caliber_scope_get_current(trajectory_id: UuidArg, call: Call) -> Returned<Row<Scope>> {
    Returned::from(|| {
        let trajectory = args::required("trajectory_id", &trajectory_id)?;
        let table = Table::open(&call, &SCOPE, &Rights::select())?;
        let active = Range::of([(TRAJECTORY_ID, trajectory)]).test(IS_ACTIVE, Test::True);
        let list = List::of([active]).limit(1).last();
        Ok(table.engine().last(&table, &list)?.map(Row::from))
    })
}

/// Closes a scope once and for all (R2.3). False if there is none, or it is
/// closed already.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_scope_close(scope_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let key = args::required("scope_id", &scope_id)?;
        let rights = Rights::update(SCOPE_ID, vec![IS_ACTIVE, CLOSED_AT]).and_select();
        let table = Table::open(&call, &SCOPE, &rights)?;
        table.engine().change(&table, key, &mut |stored| {
            if stored.get(IS_ACTIVE).as_bool() != Some(true) {
                return Ok(Verdict::Answer(false));
            }
            Ok(Verdict::Write {
                changes: vec![
                    (IS_ACTIVE, Value::boolean(false)),
                    (CLOSED_AT, Value::transaction_start()),
                ],
                checked: vec![IS_ACTIVE],
            })
        })
    })
}

/// Sets the tokens used so far (R2.5); more than the budget is allowed. False
/// if there is no such scope, 55000 if it is closed.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_scope_update_tokens(
    scope_id: UuidArg,
    tokens_used: IntArg,
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        let id = args::required_id("scope_id", &scope_id)?;
        let tokens = args::required("tokens_used", &tokens_used)?;
        let rights = Rights::update(SCOPE_ID, vec![TOKENS_USED]).and_select();
        let table = Table::open(&call, &SCOPE, &rights)?;
        table
            .engine()
            .change(&table, Value::uuid(id), &mut |stored| {
                if stored.get(IS_ACTIVE).as_bool() != Some(true) {
                    return Err(CaliberError::from(AgentError::State {
                        message: format!("scope {id} is closed"),
                        hint: Some("Tokens are counted while a scope is active.".into()),
                    }));
                }
                Ok(Verdict::Write {
                    changes: vec![(TOKENS_USED, tokens)],
                    checked: vec![IS_ACTIVE],
                })
            })
    })
}

/// Changes name, purpose, checkpoint, token_budget or metadata. False if there
/// is no such scope. An empty object writes nothing.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_scope_update(scope_id: UuidArg, updates: JsonbArg, call: Call) -> Returned<bool> {
    Returned::always(|| {
        let key = args::required("scope_id", &scope_id)?;
        let changes = updates::read(&SCOPE, &updates, UPDATABLE)?;
        common::update(&call, &SCOPE, key, &changes)
    })
}

/// The scopes of a trajectory, by id (R2.4).
#[pg_extern(stable, parallel_safe)]
fn caliber_scope_list_by_trajectory(
    trajectory_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Scope>> {
    Returned::always(|| {
        let trajectory = args::required("trajectory_id", &trajectory_id)?;
        common::list_by(&call, &SCOPE, TRAJECTORY_ID, trajectory, &max_rows, &after)
    })
}

/// Deletes a scope. False if there is none; 23503 while any row refers to it.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_scope_delete(scope_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &SCOPE, &scope_id)
}
