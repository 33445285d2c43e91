//! The statements as text. Names are quoted and qualified and operators are
//! schema-qualified, so that nothing in a search_path is ever captured;
//! values travel as parameters only.

use super::{ids, parameter};
use crate::engine::{Changes, List, Table};

use crate::pg::datum::Value;
use crate::pg::index::Test;
use crate::pg::relation::{quote_identifier, schema_name, ColumnType};
use crate::pg::spi::Parameter;
use uuid::Uuid;

const EQ: &str = "OPERATOR(pg_catalog.=)";
const GT: &str = "OPERATOR(pg_catalog.>)";

/// A statement under construction.
pub(super) struct Text<'t> {
    pub(super) sql: String,
    pub(super) parameters: Vec<Parameter>,
    table: &'t Table,
}

impl<'t> Text<'t> {
    fn new(table: &'t Table, sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            parameters: Vec::new(),
            table,
        }
    }

    fn add(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds the qualified table name.
    fn table(self) -> Self {
        let schema = quote_identifier(&schema_name(self.table.relation.schema()));
        let name = self.table.entity.shape.table;
        self.add(&format!("{schema}.{name}"))
    }

    fn column(&self, column: usize) -> &'static str {
        self.table.entity.shape.columns[column].name
    }

    /// Adds a parameter of the column's type.
    fn value(mut self, column: usize, value: Value) -> Self {
        self.parameters.push(parameter(self.table, column, value));
        let n = self.parameters.len();
        self.add(&format!("${n}"))
    }

    /// Adds `x.column = value`.
    fn equal(self, column: usize, value: Value) -> Self {
        let name = self.column(column);
        self.add(&format!("x.{name} {EQ} ")).value(column, value)
    }

    /// Adds `x.column IS NOT DISTINCT FROM value`, by the operator `=` of
    /// pg_catalog.
    fn not_distinct(self, column: usize, value: Value) -> Self {
        if value.is_null() {
            let name = self.column(column);
            return self.add(&format!("x.{name} IS NULL"));
        }
        self.equal(column, value)
    }

    fn key(self, key: Value) -> Self {
        let column = self.table.entity.key;
        self.add(" WHERE ").equal(column, key)
    }

    /// Adds `SET a = $1, b = $2`.
    fn set(mut self, changes: &Changes) -> Self {
        for (i, &(column, value)) in changes.iter().enumerate() {
            let name = self.column(column);
            let lead = if i == 0 { " SET " } else { ", " };
            self = self.add(&format!("{lead}{name} = ")).value(column, value);
        }
        self
    }

    pub(super) fn insert(table: &'t Table, row: &[Value], if_new: bool) -> Self {
        // Columns that a later version added are written as NULL.
        let later = table.relation.later_columns();
        let names: Vec<String> = table
            .entity
            .shape
            .columns
            .iter()
            .map(|c| c.name.to_owned())
            .chain(later.iter().map(|name| quote_identifier(name)))
            .collect();
        let mut text = Self::new(table, "INSERT INTO ")
            .table()
            .add(&format!(" ({}) VALUES (", names.join(", ")));
        for (column, &value) in row.iter().enumerate() {
            if column > 0 {
                text = text.add(", ");
            }
            text = text.value(column, value);
        }
        text = text.add(&", NULL".repeat(later.len())).add(")");
        if if_new {
            let key = text.column(table.entity.key);
            text = text.add(&format!(" ON CONFLICT ({key}) DO NOTHING"));
        }
        text
    }

    pub(super) fn get(table: &'t Table, key: Value) -> Self {
        Self::new(table, "SELECT x.* FROM ")
            .table()
            .add(" x")
            .key(key)
    }

    pub(super) fn exists(table: &'t Table, key: Value) -> Self {
        let name = table.entity.shape.columns[table.entity.key].name;
        Self::new(table, &format!("SELECT x.{name} FROM "))
            .table()
            .add(" x")
            .key(key)
    }

    pub(super) fn list(table: &'t Table, list: &List<'_>, last: bool) -> Self {
        let key = table.entity.key;
        let mut text = Self::new(table, "SELECT x.* FROM ").table().add(" x");
        let mut lead = " WHERE ";
        for &(column, value) in list.equals {
            text = text.add(lead).equal(column, value);
            lead = " AND ";
        }
        for &(column, test) in list.tests {
            let name = text.column(column);
            text = text.add(lead).add(&match test {
                Test::True => format!("x.{name}"),
            });
            lead = " AND ";
        }
        let name = text.column(key);
        if let Some(after) = list.after {
            text = text.add(&format!("{lead}x.{name} {GT} ")).value(key, after);
        }
        text = text.add(&format!(" ORDER BY x.{name}"));
        if last {
            return text.add(" DESC LIMIT 1");
        }
        if let Some(n) = list.max_rows {
            text.parameters
                .push((ColumnType::Int8.oid(), Value::int8(n)));
            let n = text.parameters.len();
            text = text.add(&format!(" LIMIT ${n}"));
        }
        text
    }

    pub(super) fn update(
        table: &'t Table,
        key: Value,
        changes: &Changes,
        guard: &[(usize, Value)],
    ) -> Self {
        let mut text = Self::new(table, "UPDATE ")
            .table()
            .add(" x")
            .set(changes)
            .key(key);
        for &(column, value) in guard {
            text = text.add(" AND ").not_distinct(column, value);
        }
        text
    }

    pub(super) fn update_each(table: &'t Table, keys: &[Uuid], changes: &Changes) -> Self {
        Self::new(table, "UPDATE ")
            .table()
            .add(" x")
            .set(changes)
            .any_key(keys)
    }

    /// Finds the rows that the caller may change, and locks them as the UPDATE
    /// that follows will.
    pub(super) fn lock_each(table: &'t Table, keys: &[Uuid]) -> Self {
        Self::new(table, "SELECT 1 FROM ")
            .table()
            .add(" x")
            .any_key(keys)
            .add(" FOR NO KEY UPDATE")
    }

    fn any_key(mut self, keys: &[Uuid]) -> Self {
        let name = self.column(self.table.entity.key);
        self.parameters.push(ids(keys));
        let n = self.parameters.len();
        self.add(&format!(" WHERE x.{name} {EQ} ANY (${n})"))
    }

    pub(super) fn delete(table: &'t Table, key: Value) -> Self {
        Self::new(table, "DELETE FROM ").table().add(" x").key(key)
    }

    pub(super) fn peek(table: &'t Table, by: usize, value: Uuid) -> Self {
        Self::new(table, "SELECT x.* FROM ONLY ")
            .table()
            .add(" x WHERE ")
            .equal(by, Value::uuid(value))
    }
}
