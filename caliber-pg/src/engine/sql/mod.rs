//! The `sql` engine: exactly the statements of the API's section 1.5.

mod accept;
mod claim;
mod lock_rows;
mod returned;
mod search;
mod text;
mod watch;

use super::accept::Accept;
use super::list::{List, Range};
use super::{Changes, Engine, Rows, Rule, Stored, Table, Written};
use crate::error::{CaliberResult, WriteCause};
use crate::pg::datum::Value;
use crate::pg::relation::UUID_ARRAY;
use crate::pg::row::{self, AnyRow, RowSink};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{self, Parameter, Planning, Taken, View};
use std::collections::HashSet;
use text::Text;
use uuid::Uuid;

/// Runs SQL text through SPI.
#[derive(Debug)]
pub struct Sql {
    /// Kept plans, or planned at each call.
    pub planning: Planning,
}

impl Sql {
    fn write(&self, text: &Text<'_>) -> Written {
        if spi::write(&text.sql, &text.parameters, self.planning) > 0 {
            Written::Done
        } else {
            Written::Absent
        }
    }

    fn read(&self, table: &Table, text: &Text<'_>, view: View) -> Vec<AnyRow> {
        spi::rows(
            &table.relation,
            &text.sql,
            &text.parameters,
            self.planning,
            view,
        )
    }
}

impl Engine for Sql {
    fn insert(&self, table: &Table, row: &[Value]) -> CaliberResult<Written> {
        Ok(match self.insert_row(table, row, false) {
            Written::Done => Written::Done,
            // Only a trigger or a rule keeps an INSERT from writing.
            _ => Written::Vetoed,
        })
    }

    fn insert_many(&self, table: &Table, rows: &Rows, if_new: bool) -> CaliberResult<Vec<Written>> {
        let written = self.insert_rows(table, rows, if_new)?;
        Ok(written
            .into_iter()
            .map(|done| if done { Written::Done } else { Written::Vetoed })
            .collect())
    }

    fn insert_if_new(&self, table: &Table, row: &[Value]) -> CaliberResult<Written> {
        Ok(self.insert_row(table, row, true))
    }

    fn get(&self, table: &Table, key: Value) -> CaliberResult<Option<AnyRow>> {
        let _snapshot = ActiveSnapshot::for_read_by_sql();
        let text = Text::get(table, key);
        Ok(self.read(table, &text, View::Active).into_iter().next())
    }

    fn list(&self, table: &Table, list: &List<'_>, sink: &mut RowSink) -> CaliberResult<()> {
        let _snapshot = ActiveSnapshot::for_read_by_sql();
        let mut left = list.max_rows.unwrap_or(i64::MAX);
        if left <= 0 || list.ranges.is_empty() {
            return Ok(());
        }
        let text = Text::list(table, list);
        spi::stream(
            &table.relation,
            &text.sql,
            &text.parameters,
            self.planning,
            sink,
            &mut |values| {
                if left == 0 {
                    return Ok(Taken::Enough);
                }
                let kept = match list.keep {
                    None => true,
                    Some(keep) => keep(&known(table, values))?,
                };
                left -= i64::from(kept);
                Ok(if kept { Taken::Yes } else { Taken::No })
            },
        )
    }

    fn last(&self, table: &Table, list: &List<'_>) -> CaliberResult<Option<AnyRow>> {
        let _snapshot = ActiveSnapshot::for_read_by_sql();
        let text = Text::list(table, list);
        Ok(self.read(table, &text, View::Active).into_iter().last())
    }

    fn fetch(
        &self,
        table: &Table,
        key: Value,
        columns: &[usize],
    ) -> CaliberResult<Option<Vec<Value>>> {
        let text = Text::get(table, key);
        let row = self.read(table, &text, View::Fresh).into_iter().next();
        Ok(row.map(|row| stored(table, row).copies(table, columns)))
    }

    fn greatest(&self, table: &Table, range: &Range, column: usize) -> CaliberResult<Value> {
        let text = Text::greatest(table, range, column);
        let row = self.read(table, &text, View::Active).into_iter().next();
        Ok(row.map_or(Value::NULL, |row| stored(table, row).get(column)))
    }

    fn exists(&self, table: &Table, key: Value) -> CaliberResult<bool> {
        let text = Text::exists(table, key);
        let found = spi::count(&text.sql, &text.parameters, self.planning, View::Fresh);
        Ok(found > 0)
    }

    fn existing(&self, table: &Table, keys: &[Uuid]) -> CaliberResult<HashSet<Uuid>> {
        let text = Text::existing(table, keys);
        let found = spi::ids(&text.sql, &text.parameters, self.planning);
        Ok(found.into_iter().flatten().collect())
    }

    fn update(&self, table: &Table, key: Value, changes: &Changes) -> CaliberResult<Written> {
        Ok(self.write(&Text::update(table, key, changes, &[])))
    }

    fn change(&self, table: &Table, key: Value, rule: &mut Rule<'_>) -> CaliberResult<bool> {
        self.accept(table, key, &mut |stored| Ok((rule(stored)?, None)))
    }

    fn update_each(&self, table: &Table, keys: &[Uuid], changes: &Changes) -> CaliberResult<()> {
        if table.has_policies() {
            let text = Text::lock_each(table, keys);
            let allowed = spi::count(&text.sql, &text.parameters, self.planning, View::Fresh);
            if allowed < keys.len() as u64 {
                return Err(table.refused(
                    WriteCause::Forbidden,
                    format!(
                        "a policy forbids to change {} of the {} rows below",
                        keys.len() as u64 - allowed,
                        keys.len()
                    ),
                    None,
                ));
            }
        }
        self.write(&Text::update_each(table, keys, changes));
        Ok(())
    }

    fn delete(&self, table: &Table, key: Value) -> CaliberResult<Written> {
        Ok(self.write(&Text::delete(table, key)))
    }

    fn peek(
        &self,
        table: &Table,
        by: usize,
        value: Uuid,
        want: &[usize],
    ) -> CaliberResult<Vec<Vec<Option<Uuid>>>> {
        let text = Text::peek(table, by, value);
        let rows = spi::as_owner(&table.relation, || self.read(table, &text, View::Active));
        Ok(rows
            .into_iter()
            .map(|row| {
                let stored = stored(table, row);
                want.iter().map(|&c| stored.get(c).as_uuid()).collect()
            })
            .collect())
    }
}

/// The known columns of a row that the query returned.
fn stored(table: &Table, row: AnyRow) -> Stored<'static> {
    Stored::of(row.values(&table.relation, table.entity.shape.columns.len()))
}

/// A parameter of a known column's type.
fn parameter(table: &Table, column: usize, value: Value) -> Parameter {
    (table.relation.column_type(column), value)
}

/// A parameter that is an array of ids.
fn ids(keys: &[Uuid]) -> Parameter {
    (UUID_ARRAY, Value::uuid_array(keys))
}

/// The known columns among the values of a query's row, by position: the query
/// selects the table's live columns.
fn known(table: &Table, values: &[Value]) -> Stored<'static> {
    Stored::of(values[..table.entity.shape.columns.len()].to_vec())
}

/// A parameter that is an array of rows.
fn rows_parameter(table: &Table, rows: &Rows) -> Parameter {
    row::array(&table.relation, rows)
}
