//! Rows of locks through SQL.

use super::text::Text;
use super::{known, Sql};
use crate::coordination::row::LockRow;
use crate::engine::list::{List, Range};
use crate::engine::locks::{LockRows, Strength, Wanted};
use crate::engine::{Changes, Table, Written};
use crate::entity::lock::column::{RESOURCE_ID, RESOURCE_TYPE};
use crate::error::CaliberResult;
use crate::pg::datum::Value;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{self, Parameter, View};
use uuid::Uuid;

impl Sql {
    /// The rows of a query under the active snapshot.
    fn lock_rows(
        &self,
        table: &Table,
        sql: &str,
        parameters: &[Parameter],
    ) -> CaliberResult<Vec<LockRow>> {
        let mut rows = Vec::new();
        spi::each(sql, parameters, self.planning, &mut |values| {
            rows.push(LockRow::read(&known(table, values)));
            Ok(())
        })?;
        Ok(rows)
    }

    /// The locked row of a `SELECT … FOR …`.
    fn locked_row(&self, table: &Table, how: Strength, id: Uuid, view: View) -> Option<LockRow> {
        let policy = match view {
            View::Latest => " SKIP LOCKED",
            _ => "",
        };
        let how = match how {
            Strength::KeyShare => "KEY SHARE",
            Strength::NoKeyUpdate => "NO KEY UPDATE",
            Strength::Update => "UPDATE",
        };
        let text = Text::get(table, Value::uuid(id)).followed_by(&format!(" FOR {how}{policy}"));
        let mut rows = self.read(table, &text, view).into_iter();
        rows.next()
            .map(|row| LockRow::read(&super::stored(table, row)))
    }
}

impl LockRows for Sql {
    fn of_resource(&self, table: &Table, kind: Value, id: Uuid) -> CaliberResult<Vec<LockRow>> {
        let _snapshot = ActiveSnapshot::latest();
        let range = Range::of([(RESOURCE_TYPE, kind), (RESOURCE_ID, Value::uuid(id))]);
        let text = Text::list(table, &List::of([range]));
        spi::as_owner(&table.relation, || {
            self.lock_rows(table, &text.sql, &text.parameters)
        })
    }

    fn as_of_now(&self, table: &Table, id: Uuid) -> CaliberResult<Option<LockRow>> {
        let _snapshot = ActiveSnapshot::latest();
        let text = Text::get(table, Value::uuid(id));
        let rows = spi::as_owner(&table.relation, || {
            self.lock_rows(table, &text.sql, &text.parameters)
        })?;
        Ok(rows.into_iter().next())
    }

    fn is_of_this_transaction(&self, table: &Table, id: Uuid) -> CaliberResult<bool> {
        self.is_own(table, Value::uuid(id))
    }

    fn try_lock(&self, table: &Table, id: Uuid, how: Strength) -> CaliberResult<Option<LockRow>> {
        Ok(self.locked_row(table, how, id, View::Latest))
    }

    fn lock(&self, table: &Table, id: Uuid, how: Strength) -> CaliberResult<Option<LockRow>> {
        Ok(self.locked_row(table, how, id, View::Fresh))
    }

    fn renew(&self, table: &Table, id: Uuid, changes: &Changes) -> CaliberResult<Written> {
        let text = Text::update(table, Value::uuid(id), changes, &[]);
        let done = spi::count(&text.sql, &text.parameters, self.planning, View::Latest);
        // The row is locked: only a trigger keeps it from being written.
        Ok(if done > 0 {
            Written::Done
        } else {
            Written::Vetoed
        })
    }

    fn find(&self, table: &Table, wanted: &mut Wanted<'_>) -> CaliberResult<Vec<Uuid>> {
        let _snapshot = ActiveSnapshot::latest();
        let text = Text::list(table, &List::of([Range::default()]));
        let mut found = Vec::new();
        spi::each(&text.sql, &text.parameters, self.planning, &mut |values| {
            let row = LockRow::read(&known(table, values));
            if wanted(&row)? {
                found.push(row.id);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn sweep(&self, table: &Table, ids: &[Uuid], wanted: &mut Wanted<'_>) -> CaliberResult<u64> {
        let mut doomed = Vec::new();
        // A thousand at a time, so that not all rows are in memory at once.
        for ids in ids.chunks(1000) {
            let text = Text::lock_free(table, ids);
            for row in self.read(table, &text, View::Latest) {
                let row = LockRow::read(&super::stored(table, row));
                if wanted(&row)? {
                    doomed.push(row.id);
                }
            }
        }
        let text = Text::delete_each(table, &doomed);
        let done = spi::count(&text.sql, &text.parameters, self.planning, View::Latest);
        Ok(done)
    }
}
