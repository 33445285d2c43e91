//! Turn: one turn of a scope's conversation; append only.

use super::args::{self, Page};
use super::common;
use super::many::{self, Batch, Element, Key};
use super::scope::{self, SCOPE};
use crate::engine::list::{List, Range};
use crate::engine::{Entity, Table};
use crate::error::{AgentError, CaliberError, CaliberResult, Rule};
use crate::fault;
use crate::pg::advisory::{lock_for_transaction, tag_key};
use crate::pg::call::Call;
use crate::pg::context::within;
use crate::pg::datum::{Id, IntArg, JsonbArg, TextArg, ToValue, UuidArg, Value};
use crate::pg::function::Returned;
use crate::pg::ids::Ids;
use crate::pg::relation::{Column, ColumnType, Shape};
use crate::pg::rights::Rights;
use crate::pg::row::{Row, RowType, Rows};
use crate::pg::snapshot::ActiveSnapshot;
use pgrx::prelude::*;
use uuid::Uuid;

/// Columns of `caliber_turn`, by index.
pub mod column {
    #![allow(missing_docs)]
    pub const TURN_ID: usize = 0;
    pub const SCOPE_ID: usize = 1;
    pub const SEQUENCE: usize = 2;
}
use column::*;

/// The entity.
pub static TURN: Entity = Entity {
    name: "turn",
    shape: Shape {
        table: "caliber_turn",
        row_type: Turn::NAME,
        columns: &[
            Column::new("turn_id", ColumnType::Uuid),
            Column::new("scope_id", ColumnType::Uuid),
            Column::new("sequence", ColumnType::Int4),
            Column::new("role", ColumnType::Text),
            Column::new("content", ColumnType::Text),
            Column::new("token_count", ColumnType::Int4),
            Column::new("created_at", ColumnType::Timestamp),
            Column::new("tool_calls", ColumnType::Jsonb),
            Column::new("tool_results", ColumnType::Jsonb),
            Column::new("metadata", ColumnType::Jsonb),
        ],
    },
    key: TURN_ID,
};

const ROLES: &[&str] = &["user", "assistant", "system", "tool"];

/// The arguments of create that elements of create_many may give.
const KEYS: &[Key] = &[
    ("sequence", ColumnType::Int4),
    ("role", ColumnType::Text),
    ("content", ColumnType::Text),
    ("token_count", ColumnType::Int4),
    ("tool_calls", ColumnType::Jsonb),
    ("tool_results", ColumnType::Jsonb),
    ("metadata", ColumnType::Jsonb),
    ("id", ColumnType::Uuid),
];

/// Names the row type.
#[derive(Debug)]
pub struct Turn;

impl RowType for Turn {
    const NAME: &'static str = "caliber_turn_row";
}

/// Appends a turn to an open scope (R5.1, R5.3). Returns its id, or NULL if a
/// trigger vetoes the row. A NULL sequence is the next one, from 0.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_turn_create(
    scope_id: UuidArg,
    sequence: IntArg,
    role: TextArg,
    content: TextArg,
    token_count: default!(IntArg, "0"),
    tool_calls: default!(JsonbArg, "NULL"),
    tool_results: default!(JsonbArg, "NULL"),
    metadata: default!(JsonbArg, "NULL"),
    id: default!(UuidArg, "NULL"),
    call: Call,
) -> Returned<Id> {
    Returned::from(|| {
        let scope = args::required_id("scope_id", &scope_id)?;
        let (id, given) = args::id_or_new(&id);
        let mut row = row(
            id,
            scope,
            sequence.value(),
            [role.value(), content.value(), token_count.value()],
            [tool_calls.value(), tool_results.value(), metadata.value()],
        )?;
        let numbered = sequence.is_none();
        let find_duplicate = Table::finds_duplicates(given);
        let (table, scopes) = open(&call, rights(numbered, find_duplicate), find_duplicate)?;
        if table.is_duplicate(id)? {
            return Ok(Some(Id(id)));
        }
        check_open(scopes, scope)?;
        if numbered {
            row[SEQUENCE] = Value::int4(next(scope, greatest(&table, scope)?)?);
            crate::wait::at("turn.numbered");
        }
        Ok(table.create(id, &row)?.map(Id))
    })
}

/// Appends several turns to an open scope, all or none. Returns their ids, in
/// order, with NULL for one that a trigger vetoes. The elements of `turns` are
/// objects whose keys are the other arguments of `caliber_turn_create`.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_turn_create_many(scope_id: UuidArg, turns: JsonbArg, call: Call) -> Returned<Ids> {
    Returned::always(|| {
        let scope = args::required_id("scope_id", &scope_id)?;
        let mut batch = Batch::read("turns", &turns, KEYS, &["scope_id"], |turn| {
            element(scope, turn)
        })?;
        let mut ids = Ids::new(&call)?;
        let numbered = batch.to_write().any(|(_, new)| new.row[SEQUENCE].is_null());
        let rights = rights(numbered, true);
        let (table, scopes) = open(&call, rights, batch.finds_duplicates())?;
        batch.look_up(&table)?;
        if batch.writes() {
            check_open(scopes, scope)?;
            number(&table, scope, &mut batch)?;
        }
        for made in batch.write(&table)? {
            ids.put(made.id());
        }
        Ok(ids)
    })
}

/// A turn by id, or NULL.
#[pg_extern(stable, parallel_safe)]
fn caliber_turn_get(turn_id: UuidArg, call: Call) -> Returned<Row<Turn>> {
    common::get(&call, &TURN, &turn_id)
}

/// The turns of a scope, by sequence (R5.2): at most `max_rows`, and only those
/// after `after_sequence`.
#[pg_extern(stable, parallel_safe)]
fn caliber_turn_get_by_scope(
    scope_id: UuidArg,
    max_rows: default!(IntArg, "NULL"),
    after_sequence: default!(IntArg, "NULL"),
    call: Call,
) -> Returned<Rows<Turn>> {
    Returned::always(|| {
        let scope = args::required("scope_id", &scope_id)?;
        let page = Page::new(&max_rows, &after_sequence)?;
        let turns = List::of([Range::of([(SCOPE_ID, scope)])]).by(SEQUENCE);
        common::list(&call, &TURN, &turns.page(page))
    })
}

/// The last turns of a scope, by ascending sequence.
#[pg_extern(stable, parallel_safe)]
fn caliber_turn_get_recent(
    scope_id: UuidArg,
    max_rows: default!(IntArg, "20"),
    call: Call,
) -> Returned<Rows<Turn>> {
    Returned::always(|| {
        let scope = args::required("scope_id", &scope_id)?;
        args::required("max_rows", &max_rows)?;
        let page = Page::new(&max_rows, &Value::NULL)?;
        let turns = List::of([Range::of([(SCOPE_ID, scope)])]).by(SEQUENCE);
        common::list(&call, &TURN, &turns.page(page).last())
    })
}

/// Deletes a turn. False if there is none.
#[pg_extern(volatile, parallel_unsafe)]
fn caliber_turn_delete(turn_id: UuidArg, call: Call) -> Returned<bool> {
    common::delete(&call, &TURN, &turn_id)
}

/// A new row from the arguments of create, which are checked.
fn row(
    id: Uuid,
    scope: Uuid,
    sequence: Value,
    [role, content, token_count]: [Value; 3],
    [tool_calls, tool_results, metadata]: [Value; 3],
) -> CaliberResult<Vec<Value>> {
    args::one_of("turn", "role", &role, ROLES)?;
    Ok(vec![
        Value::uuid(id),
        Value::uuid(scope),
        sequence,
        role,
        args::required("content", &content)?,
        args::required("token_count", &token_count)?,
        Value::transaction_start(),
        tool_calls,
        tool_results,
        metadata,
    ])
}

/// A new row from an element of create_many.
fn element(scope: Uuid, turn: &Element) -> CaliberResult<many::New> {
    let (id, given) = args::id_or_new(&turn.get("id"));
    let row = row(
        id,
        scope,
        turn.get("sequence"),
        [
            turn.get("role"),
            turn.get("content"),
            turn.get_or("token_count", Value::int4(0)),
        ],
        [
            turn.get("tool_calls"),
            turn.get("tool_results"),
            turn.get("metadata"),
        ],
    )?;
    Ok(many::New { id, given, row })
}

/// What creating turns needs: SELECT on the table to find the next number, and
/// of the key where the id of a row is read.
fn rights(numbered: bool, reads_key: bool) -> Rights {
    let rights = Rights::insert();
    if numbered {
        rights.and_select()
    } else if reads_key {
        rights.and_select_column(TURN_ID)
    } else {
        rights
    }
}

/// Opens the table to create in, and that of scopes, which is read.
fn open(call: &Call, rights: Rights, find_duplicate: bool) -> CaliberResult<(Table, Table)> {
    let wanted = [(&TURN, &rights), (&SCOPE, &Rights::select())];
    let [turns, scopes] = Table::open_several(call, wanted, find_duplicate)?;
    Ok((turns, scopes))
}

/// Refuses a closed scope. One that is not there is left to the foreign key. Its table
/// is closed: a trigger on turns may alter it, as after a SELECT.
///
/// # Errors
/// 55000 if it is closed.
fn check_open(scopes: Table, scope: Uuid) -> CaliberResult<()> {
    let key = Value::uuid(scope);
    let found = scopes
        .engine()
        .fetch(&scopes, key, &[scope::column::IS_ACTIVE])?;
    drop(scopes);
    let is_open = found.is_none_or(|values| values[0].as_bool() == Some(true));
    if is_open || fault::active("closed_scope_open") {
        return Ok(());
    }
    Err(CaliberError::from(AgentError::State {
        message: format!("scope {scope} is closed"),
        hint: Some("Turns are appended while a scope is active.".into()),
    }))
}

/// Numbers the new rows without a sequence: each follows the greatest of those
/// stored and those of earlier elements.
fn number(table: &Table, scope: Uuid, batch: &mut Batch) -> CaliberResult<()> {
    if !batch.to_write().any(|(_, new)| new.row[SEQUENCE].is_null()) {
        return Ok(());
    }
    let mut last = greatest(table, scope)?;
    for (n, new) in batch.to_write() {
        if new.row[SEQUENCE].is_null() {
            let sequence = within(&format!("element {n}"), || next(scope, last))?;
            new.row[SEQUENCE] = Value::int4(sequence);
        }
        last = last.max(new.row[SEQUENCE].as_int4());
    }
    Ok(())
}

/// Locks the numbers of a scope to the end of the transaction, and returns the
/// greatest that is stored by then.
fn greatest(table: &Table, scope: Uuid) -> CaliberResult<Option<i32>> {
    if !fault::active("sequence_unlocked") {
        lock_for_transaction(tag_key("scope", scope.as_bytes()), true);
    }
    let _snapshot = if fault::active("sequence_old_snapshot") {
        ActiveSnapshot::for_write()
    } else {
        ActiveSnapshot::latest()
    };
    let range = Range::of([(SCOPE_ID, Value::uuid(scope))]);
    Ok(table.engine().greatest(table, &range, SEQUENCE)?.as_int4())
}

/// The number after `last`.
///
/// # Errors
/// 22003 if there is none.
fn next(scope: Uuid, last: Option<i32>) -> CaliberResult<i32> {
    last.map_or(Some(0), |last| last.checked_add(1))
        .ok_or_else(|| {
            CaliberError::argument(
                Rule::Range,
                format!("scope {scope} has no sequence number left"),
                None,
            )
        })
}
