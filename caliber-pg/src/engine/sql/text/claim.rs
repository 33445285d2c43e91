//! The statements that claim and purge rows.

use super::{Text, EQ, GT};
use crate::engine::claim::Claim;
use crate::engine::list::List;
use crate::engine::sql::parameter;
use crate::engine::Table;
use crate::pg::datum::Value;
use crate::pg::relation::ColumnType;
use crate::pg::spi::Parameter;
use crate::pg::test::Test;
use uuid::Uuid;

impl<'t> Text<'t> {
    /// Claims rows of `list`, provided that the column that decides still has
    /// the value `seen`.
    pub(in crate::engine::sql) fn claim(
        table: &'t Table,
        claim: &Claim<'_>,
        list: &List<'_>,
        seen: Value,
    ) -> Self {
        let (key, by) = (table.entity.key_name(), claim.by);
        let by_columns = by.entity.shape.columns;
        let mut text = Self::new(
            table,
            &format!("WITH s AS MATERIALIZED (SELECT x.{key} FROM "),
        )
        .table()
        .add(" x WHERE ")
        .ranges(list)
        .add(" AND EXISTS (SELECT 1 FROM ")
        .add(&Text::new(by, "").table().sql)
        .add(&format!(" a WHERE a.{} {EQ} ", by.entity.key_name()))
        .parameter(parameter(by, by.entity.key, claim.key))
        .add(&format!(" AND a.{} ", by_columns[claim.column].name));
        // It may be NULL where a user has dropped the NOT NULL.
        text = if seen.is_null() {
            text.add("IS NULL")
        } else {
            text.add(&format!("{EQ} "))
                .parameter(parameter(by, claim.column, seen))
        };
        text = text.add(")").order(list);
        if let Some(n) = list.max_rows {
            text = text.limit(n);
        }
        text.add(" FOR NO KEY UPDATE OF x SKIP LOCKED), u AS (UPDATE ")
            .table()
            .add(" x")
            .set(&claim.changes)
            .add(&format!(
                " FROM s WHERE x.{key} {EQ} s.{key} RETURNING x.*) SELECT x.* FROM u x"
            ))
            .order(list)
    }

    /// Deletes rows that pass any of the tests and that nobody else has locked.
    /// The array is made once; `IN (SELECT …)` might be asked again and again,
    /// and a WITH keeps rules from adding statements.
    pub(in crate::engine::sql) fn purge(
        table: &'t Table,
        any: &[(usize, Test)],
        max_rows: i64,
    ) -> Self {
        let key = table.entity.key_name();
        let mut doomed =
            Self::passing(table, any, None, max_rows).add(" FOR UPDATE OF x SKIP LOCKED");
        let delete = Self::new(table, "DELETE FROM ").table().sql;
        doomed.sql = format!("{delete} x WHERE x.{key} {EQ} ANY (ARRAY({}))", doomed.sql);
        doomed
    }

    /// Keys after `after` of rows that pass any of the tests, in order.
    pub(in crate::engine::sql) fn passing(
        table: &'t Table,
        any: &[(usize, Test)],
        after: Option<Value>,
        max_rows: i64,
    ) -> Self {
        let (key, name) = (table.entity.key, table.entity.key_name());
        let mut text = Self::new(table, &format!("SELECT x.{name} FROM "))
            .table()
            .add(" x WHERE ")
            .any(any);
        if let Some(after) = after {
            text = text.add(&format!(" AND x.{name} {GT} ")).value(key, after);
        }
        text.add(&format!(" ORDER BY x.{name}")).limit(max_rows)
    }

    /// Locks those of these rows that still pass, unless somebody else has.
    pub(in crate::engine::sql) fn lock_passing(
        table: &'t Table,
        any: &[(usize, Test)],
        keys: &[Uuid],
    ) -> Self {
        Self::new(
            table,
            &format!("SELECT x.{} FROM ", table.entity.key_name()),
        )
        .table()
        .add(" x")
        .any_key(keys)
        .add(" AND ")
        .any(any)
        .add(" FOR UPDATE OF x SKIP LOCKED")
    }

    /// Adds that any of the tests passes.
    fn any(self, tests: &[(usize, Test)]) -> Self {
        let mut text = self;
        let mut lead = "(";
        for &(column, test) in tests {
            text = text.add(lead).test(column, test);
            lead = " OR ";
        }
        text.add(if lead == "(" { "false" } else { ")" })
    }

    /// Adds a parameter.
    fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        let n = self.parameters.len();
        self.add(&format!("${n}"))
    }

    /// Adds a limit.
    fn limit(self, max_rows: i64) -> Self {
        let n = (ColumnType::Int8.oid(), Value::int8(max_rows));
        self.add(" LIMIT ").parameter(n)
    }
}
