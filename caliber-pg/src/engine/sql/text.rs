//! The statements as text. Names are quoted and qualified and operators are
//! schema-qualified, so that nothing in a search_path is ever captured;
//! values travel as parameters only.

mod claim;

use super::{ids, parameter};
use crate::engine::list::{List, Range};
use crate::engine::{Changes, Table};
use crate::pg::datum::Value;
use crate::pg::relation::{quote_identifier, schema_name, ColumnType};
use crate::pg::spi::Parameter;
use crate::pg::test::Test;
use crate::pg::vector::Cosine;
use uuid::Uuid;

const EQ: &str = "OPERATOR(pg_catalog.=)";
const GT: &str = "OPERATOR(pg_catalog.>)";
const LT: &str = "OPERATOR(pg_catalog.<)";

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

    /// `INSERT INTO table (all columns) `.
    fn insert_into(table: &'t Table) -> Self {
        let later = table.relation.later_columns();
        let names: Vec<String> = table
            .entity
            .shape
            .columns
            .iter()
            .map(|c| c.name.to_owned())
            .chain(later.iter().map(|name| quote_identifier(name)))
            .collect();
        Self::new(table, "INSERT INTO ")
            .table()
            .add(&format!(" ({}) ", names.join(", ")))
    }

    /// Adds the values of a row. Columns that a later version added are
    /// written as NULL.
    fn values(self, row: &[Value]) -> Self {
        let later = self.table.relation.later_columns().len();
        let mut text = self;
        for (column, &value) in row.iter().enumerate() {
            if column > 0 {
                text = text.add(", ");
            }
            text = text.value(column, value);
        }
        text.add(&", NULL".repeat(later))
    }

    pub(super) fn insert(table: &'t Table, row: &[Value], if_new: bool) -> Self {
        let text = Self::insert_into(table)
            .add("VALUES (")
            .values(row)
            .add(")");
        if !if_new {
            return text;
        }
        let key = text.column(table.entity.key);
        text.add(&format!(" ON CONFLICT ({key}) DO NOTHING"))
    }

    /// An INSERT of `row` if `update` finds a row, as one statement.
    pub(super) fn insert_with(update: Text<'_>, table: &'t Table, row: &[Value]) -> Self {
        let mut text = Self::insert_into(table);
        text.sql = format!("WITH u AS ({} RETURNING 1) {}", update.sql, text.sql);
        text.parameters = update.parameters;
        text.add("SELECT ").values(row).add(" FROM u")
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

    pub(super) fn existing(table: &'t Table, keys: &[Uuid]) -> Self {
        let name = table.entity.key_name();
        Self::new(table, &format!("SELECT x.{name} FROM "))
            .table()
            .add(" x")
            .any_key(keys)
    }

    /// One INSERT of an array of rows, in its order.
    pub(super) fn insert_many(table: &'t Table, rows: Parameter, if_new: bool) -> Self {
        let later = table.relation.later_columns();
        let names: Vec<&str> = table.entity.shape.columns.iter().map(|c| c.name).collect();
        let later_names: String = later
            .iter()
            .map(|name| format!(", {}", quote_identifier(name)))
            .collect();
        let sources: Vec<String> = names.iter().map(|name| format!("r.{name}")).collect();
        let key = names[table.entity.key];
        let mut text = Self::new(table, "INSERT INTO ")
            .table()
            .add(&format!(" AS x ({}{later_names}) SELECT ", names.join(", ")))
            .add(&sources.join(", "))
            .add(&", NULL".repeat(later.len()))
            .add(" FROM ROWS FROM (pg_catalog.unnest($1)) WITH ORDINALITY AS r ORDER BY r.ordinality");
        if if_new {
            text = text.add(&format!(" ON CONFLICT ({key}) DO NOTHING"));
        }
        text = text.add(&format!(" RETURNING x.{key}"));
        text.parameters.push(rows);
        text
    }

    pub(super) fn list(table: &'t Table, list: &List<'_>) -> Self {
        let order = list.order.unwrap_or(table.entity.key);
        let name = table.entity.shape.columns[order].name;
        let mut text = Self::new(table, "SELECT x.* FROM ")
            .table()
            .add(" x WHERE ")
            .ranges(list);
        if let Some(after) = list.after {
            text = text
                .add(&format!(" AND x.{name} {GT} "))
                .value(order, after);
        }
        text = text.order(list);
        if list.last {
            text = text.add(" DESC");
        }
        // A condition in Rust comes before the limit.
        if let Some(n) = list.max_rows.filter(|_| list.keep.is_none()) {
            text.parameters
                .push((ColumnType::Int8.oid(), Value::int8(n)));
            let n = text.parameters.len();
            text = text.add(&format!(" LIMIT ${n}"));
        }
        if list.last {
            text.sql = format!("SELECT x.* FROM ({}) x ORDER BY x.{name}", text.sql);
        }
        text
    }

    /// Adds the order of a list. `CASE … WHEN` would take its operator from the
    /// search_path.
    fn order(self, list: &List<'_>) -> Self {
        let mut text = self.add(" ORDER BY ");
        if let Some(rank) = list.rank {
            let column = text.column(rank.column);
            text = text.add("CASE");
            for (i, value) in rank.values.iter().enumerate() {
                text = text.add(&format!(" WHEN x.{column} {EQ} '{value}' THEN {i}"));
            }
            text = text.add(" END, ");
        }
        let name = text.column(list.order.unwrap_or(text.table.entity.key));
        text.add(&format!("x.{name}"))
    }

    /// Adds the conditions of all ranges.
    fn ranges(self, list: &List<'_>) -> Self {
        let ranges = list.inhabited(self.table);
        let several = ranges.len() > 1;
        let mut text = if several { self.add("(") } else { self };
        for (i, range) in ranges.into_iter().enumerate() {
            if i > 0 {
                text = text.add(" OR ");
            }
            text = text.range(range);
        }
        if several {
            text.add(")")
        } else {
            text
        }
    }

    /// The rows of a range, in no order.
    pub(super) fn all(table: &'t Table, range: &Range) -> Self {
        Self::new(table, "SELECT x.* FROM ")
            .table()
            .add(" x WHERE ")
            .range(range)
    }

    /// Adds the conditions of a range.
    fn range(mut self, range: &Range) -> Self {
        let mut lead = "(";
        for &(column, value) in &range.equals {
            self = self.add(lead).not_distinct(column, value);
            lead = " AND ";
        }
        for &(column, test) in &range.tests {
            self = self.add(lead).test(column, test);
            lead = " AND ";
        }
        self.add(if lead == "(" { "true" } else { ")" })
    }

    /// Adds a test on a column.
    fn test(self, column: usize, test: Test) -> Self {
        let name = self.column(column);
        match test {
            Test::True => self.add(&format!("x.{name}")),
            Test::Null => self.add(&format!("x.{name} IS NULL")),
            Test::NotNull => self.add(&format!("x.{name} IS NOT NULL")),
            Test::Is(value) => self.equal(column, value),
            Test::Word(word) => self.add(&format!("x.{name} {EQ} '{word}'")),
            Test::IsNot(value) => self
                .add(&format!("x.{name} OPERATOR(pg_catalog.<>) "))
                .value(column, value),
            Test::NoneOf(words) => self.add(&format!(
                "x.{name} OPERATOR(pg_catalog.<>) ALL ('{{{}}}')",
                words.join(",")
            )),
            Test::NullOr(value) => self
                .add(&format!("(x.{name} IS NULL OR x.{name} {EQ} "))
                .value(column, value)
                .add(")"),
            Test::NullOrAfter(value) => self
                .add(&format!("(x.{name} IS NULL OR x.{name} {GT} "))
                .value(column, value)
                .add(")"),
            Test::NullOrBefore(value) => self
                .add(&format!("(x.{name} IS NULL OR x.{name} {LT} "))
                .value(column, value)
                .add(")"),
            Test::After(value) => self.add(&format!("x.{name} {GT} ")).value(column, value),
            Test::Before(value) => self.add(&format!("x.{name} {LT} ")).value(column, value),
            Test::Contains(value) => self
                .add(&format!("x.{name} OPERATOR(pg_catalog.@>) "))
                .value(column, value),
        }
    }

    /// The rows whose embedding has the query's dimension, nearest first: by
    /// the expressions of the HNSW index (sql/embedding.sql).
    pub(super) fn nearest(table: &'t Table, column: usize, element: &str, cosine: &Cosine) -> Self {
        let vector = quote_identifier(&schema_name(cosine.schema()));
        let name = table.entity.shape.columns[column].name;
        let n = cosine.dimensions();
        let cast = format!("::{vector}.{element}({n})");
        Self::new(table, "SELECT x.* FROM ")
            .table()
            .add(&format!(" x WHERE {vector}.vector_dims(x.{name}) {EQ} {n}"))
            .add(&format!(
                " ORDER BY (x.{name}{cast}) OPERATOR({vector}.<=>) ("
            ))
            .value(column, cosine.query())
            .add(&format!("{cast})"))
    }

    /// The greatest value of a column in a range.
    pub(super) fn greatest(table: &'t Table, range: &Range, column: usize) -> Self {
        let name = table.entity.shape.columns[column].name;
        Self::new(table, "SELECT x.* FROM ")
            .table()
            .add(" x WHERE ")
            .range(range)
            .add(&format!(
                " AND x.{name} IS NOT NULL ORDER BY x.{name} DESC LIMIT 1"
            ))
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

    pub(super) fn delete_each(table: &'t Table, keys: &[Uuid]) -> Self {
        Self::new(table, "DELETE FROM ")
            .table()
            .add(" x")
            .any_key(keys)
    }

    /// The rows with these keys, as far as they can be locked at once.
    pub(super) fn lock_free(table: &'t Table, keys: &[Uuid]) -> Self {
        let name = table.entity.key_name();
        Self::new(table, "SELECT x.* FROM ")
            .table()
            .add(" x")
            .any_key(keys)
            .add(&format!(" ORDER BY x.{name} FOR UPDATE SKIP LOCKED"))
    }

    /// The transaction that wrote the version of a row.
    pub(super) fn xmin(table: &'t Table, key: Value) -> Self {
        Self::new(table, "SELECT x.xmin FROM ")
            .table()
            .add(" x")
            .key(key)
    }

    /// Adds what follows a SELECT.
    pub(super) fn followed_by(self, clause: &str) -> Self {
        self.add(clause)
    }

    pub(super) fn peek(table: &'t Table, by: usize, value: Uuid) -> Self {
        Self::new(table, "SELECT x.* FROM ONLY ")
            .table()
            .add(" x WHERE ")
            .equal(by, Value::uuid(value))
    }
}
