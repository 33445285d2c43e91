//! Tables in memory, with the constraints that every table has.

use super::moment::sql_of;
use crate::entity::{self, Clock, Entity, Table};
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A row: one value per column, in attribute order. A timestamp that a call
/// makes is a symbol ([`World::now`], [`World::wall`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    table: &'static str,
    cells: Vec<Value>,
}

impl Row {
    /// A row of NULLs.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        Self {
            table: table.name,
            cells: vec![Value::Null; table.columns.len()],
        }
    }

    /// Sets one column.
    #[must_use]
    pub fn with(mut self, table: &Table, column: &str, value: Value) -> Self {
        self.set(table, column, value);
        self
    }

    /// Sets one column.
    pub fn set(&mut self, table: &Table, column: &str, value: Value) {
        self.cells[table.position(column)] = value;
    }

    /// One column.
    #[must_use]
    pub fn cell(&self, table: &Table, column: &str) -> &Value {
        &self.cells[table.position(column)]
    }

    /// A uuid column, `None` for NULL.
    #[must_use]
    pub fn id(&self, table: &Table, column: &str) -> Option<Uuid> {
        match self.cell(table, column) {
            Value::Uuid(id) => Some(*id),
            _ => None,
        }
    }

    /// A text column, empty for NULL.
    #[must_use]
    pub fn text(&self, table: &Table, column: &str) -> String {
        self.cell(table, column).text().unwrap_or_default()
    }

    /// All cells.
    #[must_use]
    pub fn cells(&self) -> &[Value] {
        &self.cells
    }

    /// Whether a server's row, as text, is this row.
    #[must_use]
    pub fn matches(&self, table: &Table, server: &[Option<String>]) -> bool {
        self.cells.len() == server.len()
            && self
                .cells
                .iter()
                .zip(server)
                .zip(table.columns)
                .all(|((cell, server), column)| match (cell.text(), server) {
                    (None, None) => true,
                    (Some(cell), Some(server)) => column.ty.same(&cell, server),
                    _ => false,
                })
    }

    /// An INSERT of all columns.
    #[must_use]
    pub fn insert_sql(&self, table: &Table) -> String {
        Self::insert_all_sql(table, std::slice::from_ref(self))
    }

    /// An INSERT of all columns of several rows.
    #[must_use]
    pub fn insert_all_sql(table: &Table, rows: &[Self]) -> String {
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let rows: Vec<String> = rows
            .iter()
            .map(|row| format!("({})", row.values_sql(table)))
            .collect();
        format!(
            "INSERT INTO {} ({}) VALUES {}",
            table.name,
            columns.join(", "),
            rows.join(", ")
        )
    }

    /// The values as SQL, in attribute order.
    #[must_use]
    pub fn values_sql(&self, table: &Table) -> String {
        let values: Vec<String> = self
            .cells
            .iter()
            .zip(table.columns)
            .map(|(cell, column)| sql_of(column.clock, cell))
            .collect();
        values.join(", ")
    }
}

/// All rows, and what calls depend on besides them.
#[derive(Clone, Debug, Default)]
pub struct World {
    tables: BTreeMap<&'static str, Arc<BTreeMap<Uuid, Row>>>,
    /// The symbol of the current transaction's start.
    pub now: String,
    /// The number of the current statement.
    pub statement: usize,
    /// `caliber.on_duplicate = return`.
    pub on_duplicate_return: bool,
}

impl World {
    /// Empty tables.
    #[must_use]
    pub fn new(on_duplicate_return: bool) -> Self {
        Self {
            on_duplicate_return,
            ..Self::default()
        }
    }

    /// The rows of a table, by ascending key.
    pub fn rows<'a>(&'a self, table: &Table) -> impl Iterator<Item = (&'a Uuid, &'a Row)> {
        self.tables
            .get(table.name)
            .into_iter()
            .flat_map(|rows| rows.iter())
    }

    /// One row.
    #[must_use]
    pub fn row(&self, table: &Table, id: Uuid) -> Option<&Row> {
        self.tables.get(table.name)?.get(&id)
    }

    /// The current transaction's start, as a cell.
    #[must_use]
    pub fn now(&self) -> Value {
        Value::Text(self.now.clone())
    }

    /// The wall clock during the current statement, as a cell.
    #[must_use]
    pub fn wall(&self) -> Value {
        Value::Text(super::moment::wall(self.statement))
    }

    /// The wall clock symbols in a table's rows to which something was added.
    #[must_use]
    pub fn later_moments(&self, table: &Table) -> Vec<String> {
        if !table.has_wall() {
            return Vec::new();
        }
        let symbols = self.rows(table).flat_map(|(_, row)| {
            let cells = row.cells.iter().zip(table.columns);
            cells.filter(|(_, column)| column.clock == Clock::Wall)
        });
        symbols
            .filter_map(|(cell, _)| cell.text())
            .filter(|symbol| symbol.starts_with("<w") && symbol.contains('+'))
            .collect()
    }

    fn put(&mut self, table: &Table, id: Uuid, row: Row) {
        Arc::make_mut(self.tables.entry(table.name).or_default()).insert(id, row);
    }

    /// Inserts a row, or says with which SQLSTATE PostgreSQL refuses it.
    ///
    /// # Errors
    /// 23502, 23514, 23505, 23503, in the order in which PostgreSQL looks.
    pub fn insert(&mut self, entity: &dyn Entity, row: Row) -> Result<(), &'static str> {
        self.insert_all(entity, vec![row])
    }

    /// Inserts rows by one statement: their foreign keys are checked when all
    /// are there.
    ///
    /// # Errors
    /// As [`World::insert`].
    pub fn insert_all(&mut self, entity: &dyn Entity, rows: Vec<Row>) -> Result<(), &'static str> {
        let table = entity.table();
        let mut ids = Vec::new();
        for row in rows {
            check_row(entity, &row)?;
            let Some(id) = row.id(table, table.key) else {
                return Err("23502");
            };
            if self.row(table, id).is_some() || self.is_taken(table, id, &row) {
                return Err("23505");
            }
            self.put(table, id, row);
            ids.push(id);
        }
        ids.into_iter()
            .try_for_each(|id| self.check_references(table, id))
    }

    /// Whether another row than `id` stands in the way of `row` in a unique
    /// index. (NULLs are never equal.)
    fn is_taken(&self, table: &Table, id: Uuid, row: &Row) -> bool {
        table
            .indexes
            .iter()
            .filter(|index| index.unique && index.holds.0(row))
            .any(|index| {
                let key = |row: &'_ Row| -> Vec<Value> {
                    index
                        .columns
                        .iter()
                        .map(|column| row.cell(table, column).clone())
                        .collect()
                };
                let wanted = key(row);
                !wanted.contains(&Value::Null)
                    && self.rows(table).any(|(other, row)| {
                        *other != id && index.holds.0(row) && key(row) == wanted
                    })
            })
    }

    /// Changes a row that is there.
    ///
    /// # Errors
    /// As [`World::insert`].
    pub fn update(
        &mut self,
        entity: &dyn Entity,
        id: Uuid,
        changes: &[(&str, Value)],
    ) -> Result<bool, &'static str> {
        let table = entity.table();
        let Some(mut row) = self.row(table, id).cloned() else {
            return Ok(false);
        };
        for (column, value) in changes {
            row.set(table, column, value.clone());
        }
        check_row(entity, &row)?;
        if self.is_taken(table, id, &row) {
            return Err("23505");
        }
        self.put(table, id, row);
        self.check_references(table, id)?;
        Ok(true)
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// 23503 while another row refers to it.
    pub fn delete(&mut self, entity: &dyn Entity, id: Uuid) -> Result<bool, &'static str> {
        let table = entity.table();
        let removed = match self.tables.get_mut(table.name) {
            Some(rows) => Arc::make_mut(rows).remove(&id),
            None => None,
        };
        let Some(removed) = removed else {
            return Ok(false);
        };
        for child in entity::described() {
            for key in child
                .table()
                .foreign_keys
                .iter()
                .filter(|key| key.parent == table.entity)
            {
                let wanted: Vec<&Value> = key
                    .parent_columns
                    .iter()
                    .map(|column| removed.cell(table, column))
                    .collect();
                let referred = self.rows(child.table()).any(|(_, row)| {
                    key.columns
                        .iter()
                        .map(|column| row.cell(child.table(), column))
                        .eq(wanted.iter().copied())
                });
                if referred {
                    return Err("23503");
                }
            }
        }
        Ok(true)
    }

    fn check_references(&self, table: &Table, id: Uuid) -> Result<(), &'static str> {
        let Some(row) = self.row(table, id) else {
            return Ok(());
        };
        for key in table.foreign_keys {
            let wanted: Vec<&Value> = key
                .columns
                .iter()
                .map(|column| row.cell(table, column))
                .collect();
            if wanted.iter().any(|value| value.is_null()) {
                continue;
            }
            let Some(parent) = entity::by_name(key.parent) else {
                continue;
            };
            let found = self.rows(parent.table()).any(|(_, candidate)| {
                key.parent_columns
                    .iter()
                    .map(|column| candidate.cell(parent.table(), column))
                    .eq(wanted.iter().copied())
            });
            if !found {
                return Err("23503");
            }
        }
        Ok(())
    }
}

fn check_row(entity: &dyn Entity, row: &Row) -> Result<(), &'static str> {
    let columns = entity.table().columns;
    let missing = row
        .cells
        .iter()
        .zip(columns)
        .any(|(cell, column)| column.not_null && cell.is_null());
    if missing {
        return Err("23502");
    }
    let in_sets = row.cells.iter().zip(columns).all(|(cell, column)| {
        column.one_of.is_empty()
            || cell
                .text()
                .is_none_or(|text| column.one_of.contains(&text.as_str()))
    });
    if in_sets && entity.checks(row) {
        Ok(())
    } else {
        Err("23514")
    }
}
