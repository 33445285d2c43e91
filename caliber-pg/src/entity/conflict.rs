//! Conflict: two items that do not go together, and what was decided.

use super::args::{self, Page};
use super::common;
use super::life::LifeCycle;
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Table, Verdict};
use crate::error::{CaliberError, CaliberResult, Rule};
use crate::pg::call::Call;
use crate::pg::datum::{Id, IntArg, TextArg, ToValue, UuidArg, Value};
use crate::pg::function::Returned;
use crate::pg::json;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use pgrx::prelude::*;

/// Columns of `caliber_conflict`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const CONFLICT_ID: usize = 0;
    pub const ITEM_A_ID: usize = 3;
    pub const ITEM_B_ID: usize = 5;
    pub const STATUS: usize = 9;
    pub const RESOLUTION: usize = 10;
    pub const RESOLVED_AT: usize = 12;
}
use column::*;

/// The entity.
pub static CONFLICT: Entity = Entity {
    name: "conflict",
    shape: Shape {
        table: "caliber_conflict",
        row_type: Conflict::NAME,
        columns: &[
            Column::new("conflict_id", ColumnType::Uuid),
            Column::new("conflict_type", ColumnType::Text),
            Column::new("item_a_type", ColumnType::Text),
            Column::new("item_a_id", ColumnType::Uuid),
            Column::new("item_b_type", ColumnType::Text),
            Column::new("item_b_id", ColumnType::Uuid),
            Column::new("agent_a_id", ColumnType::Uuid),
            Column::new("agent_b_id", ColumnType::Uuid),
            Column::new("trajectory_id", ColumnType::Uuid),
            Column::new("status", ColumnType::Text),
            Column::new("resolution", ColumnType::Jsonb),
            Column::new("detected_at", ColumnType::Timestamp),
            Column::new("resolved_at", ColumnType::Timestamp),
        ],
    },
    key: CONFLICT_ID,
};

/// The life of a conflict.
pub static LIFE: LifeCycle = LifeCycle {
    entity: "conflict",
    states: &["detected", "resolving", "resolved", "escalated"],
    moves: &[
        ("detected", "resolving"),
        ("detected", "resolved"),
        ("detected", "escalated"),
        ("resolving", "resolved"),
        ("resolving", "escalated"),
        ("escalated", "resolved"),
    ],
};

const TYPES: &[&str] = &[
    "concurrent_write",
    "contradicting_fact",
    "incompatible_decision",
    "resource_contention",
    "goal_conflict",
];

/// The strategies under which one item wins.
const WITH_WINNER: &[&str] = &["last_write_wins", "first_write_wins", "highest_confidence"];

const STRATEGIES: &[&str] = &[
    "last_write_wins",
    "first_write_wins",
    "highest_confidence",
    "merge",
    ESCALATE,
    "reject_both",
];

/// The strategy that leaves the decision to others.
const ESCALATE: &str = "escalate";

const WINNERS: &[&str] = &["a", "b"];

/// Names the row type.
#[derive(Debug)]
pub struct Conflict;

impl RowType for Conflict {
    const NAME: &'static str = "caliber_conflict_row";
}

/// Records a conflict between two items (R11.1). Returns its id, or NULL if a
/// trigger vetoes the row. That the items exist is not checked.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_conflict_create(
    conflict_type: TextArg,
    item_a_type: TextArg,
    item_a_id: UuidArg,
    item_b_type: TextArg,
    item_b_id: UuidArg,
    agent_a_id: default!(UuidArg, "NULL"),
    agent_b_id: default!(UuidArg, "NULL"),
    trajectory_id: default!(UuidArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        args::one_of("conflict", "conflict_type", &conflict_type, TYPES)?;
        let item_a_type = args::non_empty("item_a_type", &item_a_type)?;
        let item_a = args::required("item_a_id", &item_a_id)?;
        let item_b_type = args::non_empty("item_b_type", &item_b_type)?;
        let item_b = args::required("item_b_id", &item_b_id)?;
        let (id, given) = args::id_or_new(&id);
        let table = Table::open_to_create(&call, &CONFLICT, Rights::insert(), given)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        let row = [
            Value::uuid(id),
            conflict_type.value(),
            item_a_type,
            item_a,
            item_b_type,
            item_b,
            agent_a_id.value(),
            agent_b_id.value(),
            trajectory_id.value(),
            Value::text("detected"),
            Value::NULL,
            Value::transaction_start(),
            Value::NULL,
        ];
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// A conflict by id, or NULL (R11.2).
#[pg_extern(stable, parallel_safe)]
fn caliber_conflict_get(conflict_id: UuidArg, call: Call) -> Returned<Row<Conflict>> {
    common::get(&call, &CONFLICT, &conflict_id)
}

/// Says that somebody is resolving a detected conflict. False if there is no
/// such conflict, or somebody is already; 55000 after that.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_conflict_start(conflict_id: UuidArg, call: Call) -> Returned<bool> {
    Returned::always(|| move_to(&call, &conflict_id, "resolving", &[]))
}

/// Resolves a conflict, or escalates it, and records how (R11.3). False if
/// there is no such conflict, or it is there already.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_conflict_resolve(
    conflict_id: UuidArg,
    strategy: TextArg,
    winner: default!(TextArg, "NULL"),
    reason: default!(TextArg, "NULL"),
    merged_result_id: default!(UuidArg, "NULL"),
    resolved_by: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<bool> {
    Returned::always(|| {
        args::required("conflict_id", &conflict_id)?;
        let chosen = args::one_of("conflict", "strategy", &strategy, STRATEGIES)?;
        check_winner(chosen, &winner)?;
        let resolution = json::object(&[
            ("strategy", strategy.value()),
            ("winner", winner.value()),
            ("reason", reason.value()),
            ("merged_result_id", id_text(&merged_result_id)),
            ("resolved_by", id_text(&resolved_by)),
        ]);
        let resolution = (RESOLUTION, resolution);
        if chosen == ESCALATE {
            return move_to(&call, &conflict_id, "escalated", &[resolution]);
        }
        let now = (RESOLVED_AT, Value::transaction_start());
        move_to(&call, &conflict_id, "resolved", &[resolution, now])
    })
}

/// The conflicts that are not resolved, by id (R11.4).
#[pg_extern(stable, parallel_safe)]
fn caliber_conflict_list_pending(
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Conflict>> {
    Returned::always(|| {
        let page = Page::new(&max_rows, &after)?;
        let pending = LIFE.states.iter().filter(|&&status| status != "resolved");
        let mut ranges: Vec<Range> = pending
            .map(|status| Range::of([(STATUS, Value::text(status))]))
            .collect();
        ranges.push(Range::of_others(STATUS, LIFE.states));
        common::list(&call, &CONFLICT, &List::any(ranges).page(page))
    })
}

/// The conflicts of an item, by id.
#[pg_extern(stable, parallel_safe)]
fn caliber_conflict_list_by_item(
    item_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Rows<Conflict>> {
    Returned::always(|| {
        let item = args::required("item_id", &item_id)?;
        let page = Page::new(&max_rows, &after)?;
        let either = [ITEM_A_ID, ITEM_B_ID].map(|column| Range::of([(column, item)]));
        common::list(&call, &CONFLICT, &List::of(either).page(page))
    })
}

/// Deletes a conflict. False if there is none.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_conflict_delete(conflict_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &CONFLICT, &conflict_id)
}

/// Moves a conflict to another status, with what else is recorded then.
fn move_to(
    call: &Call,
    conflict_id: &UuidArg,
    status: &'static str,
    recorded: &[(usize, Value)],
) -> CaliberResult<bool> {
    let id = args::required_id("conflict_id", conflict_id)?;
    let mut changes = vec![(STATUS, Value::text(status))];
    changes.extend_from_slice(recorded);
    let named = changes.iter().map(|c| c.0).collect();
    let rights = Rights::update(CONFLICT_ID, named).and_select();
    let table = Table::open(call, &CONFLICT, &rights)?;
    let key = Value::uuid(id);
    table.engine().change(&table, key, &mut |stored| {
        let current = stored.get(STATUS).as_text().unwrap_or_default();
        if !LIFE.leads(id, &current, status)? {
            return Ok(Verdict::Answer(false));
        }
        Ok(Verdict::Write {
            changes: changes.clone(),
            checked: vec![STATUS],
        })
    })
}

/// Under some strategies there is a winner; a winner is a or b.
fn check_winner(strategy: &str, winner: &TextArg) -> CaliberResult<()> {
    if winner.is_some() {
        args::one_of("conflict", "winner", winner, WINNERS)?;
    } else if WITH_WINNER.contains(&strategy) {
        return Err(CaliberError::argument(
            Rule::Value,
            format!("strategy \"{strategy}\" needs a winner"),
            Some(format!("Allowed values: {}.", WINNERS.join(", "))),
        ));
    }
    Ok(())
}

/// The text of a uuid, or NULL.
fn id_text(id: &UuidArg) -> Value {
    let id = id.value().as_uuid();
    id.map_or(Value::NULL, |id| Value::text(&id.to_string()))
}
