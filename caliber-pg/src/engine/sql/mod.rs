//! The `sql` engine: exactly the statements of the API's section 1.5.

mod text;

use super::{same, Changes, Engine, List, Rule, Stored, Table, Verdict, Written};
use crate::error::{CaliberResult, WriteCause};
use crate::pg::datum::Value;
use crate::pg::relation::UUID_ARRAY;
use crate::pg::row::{AnyRow, RowSink};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{self, Parameter, Planning, View};
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
        Ok(match self.write(&Text::insert(table, row, false)) {
            Written::Done => Written::Done,
            // Only a trigger or a rule keeps an INSERT from writing.
            _ => Written::Vetoed,
        })
    }

    fn insert_if_new(&self, table: &Table, row: &[Value]) -> CaliberResult<Written> {
        Ok(self.write(&Text::insert(table, row, true)))
    }

    fn get(&self, table: &Table, key: Value) -> CaliberResult<Option<AnyRow>> {
        let _snapshot = ActiveSnapshot::for_read();
        let text = Text::get(table, key);
        Ok(self.read(table, &text, View::Active).into_iter().next())
    }

    fn list(&self, table: &Table, list: &List<'_>, sink: &mut RowSink) -> CaliberResult<()> {
        let _snapshot = ActiveSnapshot::for_read();
        let text = Text::list(table, list, false);
        spi::stream(
            &table.relation,
            &text.sql,
            &text.parameters,
            self.planning,
            sink,
        );
        Ok(())
    }

    fn last(&self, table: &Table, list: &List<'_>) -> CaliberResult<Option<AnyRow>> {
        let _snapshot = ActiveSnapshot::for_read();
        let text = Text::list(table, list, true);
        Ok(self.read(table, &text, View::Active).into_iter().next())
    }

    fn exists(&self, table: &Table, key: Value) -> CaliberResult<bool> {
        let text = Text::exists(table, key);
        let found = spi::count(&text.sql, &text.parameters, self.planning, View::Fresh);
        Ok(found > 0)
    }

    fn update(&self, table: &Table, key: Value, changes: &Changes) -> CaliberResult<Written> {
        Ok(self.write(&Text::update(table, key, changes, &[])))
    }

    fn change(&self, table: &Table, key: Value, rule: &mut Rule<'_>) -> CaliberResult<bool> {
        // The values that a fruitless UPDATE was guarded by, to tell a veto
        // from a concurrent change.
        let mut tried: Option<Vec<(usize, Value)>> = None;
        loop {
            let text = Text::get(table, key);
            let Some(row) = self.read(table, &text, View::Fresh).into_iter().next() else {
                return Ok(false);
            };
            let stored = stored(table, row);
            if let Some(guard) = &tried {
                if same(table, &stored, guard) {
                    return Ok(false);
                }
            }
            match rule(&stored)? {
                Verdict::Answer(answer) => return Ok(answer),
                Verdict::Write { changes, checked } => {
                    let guard: Vec<(usize, Value)> =
                        checked.iter().map(|&c| (c, stored.get(c))).collect();
                    let text = Text::update(table, key, &changes, &guard);
                    if self.write(&text) == Written::Done {
                        return Ok(true);
                    }
                    tried = Some(guard);
                }
            }
            pgrx::check_for_interrupts!();
        }
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
fn stored(table: &Table, row: AnyRow) -> Stored {
    Stored(row.values(&table.relation, table.entity.shape.columns.len()))
}

/// A parameter of a known column's type.
fn parameter(table: &Table, column: usize, value: Value) -> Parameter {
    (table.entity.shape.columns[column].kind.oid(), value)
}

/// A parameter that is an array of ids.
fn ids(keys: &[Uuid]) -> Parameter {
    (UUID_ARRAY, Value::uuid_array(keys))
}
