//! What every entity does alike.

use super::args::{self, Page};
use crate::engine::list::{List, Range};
use crate::engine::{Changes, Entity, Table, Written};
use crate::error::CaliberResult;
use crate::pg::call::Call;
use crate::pg::datum::{IntArg, ToValue, UuidArg, Value};
use crate::pg::function::Returned;
use crate::pg::rights::Rights;
use crate::pg::row::{Row, Rows};

/// `*_get`: a row by key, or NULL; NULL for a NULL key.
pub fn get<T>(call: &Call, entity: &'static Entity, key: &UuidArg) -> Returned<Row<T>> {
    Returned::from(|| {
        let key = key.value();
        if key.is_null() {
            return Ok(None);
        }
        let table = Table::open(call, entity, &Rights::select())?;
        Ok(table.engine().get(&table, key)?.map(Row::from))
    })
}

/// `*_delete`: false if there is no such row; 23503 while any row refers to it.
/// The argument has the name of the key column.
pub fn delete(call: &Call, entity: &'static Entity, key: &UuidArg) -> Returned<bool> {
    Returned::always(|| {
        let key = args::required(entity.key_name(), key)?;
        let table = Table::open(call, entity, &Rights::delete(entity.key))?;
        Ok(table.engine().delete(&table, key)? == Written::Done)
    })
}

/// UPDATE of named columns by key: false if there is no such row. Without
/// changes nothing is written.
///
/// # Errors
/// Those of [`Table::open`] and of the write.
pub fn update(
    call: &Call,
    entity: &'static Entity,
    key: Value,
    changes: &Changes,
) -> CaliberResult<bool> {
    let named = changes.iter().map(|c| c.0).collect();
    let table = Table::open(call, entity, &Rights::update(entity.key, named))?;
    if changes.is_empty() {
        return table.engine().exists(&table, key);
    }
    Ok(table.engine().update(&table, key, changes)? == Written::Done)
}

/// The rows of a list that reads no other table.
///
/// # Errors
/// 0A000 where the query cannot take a set; those of [`Table::open`].
pub fn list<T>(call: &Call, entity: &'static Entity, list: &List<'_>) -> CaliberResult<Rows<T>> {
    let mut rows = Rows::new(call)?;
    let table = Table::open(call, entity, &Rights::select())?;
    table.engine().list(&table, list, rows.sink())?;
    Ok(rows)
}

/// One page of the rows where a column has this value, by key.
///
/// # Errors
/// 2201W, and those of [`list`].
pub fn list_by<T>(
    call: &Call,
    entity: &'static Entity,
    column: usize,
    value: Value,
    max_rows: &IntArg,
    after: &UuidArg,
) -> CaliberResult<Rows<T>> {
    let page = Page::new(max_rows, after)?;
    let rows = List::of([Range::of([(column, value)])]).page(page);
    list(call, entity, &rows)
}
